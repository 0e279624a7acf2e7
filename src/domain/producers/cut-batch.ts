/** A record batch without some of its records: what is left of one when the others were stored before. */
import {
  readRawVarint,
  varintEnd,
  varintSize,
  writeInt16,
  writeInt32,
  writeInt64,
  writeVarint,
} from '../batch/bytes.ts'
import { RecordCursor } from '../batch/cursor.ts'
import { type Expansion, expandedRecords } from '../batch/expand.ts'
import { batchHeaderBytes, crcStart, lengthPrefixBytes } from '../batch/header.ts'

const compressionBits = 0x07
const fieldBytesMax = 10

/**
 * A batch of those records for which `keeps` says so, at least one: the same bytes with new offsets, uncompressed and
 * without a producer, since they are not what the producer numbered.
 */
export function keepRecords(
  batch: Uint8Array,
  keeps: (index: number) => boolean,
  expansion: Expansion,
  checksum: (bytes: Uint8Array) => number,
): Uint8Array {
  const expanded = expandedRecords(batch, 0, expansion)
  const records = expanded ?? batch
  const rest = new Uint8Array(batchHeaderBytes + records.length)
  const cursor = new RecordCursor().open(batch, 0, expanded)
  let end = batchHeaderBytes
  let count = 0
  let maxTimestampMs = 0
  for (let index = 0, start = cursor.end; cursor.next(); index++, start = cursor.end) {
    if (!keeps(index)) continue
    maxTimestampMs = count === 0 ? cursor.timestampMs : Math.max(maxTimestampMs, cursor.timestampMs)
    end = writeRecord(rest, end, records, start, cursor.end, count++)
  }
  const cut = rest.slice(0, end)
  cut.set(batch.subarray(0, batchHeaderBytes))
  writeInt32(cut, 8, cut.length - lengthPrefixBytes)
  cut[22] &= ~compressionBits
  writeInt32(cut, 23, count - 1)
  writeInt64(cut, 35, maxTimestampMs)
  writeInt64(cut, 43, -1)
  writeInt16(cut, 51, -1)
  writeInt32(cut, 53, -1)
  writeInt32(cut, 57, count)
  writeInt32(cut, 17, checksum(cut.subarray(crcStart)))
  return cut
}

/** Writes a record with another offset delta; the rest of it as it is. @returns the place after it */
function writeRecord(
  into: Uint8Array,
  at: number,
  records: Uint8Array,
  start: number,
  end: number,
  offsetDelta: number,
): number {
  readRawVarint(records, start)
  const fieldsStart = varintEnd
  const deltaStart = afterVarint(records, fieldsStart + 1) // after the attributes, the timestamp delta
  const restStart = afterVarint(records, deltaStart)
  const length = deltaStart - fieldsStart + varintSize(offsetDelta) + (end - restStart)
  let to = writeVarint(into, at, length)
  into.set(records.subarray(fieldsStart, deltaStart), to)
  to = writeVarint(into, to + deltaStart - fieldsStart, offsetDelta)
  into.set(records.subarray(restStart, end), to)
  return to + end - restStart
}

function afterVarint(bytes: Uint8Array, at: number): number {
  let end = at
  while (bytes[end] >= 0x80 && end - at < fieldBytesMax) end++
  return end + 1
}
