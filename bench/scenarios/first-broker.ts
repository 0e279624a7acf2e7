/**
 * `first-broker`: the figures that the first Ratatoskr published, measured here in the same way, each held to its own. It ran
 * within the Erlang virtual machine, publishers and subscribers beside the broker: so here they are in one process, but for gRPC.
 */
import { residentEmbedded } from '../harness/built.ts'
import { loadOf, runLoadIn, withLoader } from '../harness/client-load.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { BenchProcess } from '../harness/process.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { sleep } from '../harness/stream.ts'
import type { Burst } from '../roles/load.ts'
import { kinds, topic, withBroker } from './ours.ts'

const subscribers = 50
const idleMs = 1_000
const onePerMs = 1_000
const kept = { topic, messages: 2_000, payloadBytes: 100 }

export const firstBroker: Scenario = {
  name: 'first-broker',
  about: 'the figures that the first Ratatoskr published, measured in the same way',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      await inProcess((loader) => throughput(figures, loader, options))
      await inProcess((loader) => latency(figures, loader, options))
      await inProcess((loader) => crowd(figures, loader, options))
      await inProcess((loader) => memory(figures, loader))
      await overGrpc(figures, options)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'memory')
  },
}

const inProcess = (work: (loader: BenchProcess) => Promise<void>): Promise<void> =>
  withLoader({ embedded: 'memory' }, async (loader) => {
    await loader.ask('createTopic', topic)
    await work(loader)
  })

async function throughput(figures: Figures, loader: BenchProcess, options: ScenarioOptions): Promise<void> {
  const { deliveredPerSecond } = await runLoadIn(loader, loadOf(topic, options, {}))
  figures.add('one publisher, one subscriber', '/s', deliveredPerSecond, { atLeast: 74_771 })
  const burst = async (messages: number) => {
    const asked: Burst = { topic, messages, payloadBytes: options.payloadBytes }
    return (await loader.ask('burst', asked)) as number
  }
  figures.add('5,000 messages, sustained', '/s', await burst(5_000), { atLeast: 99_850 })
  figures.add('40,000 messages at once', '/s', await burst(40_000), { atLeast: 40_000 })
}

async function latency(figures: Figures, loader: BenchProcess, options: ScenarioOptions): Promise<void> {
  const { latencyMs } = await runLoadIn(loader, loadOf(topic, options, { perSecond: onePerMs }))
  for (const [part, atMost] of [
    ['p50', 0.029],
    ['p99', 0.111],
    ['max', 0.123],
  ] as const) {
    figures.add(`one each millisecond: ${part}`, 'ms', latencyMs?.[part] ?? Number.NaN, { atMost })
  }
}

async function crowd(figures: Figures, loader: BenchProcess, options: ScenarioOptions): Promise<void> {
  const load = loadOf(topic, options, { consumers: subscribers })
  const { deliveredPerSecond, publishedPerSecond } = await runLoadIn(loader, load)
  figures.add('50 subscribers: deliveries', '/s', deliveredPerSecond, { atLeast: 30_769 })
  figures.add('50 subscribers: messages', '/s', publishedPerSecond)
}

async function memory(figures: Figures, loader: BenchProcess): Promise<void> {
  const resident = async () => (await loader.ask('resident')) as number
  await resident() // the first collection frees what starting left
  const base = await resident()
  figures.add('resident, a broker in its program', 'MB', await residentEmbedded(), { atMost: 64 })
  await loader.windowBegin()
  await sleep(idleMs)
  const { cpuSeconds } = await loader.usage()
  figures.add('idle, of a processor', '%', (cpuSeconds * 100_000) / idleMs, { atMost: 2 })
  await loader.ask('subscribe', { topic, subscribers })
  const crowded = await resident()
  figures.add('50 subscribers: more resident', 'MB', crowded - base, { atMost: 2 })
  await loader.ask('burst', kept satisfies Burst)
  figures.add('2,000 messages: more resident', 'MB', (await resident()) - crowded, { atMost: 1.25 })
}

const overGrpc = (figures: Figures, options: ScenarioOptions): Promise<void> =>
  inFolder(options.directory, (directory) =>
    withBroker(
      { kept: kinds.memory, transport: 'grpc', topics: [topic], directory },
      options,
      ({ address: url }) =>
        withLoader({ url }, async (loader) => {
          const load = loadOf(topic, options, { singleInFlight: 1, consumers: 0 })
          const { publishedPerSecond, acknowledgedMs } = await runLoadIn(loader, load)
          figures.add('gRPC, one at a time', '/s', publishedPerSecond, { atLeast: 9_496 })
          figures.add('gRPC, one at a time: p99', 'ms', acknowledgedMs?.p99 ?? Number.NaN, { atMost: 0.124 })
        }),
    ),
  )
