/**
 * `overload`: five producers at full speed where one alone is as much as the broker sustains, among consumers that have
 * stalled: how much is still stored, what memory it takes, and how soon a caller is refused.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { sleep, warmUpMs } from '../harness/stream.ts'
import type { ProberSetup, ProberWindow } from '../roles/prober.ts'
import type { ProducerSetup } from '../roles/producer.ts'
import type { SwarmSetup } from '../roles/swarm.ts'
import { kinds, topic, withBroker } from './ours.ts'

const producersMax = 5
const stalledConsumers = 10
/** Behind whom nobody waits: the producers are to offer all that they can. */
const lagMax = Number.MAX_SAFE_INTEGER

export const overload: Scenario = {
  name: 'overload',
  about: 'five times the load that is sustained, over TCP, with stalled consumers: goodput, memory, refusals',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      const peak = await measure(1, options)
      const over = await measure(producersMax, options)
      figures.add('one producer: stored', '/s', peak.storedPerSecond)
      figures.add('five producers, 10 stalled consumers: stored', '/s', over.storedPerSecond)
      figures.add('goodput under overload / alone', '×', over.storedPerSecond / peak.storedPerSecond, {
        atLeast: 0.8,
      })
      figures.add('resident, alone', 'MB', peak.rssMegabytes)
      // What 256 MiB of messages take when they wait for the retention, and as much for what is under way.
      figures.add('resident, under overload', 'MB', over.rssMegabytes, { atMost: 1_024 })
      figures.add('a single publish is answered, p99', 'ms', over.answeredMs.p99)
      if (over.refused > 0) {
        figures.add('a refusal is answered, p99', 'ms', over.refusedMs.p99, { atMost: 50 })
      }
      figures.add('refusals', '/s', over.refused / options.seconds)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'memory')
  },
}

const measure = (producers: number, options: ScenarioOptions) =>
  inFolder(options.directory, (directory) =>
    withBroker(
      { kept: kinds.memory, transport: 'tcp', topics: [topic], directory },
      options,
      async ({ address: url, server }) => {
        const { payloadBytes, batchBytes, seconds } = options
        await using stack = new AsyncDisposableStack()
        const start = async (role: string, setup: unknown): Promise<BenchProcess> => {
          const process = stack.use(new BenchProcess(role))
          await process.ask('start', setup)
          return process
        }
        const reader = await start('swarm', {
          url,
          topic,
          subscribers: 1,
          stalled: false,
        } satisfies SwarmSetup)
        if (producers > 1) {
          await start('swarm', {
            url,
            topic,
            subscribers: stalledConsumers,
            stalled: true,
          } satisfies SwarmSetup)
        }
        const setup: ProducerSetup = { url, topic, payloadBytes, batchBytes, lagMax }
        await Promise.all(Array.from({ length: producers }, () => start('producer', setup)))
        const prober = await start('prober', { url, topic, payloadBytes } satisfies ProberSetup)
        await sleep(warmUpMs(seconds))
        await server.windowBegin()
        await prober.ask('windowBegin')
        const stored = async () => (await server.ask('endOffset', topic)) as number
        const before = await stored()
        const beginMs = performance.now()
        await sleep(seconds * 1_000)
        const storedPerSecond = (((await stored()) - before) * 1_000) / (performance.now() - beginMs)
        const { rssMegabytes } = await server.usage()
        const probed = (await prober.ask('window')) as ProberWindow
        await reader.ask('counted')
        return { storedPerSecond, rssMegabytes, ...probed }
      },
    ),
  )
