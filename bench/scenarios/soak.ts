/**
 * `soak`: a broker on disk at a steady rate, every message acknowledged to its producer and by its consumer: what its memory
 * and its descriptors do over `--seconds`. Half an hour says something; less shows that it runs.
 */
import { Figures } from '../harness/figures.ts'
import { runMessages } from '../harness/flows.ts'
import { inFolder } from '../harness/folder.ts'
import type { BenchProcess } from '../harness/process.ts'
import type { Run } from '../harness/report.ts'
import type { Scenario, ScenarioOptions } from '../harness/scenario.ts'
import { type Point, slopeOf } from '../harness/slope.ts'
import { sleep } from '../harness/stream.ts'
import type { BrokerMemory } from '../roles/broker.ts'
import { kinds, topic, withBroker } from './ours.ts'

const perSecond = 10_000
const samplesPerRun = 40
const bytesPerMegabyte = 1e6
const msPerMinute = 60_000
/** What is collected late, and what the disk's cache takes, moves the line by so much. */
const steadyMegabytesPerMinute = 1

interface Sample extends BrokerMemory {
  readonly minutes: number
}

export const soak: Scenario = {
  name: 'soak',
  about: '10,000 acknowledged messages/s on disk for --seconds: slopes of heap and memory, descriptors',
  async run(options) {
    const figures = new Figures()
    for (let run = 1; run <= options.runs; run++) {
      await inFolder(options.directory, (directory) => measure(figures, options, directory))
      options.progress(`run ${run} of ${options.runs} done`)
    }
    return figures.report(this.name, 'disk')
  },
}

function measure(figures: Figures, options: ScenarioOptions, directory: string): Promise<void> {
  const setup = {
    kept: kinds.fsync,
    transport: 'tcp',
    topics: [topic],
    directory,
    nodeFlags: ['--expose-gc'],
  } as const
  return withBroker(setup, options, async (through) => {
    const { seconds, payloadBytes } = options
    const samples: Sample[] = []
    let over = false
    const sampling = sampleUntil(() => over, through.server, samples, (seconds * 1_000) / samplesPerRun)
    const flow = { topic, delivery: 'acked', load: { perSecond }, payloadBytes, seconds } as const
    const run = await runMessages(through, { ...flow, receivers: 1, subscribers: 1 })
    over = true
    await sampling
    tell(figures, run, samples.slice(samples.length >> 1))
  })
}

async function sampleUntil(
  over: () => boolean,
  server: BenchProcess,
  samples: Sample[],
  pauseMs: number,
): Promise<void> {
  const beginMs = performance.now()
  while (!over()) {
    const memory = (await server.ask('memory')) as BrokerMemory
    samples.push({ ...memory, minutes: (performance.now() - beginMs) / msPerMinute })
    await sleep(pauseMs)
  }
}

/** @param samples those of the second half: the first is start-up */
function tell(figures: Figures, run: Run, samples: readonly Sample[]): void {
  const harm = run.lost + run.duplicated + run.damaged
  if (harm > 0) throw new Error(`${harm} messages were lost, came twice or were damaged`)
  const points = (part: 'usedBytes' | 'rssBytes'): readonly Point[] =>
    samples.map((sample) => ({ at: sample.minutes, value: sample[part] / bytesPerMegabyte }))
  figures.add('messages', '/s', run.messagesPerSecond)
  figures.add('from due to handled, p99', 'ms', run.latencyMs.p99)
  figures.add('slope of what is in use', 'MB/min', slopeOf(points('usedBytes')), {
    atMost: steadyMegabytesPerMinute,
  })
  figures.add('slope of what is resident', 'MB/min', slopeOf(points('rssBytes')))
  const half = samples.length >> 1
  const least = (some: readonly Sample[]) => Math.min(...some.map(({ descriptors }) => descriptors))
  figures.add(
    'descriptors more in the last quarter',
    'descriptors',
    least(samples.slice(half)) - least(samples.slice(0, half)),
    {
      atMost: 0,
    },
  )
}
