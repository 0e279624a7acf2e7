/**
 * Who reads when. From a peer that sends faster than its frames are handled, the event loop reads up to 32 times in a row: with
 * a dozen such peers a turn takes half a second, and everybody else, timers included, waits for so long. So reading goes round:
 * a connection that has more to read than its part lets the others have theirs first, and of those that wait only as many go on
 * in a turn of the loop as it has time for. What their peers send meanwhile waits in the system's buffers, and then with the
 * peer. A connection that has read all there was never waits, so that a quiet one is heard in the turn in which it speaks.
 */

/**
 * So long one turn of the loop reads from those who have more. Delivering and acknowledging have their turn between: with 20 ms
 * a consumer beside publishers that flood falls behind.
 */
const turnMsMax = 2
/** Reads that follow each other closer than this are of one turn, as far as matters. */
const gapMsMax = 1
/** What a connection may read before others have their part. */
const partBytes = 64 * 1024
/** How much the last visit says of what one takes. */
const visitWeight = 0.1

/** A connection that is read from. */
export interface Reading {
  /** What it has read since it last went on, */
  visitBytes: number
  /** and how long handling that took. */
  visitMs: number
  /** Reads again, in a turn of its own. */
  goOn(): void
}

export class ReadTurns {
  readonly #nowMs: () => number
  readonly #nextTurn: (run: () => void) => void
  #turnBeganMs = 0
  #readBeganMs = 0
  #endedMs = Number.NEGATIVE_INFINITY
  /** What the visit of one takes that has more to read than its part, on average. */
  #visitMs = 0
  #waiting: Reading[] = []

  constructor(nowMs: () => number, nextTurn: (run: () => void) => void) {
    this.#nowMs = nowMs
    this.#nextTurn = nextTurn
  }

  /** A read has come that will be handled now. */
  begins(): void {
    this.#readBeganMs = this.#nowMs()
    if (this.#readBeganMs - this.#endedMs > gapMsMax) this.#turnBeganMs = this.#readBeganMs
  }

  /**
   * It is handled.
   * @param more true when there is more to read
   * @returns whether the connection may go on at once; otherwise it is told when
   */
  mayGoOn(reading: Reading, bytes: number, more: boolean): boolean {
    this.#endedMs = this.#nowMs()
    if (!more) {
      reading.visitBytes = 0
      reading.visitMs = 0
      return true
    }
    reading.visitBytes += bytes
    reading.visitMs += this.#endedMs - this.#readBeganMs
    if (this.#waiting.length > 0) {
      if (reading.visitBytes < partBytes) return true
    } else if (this.#endedMs - this.#turnBeganMs < turnMsMax) return true
    this.#visitMs += (reading.visitMs - this.#visitMs) * visitWeight
    reading.visitBytes = 0
    reading.visitMs = 0
    if (this.#waiting.push(reading) === 1) this.#nextTurn(this.#goOn)
    return false
  }

  /** Another turn, for as many as it has time for. */
  readonly #goOn = (): void => {
    this.#endedMs = Number.NEGATIVE_INFINITY
    const count = Math.max(1, Math.floor(turnMsMax / this.#visitMs))
    const next = this.#waiting.splice(0, count)
    if (this.#waiting.length > 0) this.#nextTurn(this.#goOn)
    for (const reading of next) reading.goOn()
  }
}

/** Of this thread's event loop. */
export const readTurns = new ReadTurns(
  () => performance.now(),
  (run) => void setImmediate(run),
)
