/** An error that says the same to all who are refused shortly after each other: to make one costs more than to store a small batch. */
import type { RatatoskrError } from '../../domain/errors.ts'
import type { Clock } from '../../ports/index.ts'

/** What is told is no older. */
const sameMs = 10

export class SharedRefusal {
  readonly #clock: Clock
  #error: RatatoskrError | undefined
  #madeMs = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The last error, or one that is made now. */
  of(make: () => RatatoskrError): RatatoskrError {
    const nowMs = this.#clock.monotonic()
    if (this.#error === undefined || nowMs - this.#madeMs >= sameMs) {
      this.#error = make()
      this.#madeMs = nowMs
    }
    return this.#error
  }
}
