/**
 * `stream-<storage>-<transport>`: one producer, the broker, one consumer, through the public client; batches as the client
 * makes them, every message counted, in order and checked.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BenchProcess } from '../harness/process.ts'
import { machine, medianRun, peerOf, type Report, type Run, rangeOf, sumOf } from '../harness/report.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { runStream } from '../harness/stream.ts'
import type { BrokerSetup, TransportName } from '../roles/broker.ts'
import { runCeiling } from './ceiling.ts'

type Kept = Pick<BrokerSetup, 'storage' | 'durability'>

const kinds: Readonly<Record<'memory' | 'fsync', Kept>> = {
  memory: { storage: 'memory', durability: 'memory' },
  fsync: { storage: 'disk', durability: 'fsync' },
}

const topic = 'bench'
const MIB = 1024 * 1024
/** The producer stays so close before the consumer; the topic keeps far more, and less than the memory storage holds. */
const lagBytesMax = 64 * MIB
const retentionBytes = 256 * MIB

export function streamScenario(kind: keyof typeof kinds, transport: TransportName): Scenario {
  return {
    name: `stream-${kind}-${transport}`,
    about: `1 producer, 1 consumer, batches over ${transport}, ${kind === 'memory' ? 'in memory' : 'on disk, synced before each acknowledgement'}`,
    async run(options) {
      const ours: Run[] = []
      const ceiling: Run[] = []
      for (let run = 1; run <= options.runs; run++) {
        ours.push(await runBroker(kinds[kind], transport, options))
        ceiling.push(await runCeiling(options))
        options.progress(
          `run ${run} of ${options.runs}: ${ours[run - 1].messagesPerSecond} messages/s, ceiling ${ceiling[run - 1].messagesPerSecond}`,
        )
      }
      return report(this.name, kinds[kind], transport, options, ours, ceiling)
    },
  }
}

async function runBroker(kept: Kept, transport: TransportName, options: ScenarioOptions): Promise<Run> {
  const { seconds, payloadBytes, batchBytes, profileDirectory, verifyRecords } = options
  const directory = await mkdtemp(join(options.directory, 'ratatoskr-bench-'))
  try {
    await using broker = new BenchProcess('broker', { profileDirectory })
    await using producer = new BenchProcess('producer')
    await using consumer = new BenchProcess('consumer')
    const setup: BrokerSetup = { ...kept, transport, directory, topic, retentionBytes, verifyRecords }
    const url = (await broker.ask('start', setup)) as string
    const lagMax = Math.ceil(lagBytesMax / payloadBytes)
    return await runStream(
      broker,
      { process: producer, setup: { url, topic, payloadBytes, batchBytes, lagMax } },
      { process: consumer, setup: { url, topic, payloadBytes } },
      seconds,
    )
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function report(
  scenario: string,
  { storage, durability }: Kept,
  transport: TransportName,
  { payloadBytes, batchBytes, seconds }: ScenarioOptions,
  runs: readonly Run[],
  ceiling: readonly Run[],
): Report {
  const median = medianRun(runs)
  const { messagesPerSecond, latencyMs, processes } = median
  return {
    scenario,
    transport,
    storage,
    durability,
    payloadBytes,
    batchBytes,
    producers: 1,
    consumers: 1,
    runs: runs.length,
    secondsPerRun: seconds,
    messagesPerSecond,
    messagesPerSecondRange: rangeOf(runs),
    megabytesPerSecond: Math.round((messagesPerSecond * payloadBytes) / 1e6),
    latencyMs,
    ...processes.broker,
    processes,
    messages: sumOf(runs, 'sent'),
    lost: sumOf(runs, 'lost'),
    duplicated: sumOf(runs, 'duplicated'),
    disordered: sumOf(runs, 'disordered'),
    damaged: sumOf(runs, 'damaged'),
    peers: [peerOf('ceiling', process.version, ceiling, median)],
    machine: machine(),
  }
}
