/**
 * `overload-…`: five times the rate that is sustained, offered by a schedule that waits for nothing, among consumers that have
 * stalled: how much is still stored, what memory it takes, and how soon a caller beside it is answered or refused. The
 * rate that is sustained is what the same connections store when each waits for its answers.
 */
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { LoopDelay } from '../harness/loop-delay.ts'
import { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { sleep, warmUpMs } from '../harness/stream.ts'
import type { BrokerMemory } from '../roles/broker.ts'
import type { FloodSetup, FloodWindow } from '../roles/flood.ts'
import type { ProberSetup, ProberWindow } from '../roles/prober.ts'
import type { RawProducerSetup } from '../roles/raw-producer.ts'
import type { SwarmCount, SwarmSetup } from '../roles/swarm.ts'
import { type KeptName, kinds, topic, withBroker } from './ours.ts'

const times = 5
const generators = 2
const connections = 8
const recordsPerBatch = 10
const stalledConsumers = 10
/** What is sustained shows soon; how long it is overloaded is what matters. */
const peakSecondsMax = 10
const sampleMs = 500
const bytesPerMegabyte = 1e6

export const overloadScenario = (kind: KeptName): Scenario => ({
  name: `overload-${kind}`,
  about: `${times} times the rate that is sustained, over TCP, ${kind}, with stalled consumers: goodput, memory, refusals`,
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      await inFolder(options.directory, (directory) => measure(figures, kind, options, directory))
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(`overload-${kind}`, kinds[kind].storage)
  },
})

/** One broker for both, so that what is sustained is what this one sustains. */
function measure(
  figures: Figures,
  kind: KeptName,
  options: ScenarioOptions,
  directory: string,
): Promise<void> {
  const broker = { kept: kinds[kind], transport: 'tcp', topics: [topic], directory } as const
  return withBroker(broker, options, async ({ address: url, server }) => {
    await using stack = new AsyncDisposableStack()
    const start = starting(stack)
    const reader = await start('swarm', { url, topic, subscribers: 1, stalled: false } satisfies SwarmSetup)
    const peakSeconds = Math.min(peakSecondsMax, options.seconds)
    const sustained = await sustainedRate(url, server, { ...options, seconds: peakSeconds })
    figures.add('sustained', '/s', sustained)
    await start('swarm', { url, topic, subscribers: stalledConsumers, stalled: true } satisfies SwarmSetup)
    const { payloadBytes, seconds } = options
    const shape = { url, topic, connections, payloadBytes, recordsPerBatch }
    const setup: FloodSetup = { ...shape, perSecond: (sustained * times) / generators }
    const floods = await Promise.all(Array.from({ length: generators }, () => start('flood', setup)))
    const prober = await start('prober', { url, topic, payloadBytes } satisfies ProberSetup)
    await sleep(warmUpMs(seconds))
    await Promise.all([server, prober, ...floods].map((process) => process.windowBegin()))
    await server.ask('watchLoop')
    const before = (await reader.ask('counted')) as SwarmCount
    const stored = await storedPerSecond(server, seconds, (samples) => tellMemory(figures, samples))
    const { p99Ms } = (await server.ask('loopDelay')) as LoopDelay
    const { rssMegabytes } = await server.usage()
    const probed = (await prober.ask('window')) as ProberWindow
    const flooded = (await Promise.all(floods.map((flood) => flood.ask('window')))) as FloodWindow[]
    const after = (await reader.ask('counted')) as SwarmCount
    figures.add('delivered to a consumer beside them', '/s', (after.total - before.total) / seconds)
    figures.add('stored under overload', '/s', stored)
    figures.add('goodput: under overload / sustained', '×', stored / sustained, { atLeast: 0.8 })
    figures.add('event loop of the broker, delay p99', 'ms', p99Ms, { atMost: 50 })
    figures.add('resident at most', 'MB', rssMegabytes, { atMost: 1_024 })
    tellOffers(figures, flooded, seconds, sustained)
    tellAnswers(figures, probed, seconds)
  })
}

const starting =
  (stack: AsyncDisposableStack) =>
  async (role: string, setup: unknown): Promise<BenchProcess> => {
    const process = stack.use(new BenchProcess(role))
    await process.ask('start', setup)
    return process
  }

async function sustainedRate(url: string, server: BenchProcess, options: ScenarioOptions): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const start = starting(stack)
  const { payloadBytes, seconds } = options
  const shape = { url, topic, connections, payloadBytes, recordsPerBatch }
  const setup: RawProducerSetup = { ...shape, workers: [undefined], direct: false }
  await Promise.all(Array.from({ length: generators }, () => start('raw-producer', setup)))
  await sleep(warmUpMs(seconds))
  return await storedPerSecond(server, seconds)
}

async function storedPerSecond(
  server: BenchProcess,
  seconds: number,
  tell: (samples: readonly BrokerMemory[]) => void = () => {},
): Promise<number> {
  const stored = async () => (await server.ask('endOffset', topic)) as number
  const samples: BrokerMemory[] = []
  const before = await stored()
  const beginMs = performance.now()
  for (let leftMs = seconds * 1_000; leftMs > 0; leftMs = beginMs + seconds * 1_000 - performance.now()) {
    await sleep(Math.min(sampleMs, leftMs))
    samples.push((await server.ask('memory')) as BrokerMemory)
  }
  const after = await stored()
  const elapsedMs = performance.now() - beginMs
  tell(samples)
  return ((after - before) * 1_000) / elapsedMs
}

/** That it is bounded: what it takes at most in the last third is what it took at most in the first. */
function tellMemory(figures: Figures, samples: readonly BrokerMemory[]): void {
  const third = Math.ceil(samples.length / 3)
  const most = (some: readonly BrokerMemory[]) => Math.max(...some.map(({ rssBytes }) => rssBytes))
  const grown = most(samples.slice(-third)) - most(samples.slice(0, third))
  figures.add('resident, more in the last third than in the first', 'MB', grown / bytesPerMegabyte, {
    atMost: 64,
  })
}

function tellOffers(
  figures: Figures,
  floods: readonly FloodWindow[],
  seconds: number,
  sustained: number,
): void {
  const sum = (part: 'offered' | 'heldBack' | 'refused') =>
    floods.reduce((total, flood) => total + flood[part], 0) / seconds
  figures.add('offered / sustained', '×', sum('offered') / sustained)
  figures.add('held back by their connections', '/s', sum('heldBack'))
  figures.add('refused, of those who flood', '/s', sum('refused') * recordsPerBatch)
  const refusedMs = floods.filter(({ refused }) => refused > 0).map((flood) => flood.refusedMs.p99)
  if (refusedMs.length > 0) {
    figures.add('refused, of those who flood: p99', 'ms', Math.max(...refusedMs))
  }
}

function tellAnswers(figures: Figures, { answeredMs, refused, refusedMs }: ProberWindow, seconds: number) {
  figures.add('a caller beside it is answered, p99', 'ms', answeredMs.p99)
  figures.add('a caller beside it is refused', '/s', refused / seconds)
  if (refused > 0) figures.add('and told so, p99', 'ms', refusedMs.p99, { atMost: 50 })
}
