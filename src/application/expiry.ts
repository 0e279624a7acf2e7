/**
 * Finds what has expired at the start of a log, so that a sweep can let go of it before the topic's own retention would.
 *
 * Only the start counts: whole segments go, so a message that lives keeps everything behind it in the log, delivered to
 * nobody once it has expired. For each partition it is remembered which message the last walk ended at and when that one
 * expires: while it lives there is nothing to read, and a topic whose messages never expire costs one read in all.
 */
import { RecordCursor } from '../domain/batch/cursor.ts'
import { type Expansion, expandedRecords } from '../domain/batch/expand.ts'
import { baseOffsetOf, batchStarts, isControlBatch, nextOffsetOf } from '../domain/batch/header.ts'
import { isRatatoskrError } from '../domain/errors.ts'
import type { Clock } from '../ports/index.ts'
import { nextReadable } from './gaps.ts'
import type { ReadablePartition } from './seams.ts'

/** Where a walk ended: at a message that lives until `expiresAtMs`, or, at 0, where the next walk has to go on. */
interface Stop {
  readonly offset: number
  readonly expiresAtMs: number
}

/** Reading goes on in pieces of this size; the first is one batch, which mostly tells that there is nothing to do. */
const readBytes = 1024 * 1024
/** After so much others have their turn: looking at it takes a few milliseconds. */
const turnBytes = 8 * 1024 * 1024
/** What one walk reads at most, so that a sweep ends. The next one goes on there. */
const walkBytesMax = 1024 * 1024 * 1024

export class Expiry {
  readonly #clock: Clock
  readonly #expansion: Expansion
  readonly #stops = new WeakMap<ReadablePartition, Stop>()

  constructor(clock: Clock, expansion: Expansion) {
    this.#clock = clock
    this.#expansion = expansion
  }

  /**
   * The offset of the first message that has not expired, as far as is known: everything before it may go. What is lost to
   * damage has expired when what comes after it has.
   * @throws what a read throws
   */
  async liveFrom(partition: ReadablePartition): Promise<number> {
    const known = this.#stops.get(partition)
    const { startOffset, stableOffset } = partition
    const stands = known !== undefined && known.offset >= startOffset && known.offset <= stableOffset
    if (stands && known.offset < stableOffset && known.expiresAtMs > this.#clock.now()) return known.offset
    const stop = await this.#walk(partition, stands ? known.offset : startOffset)
    this.#stops.set(partition, stop)
    return stop.offset
  }

  async #walk(partition: ReadablePartition, fromOffset: number): Promise<Stop> {
    let offset = fromOffset
    let bytesMax = 1
    let untilTurn = turnBytes
    let lostFrom: number | undefined
    for (let left = walkBytesMax; left > 0 && offset < partition.stableOffset; bytesMax = readBytes) {
      let bytes: Uint8Array
      try {
        bytes = await partition.read(offset, bytesMax)
      } catch (error) {
        const next = nextReadable(error, offset)
        if (next === undefined) throw error
        lostFrom ??= offset
        offset = next
        continue
      }
      if (bytes.length === 0) break
      const stop = this.#firstLive(bytes, offset)
      const { expiresAtMs } = stop
      if (expiresAtMs > 0) return stop.offset > offset ? stop : { offset: lostFrom ?? offset, expiresAtMs }
      lostFrom = undefined
      offset = stop.offset
      left -= bytes.length
      untilTurn -= bytes.length
      if (untilTurn > 0) continue
      untilTurn = turnBytes
      await new Promise<void>((resolve) => this.#clock.after(0, resolve))
    }
    return { offset: lostFrom ?? offset, expiresAtMs: 0 }
  }

  /** The first message from `fromOffset` on that has not expired; where the bytes end when there is none. */
  #firstLive(bytes: Uint8Array, fromOffset: number): Stop {
    const nowMs = this.#clock.now()
    const cursor = new RecordCursor()
    let offset = fromOffset
    for (const at of batchStarts(bytes)) {
      if (!isControlBatch(bytes, at)) {
        try {
          cursor.open(bytes, at, expandedRecords(bytes, at, this.#expansion))
          while (cursor.next()) {
            if (cursor.offset < fromOffset) continue
            const { expiresAtMs = Number.POSITIVE_INFINITY } = cursor
            if (expiresAtMs > nowMs) return { offset: cursor.offset, expiresAtMs }
          }
        } catch (error) {
          if (!isRatatoskrError(error)) throw error
          // What cannot be decoded here cannot be told to have expired either.
          return {
            offset: Math.max(baseOffsetOf(bytes, at), fromOffset),
            expiresAtMs: Number.POSITIVE_INFINITY,
          }
        }
      }
      offset = Math.max(offset, nextOffsetOf(bytes, at))
    }
    return { offset, expiresAtMs: 0 }
  }
}
