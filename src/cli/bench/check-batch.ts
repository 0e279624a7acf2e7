/** Checks whole batches: the checksum of each, then its records. */
import { batchSizeOf, type Checksum, crcOf, crcStart, type RecordCursor } from '../../ports/index.ts'

/** What looks at messages: `open` is told the bytes that the records it is given next lie in. */
export interface RecordChecker {
  open(bytes: Uint8Array): void
  check(record: RecordCursor): void
  damagedBatch(): void
}

/** Batches back to back, and a cursor over their records. */
interface Batches {
  readonly bytes: Uint8Array
  records(): Iterable<RecordCursor>
}

export function checkBatches(checker: RecordChecker, batches: Batches, checksum: Checksum): void {
  const { bytes } = batches
  for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
    const end = at + batchSizeOf(bytes, at)
    if (checksum(bytes.subarray(at + crcStart, end)) !== crcOf(bytes, at)) checker.damagedBatch()
  }
  checker.open(bytes)
  for (const record of batches.records()) checker.check(record)
}
