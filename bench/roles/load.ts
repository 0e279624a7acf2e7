/** The load of `ratatoskr bench` in a process of the suite: upon a broker elsewhere, or upon one in this process. */
import { createBroker, type EmbeddedBroker } from 'ratatoskr'
import { silentLogger } from 'ratatoskr/adapters/node'
import { type Client, connect } from 'ratatoskr/client'
import { type Latency, latencyOf } from '../../src/cli/bench/messages.ts'
import { type Load, type RunResult, runLoad } from '../../src/cli/bench/run.ts'
import { serveRole } from '../harness/child.ts'
import { residentMegabytes } from '../harness/resident.ts'

export type LoadTarget = { readonly url: string } | { readonly embedded: 'memory' }

export interface Calls {
  readonly topic: string
  readonly calls: number
  readonly payloadBytes: number
}

export interface CallTimes {
  readonly adminMs: Latency
  readonly publishMs: Latency
}

export interface Burst {
  readonly topic: string
  readonly messages: number
  readonly payloadBytes: number
}

/** Retention runs so often that what is published at full speed never fills the memory storage. */
const retentionIntervalMs = 50
const MIB = 1024 * 1024
const kept = { retentionBytes: 128 * MIB, retentionMessages: -1, segmentBytes: 16 * MIB }

let broker: EmbeddedBroker | undefined
let open: () => Promise<Client>

serveRole({
  open: async (target: LoadTarget): Promise<void> => {
    if ('url' in target) {
      open = () => connect(target.url)
      return
    }
    const { memoryStorage } = await import('ratatoskr/adapters/memory')
    broker = await createBroker({
      storage: memoryStorage(),
      platform: { logger: silentLogger },
      retentionIntervalMs,
    })
    await broker.start()
    const embedded = broker
    open = async () => embedded.client()
  },
  createTopic: async (topic: string): Promise<void> => {
    await (await open()).createTopic(topic, kept)
  },
  run: async (load: Load): Promise<RunResult> => {
    const result = await runLoad(load, open, new AbortController().signal, () => {})
    const { lost, duplicated, disordered, damaged } = result.findings
    if (lost + duplicated + disordered + damaged > 0) throw new Error(JSON.stringify(result.findings))
    return result
  },
  calls: async ({ topic, calls, payloadBytes }: Calls): Promise<CallTimes> => {
    await using client = await open()
    const payload = new Uint8Array(payloadBytes)
    const admin = [
      () => client.describeTopic(topic),
      () => client.listTopics(),
      () => client.topicStats(topic),
    ]
    const adminMs = await timesOf(calls, (call) => admin[call % admin.length]())
    return { adminMs, publishMs: await timesOf(calls, () => client.publish(topic, payload)) }
  },
  /** Messages a second from the first publish until the last is handled. */
  burst: async ({ topic, messages, payloadBytes }: Burst): Promise<number> => {
    await using client = await open()
    let handled = 0
    const done = Promise.withResolvers<void>()
    await client.subscribe(topic, () => {
      if (++handled === messages) done.resolve()
    })
    const producer = client.producer({ waitingMax: messages })
    const payload = new Uint8Array(payloadBytes)
    const beginMs = performance.now()
    for (let i = 0; i < messages; i++) void producer.publish(topic, payload)
    await done.promise
    return (messages * 1_000) / (performance.now() - beginMs)
  },
  /** Subscribes so often and leaves it at that. */
  subscribe: async ({ topic, subscribers }: { topic: string; subscribers: number }): Promise<void> => {
    const client = await open()
    for (let i = 0; i < subscribers; i++) await client.subscribe(topic, () => {})
  },
  resident: (): Promise<number> => {
    // What V8 holds in reserve for young objects goes back as well, as in the broker's role.
    globalThis.gc?.({ type: 'major', execution: 'sync', flavor: 'last-resort' })
    return residentMegabytes(process.pid, 'VmRSS')
  },
})

/** One call after the other; the first tenth, in which code is compiled, does not count. */
async function timesOf(calls: number, call: (place: number) => Promise<unknown>): Promise<Latency> {
  const samples = new Float64Array(calls)
  const warmUp = Math.ceil(calls / 10)
  for (let place = -warmUp; place < calls; place++) {
    const beginMs = performance.now()
    await call(place + warmUp)
    if (place >= 0) samples[place] = performance.now() - beginMs
  }
  return latencyOf(samples)
}
