/**
 * How long one turn of the event loop may go on with reading. From a peer that sends faster than its frames are handled, the
 * loop reads up to 32 times in a row: with a dozen such peers a turn takes half a second, and everybody else, timers
 * included, waits for so long. So reading yields: a connection whose turn it is when the time is over goes on in the next
 * turn, and what its peer sends meanwhile waits in the system's buffers, and then with the peer.
 */

/**
 * Delivering has its turn between: with 20 ms a consumer beside publishers that flood fell behind, and callers waited twice as
 * long; publishers alone stored more.
 */
const turnMsMax = 5
/** Reads that follow each other closer than this are of one turn, as far as matters. */
const gapMsMax = 1

export class ReadTurns {
  readonly #nowMs: () => number
  readonly #nextTurn: (run: () => void) => void
  #beganMs = 0
  #endedMs = Number.NEGATIVE_INFINITY
  #waiting: (() => void)[] = []

  constructor(nowMs: () => number, nextTurn: (run: () => void) => void) {
    this.#nowMs = nowMs
    this.#nextTurn = nextTurn
  }

  /** A read has come that will be handled now. */
  begins(): void {
    const nowMs = this.#nowMs()
    if (nowMs - this.#endedMs > gapMsMax) this.#beganMs = nowMs
  }

  /**
   * It is handled.
   * @param goOn called in the next turn, when this one is over for those who read
   * @returns whether this turn may go on with reading
   */
  mayGoOn(goOn: () => void): boolean {
    this.#endedMs = this.#nowMs()
    if (this.#waiting.length === 0 && this.#endedMs - this.#beganMs < turnMsMax) return true
    if (this.#waiting.push(goOn) === 1) this.#nextTurn(() => this.#over())
    return false
  }

  #over(): void {
    this.#endedMs = Number.NEGATIVE_INFINITY
    for (const goOn of this.#waiting.splice(0)) goOn()
  }
}

/** Of this thread's event loop. */
export const readTurns = new ReadTurns(
  () => performance.now(),
  (run) => void setImmediate(run),
)
