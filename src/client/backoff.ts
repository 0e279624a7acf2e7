/** Pauses between attempts, on the platform's randomness. */
import { type BackoffOptions, backoffDelayMs, type Random, type RatatoskrError } from '../ports/index.ts'

/** A broker that asks for more is not believed. */
const askedMsMax = 60_000

export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: Random
  #attempt = 0

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options
    this.#random = random
  }

  /**
   * The next pause, in milliseconds. After a refusal that says when to come again (`details.retryAfterMs`) it is at least as long,
   * and up to a half longer: those who were refused together shall not come back together.
   */
  next(refusal?: RatatoskrError): number {
    const random = this.#random.next()
    const pauseMs = backoffDelayMs(this.#attempt++, this.#options, random)
    const askedMs = refusal?.details.retryAfterMs
    if (typeof askedMs !== 'number' || !(askedMs > 0)) return pauseMs
    return Math.max(pauseMs, Math.min(askedMs, askedMsMax) * (1 + random / 2))
  }

  /** Begins anew, after a success. */
  reset(): void {
    this.#attempt = 0
  }
}
