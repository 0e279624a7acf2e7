/**
 * Walks the batches of a file and checks each: how segments and the state log are recovered.
 *
 * The CRC of a batch leaves out its base offset, length, leader epoch and magic; those are held to what must be there:
 * offsets without gaps, lengths within the file, epoch 0, magic 2. So no damaged byte goes unnoticed.
 */

import type { DiskFile } from 'ratatoskr/ports'
import {
  baseOffsetOf,
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  type Checksum,
  crcOf,
  crcStart,
  lastOffsetDeltaOf,
  leaderEpochOf,
  magicOf,
  nextOffsetOf,
  RatatoskrError,
} from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'

const windowBytes = 1024 * 1024

/** The one epoch that this format stores; a later one keeps a table of epochs beside the segments. */
export const leaderEpoch = 0

export interface ScanResult {
  /** Where the valid batches end. */
  readonly endPosition: number
  readonly endOffset: number
  /** Why they end before the file does; undefined when they do not. */
  readonly problem: string | undefined
}

/** @throws RTK_INVALID_ARGUMENT */
export function assertEpoch(batch: Uint8Array): void {
  const epoch = leaderEpochOf(batch)
  if (epoch === leaderEpoch) return
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `this store keeps batches of leader epoch ${leaderEpoch} only, got ${epoch}`,
  )
}

/** What is wrong with the batch at `at`; undefined when it is whole and valid. `limit` is where the bytes end. */
export function problemOf(
  bytes: Uint8Array,
  at: number,
  limit: number,
  expectedOffset: number,
  checksum: Checksum,
): string | undefined {
  if (limit - at < batchHeaderBytes) return 'a batch header is cut short'
  const size = batchSizeOf(bytes, at)
  if (size < batchHeaderBytes || at + size > limit) return 'a batch length leads out of the file'
  if (magicOf(bytes, at) !== batchMagic) return 'a batch has the wrong magic'
  if (baseOffsetOf(bytes, at) !== expectedOffset) {
    return `a batch begins at offset ${baseOffsetOf(bytes, at)} where ${expectedOffset} must be`
  }
  if (lastOffsetDeltaOf(bytes, at) < 0) return 'a batch has no records'
  if (leaderEpochOf(bytes, at) !== leaderEpoch) {
    return `a batch has leader epoch ${leaderEpochOf(bytes, at)}, and there is only ${leaderEpoch}`
  }
  if (checksum(bytes.subarray(at + crcStart, at + size)) !== crcOf(bytes, at))
    return 'a batch fails its checksum'
  return undefined
}

/** True when a header is what must be there, as far as that is known before. */
const isExpected = (bytes: Uint8Array, at: number, expectedOffset: number): boolean =>
  magicOf(bytes, at) === batchMagic &&
  baseOffsetOf(bytes, at) === expectedOffset &&
  lastOffsetDeltaOf(bytes, at) >= 0 &&
  leaderEpochOf(bytes, at) === leaderEpoch

/**
 * A part of a file in memory that moves along and grows to hold what is asked for. Its buffer is used again, for a file may be
 * larger than the memory: whoever needs the bytes for longer than until the next `hold` copies them.
 */
export class Window {
  #buffer: Uint8Array = new Uint8Array(0)
  readonly #file: DiskFile
  readonly #sizeBytes: number
  bytes: Uint8Array = new Uint8Array(0)
  /** Position of the first byte in the file. */
  start = 0

  constructor(file: DiskFile, sizeBytes: number) {
    this.#file = file
    this.#sizeBytes = sizeBytes
  }

  /** Makes `count` bytes from `position` available, or as many as the file has. */
  async hold(position: number, count: number): Promise<void> {
    const end = Math.min(position + count, this.#sizeBytes)
    if (position >= this.start && end <= this.start + this.bytes.length) return
    const wanted = Math.min(Math.max(count, windowBytes), this.#sizeBytes - position)
    if (wanted > this.#buffer.length) this.#buffer = allocate(wanted)
    // While it is being filled, and after a failure, it holds nothing.
    this.bytes = new Uint8Array(0)
    const read = await this.#file.read(this.#buffer.subarray(0, Math.max(wanted, 0)), position)
    this.bytes = this.#buffer.subarray(0, read)
    this.start = position
  }
}

/**
 * Checks batches from a position to the end of the file.
 * @param onBatch is called for each valid batch: the bytes, where in them it begins, and its position in the file
 * @param window to read through, for whoever scans often
 */
export async function scanBatches(
  file: DiskFile,
  from: { readonly position: number; readonly offset: number },
  sizeBytes: number,
  checksum: Checksum,
  onBatch: (bytes: Uint8Array, at: number, position: number) => void,
  window = new Window(file, sizeBytes),
): Promise<ScanResult> {
  let { position, offset } = from
  while (position < sizeBytes) {
    await window.hold(position, batchHeaderBytes)
    let at = position - window.start
    let limit = window.bytes.length
    if (limit - at >= batchHeaderBytes) {
      const size = batchSizeOf(window.bytes, at)
      if (size >= batchHeaderBytes && position + size <= sizeBytes) {
        if (isExpected(window.bytes, at, offset)) {
          await window.hold(position, size)
          at = position - window.start
          limit = window.bytes.length
        } else {
          // It fails by its header: for a length that means nothing no memory is taken.
          limit = at + sizeBytes - position
        }
      }
    }
    const problem = problemOf(window.bytes, at, limit, offset, checksum)
    if (problem !== undefined) return { endPosition: position, endOffset: offset, problem }
    onBatch(window.bytes, at, position)
    offset = nextOffsetOf(window.bytes, at)
    position += batchSizeOf(window.bytes, at)
  }
  return { endPosition: position, endOffset: offset, problem: undefined }
}

/** The next place from `at` on that has the magic where a batch would; the first that is too near to the end otherwise. */
export function nextCandidate(bytes: Uint8Array, at: number): number {
  while (at + batchHeaderBytes <= bytes.length && magicOf(bytes, at) !== batchMagic) at++
  return at
}
