/** Circles of everything that a partition of the disk store does, and how memory develops meanwhile. */
import { randomUUID } from 'node:crypto'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type PartitionLog, stampBatch } from 'ratatoskr/ports'
import { BatchRing } from '../harness/batches.ts'
import { serveRole } from '../harness/child.ts'
import { inFolder } from '../harness/folder.ts'
import { MemorySamples, type MemoryTrend } from '../harness/memory-samples.ts'

export interface SoakLoad {
  readonly seconds: number
  readonly directory: string
}

export interface SoakResult extends MemoryTrend {
  readonly circles: number
}

const segmentBytes = 1024 * 1024
/** Small, so that reads of old data leave memory for the disk. */
const hotBytesMax = 4 * 1024 * 1024
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
  const samples = new MemorySamples(seconds)
  let circles = 0
  for (; samples.isRunning; circles++) {
    await circle(log, ring)
    await samples.sampleIfDue()
  }
  await logs.stop()
  await state.stop()
  return { circles, ...samples.trend }
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
