/** A member of a queue group that acknowledges every message by itself; beside its broker in one process, or over a transport. */
import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { type Client, type ClientMessage, connect } from 'ratatoskr/client'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'

export interface QueueSetup {
  /** Where the broker is; without, it is made here. */
  readonly url?: string
  readonly topic: string
}

export interface QueueFill {
  readonly messages: number
  readonly payloadBytes: number
  readonly batchBytes: number
}

export interface QueueDrain {
  readonly group: string
  readonly messages: number
}

export interface QueueRate {
  readonly messagesPerSecond: number
  /** From `ack()` to the broker's answer, at full load. */
  readonly ackMs: Latency
  /** Messages that were delivered more than once, or are not acknowledged at the end: 0, or the figure is void. */
  readonly wrong: number
}

/** Of so many messages, one has its acknowledgement timed. */
const acksPerSample = 64
let client: Client
let topic: string

serveRole({
  start: async (setup: QueueSetup): Promise<void> => {
    topic = setup.topic
    client = setup.url === undefined ? await embedded() : await connect(setup.url)
  },
  fill: async ({ messages, payloadBytes, batchBytes }: QueueFill): Promise<void> => {
    const payload = new Uint8Array(payloadBytes)
    await using producer = client.producer({ batchBytesMax: batchBytes })
    await producer.addAll(topic, repeated({ payload }, messages))
  },
  drain: (load: QueueDrain) => drain(load),
  stop: () => client.close(),
})

async function embedded(): Promise<Client> {
  const broker = await createBroker({ storage: memoryStorage(), platform: { logger: silentLogger } })
  await broker.start()
  await broker.createTopic(topic)
  return broker.client()
}

function* repeated<T>(value: T, times: number): Generator<T, void, undefined> {
  for (let i = 0; i < times; i++) yield value
}

/**
 * Takes what is stored with the credit that a subscription has by default, each message acknowledged as soon as it comes, and
 * waits until the broker has answered all.
 */
async function drain({ group, messages }: QueueDrain): Promise<QueueRate> {
  const all = Promise.withResolvers<void>()
  const ackMs: number[] = []
  let received = 0
  const timed = async (message: ClientMessage): Promise<void> => {
    const beginMs = performance.now()
    await message.ack()
    ackMs.push(performance.now() - beginMs)
  }
  const beginMs = performance.now()
  const subscription = await client.subscribe(
    topic,
    (message) => {
      if (received++ % acksPerSample === 0) void timed(message)
      else void message.ack()
      if (received === messages) all.resolve()
    },
    { group, sharing: 'shared', ack: 'manual' },
  )
  await all.promise
  await subscription.flush()
  const seconds = (performance.now() - beginMs) / 1_000
  const { lag } = await client.describeQueue(topic, group)
  await subscription.close()
  return {
    messagesPerSecond: messages / seconds,
    ackMs: latencyOf(Float64Array.from(ackMs)),
    wrong: received - messages + lag,
  }
}
