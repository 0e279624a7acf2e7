/** Publishes through the public client as fast as it is taken, but never too far ahead of the consumer. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, connect } from 'ratatoskr/client'
import { batchesPerProducerMax } from 'ratatoskr/ports'
import { MessageMaker } from '../../src/cli/bench/messages.ts'
import { serveRole } from '../harness/child.ts'
import { credentialsOf } from '../harness/credentials.ts'

export interface ProducerSetup {
  readonly url: string
  /** Shown to a broker that asks for one. */
  readonly token?: string | undefined
  readonly topic: string
  readonly payloadBytes: number
  readonly batchBytes: number
  /** How many messages the consumer may be behind. */
  readonly lagMax: number
}

const over = { done: true, value: undefined } as const

let received = 0
let stopped = false
let running: Promise<number> | undefined

serveRole({
  start: async (setup: ProducerSetup) => {
    const client = await connect(setup.url, credentialsOf(setup.token))
    running = produce(client, setup)
    running.catch(() => {}) // told to whoever asks for the result
  },
  received: (count: number) => {
    received = count
  },
  stop: async (): Promise<number> => {
    stopped = true
    return (await running) ?? 0
  },
})

/** @returns the number of messages published */
async function produce(client: Client, setup: ProducerSetup): Promise<number> {
  const { topic, payloadBytes, batchBytes, lagMax } = setup
  const maker = new MessageMaker(payloadBytes)
  // Not a generator: its object for each message would be a tenth of the process's time, and is not the client's.
  const result = { done: false, value: { payload: maker.payload } }
  const messages = {
    next(): IteratorResult<typeof result.value, undefined> {
      if (stopped || maker.count - received >= lagMax) return over
      maker.next()
      return result as IteratorYieldResult<typeof result.value>
    },
    [Symbol.iterator]: () => messages,
  }
  const producer = client.producer({
    batchBytesMax: batchBytes,
    bufferBytesMax: (batchesPerProducerMax + 2) * batchBytes,
  })
  while (!stopped) {
    await producer.addAll(topic, messages)
    // Too far ahead: what the consumer has reached is told every few milliseconds. To look in each turn would take a core from him.
    await sleep(1)
  }
  return maker.count
}
