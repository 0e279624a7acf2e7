/**
 * A run of batches in memory: one preallocated buffer that batches are copied into once, and read from without a copy; or
 * one large batch in the buffer in which it came, for copying it would cost more than all that is done with it beside.
 *
 * Bytes below `sizeBytes` never change again, so that what `read` gives stays as it is for as long as it is held, or until it
 * is given back when it was lent: after `cut` the buffer takes no more batches, for they would overwrite what a reader may
 * still look at.
 */
import { keepBytes, type MemoryBlock } from './batch-memory.ts'
import { batchSizeOf, maxTimestampOf, nextOffsetOf } from './header.ts'
import { SparseIndex } from './sparse-index.ts'

const none = new Uint8Array(0)

/** From here on keeping a batch is cheaper than to copy it: smaller ones are better read many at once, out of one buffer. */
const keptBytesMin = 64 * 1024

/**
 * True for a batch that is kept where it lies instead of being copied: a large one that fills its buffer. A view of a buffer
 * with more in it than the batch and, say, the frame in which it came, would keep all of that in memory.
 */
export const isKeepable = (batch: Uint8Array): boolean =>
  batch.length >= keptBytesMin && batch.buffer.byteLength - batch.length <= batch.length >>> 3

/** Batches of consecutive offsets in one buffer: appended at its end, read as views. */
export class BatchBuffer {
  /** First offset of the run. */
  readonly baseOffset: number
  readonly capacityBytes: number
  readonly #bytes: Uint8Array
  readonly #index = new SparseIndex()
  #endOffset: number
  /** Of the batch that came last, and where it begins: what a reader at the end asks for. */
  #lastOffset = -1
  #lastAt = 0
  #sizeBytes = 0
  #maxTimestampMs = -1
  #sealed = false
  /** What is given back when the run is let go of. */
  #memory: MemoryBlock | undefined

  /** @param room bytes to fill, or how many to make */
  constructor(baseOffset: number, room: number | Uint8Array) {
    this.baseOffset = baseOffset
    this.#bytes = typeof room === 'number' ? new Uint8Array(room) : room
    this.capacityBytes = this.#bytes.length
    this.#endOffset = baseOffset
  }

  /** A run of one batch, which nobody may change from here on: see `isKeepable`. It takes no more. */
  static of(batch: Uint8Array, baseOffset: number, recordCount: number): BatchBuffer {
    // What came may be a Buffer of Node; what is read is a plain array.
    const run = new BatchBuffer(baseOffset, new Uint8Array(batch.buffer, batch.byteOffset, batch.length))
    run.#count(batch, recordCount)
    run.#sealed = true
    run.#memory = keepBytes(batch)
    return run
  }

  /** One past the last offset of the run. */
  get endOffset(): number {
    return this.#endOffset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Greatest timestamp of the run; after `cut` perhaps more than is left. -1 when there never was a batch. */
  get maxTimestampMs(): number {
    return this.#maxTimestampMs
  }

  hasRoom(bytes: number): boolean {
    return !this.#sealed && this.#sizeBytes + bytes <= this.capacityBytes
  }

  /** Copies a batch to the end. Ask `hasRoom` first. */
  append(batch: Uint8Array, recordCount: number): void {
    this.#bytes.set(batch, this.#sizeBytes)
    this.#count(batch, recordCount)
  }

  /** The bytes between two positions: a view. */
  view(from: number, to: number): Uint8Array {
    return this.#bytes.subarray(from, to)
  }

  /** Where the batch that holds `offset` begins. The offset must be in the run. */
  positionOf(offset: number): number {
    if (offset >= this.#lastOffset && this.#lastOffset !== -1) return this.#lastAt
    let at = this.#index.positionAt(this.#index.entryOfOffset(offset - this.baseOffset))
    while (nextOffsetOf(this.#bytes, at) <= offset) at += batchSizeOf(this.#bytes, at)
    return at
  }

  /**
   * Whole batches, beginning with the one that holds `offset`.
   * @param limitOffset batches that end above it are not given
   * @param bytesMax soft bound: at least one batch comes
   * @param lent true when the reader gives the bytes back: see `giveBackBytes`. Otherwise he may hold them for ever
   */
  read(offset: number, limitOffset: number, bytesMax: number, lent = false): Uint8Array {
    const from = this.positionOf(offset)
    const to = this.#endOfRead(from, limitOffset, bytesMax)
    if (to === from) return none
    if (lent) this.#memory?.lend()
    else this.#memory?.escape()
    return this.#bytes.subarray(from, to)
  }

  /** Where the first batch begins whose greatest timestamp is at least `timestampMs`; -1 when there is none. */
  positionOfTime(timestampMs: number): number {
    const index = this.#index
    for (let entry = 0; entry < index.length; entry++) {
      if (index.maxTimestampMsAt(entry) < timestampMs) continue
      const end = entry + 1 < index.length ? index.positionAt(entry + 1) : this.#sizeBytes
      for (let at = index.positionAt(entry); at < end; at += batchSizeOf(this.#bytes, at)) {
        if (maxTimestampOf(this.#bytes, at) >= timestampMs) return at
      }
    }
    return -1
  }

  /** Takes no more batches. @returns the room at the end that nobody has seen, for another run to fill */
  seal(): Uint8Array {
    if (this.#sealed) return none
    this.#sealed = true
    return this.#bytes.subarray(this.#sizeBytes)
  }

  /** Forgets the batches from `position` on, whose first offset is `offset`, and takes no more. */
  cut(position: number, offset: number): void {
    this.#index.cut(position)
    this.#lastOffset = -1
    this.#lastAt = position
    this.#sizeBytes = position
    this.#endOffset = offset
    this.#sealed = true
  }

  /** Its owner is done with the run: when nobody else has the bytes, their memory may be used again. */
  letGo(): void {
    this.#memory?.giveBack()
    this.#memory = undefined
  }

  #endOfRead(from: number, limitOffset: number, bytesMax: number): number {
    if (from === this.#lastAt && this.#endOffset <= limitOffset) return this.#sizeBytes
    const bytes = this.#bytes
    const index = this.#index
    const target = from + bytesMax
    const nearest = Math.min(
      index.entryOfPosition(Math.min(target, this.#sizeBytes)),
      index.entryOfOffset(limitOffset - this.baseOffset),
    )
    let to = Math.max(from, index.positionAt(nearest))
    while (to < this.#sizeBytes && nextOffsetOf(bytes, to) <= limitOffset) {
      const next = to + batchSizeOf(bytes, to)
      if (next > target && to > from) break
      to = next
    }
    return to
  }

  #count(batch: Uint8Array, recordCount: number): void {
    const timestampMs = maxTimestampOf(batch)
    this.#index.add(this.#endOffset - this.baseOffset, this.#sizeBytes, timestampMs)
    if (timestampMs > this.#maxTimestampMs) this.#maxTimestampMs = timestampMs
    this.#lastOffset = this.#endOffset
    this.#lastAt = this.#sizeBytes
    this.#sizeBytes += batch.length
    this.#endOffset += recordCount
  }
}
