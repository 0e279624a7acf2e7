/**
 * Parts of record batches for consumers who are given single messages: cutting records out, and one walk over a batch that
 * tells all that a queue group must know of its records.
 */
import { murmur2 } from '../murmur2.ts'
import { writeInt32 } from './bytes.ts'
import { RecordCursor } from './cursor.ts'
import { type Expansion, expandedRecords } from './expand.ts'
import { isAddressed, isForAnotherGroup } from './group-address.ts'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchSizeOf,
  crcStart,
  isControlBatch,
  lengthPrefixBytes,
  nextOffsetOf,
  recordCountOf,
} from './header.ts'

const cursor = new RecordCursor()

/**
 * A batch of the records of the batch at `at` whose offsets lie in `ranges`: header fields, base offset and the records' bytes
 * are the same (their offsets may have holes then); length, count, last offset delta and CRC are new, compression is
 * gone. When all records are wanted, it is a view of the batch itself. Undefined when there is none.
 * @param ranges ascending: from, to, from, to, ...
 * @throws RTK_BATCH_MALFORMED, RTK_BATCH_TOO_LARGE, RTK_COMPRESSION_UNAVAILABLE
 */
export function sliceBatch(
  batch: Uint8Array,
  at: number,
  ranges: readonly number[],
  checksum: (bytes: Uint8Array) => number,
  expansion: Expansion,
): Uint8Array | undefined {
  const baseOffset = baseOffsetOf(batch, at)
  const endOffset = nextOffsetOf(batch, at)
  if (ranges.length === 2 && ranges[0] <= baseOffset && ranges[1] >= endOffset) {
    return batch.subarray(at, at + batchSizeOf(batch, at))
  }
  const expanded = expandedRecords(batch, at, expansion)
  const places = placesOf(cursor.open(batch, at, expanded), ranges)
  const source = cursor.bytes
  cursor.bytes = batch // an expanded copy must not be kept alive
  if (places.count === 0) return undefined
  let size = batchHeaderBytes
  for (let i = 0; i < places.spans.length; i += 2) size += places.spans[i + 1] - places.spans[i]
  const slice = new Uint8Array(size)
  slice.set(batch.subarray(at, at + batchHeaderBytes))
  let end = batchHeaderBytes
  for (let i = 0; i < places.spans.length; i += 2) {
    slice.set(source.subarray(places.spans[i], places.spans[i + 1]), end)
    end += places.spans[i + 1] - places.spans[i]
  }
  writeInt32(slice, 8, size - lengthPrefixBytes)
  if (expanded !== undefined) slice[22] &= ~0x07 // compression bits of the attributes
  writeInt32(slice, 23, places.lastOffset - baseOffset)
  writeInt32(slice, 57, places.count)
  writeInt32(slice, 17, checksum(slice.subarray(crcStart)))
  return slice
}

interface Places {
  /** Where the wanted records are, as few spans as can be: from, to, from, to, ... */
  readonly spans: readonly number[]
  readonly count: number
  readonly lastOffset: number
}

function placesOf(records: RecordCursor, ranges: readonly number[]): Places {
  const spans: number[] = []
  let count = 0
  let lastOffset = -1
  let range = 0
  let start = records.end
  while (range < ranges.length && records.next()) {
    const { offset, end } = records
    while (range < ranges.length && offset >= ranges[range + 1]) range += 2
    if (range < ranges.length && offset >= ranges[range]) {
      count++
      lastOffset = offset
      if (spans.length > 0 && spans[spans.length - 1] === start) spans[spans.length - 1] = end
      else spans.push(start, end)
    }
    start = end
  }
  return { spans, count, lastOffset }
}

/** What a queue group must know of the records before it admits them: `LeaseTable.admit` takes it as it is. Made once, used for many. */
export class RecordScan {
  /** The hash of the key of each offset from the first scanned on: never 0 but for records without key. Valid until the next `begin`. */
  keyHashes: Int32Array = new Int32Array(1024)
  /** Offsets without a record for the group: holes, control records, what is for another one. Ascending: from, to, from, to, ... */
  absent: number[] = []
  /** Offsets of records that have expired. Ascending: from, to, from, to, ... */
  expired: number[] = []
  /** When the next of the others expires, in Unix ms; Infinity for never. */
  nextExpiryMs: number = Number.POSITIVE_INFINITY
  #from = 0
  #to = 0

  /** The offset after what was scanned. */
  get to(): number {
    return this.#to
  }

  /** Forgets what was scanned; the first offset that counts is `from`. */
  begin(from: number): this {
    this.#from = from
    this.#to = from
    this.absent = []
    this.expired = []
    this.nextExpiryMs = Number.POSITIVE_INFINITY
    return this
  }

  /**
   * Adds the batch at `at`, which follows those before; offsets between them are holes.
   * @param nowMs what expires at or before it has expired
   * @param group name of the group that it is for, as UTF-8
   * @throws RTK_BATCH_MALFORMED, RTK_BATCH_TOO_LARGE, RTK_COMPRESSION_UNAVAILABLE
   */
  add(batch: Uint8Array, at: number, nowMs: number, expansion: Expansion, group: Uint8Array): void {
    const to = nextOffsetOf(batch, at)
    if (to <= this.#to) return
    this.#grow(to)
    if (!isControlBatch(batch, at) && recordCountOf(batch, at) > 0) {
      cursor.open(batch, at, expandedRecords(batch, at, expansion))
      const addressed = isAddressed(batch, at)
      while (cursor.next()) {
        if (cursor.offset < this.#to || (addressed && isForAnotherGroup(cursor, group))) continue
        this.#record(cursor.offset, nowMs)
      }
      cursor.bytes = batch
    }
    this.#absentUpTo(to)
  }

  #record(offset: number, nowMs: number): void {
    this.#absentUpTo(offset)
    this.#to = offset + 1
    const { keyStart, keyEnd, bytes } = cursor
    this.keyHashes[offset - this.#from] = keyStart === -1 ? 0 : murmur2(bytes.subarray(keyStart, keyEnd)) || 1
    if (!cursor.mayExpire) return
    const expiresAtMs = cursor.expiresAtMs
    if (expiresAtMs === undefined) return
    if (expiresAtMs > nowMs) this.nextExpiryMs = Math.min(this.nextExpiryMs, expiresAtMs)
    else addRange(this.expired, offset, offset + 1)
  }

  #absentUpTo(offset: number): void {
    if (offset <= this.#to) return
    addRange(this.absent, this.#to, offset)
    this.keyHashes.fill(0, this.#to - this.#from, offset - this.#from)
    this.#to = offset
  }

  #grow(to: number): void {
    const needed = to - this.#from
    if (needed <= this.keyHashes.length) return
    const grown = new Int32Array(Math.max(needed, this.keyHashes.length * 2))
    grown.set(this.keyHashes.subarray(0, this.#to - this.#from))
    this.keyHashes = grown
  }
}

function addRange(ranges: number[], from: number, to: number): void {
  if (ranges.length > 0 && ranges[ranges.length - 1] === from) ranges[ranges.length - 1] = to
  else ranges.push(from, to)
}
