/** Builders that wait for work: a busy writer allocates none, and thousands of idle partitions hold no buffers. */
import { BatchBuilder, type BatchBuilderOptions } from './builder.ts'

/** How much may be kept. */
export interface BuilderPoolBounds {
  readonly buildersMax: number
  /** A builder keeps the buffer it grew: one that has built a batch of more bytes is let go. No bound by default. */
  readonly builtBytesMax?: number
}

export class BuilderPool {
  readonly #options: BatchBuilderOptions
  readonly #buildersMax: number
  readonly #builtBytesMax: number
  readonly #idle: BatchBuilder[] = []

  constructor(options: BatchBuilderOptions, bounds: BuilderPoolBounds) {
    this.#options = options
    this.#buildersMax = bounds.buildersMax
    this.#builtBytesMax = bounds.builtBytesMax ?? Number.POSITIVE_INFINITY
  }

  take(): BatchBuilder {
    return this.#idle.pop() ?? new BatchBuilder(this.#options)
  }

  /** @param builtBytes what the builder has last built */
  giveBack(builder: BatchBuilder, builtBytes: number): void {
    if (builtBytes <= this.#builtBytesMax && this.#idle.length < this.#buildersMax) this.#idle.push(builder)
  }
}
