/**
 * `floors`: the least that every deployment is to reach, each with its bound: rates of acknowledged messages, how soon they
 * are acknowledged and handled at a moderate rate, and how soon calls are answered when nothing else goes on.
 */
import type { Load, RunResult } from '../../src/cli/bench/run.ts'
import { loadOf, runLoadIn, withLoader } from '../harness/client-load.ts'
import { Figures } from '../harness/figures.ts'
import { inFolder } from '../harness/folder.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import type { TransportName } from '../roles/broker.ts'
import type { Calls, CallTimes } from '../roles/load.ts'
import { type KeptName, kinds, topic, withBroker } from './ours.ts'

const ackedPayloadBytes = 256
const acked = { payloadBytes: ackedPayloadBytes }
const inBatches = { singleInFlight: undefined }
const alone = { singleInFlight: 1 }
const calls = 500

export const floors: Scenario = {
  name: 'floors',
  about: 'the least that is asked of a broker: acknowledged messages a second, latencies, answers to calls',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      await rates(figures, options)
      await latencies(figures, options)
      await answers(figures, options)
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'memory, disk')
  },
}

async function rates(figures: Figures, options: ScenarioOptions): Promise<void> {
  const add = (name: string, { deliveredPerSecond }: RunResult, atLeast: number) =>
    figures.add(name, '/s', deliveredPerSecond, { atLeast })
  add('256 B, each acknowledged: embedded', await embedded(options, acked), 10_000)
  add('256 B, each acknowledged: disk, synced', await remote('fsync', 'tcp', options, acked), 10_000)
  add('256 B, each acknowledged: gRPC', await remote('memory', 'grpc', options, acked), 10_000)
  add('in batches: embedded', await embedded(options, inBatches), 50_000)
  add('in batches: disk, synced', await remote('fsync', 'tcp', options, inBatches), 50_000)
  add('in batches: gRPC', await remote('memory', 'grpc', options, inBatches), 50_000)
}

async function latencies(figures: Figures, options: ScenarioOptions): Promise<void> {
  const add = (name: string, ms: number | undefined, atMost?: number) =>
    figures.add(name, 'ms', ms ?? Number.NaN, atMost === undefined ? undefined : { atMost })
  for (const kind of ['memory', 'fsync'] as const) {
    const paced = await remote(kind, 'grpc', options, { perSecond: 10_000 })
    add(`10,000/s, ${kind}: due to acknowledged, p99`, paced.acknowledgedMs?.p99, 10)
    add(`10,000/s, ${kind}: due to handled, p99`, paced.latencyMs?.p99, 10)
  }
  const slow = await remote('fsync', 'grpc', options, { perSecond: 1_000 })
  add('1,000/s, fsync: due to handled, p99', slow.latencyMs?.p99, 100)
  add('one at a time, embedded: acknowledged, p99', (await embedded(options, alone)).acknowledgedMs?.p99, 1)
  const single = await remote('memory', 'grpc', options, alone)
  add('one at a time, gRPC: acknowledged, p99', single.acknowledgedMs?.p99)
}

async function answers(figures: Figures, options: ScenarioOptions): Promise<void> {
  for (const transport of ['http', 'grpc'] as const) {
    const { adminMs, publishMs } = await beside('memory', transport, options, async (loader) => {
      const asked: Calls = { topic, calls, payloadBytes: options.payloadBytes }
      return (await loader.ask('calls', asked)) as CallTimes
    })
    figures.add(`${transport}, idle: admin calls, p99`, 'ms', adminMs.p99, { atMost: 5 })
    figures.add(`${transport}, idle: publish, p99`, 'ms', publishMs.p99, { atMost: 5 })
  }
}

const embedded = (options: ScenarioOptions, load: Partial<Load>): Promise<RunResult> =>
  withLoader({ embedded: 'memory' }, async (loader) => {
    await loader.ask('createTopic', topic)
    return runLoadIn(loader, loadOf(topic, options, load))
  })

const remote = (
  kind: KeptName,
  transport: TransportName,
  options: ScenarioOptions,
  load: Partial<Load>,
): Promise<RunResult> =>
  beside(kind, transport, options, (loader) => runLoadIn(loader, loadOf(topic, options, load)))

const beside = <T>(
  kind: KeptName,
  transport: TransportName,
  options: ScenarioOptions,
  work: Parameters<typeof withLoader<T>>[1],
): Promise<T> =>
  inFolder(options.directory, (directory) =>
    withBroker({ kept: kinds[kind], transport, topics: [topic], directory }, options, ({ address: url }) =>
      withLoader({ url }, work),
    ),
  )
