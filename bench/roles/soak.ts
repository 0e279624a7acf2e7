/** Circles of everything that a partition of the disk store does, and how memory develops meanwhile. */
import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type PartitionLog, stampBatch } from 'ratatoskr/ports'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { inFolder } from '../harness/folder.ts'

export interface SoakLoad {
  readonly seconds: number
  readonly directory: string
}

/** Slopes are in megabytes a minute, over the second half of the time. */
export interface SoakResult {
  readonly circles: number
  readonly heapSlope: number
  readonly arrayBufferSlope: number
  readonly rssSlope: number
  readonly descriptorsGrown: number
  readonly rssMegabytes: number
}

interface Sample {
  readonly minutes: number
  readonly heap: number
  readonly arrayBuffers: number
  readonly rss: number
  readonly descriptors: number
}

const segmentBytes = 1024 * 1024
/** Small, so that reads of old data leave memory for the disk. */
const hotBytesMax = 4 * 1024 * 1024
const samplesPerRun = 40
const bytesPerMegabyte = 1e6
const appendsPerCircle = 64
const keptSegments = 16

serveRole({
  soak: ({ directory, seconds }: SoakLoad): Promise<SoakResult> =>
    inFolder(directory, (path) => soak(path, seconds)),
})

async function soak(directory: string, seconds: number): Promise<SoakResult> {
  const storage = diskStorage({ directory, hotBytesMax })
  const { logs, state } = storage.open(nodePlatform({ logger: silentLogger }))
  await state.start()
  await logs.start()
  const log = await logs.openLog({ topicId: randomUUID(), partition: 0 }, { segmentBytes })
  const ring = new BatchRing(appendsPerCircle + 1, { payloadBytes: 1_000, recordsPerBatch: 8 })
  const samples: Sample[] = []
  const beginMs = performance.now()
  const elapsed = () => performance.now() - beginMs
  let circles = 0
  while (elapsed() < seconds * 1_000) {
    await circle(log, ring)
    circles++
    if (elapsed() * samplesPerRun < samples.length * seconds * 1_000) continue
    samples.push(await sample(elapsed()))
  }
  await logs.stop()
  await state.stop()
  return resultOf(circles, samples.slice(samples.length >> 1))
}

/** Appends, reads the oldest and the newest, finds a time, lets the oldest go, takes the newest back. */
async function circle(log: PartitionLog, ring: BatchRing): Promise<void> {
  const append = () => {
    const batch = ring.next()
    stampBatch(batch, log.endOffset, 0)
    return log.append(batch, log.endOffset, ring.recordsPerBatch, 'os')
  }
  await Promise.all(Array.from({ length: appendsPerCircle }, append))
  const cut = log.endOffset
  await append()
  await log.read(log.startOffset, segmentBytes)
  await log.read(cut, segmentBytes)
  await log.offsetForTime(Date.now())
  await log.truncateAfter(cut)
  const records = (keptSegments * segmentBytes * ring.recordsPerBatch) / ring.batchBytes
  await log.truncateBefore(Math.max(log.startOffset, Math.floor(log.endOffset - records)))
}

async function sample(elapsedMs: number): Promise<Sample> {
  globalThis.gc?.()
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage()
  return {
    minutes: elapsedMs / 60_000,
    heap: heapUsed / bytesPerMegabyte,
    arrayBuffers: arrayBuffers / bytesPerMegabyte,
    rss: rss / bytesPerMegabyte,
    descriptors: (await readdir('/proc/self/fd')).length,
  }
}

function resultOf(circles: number, samples: readonly Sample[]): SoakResult {
  const last = samples[samples.length - 1]
  // Some are open for a moment only: the least of each half says how many stay.
  const half = samples.length >> 1
  const least = (some: readonly Sample[]) => Math.min(...some.map(({ descriptors }) => descriptors))
  return {
    circles,
    heapSlope: slopeOf(samples, 'heap'),
    arrayBufferSlope: slopeOf(samples, 'arrayBuffers'),
    rssSlope: slopeOf(samples, 'rss'),
    descriptorsGrown: least(samples.slice(half)) - least(samples.slice(0, half)),
    rssMegabytes: last.rss,
  }
}

/** Least squares over time. */
function slopeOf(samples: readonly Sample[], field: 'heap' | 'arrayBuffers' | 'rss'): number {
  const mean = (value: (one: Sample) => number) =>
    samples.reduce((sum, one) => sum + value(one), 0) / samples.length
  const meanMinutes = mean(({ minutes }) => minutes)
  const meanValue = mean((one) => one[field])
  const spread = mean(({ minutes }) => (minutes - meanMinutes) ** 2)
  return mean((one) => (one.minutes - meanMinutes) * (one[field] - meanValue)) / spread
}
