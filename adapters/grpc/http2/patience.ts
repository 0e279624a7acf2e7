/** How much a client may ask for that leads to nothing: so much at once, and so much a second after that. */

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

  /** @returns false when there is none left */
  use(): boolean {
    if (this.#left < 1) {
      const now = performance.now()
      this.#left = Math.min(this.#most, this.#left + ((now - this.#atMs) / 1_000) * this.#perSecond)
      this.#atMs = now
    }
    return --this.#left >= 0
  }
}
