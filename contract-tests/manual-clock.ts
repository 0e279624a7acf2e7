/**
 * A clock that stands still until it is told to go on: what tests and simulations run the broker on, so that no test
 * sleeps and each run takes the same steps.
 */
import type { Clock } from 'ratatoskr/ports'

interface Timer {
  readonly dueMs: number
  readonly run: () => void
}

/** A clock that stands until a test advances it. */
export class ManualClock implements Clock {
  #wallMs: number
  #monotonicMs = 0
  #advancing = false
  /** In order of time, and within the same millisecond in the order they were asked for. */
  readonly #timers: Timer[] = []

  /** @param startMs what `now()` says at first, Unix milliseconds */
  constructor(startMs: number = Date.UTC(2025, 0, 1)) {
    this.#wallMs = startMs
  }

  now(): number {
    return this.#wallMs
  }

  monotonic(): number {
    return this.#monotonicMs
  }

  after(delayMs: number, run: () => void): Disposable {
    if (Number.isNaN(delayMs)) throw new TypeError('delayMs must be a number, got NaN')
    const timer = { dueMs: this.#monotonicMs + Math.max(0, delayMs), run }
    this.#timers.splice(this.#countUntil(timer.dueMs), 0, timer)
    return {
      [Symbol.dispose]: () => {
        const index = this.#timers.lastIndexOf(timer, this.#countUntil(timer.dueMs))
        if (index !== -1) this.#timers.splice(index, 1)
      },
    }
  }

  /** Timers that have neither run nor been disposed of. */
  get pending(): number {
    return this.#timers.length
  }

  /**
   * Lets `ms` milliseconds pass: runs what falls due, in order of time, also timers set meanwhile. Before the first
   * timer and after each one, promises settle, so that code which awaits between two timers sees the time it would see
   * on a real clock. What a timer throws rejects the call and leaves the clock at that timer's time.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0)) throw new TypeError(`a clock goes forward: advance takes 0 or more, got ${ms}`)
    if (this.#advancing) throw new TypeError('await the last advance before the next')
    this.#advancing = true
    try {
      const targetMs = this.#monotonicMs + ms
      await promisesSettled()
      while (this.#timers.length > 0 && this.#timers[0].dueMs <= targetMs) {
        const timer = this.#timers.shift() as Timer
        this.#moveTo(Math.max(timer.dueMs, this.#monotonicMs))
        timer.run()
        await promisesSettled()
      }
      this.#moveTo(targetMs)
    } finally {
      this.#advancing = false
    }
  }

  /** Lets time pass in which nothing is done: timers that fall due run late, with the next `advance`. */
  stall(ms: number): void {
    this.#moveTo(this.#monotonicMs + ms)
  }

  /** Sets the wall clock, as an operator or a time server does. Timers and `monotonic()` do not notice. */
  jumpTo(unixMs: number): void {
    this.#wallMs = unixMs
  }

  /** How many timers are due until then: looked for by halves, for simulations have thousands. */
  #countUntil(dueMs: number): number {
    let from = 0
    let to = this.#timers.length
    while (from < to) {
      const middle = (from + to) >>> 1
      if (this.#timers[middle].dueMs <= dueMs) from = middle + 1
      else to = middle
    }
    return from
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }
}

/** Resolves in a later turn of the event loop: every promise that could settle without I/O has settled by then. */
const promisesSettled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
