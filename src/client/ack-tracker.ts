/**
 * What of one partition is done: messages are handed out in order and acknowledged in any order; the watermark is the
 * offset below which everything is acknowledged, and so what a group may commit.
 */
export class AckTracker {
  /** Offsets handed out and not below the watermark, in order, from `#head` on. */
  #outstanding: number[] = []
  #head = 0
  /** Those of them that were acknowledged out of turn. */
  readonly #early = new Set<number>()
  #handedUpTo: number

  /** @param offset where the partition begins */
  constructor(offset: number) {
    this.#handedUpTo = offset
  }

  /** Everything below this offset is done. */
  get watermark(): number {
    return this.#head < this.#outstanding.length ? this.#outstanding[this.#head] : this.#handedUpTo
  }

  /** @param nextOffset where the message after it is, or would be: offsets between the two belong to nobody */
  handed(offset: number, nextOffset: number): void {
    this.#outstanding.push(offset)
    this.#handedUpTo = nextOffset
  }

  /** @returns true when the watermark rose */
  ack(offset: number): boolean {
    if (this.#outstanding[this.#head] !== offset) {
      this.#early.add(offset)
      return false
    }
    this.#head++
    while (this.#early.size > 0 && this.#early.delete(this.#outstanding[this.#head])) this.#head++
    if (this.#head > 1024 && this.#head * 2 > this.#outstanding.length) {
      this.#outstanding = this.#outstanding.slice(this.#head)
      this.#head = 0
    }
    return true
  }
}
