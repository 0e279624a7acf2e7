/** How much a client may ask for that leads to nothing: so much at once, and so much a second after that. */
import { connectionError, http2Error } from './errors.ts'

export class Patience {
  readonly #most: number
  readonly #perSecond: number
  #left: number
  #atMs = performance.now()

  constructor(most: number, perSecond: number) {
    this.#most = most
    this.#perSecond = perSecond
    this.#left = most
  }

  /** @throws Http2Error of the connection when there is none left */
  use(message: string): void {
    if (this.#left < 1) {
      const now = performance.now()
      this.#left = Math.min(this.#most, this.#left + ((now - this.#atMs) / 1_000) * this.#perSecond)
      this.#atMs = now
    }
    if (--this.#left < 0) throw connectionError(http2Error.ENHANCE_YOUR_CALM, message)
  }
}
