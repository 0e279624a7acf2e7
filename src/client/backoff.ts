/** Pauses between attempts, on the platform's randomness. */
import { type BackoffOptions, backoffDelayMs, type Random } from '../ports/index.ts'

export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: Random
  #attempt = 0

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options
    this.#random = random
  }

  /** The next pause, in milliseconds. */
  next(): number {
    return backoffDelayMs(this.#attempt++, this.#options, this.#random.next())
  }

  /** Begins anew, after a success. */
  reset(): void {
    this.#attempt = 0
  }
}
