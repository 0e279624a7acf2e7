/** How many bytes of publishes wait for the storage in the whole broker: many partitions together may be too much where each is not. */
import type { Limits } from '../../domain/limits.ts'

export class PublishBudget {
  readonly #bytesMax: number
  #bytes = 0

  constructor({ publishBytesWaitingMax }: Limits) {
    this.#bytesMax = publishBytesWaitingMax
  }

  entered(bytes: number): void {
    this.#bytes += bytes
  }

  left(bytes: number): void {
    this.#bytes -= bytes
  }

  /** Why no more may enter; undefined when it may. What comes while nothing waits always may. */
  refusal(bytes: number): string | undefined {
    if (this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax) return undefined
    return `${this.#bytes} bytes of all partitions wait (publishBytesWaitingMax ${this.#bytesMax})`
  }
}
