/**
 * `soak`: a broker on disk at a steady rate, every message acknowledged to its producer and by its consumer: what its memory
 * and its descriptors do over `--seconds`. Half an hour says something; less shows that it runs.
 */
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Figures } from '../harness/figures.ts'
import { runMessages } from '../harness/flows.ts'
import { inFolder } from '../harness/folder.ts'
import { bytesOf, growthOf, type Kinds, kindsOf } from '../harness/heap-growth.ts'
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

/** Of the time that is measured, so much goes before the first snapshot. */
const warmUpShare = 0.1
/** Tables that double, caches that fill: an object for each of 10,000 messages a second would be a hundred times that. */
const grownKibibytesMax = 2_048
/** Fewer more of a kind are no growth. */
const grownCountMin = 50
const growthsTold = 10

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
    const flow = { topic, delivery: 'acked', load: { perSecond }, payloadBytes } as const
    const run = (part: number) =>
      runMessages(through, { ...flow, seconds: part, receivers: 1, subscribers: 1 })
    // Both snapshots are of a broker whose clients are gone: what it has more of by then, it keeps.
    await run(Math.max(1, seconds * warmUpShare))
    const before = await snapshotOf(through.server, join(directory, 'before.heapsnapshot'))
    const samples: Sample[] = []
    let over = false
    const sampling = sampleUntil(() => over, through.server, samples, (seconds * 1_000) / samplesPerRun)
    const measured = await run(seconds)
    over = true
    await sampling
    tell(figures, measured, samples.slice(samples.length >> 1))
    tellGrowth(figures, before, await snapshotOf(through.server, join(directory, 'after.heapsnapshot')))
  })
}

async function snapshotOf(server: BenchProcess, file: string): Promise<Kinds> {
  await server.ask('heapSnapshot', file)
  const kinds = await kindsOf(file)
  await rm(file)
  return kinds
}

/** What the broker has more of than after its warm-up, without what V8 makes of the program. */
function tellGrowth(figures: Figures, before: Kinds, after: Kinds): void {
  const bytes = Math.max(0, bytesOf(after) - bytesOf(before))
  figures.add('heap more than after the warm-up', 'KiB', bytes / 1024, { atMost: grownKibibytesMax })
  for (const { name, count, bytes: more } of growthOf(before, after, grownCountMin).slice(0, growthsTold)) {
    figures.note(`grown since the warm-up: ${name}, ${count} more, ${Math.round(more / 102.4) / 10} KiB`)
  }
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
