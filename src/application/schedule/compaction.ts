/**
 * Lets the start of the scheduler's log go: one message that is due in a year would hold all that was written after it.
 * What waits at the start is written again at the end, in the same order and under its old place in the order of acceptance.
 */
import { BatchBuilder } from '../../domain/batch/builder.ts'
import type { Durability } from '../../domain/durability.ts'
import type { Limits } from '../../domain/limits.ts'
import type { Platform } from '../../ports/index.ts'
import { batchOverheadBytes } from '../partitions/accumulator.ts'
import { type Breather, readRecords } from './log-walk.ts'
import type { ScheduleState } from './schedule-state.ts'
import { readScheduled, waitingRecord } from './scheduled-record.ts'

/** The log may be so much larger than twice what waits in it. */
const slackBytes = 16 * 1024 * 1024
const stepMessages = 1_000
const stepBytes = 1024 * 1024

export interface CompactionParts {
  readonly platform: Platform
  readonly limits: Limits
  /** The most that any topic can have promised its publishers. */
  readonly durability: Durability
  readonly breather: Breather
}

/** True when the log holds much more than what waits in it. */
export const isSparse = ({ log, index, positions }: ScheduleState): boolean =>
  index.size > 0 &&
  log.sizeBytes > 2 * (index.liveBytes + 200 * index.size) + slackBytes &&
  positions.done.floor < log.stableOffset

/**
 * Writes the oldest messages of the log again at its end. Nothing may be delivered meanwhile; what is being moved is not
 * in the heap.
 * @param endOffset what is from here on stays
 * @returns false when nothing was moved
 * @throws what reading and writing the log throws; then nothing has changed
 */
export async function moveOldest(
  state: ScheduleState,
  endOffset: number,
  parts: CompactionParts,
): Promise<boolean> {
  const { index, log, positions } = state
  const oldest = index.oldest(stepMessages)
  const slots = oldest.filter((slot) => index.waits(slot) && index.offsetOf(slot) < endOffset)
  for (const slot of slots) index.withdraw(slot)
  try {
    const nowMs = parts.platform.clock.now()
    const bytesMax = Math.min(stepBytes, parts.limits.batchBytesMax - batchOverheadBytes)
    const builder = new BatchBuilder({ checksum: parts.platform.checksum })
    const moved: number[] = []
    let full = false
    await readRecords(
      log,
      slots.map((slot) => index.offsetOf(slot)),
      parts.breather,
      (cursor, place) => {
        const slot = slots[place]
        full ||= moved.length > 0 && builder.sizeBytes + index.sizeBytesOf(slot) > bytesMax
        const message = full ? undefined : readScheduled(cursor)
        if (message === undefined) return
        builder.add(waitingRecord(message, { ...message.schedule, order: index.orderOf(slot) }, nowMs))
        moved.push(slot)
      },
      // What is lost to damage stays where it is, and is told of when it is due.
      () => {},
    )
    if (moved.length === 0) return false
    const written = await log.append(
      builder.build(),
      moved.length,
      parts.durability,
      parts.platform.clock.monotonic(),
    )
    const baseOffset = typeof written === 'number' ? written : written.baseOffset
    for (let place = 0; place < moved.length; place++) {
      positions.markDone(index.offsetOf(moved[place]))
      index.moved(moved[place], baseOffset + place)
    }
    return true
  } finally {
    for (const slot of slots) index.push(slot)
  }
}
