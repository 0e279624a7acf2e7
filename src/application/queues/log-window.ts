/**
 * The part of a log that a queue partition works on: one chunk of whole batches as it was read last. Deliveries are
 * views of it, or cut out of it. It is let go of when nothing was taken from it for a while.
 */
import type { MaybePromise } from '../../ports/index.ts'
import { baseOffsetOf, batchEndOf, nextOffsetOf } from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { ReadablePartition } from '../seams.ts'

const none = new Uint8Array(0)

export class LogWindow {
  readonly #log: ReadablePartition
  #bytes: Uint8Array = none
  /** Where the batch begins that was found last, and its first offset: what is looked for next is mostly after it. */
  #at = 0
  #atOffset = 0
  /** Something was found in it since `used` was asked last. */
  #used = false

  constructor(log: ReadablePartition) {
    this.#log = log
  }

  /** Whole batches. */
  get bytes(): Uint8Array {
    return this.#bytes
  }

  get isEmpty(): boolean {
    return this.#bytes.length === 0
  }

  /** Where in `bytes` the batch begins that holds `offset`; -1 when it is not in there. */
  find(offset: number): number {
    const bytes = this.#bytes
    let at = offset >= this.#atOffset ? this.#at : 0
    while (at < bytes.length) {
      if (nextOffsetOf(bytes, at) > offset) {
        const base = baseOffsetOf(bytes, at)
        if (base > offset) return -1
        this.#at = at
        this.#atOffset = base
        this.#used = true
        return at
      }
      at = batchEndOf(bytes, at)
    }
    return -1
  }

  /** The offset after the batch that holds `offset`, which must be in here. */
  endOfBatch(offset: number): number {
    return nextOffsetOf(this.#bytes, this.find(offset))
  }

  /** Reads the batch that holds `offset`, and what follows it. @throws as `ReadablePartition.read` */
  read(offset: number, bytesMax: number): MaybePromise<void> {
    const read = this.#log.read(offset, bytesMax)
    if (isPromise(read)) return read.then((bytes) => this.#take(bytes)) as Promise<void>
    this.#take(read)
  }

  /** True when it was of use since the last time that this was asked. */
  takeUsed(): boolean {
    const used = this.#used
    this.#used = false
    return used
  }

  drop(): void {
    this.#take(none)
  }

  #take(bytes: Uint8Array): void {
    this.#bytes = bytes
    this.#at = 0
    this.#atOffset = bytes.length === 0 ? 0 : baseOffsetOf(bytes, 0)
    this.#used = true
  }
}
