/** Reads batches of a segment from its file: in large reads, each batch verified before anyone sees it. */

import type { DiskFile } from 'ratatoskr/ports'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  type Checksum,
  indexIntervalBytes,
  lastOffsetDeltaOf,
  leaderEpochOf,
  magicOf,
  maxTimestampOf,
  nextOffsetOf,
} from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'
import { leaderEpoch, problemOf } from './batch-scan.ts'
import type { Place } from './place.ts'
import { corrupt } from './store-errors.ts'

const windowBytesMax = 8 * 1024 * 1024

/** What is read from: the file, and how much of it counts. */
export interface SegmentBytes {
  readonly file: DiskFile
  readonly sizeBytes: number
}

export interface ReadBounds {
  readonly offset: number
  /** Batches that end above it are not given. */
  readonly limitOffset: number
  readonly bytesMax: number
}

/**
 * Reads whole batches, beginning with the one that holds `bounds.offset`.
 * @param from a batch at or before that one
 * @throws RTK_STORE_CORRUPT when that batch is damaged; damage further on only ends what is given
 */
export async function readBatches(
  source: SegmentBytes,
  from: Place,
  bounds: ReadBounds,
  checksum: Checksum,
): Promise<Uint8Array> {
  const reach = Math.min(bounds.bytesMax, windowBytesMax) + indexIntervalBytes + batchHeaderBytes
  let { position, offset: expected } = from
  let window = await load(source, position, reach)
  let at = 0
  for (;;) {
    if (window.length - at < batchHeaderBytes) {
      window = await load(source, position, reach)
      at = 0
    }
    assertHeader(window, at, source.sizeBytes - position, expected)
    const next = nextOffsetOf(window, at)
    if (next > bounds.offset) break
    const size = batchSizeOf(window, at)
    expected = next
    position += size
    at += size
  }
  const size = batchSizeOf(window, at)
  if (at + size > window.length) {
    window = await load(source, position, Math.max(size, reach))
    at = 0
  }
  return takeBatches(window, at, expected, bounds, checksum)
}

/** The whole, valid batches of a window from `start` on, within the bounds. */
function takeBatches(
  window: Uint8Array,
  start: number,
  firstOffset: number,
  { limitOffset, bytesMax }: ReadBounds,
  checksum: Checksum,
): Uint8Array {
  let at = start
  let expected = firstOffset
  while (window.length - at >= batchHeaderBytes && nextOffsetOf(window, at) <= limitOffset) {
    const end = at + batchSizeOf(window, at)
    if (at > start && (end > window.length || end - start > bytesMax)) break
    const problem = problemOf(window, at, window.length, expected, checksum)
    if (problem !== undefined) {
      if (at > start) break
      throw corrupt(problem, expected)
    }
    expected = nextOffsetOf(window, at)
    at = end
  }
  if (at === start) throw corrupt('a batch leads beyond the end of the log', firstOffset)
  return window.subarray(start, at)
}

/**
 * Offset of the first batch from a place on whose greatest timestamp is at least `timestampMs`; undefined when there is none
 * below `limitOffset`. Every batch on the way is verified: a damaged timestamp gives no wrong answer.
 * @throws RTK_STORE_CORRUPT
 */
export async function findTime(
  source: SegmentBytes,
  from: Place,
  limitOffset: number,
  timestampMs: number,
  checksum: Checksum,
): Promise<number | undefined> {
  let { position, offset: expected } = from
  let window: Uint8Array = new Uint8Array(0)
  let at = 0
  while (position < source.sizeBytes && expected < limitOffset) {
    if (window.length - at < batchHeaderBytes) {
      window = await load(source, position, indexIntervalBytes + batchHeaderBytes)
      at = 0
    }
    assertHeader(window, at, source.sizeBytes - position, expected)
    const size = batchSizeOf(window, at)
    if (at + size > window.length) {
      window = await load(source, position, size)
      at = 0
    }
    const problem = problemOf(window, at, window.length, expected, checksum)
    if (problem !== undefined) throw corrupt(problem, expected)
    if (maxTimestampOf(window, at) >= timestampMs) return expected
    expected = nextOffsetOf(window, at)
    position += size
    at += size
  }
  return undefined
}

/** Where the batch that holds an offset begins, and that batch's first offset. */
export async function findPlace(source: SegmentBytes, from: Place, offset: number): Promise<Place> {
  let { position, offset: expected } = from
  for (;;) {
    const window = await load(source, position, batchHeaderBytes)
    assertHeader(window, 0, source.sizeBytes - position, expected)
    const next = nextOffsetOf(window)
    if (next > offset) return { position, offset: expected }
    expected = next
    position += batchSizeOf(window)
  }
}

async function load({ file, sizeBytes }: SegmentBytes, position: number, count: number): Promise<Uint8Array> {
  // Whoever reads keeps the bytes for as long as he likes: each read gets a buffer of its own.
  const buffer = allocate(Math.max(0, Math.min(count, sizeBytes - position)))
  return buffer.subarray(0, await file.read(buffer, position))
}

/** Checks what can be checked of a batch that is passed over. `left` are the bytes from it to the segment's end. */
function assertHeader(window: Uint8Array, at: number, left: number, expected: number): void {
  const sound =
    window.length - at >= batchHeaderBytes &&
    magicOf(window, at) === batchMagic &&
    baseOffsetOf(window, at) === expected &&
    leaderEpochOf(window, at) === leaderEpoch &&
    lastOffsetDeltaOf(window, at) >= 0 &&
    batchSizeOf(window, at) >= batchHeaderBytes &&
    batchSizeOf(window, at) <= left
  if (!sound) throw corrupt('a batch header is damaged', expected)
}
