/**
 * `workers`: small batches over many connections, which keep a broker far busier than those who load it; three workers beside
 * one. Connections send to the partitions of the worker that they have reached, as the client does; and, for comparison, to all
 * partitions, as who knows nothing of workers does: then two of three batches are handed to another worker inside.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { comparisonScenario } from '../harness/comparison.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { ScenarioOptions } from '../harness/scenario.ts'
import { connectedTo, startServe } from '../harness/serve.ts'
import { usesOf, warmUpMs } from '../harness/stream.ts'
import type { RawFindings, RawProducerSetup, RawWindow } from '../roles/raw-producer.ts'
import { kinds, topic } from './ours.ts'

const workers = 3
const generators = 3
const partitions = 12
/** Enough that the system spreads them about evenly. */
const connections = 16
const recordsPerBatch = 10
const retentionMessages = 100_000

export const workersScenario = comparisonScenario({
  name: 'workers',
  about: `small batches over ${generators * connections} TCP connections, in memory: ${workers} workers beside one`,
  setting: { ...kinds.memory, transport: 'tcp', producers: generators * connections, consumers: 0 },
  ours: (options) => loaded({ count: workers, direct: true }, options),
  reference: { name: 'one-worker', run: (options) => loaded({ count: 1, direct: true }, options) },
  also: [{ name: 'routed-inside', run: (options) => loaded({ count: workers, direct: false }, options) }],
  claims: [{ against: 'one-worker', figure: 'messagesPerSecond', atLeast: 2.2 }],
})

async function loaded(
  { count, direct }: { readonly count: number; readonly direct: boolean },
  { payloadBytes, seconds, profileDirectory }: ScenarioOptions,
): Promise<Run> {
  const broker = await startServe('tcp', count, profileDirectory)
  const url = broker.address
  const loads = Array.from({ length: generators }, () => new BenchProcess('raw-producer'))
  try {
    await using client = await connectedTo(url)
    await client.createTopic(topic, { partitions, retentionMessages })
    const described = await client.describeTopic(topic)
    const setup: RawProducerSetup = {
      url,
      topic,
      workers: described.partitions.map(({ worker }) => worker),
      direct,
      connections,
      payloadBytes,
      recordsPerBatch,
    }
    await Promise.all(loads.map((load) => load.ask('start', setup)))
    // Of three workers each has a third of the calls, and compiles what it runs by itself: it is warm that much later. Longer
    // than this, and one worker has no room left for what it keeps.
    await sleep(2 * warmUpMs(seconds))
    const measured = { broker, ...Object.fromEntries(loads.map((load, i) => [`producer ${i + 1}`, load])) }
    await Promise.all(Object.values(measured).map((process) => process.windowBegin()))
    const begun = performance.now()
    await sleep(seconds * 1_000)
    const windows = await Promise.all(loads.map((load) => load.ask('window') as Promise<RawWindow>))
    const lasted = (performance.now() - begun) / 1_000
    const acked = windows.reduce((sum, { batches }) => sum + batches, 0)
    const processes = await usesOf(measured)
    const findings = await Promise.all(loads.map((load) => load.ask('stop') as Promise<RawFindings>))
    const failed = findings.reduce((sum, one) => sum + one.failed, 0)
    const sent = findings.reduce((sum, one) => sum + one.batches, 0) * recordsPerBatch
    const offsets = await client.offsets(topic, 'latest')
    const stored = offsets.reduce((sum, { offset }) => sum + offset, 0)
    return {
      messagesPerSecond: Math.round((acked * recordsPerBatch) / lasted),
      latencyMs: windows[0].latencyMs,
      processes,
      sent,
      lost: Math.max(0, sent - stored) + failed,
      duplicated: Math.max(0, stored - sent),
      disordered: 0,
      damaged: 0,
    }
  } finally {
    await Promise.all(loads.map((load) => load[Symbol.asyncDispose]()))
    await broker[Symbol.asyncDispose]()
  }
}
