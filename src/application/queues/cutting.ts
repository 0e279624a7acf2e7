/**
 * What a member is given of the batches at hand: as many whole ones as its credit allows, by reference; when that is none,
 * as many records of the first as fit, cut out as a batch of their own.
 */
import { RecordCursor } from '../../domain/batch/cursor.ts'
import { type Expansion, expandedRecords } from '../../domain/batch/expand.ts'
import { isAddressed, isForAnotherGroup } from '../../domain/batch/group-address.ts'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchSizeOf,
  isControlBatch,
  nextOffsetOf,
  recordCountOf,
} from '../../domain/batch/header.ts'
import { sliceBatch } from '../../domain/batch/slice.ts'
import type { Checksum } from '../../ports/index.ts'

/** What a delivery must stay within. */
export interface CutBounds {
  /** First offset that is wanted, and the one after the last. */
  readonly from: number
  readonly to: number
  readonly messagesMax: number
  readonly bytesMax: number
  /** The first record may take as much, if it comes alone. */
  readonly firstBytesMax: number
}

/**
 * - `cut`: the records from `from` up to `to`, as whole batches
 * - `short`: not even one record fits; the first takes `sizeBytes`
 * - `empty`: there are no records from `from` up to `to`
 * - `whole`: what holds `from` cannot be cut up, and all of it is more than is wanted
 */
export type Cut =
  | {
      readonly kind: 'cut'
      readonly bytes: Uint8Array
      readonly from: number
      readonly to: number
      readonly count: number
    }
  | { readonly kind: 'short'; readonly sizeBytes: number }
  | { readonly kind: 'empty'; readonly from: number; readonly to: number }
  | { readonly kind: 'whole'; readonly from: number; readonly to: number }

const records = new RecordCursor()

/** @param at where in `bytes` the batch begins that holds `bounds.from` */
export function cutDelivery(
  bytes: Uint8Array,
  at: number,
  bounds: CutBounds,
  checksum: Checksum,
  expansion: Expansion,
): Cut {
  if (isControlBatch(bytes, at) || recordCountOf(bytes, at) === 0) {
    return { kind: 'empty', from: bounds.from, to: Math.min(bounds.to, nextOffsetOf(bytes, at)) }
  }
  const whole = wholeBatches(bytes, at, bounds)
  if (whole !== undefined) return whole
  try {
    return partOfBatch(bytes, at, bounds, checksum, expansion)
  } catch {
    // A codec that is missing here, or records that contradict their header: nobody can tell where one record ends.
    return undividable(bytes, at, bounds)
  }
}

/** The whole batches from `at` on that the bounds allow; undefined when that is none. */
function wholeBatches(bytes: Uint8Array, start: number, bounds: CutBounds): Cut | undefined {
  const from = baseOffsetOf(bytes, start)
  if (from < bounds.from) return undefined
  let count = 0
  let end = start
  let to = from
  while (end < bytes.length && !isControlBatch(bytes, end)) {
    const next = end + batchSizeOf(bytes, end)
    const more = count + recordCountOf(bytes, end)
    const nextOffset = nextOffsetOf(bytes, end)
    if (nextOffset > bounds.to || more > bounds.messagesMax || next - start > bounds.bytesMax) break
    if (baseOffsetOf(bytes, end) !== to) break // what lies between is lost
    end = next
    count = more
    to = nextOffset
  }
  if (count === 0) return undefined
  return { kind: 'cut', bytes: bytes.subarray(start, end), from, to, count }
}

/** Records of one batch, from `bounds.from` on, that the bounds allow. */
function partOfBatch(
  bytes: Uint8Array,
  at: number,
  bounds: CutBounds,
  checksum: Checksum,
  expansion: Expansion,
): Cut {
  const end = Math.min(bounds.to, nextOffsetOf(bytes, at))
  records.open(bytes, at, expandedRecords(bytes, at, expansion))
  let size = batchHeaderBytes
  let count = 0
  let to = end
  for (let start = records.end; records.next(); start = records.end) {
    const { offset } = records
    if (offset < bounds.from) continue
    if (offset >= end) break
    const larger = size + records.end - start
    const fits = larger <= bounds.bytesMax || (count === 0 && larger <= bounds.firstBytesMax)
    if (!fits && count === 0) return { kind: 'short', sizeBytes: larger }
    if (!fits || count === bounds.messagesMax) {
      to = offset
      break
    }
    size = larger
    count++
  }
  if (count === 0) return { kind: 'empty', from: bounds.from, to: end }
  const cut = sliceBatch(bytes, at, [bounds.from, to], checksum, expansion)
  if (cut === undefined) return { kind: 'empty', from: bounds.from, to }
  // Compression may have made a whole batch larger than its records.
  if (cut.length > Math.max(bounds.bytesMax, count === 1 ? bounds.firstBytesMax : 0)) {
    if (count === 1) return { kind: 'short', sizeBytes: cut.length }
    return partOfBatch(bytes, at, { ...bounds, messagesMax: count - 1 }, checksum, expansion)
  }
  return { kind: 'cut', bytes: cut, from: bounds.from, to, count }
}

function undividable(bytes: Uint8Array, at: number, bounds: CutBounds): Cut {
  const from = baseOffsetOf(bytes, at)
  const to = nextOffsetOf(bytes, at)
  const count = recordCountOf(bytes, at)
  const size = batchSizeOf(bytes, at)
  if (from < bounds.from || to > bounds.to) {
    return { kind: 'whole', from: bounds.from, to: Math.min(to, bounds.to) }
  }
  if (count > bounds.messagesMax) return { kind: 'whole', from: bounds.from, to }
  if (size > Math.max(bounds.bytesMax, bounds.firstBytesMax)) return { kind: 'short', sizeBytes: size }
  return { kind: 'cut', bytes: bytes.subarray(at, at + size), from, to, count }
}

/**
 * Offsets of records in whole batches that have expired, ascending: from, to, from, to, ... Batches that cannot be decoded
 * have none that anybody can know of.
 */
export function expiredIn(bytes: Uint8Array, nowMs: number, expansion: Expansion): readonly number[] {
  const ranges: number[] = []
  for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
    try {
      records.open(bytes, at, expandedRecords(bytes, at, expansion))
      while (records.next()) {
        if (!records.mayExpire) continue
        const { expiresAtMs, offset } = records
        if (expiresAtMs === undefined || expiresAtMs > nowMs) continue
        addOffset(ranges, offset)
      }
    } catch {
      // It goes out as it is.
    }
  }
  return ranges
}

/** Offsets of records in whole batches that are for other groups than this one, as those that have expired. */
export function forOtherGroupsIn(
  bytes: Uint8Array,
  group: Uint8Array,
  expansion: Expansion,
): readonly number[] {
  const ranges: number[] = []
  for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
    if (!isAddressed(bytes, at)) continue
    try {
      records.open(bytes, at, expandedRecords(bytes, at, expansion))
      while (records.next()) if (isForAnotherGroup(records, group)) addOffset(ranges, records.offset)
    } catch {
      // It goes out as it is.
    }
  }
  return ranges
}

function addOffset(ranges: number[], offset: number): void {
  if (ranges[ranges.length - 1] === offset) ranges[ranges.length - 1] = offset + 1
  else ranges.push(offset, offset + 1)
}
