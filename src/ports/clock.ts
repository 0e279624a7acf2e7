/** Time as the broker sees it. Everything that waits, waits on this port, so that tests and simulations own the time. */
export interface Clock {
  /** Unix milliseconds. May jump; never decides order. */
  now(): number
  /** Milliseconds since some start. Never goes back; measures durations. */
  monotonic(): number
  /** Runs `run` once after at least `delayMs`. Disposing before then cancels it; disposing later does nothing. */
  after(delayMs: number, run: () => void): Disposable
}
