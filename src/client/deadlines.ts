/**
 * The deadlines of a producer's batches, with one timer for all: most batches are settled long before theirs, and a timer for
 * each would cost more than a small batch.
 */
import type { Clock } from '../ports/index.ts'

/** What has a deadline, by the monotonic clock. It may move, but only to a later time. */
export interface Due {
  readonly deadlineMs: number
  /** The ones before and after it among those that are watched, while it is; for `Deadlines` alone. */
  beforeDue?: Due | undefined
  afterDue?: Due | undefined
  expire(): void
}

// Timers of the platforms underneath hold 31 bits.
const timerMsMax = 2 ** 31 - 1

export class Deadlines {
  readonly #clock: Clock
  /** Those that are watched hang on each other: a set, of which nearly all leave soon, would make itself anew all the time. */
  #first: Due | undefined
  #last: Due | undefined
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
    if (due !== this.#first && due.beforeDue === undefined) this.#join(due)
    if (deadlineMs < this.#timerMs) this.#arm(deadlineMs)
  }

  /** It is settled. The timer stays, for the next one; firing for nobody it is not set again. */
  forget(due: Due): void {
    const { beforeDue, afterDue } = due
    if (beforeDue !== undefined) beforeDue.afterDue = afterDue
    else if (due === this.#first) this.#first = afterDue
    else return // it is not watched
    if (afterDue !== undefined) afterDue.beforeDue = beforeDue
    else this.#last = beforeDue
    due.beforeDue = undefined
    due.afterDue = undefined
  }

  close(): void {
    for (const due of this.#watched()) this.forget(due)
    this.#disarm()
  }

  #join(due: Due): void {
    const last = this.#last
    due.beforeDue = last
    this.#last = due
    if (last === undefined) this.#first = due
    else last.afterDue = due
  }

  #watched(): Due[] {
    const all: Due[] = []
    for (let due = this.#first; due !== undefined; due = due.afterDue) all.push(due)
    return all
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
    const late: Due[] = []
    let nextMs = Number.POSITIVE_INFINITY
    for (const due of this.#watched()) {
      if (due.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, due.deadlineMs)
        continue
      }
      late.push(due)
      this.forget(due)
    }
    if (nextMs < this.#timerMs) this.#arm(nextMs)
    for (const due of late) due.expire()
  }
}
