/**
 * The clock of one simulated process: it stands still while the process does, and ends with it. Several run on one clock, each
 * with a life of its own.
 */
import type { Clock } from 'ratatoskr/ports'

interface Timer {
  readonly run: () => void
  inner: Disposable | undefined
}

/** See `ManualClock` for one that several of these can run on. */
export class ProcessClock implements Clock {
  readonly #inner: Clock
  readonly #timers = new Set<Timer>()
  /** Those that fell due while the process stood still, in order. */
  #late: Timer[] = []
  #stalledUntilMs = 0
  #killed = false

  constructor(inner: Clock) {
    this.#inner = inner
  }

  /** True once the process was killed. */
  get killed(): boolean {
    return this.#killed
  }

  now(): number {
    return this.#inner.now()
  }

  monotonic(): number {
    return this.#inner.monotonic()
  }

  after(delayMs: number, run: () => void): Disposable {
    const timer: Timer = { run, inner: undefined }
    if (!this.#killed) {
      this.#timers.add(timer)
      // Whole milliseconds, as the timers of platforms are: the wall clock of a process never shows a part of one.
      timer.inner = this.#inner.after(Math.ceil(delayMs), () => this.#due(timer))
    }
    return {
      [Symbol.dispose]: () => {
        this.#timers.delete(timer)
        timer.inner?.[Symbol.dispose]()
      },
    }
  }

  /** The process does nothing for so long; timers that fall due meanwhile run at the end of it. */
  stall(ms: number): void {
    const untilMs = this.#inner.monotonic() + ms
    if (this.#killed || untilMs <= this.#stalledUntilMs) return
    this.#stalledUntilMs = untilMs
    this.#inner.after(ms, () => this.#wake())
  }

  /** The process is gone: no timer of it ever runs again. */
  kill(): void {
    this.#killed = true
    for (const { inner } of this.#timers) inner?.[Symbol.dispose]()
    this.#timers.clear()
    this.#late = []
  }

  #due(timer: Timer): void {
    if (this.#inner.monotonic() < this.#stalledUntilMs) this.#late.push(timer)
    else if (this.#timers.delete(timer)) timer.run()
  }

  #wake(): void {
    if (this.#killed || this.#inner.monotonic() < this.#stalledUntilMs) return
    for (const timer of this.#late.splice(0)) if (this.#timers.delete(timer)) timer.run()
  }
}
