/** Bytes that a subscription lets come, over one subscription at the broker and the next. */
export class StreamCredit {
  /** What may still come; below 0 when more came than was allowed: a batch is never cut. */
  #outstanding: number
  /** Came beyond the credit of an earlier subscription: paid back before new credit is granted. */
  #debt = 0
  /** Granted while nobody could be told; -1 while somebody can. */
  #untold = 0

  constructor(bytes: number) {
    this.#outstanding = bytes
  }

  /** A subscription is about to begin. @returns what it begins with */
  begin(): number {
    this.#untold = 0
    this.#debt = Math.max(0, -this.#outstanding)
    return Math.max(0, this.#outstanding)
  }

  /** It has begun. @returns what it is to be granted at once: what was given back meanwhile */
  begun(): number {
    const untold = this.#untold
    this.#untold = -1
    return untold
  }

  /** It is over. */
  ended(): void {
    this.#untold = 0
  }

  delivered(bytes: number): void {
    this.#outstanding -= bytes
  }

  /** So many bytes have room again. @returns what is to be granted now */
  giveBack(bytes: number): number {
    this.#outstanding += bytes
    const paid = Math.min(this.#debt, bytes)
    this.#debt -= paid
    if (this.#untold === -1) return bytes - paid
    this.#untold += bytes - paid
    return 0
  }
}
