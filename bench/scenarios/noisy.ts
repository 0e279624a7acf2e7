/**
 * `noisy-…`: callers that publish one message at a time, alone, beside one connection that floods, and beside sixteen: how much
 * later they are answered. One publishes to the topic that is flooded, one to another.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { sleep, warmUpMs } from '../harness/stream.ts'
import type { FloodSetup } from '../roles/flood.ts'
import type { ProberSetup, ProberWindow } from '../roles/prober.ts'
import { type KeptName, kinds, topic, withBroker } from './ours.ts'

const otherTopic = 'quiet'
/** Far more than a broker takes. */
const offeredPerSecond = 3_000_000
const recordsPerBatch = 10
/** Connections that flood: none, and then so many more each time. */
const stages = [
  { beside: 'alone', more: 0 },
  { beside: 'beside 1 that floods', more: 1 },
  { beside: 'beside 16 that flood', more: 15 },
]
/** What a noisy client may cost the others. */
const movedAtMost = 1.1

export const noisyScenario = (kind: KeptName): Scenario => ({
  name: `noisy-${kind}`,
  about: `callers alone and beside connections that flood, over TCP, ${kind}: how soon they are answered`,
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      await inFolder(options.directory, (directory) => measure(figures, kind, options, directory))
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(`noisy-${kind}`, kinds[kind].storage)
  },
})

function measure(
  figures: Figures,
  kind: KeptName,
  options: ScenarioOptions,
  directory: string,
): Promise<void> {
  const broker = { kept: kinds[kind], transport: 'tcp', topics: [topic, otherTopic], directory } as const
  return withBroker(broker, options, async ({ address: url, server }) => {
    await using stack = new AsyncDisposableStack()
    const { payloadBytes, seconds } = options
    const start = async (role: string, setup: ProberSetup | FloodSetup): Promise<BenchProcess> => {
      const process = stack.use(new BenchProcess(role))
      await process.ask('start', setup)
      return process
    }
    const callers = [
      { name: 'a caller of the same topic', process: await start('prober', { url, topic, payloadBytes }) },
      {
        name: 'a caller of another',
        process: await start('prober', { url, topic: otherTopic, payloadBytes }),
      },
    ]
    const aloneMs = new Map<string, number>()
    for (const { beside, more } of stages) {
      const shape = { url, topic, payloadBytes, recordsPerBatch, perSecond: offeredPerSecond }
      if (more > 0) await start('flood', { ...shape, connections: more })
      await sleep(warmUpMs(seconds))
      await Promise.all(callers.map(({ process }) => process.windowBegin()))
      const stored = async () => (await server.ask('endOffset', topic)) as number
      const before = await stored()
      await sleep(seconds * 1_000)
      if (more > 0) figures.add(`stored ${beside}`, '/s', ((await stored()) - before) / seconds)
      for (const { name, process } of callers) {
        const { answeredMs } = (await process.ask('window')) as ProberWindow
        figures.add(`${name}, ${beside}: p50`, 'ms', answeredMs.p50)
        figures.add(`${name}, ${beside}: p99`, 'ms', answeredMs.p99)
        const alone = aloneMs.get(name)
        if (alone === undefined) aloneMs.set(name, answeredMs.p99)
        else
          figures.add(`${name}: p99 ${beside} / alone`, '×', answeredMs.p99 / alone, { atMost: movedAtMost })
      }
    }
  })
}
