/**
 * `tier-…`: what four kinds of use ask of a broker: a rate, how late a message may be, and how much memory the broker may
 * take. Each with everything in memory, and on disk, synced before each acknowledgement. The broker is the built program.
 */
import { type BuiltTransport, startBuilt } from '../harness/built.ts'
import { Figures } from '../harness/figures.ts'
import { runMessages } from '../harness/flows.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { kinds, topic } from './ours.ts'

interface Tier {
  readonly name: string
  /** What such programs speak. */
  readonly transport: BuiltTransport
  readonly perSecond: number
  readonly p99Ms: number
  readonly rssMegabytes: number
}

const tiers: readonly Tier[] = [
  { name: 'chat', transport: 'websocket', perSecond: 1_000, p99Ms: 5, rssMegabytes: 100 },
  { name: 'iot', transport: 'websocket', perSecond: 5_000, p99Ms: 10, rssMegabytes: 200 },
  { name: 'microservices', transport: 'grpc', perSecond: 10_000, p99Ms: 50, rssMegabytes: 500 },
  { name: 'streaming', transport: 'tcp', perSecond: 25_000, p99Ms: 100, rssMegabytes: 1_000 },
]
/** Part of the rate that counts as reached: the window's ends fall between two messages. */
const reached = 0.99

export const tierScenarios: readonly Scenario[] = tiers.map((tier) => ({
  name: `tier-${tier.name}`,
  about: `${tier.perSecond.toLocaleString('en')} messages/s over ${tier.transport}: p99 within ${tier.p99Ms} ms, below ${tier.rssMegabytes} MB`,
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      for (const kind of ['memory', 'fsync'] as const) await measure(figures, tier, kind, options)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(`tier-${tier.name}`, 'memory, disk')
  },
}))

async function measure(
  figures: Figures,
  { transport, perSecond, p99Ms, rssMegabytes }: Tier,
  kind: keyof typeof kinds,
  options: ScenarioOptions,
): Promise<void> {
  const { payloadBytes, seconds } = options
  const flow = { topic, delivery: 'stream', load: { perSecond }, receivers: 1, subscribers: 1 } as const
  const run = await inFolder(options.directory, async (directory) => {
    await using server = await startBuilt(kinds[kind], transport, directory, options)
    const through = { client: 'ratatoskr', address: server.address, server } as const
    return await runMessages(through, { ...flow, payloadBytes, seconds })
  })
  const harm = run.lost + run.duplicated + run.disordered + run.damaged
  if (harm > 0) throw new Error(`${harm} messages were lost, came twice, late or damaged`)
  figures.add(`${kind}: handled`, '/s', run.messagesPerSecond, { atLeast: perSecond * reached })
  figures.add(`${kind}: due to handled, p50`, 'ms', run.latencyMs.p50)
  figures.add(`${kind}: due to handled, p99`, 'ms', run.latencyMs.p99, { atMost: p99Ms })
  const { rssMegabytes: resident, cpuSeconds } = run.processes.broker
  figures.add(`${kind}: the broker, resident at most`, 'MB', resident, { atMost: rssMegabytes })
  figures.add(`${kind}: the broker, of a processor`, '%', (cpuSeconds / seconds) * 100)
}
