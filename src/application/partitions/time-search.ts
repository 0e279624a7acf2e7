/** Finding a record by time: the log's index knows the batch, the batch is walked for the record. */
import { RecordCursor } from '../../domain/batch/cursor.ts'
import { type Expansion, expandedRecords } from '../../domain/batch/expand.ts'
import { nextOffsetOf } from '../../domain/batch/header.ts'
import type { BatchBytes, PartitionLog } from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'

/**
 * Offset of the first record whose timestamp is at least `timestampMs`; `stableOffset` when there is none.
 * @throws RTK_NOT_SUPPORTED when the store has no time index
 */
export async function recordOffsetForTime(
  log: PartitionLog,
  timestampMs: number,
  expansion: Expansion,
): Promise<number> {
  const batchOffset = await log.offsetForTime(timestampMs)
  if (batchOffset >= log.stableOffset) return log.stableOffset
  let batch: BatchBytes
  try {
    batch = await log.read(batchOffset, 1)
  } catch (error) {
    const next = nextReadable(error, batchOffset)
    if (next === undefined) throw error
    return next // the record is lost to damage; this is the first after it
  }
  const cursor = new RecordCursor().open(batch, 0, expandedRecords(batch, 0, expansion))
  while (cursor.next()) {
    if (cursor.timestampMs >= timestampMs) return Math.max(cursor.offset, log.startOffset)
  }
  return nextOffsetOf(batch)
}
