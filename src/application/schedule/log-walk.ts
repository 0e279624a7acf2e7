/** Reading records of a log: all of them from an offset on, or some that are far apart. */
import { RecordCursor } from '../../domain/batch/cursor.ts'
import { type Expansion, expandedRecords } from '../../domain/batch/expand.ts'
import { batchSizeOf, compressionOf, isControlBatch, nextOffsetOf } from '../../domain/batch/header.ts'
import { isRatatoskrError, type RatatoskrError } from '../../domain/errors.ts'
import type { BatchBytes, Clock } from '../../ports/index.ts'
import { nextReadable } from '../gaps.ts'
import type { ReadablePartition } from '../seams.ts'

const readBytes = 1024 * 1024
/** Records that lie closer than this are read together. */
const nearOffsets = 4_096
/** Others have their turn after so long. */
const turnMs = 8

/** Lets others have their turn when a long piece of work has taken long enough. */
export class Breather {
  readonly #clock: Clock
  #beganMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#beganMs = clock.monotonic()
  }

  async pause(): Promise<void> {
    if (this.#clock.monotonic() - this.#beganMs < turnMs) return
    await new Promise<void>((resolve) => this.#clock.after(0, resolve))
    this.#beganMs = this.#clock.monotonic()
  }
}

export interface WalkOptions {
  readonly breather: Breather
  /** Undefined: compressed batches are passed over. */
  readonly expansion: Expansion | undefined
}

/**
 * Shows every record from `fromOffset` to the log's present end.
 * @param lost told of what damage has taken: from here to there there are no records
 * @throws what a read throws
 */
export async function walkRecords(
  partition: ReadablePartition,
  fromOffset: number,
  { breather, expansion }: WalkOptions,
  visit: (cursor: RecordCursor) => void,
  lost: (from: number, to: number) => void,
): Promise<void> {
  const cursor = new RecordCursor()
  const end = partition.stableOffset
  for (let offset = fromOffset; offset < end; await breather.pause()) {
    let bytes: BatchBytes
    try {
      bytes = await partition.read(offset, readBytes)
    } catch (error) {
      const next = nextReadable(error, offset)
      if (next === undefined) throw error
      lost(offset, next)
      offset = next
      continue
    }
    if (bytes.length === 0) return
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
      if (!isControlBatch(bytes, at) && (expansion !== undefined || compressionOf(bytes, at) === 0)) {
        cursor.open(bytes, at, expansion && expandedRecords(bytes, at, expansion))
        while (cursor.next()) if (cursor.offset >= offset && cursor.offset < end) visit(cursor)
      }
      offset = Math.max(offset, nextOffsetOf(bytes, at))
    }
  }
}

/**
 * Shows the records at these offsets, which must be in order.
 * @param missing told of each that damage has taken, and of each that the medium does not give now, with its error
 * @throws what a read throws
 */
export async function readRecords(
  partition: ReadablePartition,
  offsets: readonly number[],
  breather: Breather,
  visit: (cursor: RecordCursor, place: number) => void,
  missing: (place: number, error: RatatoskrError | undefined) => void,
): Promise<void> {
  const cursor = new RecordCursor()
  for (let place = 0; place < offsets.length; await breather.pause()) {
    const offset = offsets[place]
    const near = place + 1 < offsets.length && offsets[place + 1] - offset < nearOffsets
    let bytes: BatchBytes
    try {
      bytes = await partition.read(offset, near ? readBytes : 1)
    } catch (error) {
      const unreadable = isRatatoskrError(error, 'RTK_STORE_UNREADABLE') ? error : undefined
      if (unreadable === undefined && nextReadable(error, offset) === undefined) throw error
      missing(place++, unreadable)
      continue
    }
    const before = place
    for (let at = 0; at < bytes.length && place < offsets.length; at += batchSizeOf(bytes, at)) {
      if (nextOffsetOf(bytes, at) <= offsets[place]) continue
      cursor.open(bytes, at)
      while (place < offsets.length && cursor.next()) {
        if (cursor.offset === offsets[place]) visit(cursor, place++)
      }
    }
    // What the log does not give can only be lost.
    if (place === before) missing(place++, undefined)
  }
}
