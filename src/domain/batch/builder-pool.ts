/** Builders that wait for work: a busy writer allocates none, and thousands of idle partitions hold no buffers. */
import { BatchBuilder, type BatchBuilderOptions } from './builder.ts'

/** How much may be kept. */
export interface BuilderPoolBounds {
  readonly buildersMax: number
  /** A builder keeps the buffer it grew: one that has built a batch of more bytes is let go. No bound by default. */
  readonly builtBytesMax?: number
}

/** As many as a producer has under way at a time: acknowledgements of all may come together. */
const sparesMax = 16

export class BuilderPool {
  readonly #options: BatchBuilderOptions
  readonly #buildersMax: number
  readonly #builtBytesMax: number
  readonly #idle: BatchBuilder[] = []
  /** Bytes of batches that nobody needs any more, all of the size that was asked for last. */
  #spares: Uint8Array[] = []
  #spareBytes = 0

  constructor(options: BatchBuilderOptions, bounds: BuilderPoolBounds) {
    this.#options = { ...options, room: (bytes) => this.#room(bytes) }
    this.#buildersMax = bounds.buildersMax
    this.#builtBytesMax = bounds.builtBytesMax ?? Number.POSITIVE_INFINITY
  }

  take(): BatchBuilder {
    return this.#idle.pop() ?? new BatchBuilder(this.#options)
  }

  /** The bytes of a batch that one of its builders has built, for the next one: nobody may look at them any more. */
  reuse(batch: Uint8Array): void {
    if (batch.buffer.byteLength !== this.#spareBytes || this.#spares.length >= sparesMax) return
    this.#spares.push(new Uint8Array(batch.buffer))
  }

  #room(bytes: number): Uint8Array {
    if (bytes !== this.#spareBytes) this.#spares = []
    this.#spareBytes = bytes
    return this.#spares.pop() ?? new Uint8Array(bytes)
  }

  /** @param builtBytes what the builder has last built */
  giveBack(builder: BatchBuilder, builtBytes: number): void {
    if (builtBytes <= this.#builtBytesMax && this.#idle.length < this.#buildersMax) this.#idle.push(builder)
  }
}
