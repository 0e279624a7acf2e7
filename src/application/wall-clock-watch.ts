/** Notices when the wall clock is set, by holding it against the monotonic clock, which nobody can set. */
import type { Clock } from '../ports/index.ts'

/** How far the clocks may come apart between two samples: time servers slew a clock by less. */
const driftMsMax = 60_000

export class WallClockWatch {
  readonly #clock: Clock
  #wallMs: number
  #monotonicMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#wallMs = clock.now()
    this.#monotonicMs = clock.monotonic()
  }

  /** @returns how far the wall clock was set since the last sample, forward or (below 0) back; 0 when it just went on */
  sample(): number {
    const wallMs = this.#clock.now()
    const monotonicMs = this.#clock.monotonic()
    const driftMs = wallMs - this.#wallMs - (monotonicMs - this.#monotonicMs)
    this.#wallMs = wallMs
    this.#monotonicMs = monotonicMs
    return Math.abs(driftMs) > driftMsMax ? driftMs : 0
  }
}
