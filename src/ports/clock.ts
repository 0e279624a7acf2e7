/** Time as the broker sees it. Everything that waits, waits on this port, so that tests and simulations own the time. */
export interface Clock {
  /** Unix milliseconds. May jump; never decides order. */
  now(): number
  /** Milliseconds since some start. Never goes back; measures durations. */
  monotonic(): number
  /**
   * Runs `run` once after at least `delayMs`. Disposing before then cancels it; disposing later does nothing. With 0 it runs
   * as soon as the event loop has had a turn, without waiting for a timer where the platform can do so: a way to let others work.
   */
  after(delayMs: number, run: () => void): Disposable
}
