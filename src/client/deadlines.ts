/**
 * The deadlines of a producer's batches, with one timer for all: most batches are settled long before theirs, and a timer for
 * each would cost more than a small batch.
 */
import type { Clock } from '../ports/index.ts'

/** What has a deadline, by the monotonic clock. It may move, but only to a later time. */
export interface Due {
  readonly deadlineMs: number
  expire(): void
}

// Timers of the platforms underneath hold 31 bits.
const timerMsMax = 2 ** 31 - 1

export class Deadlines {
  readonly #clock: Clock
  readonly #watched = new Set<Due>()
  #timer: Disposable | undefined
  /** When the timer fires. */
  #timerMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Has it expire at its deadline. */
  watch(due: Due): void {
    const { deadlineMs } = due
    if (deadlineMs === Number.POSITIVE_INFINITY) return
    this.#watched.add(due)
    if (deadlineMs < this.#timerMs) this.#arm(deadlineMs)
  }

  /** It is settled. The timer stays, for the next one; firing for nobody it is not set again. */
  forget(due: Due): void {
    this.#watched.delete(due)
  }

  close(): void {
    this.#watched.clear()
    this.#disarm()
  }

  #arm(deadlineMs: number): void {
    this.#disarm()
    this.#timerMs = deadlineMs
    const leftMs = Math.min(deadlineMs - this.#clock.monotonic(), timerMsMax)
    this.#timer = this.#clock.after(leftMs, () => this.#fired())
  }

  #disarm(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#timerMs = Number.POSITIVE_INFINITY
  }

  #fired(): void {
    this.#disarm()
    const nowMs = this.#clock.monotonic()
    const late = [...this.#watched].filter(({ deadlineMs }) => deadlineMs <= nowMs)
    for (const due of late) this.#watched.delete(due)
    let nextMs = Number.POSITIVE_INFINITY
    for (const { deadlineMs } of this.#watched) nextMs = Math.min(nextMs, deadlineMs)
    if (nextMs < this.#timerMs) this.#arm(nextMs)
    for (const due of late) due.expire()
  }
}
