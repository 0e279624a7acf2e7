/**
 * Wakes a queue partition when a lease or a delay of it ends: one timer, for whatever is due first. One that comes late by
 * more than a second says that this process stood still; then what members have sent meanwhile is heard first.
 */
import type { QueueShared } from './partition-host.ts'

const lateMsMax = 1_000
/** How long the process listens after it stood still. */
const hearingMs = 50

export class LeaseTimer {
  readonly #shared: Pick<QueueShared, 'clock' | 'nowMs' | 'msUntil'>
  readonly #run: () => void
  #timer: Disposable | undefined
  #dueMs = Number.POSITIVE_INFINITY

  constructor(shared: Pick<QueueShared, 'clock' | 'nowMs' | 'msUntil'>, run: () => void) {
    this.#shared = shared
    this.#run = run
  }

  /** Runs at `dueMs` at the latest. A timer that turns out to be too early costs less than moving it with every lease. */
  arm(dueMs: number): void {
    if (dueMs >= this.#dueMs || dueMs === Number.POSITIVE_INFINITY) return
    this.#timer?.[Symbol.dispose]()
    this.#dueMs = dueMs
    const expectedMs = Math.max(dueMs, this.#shared.nowMs())
    this.#timer = this.#shared.clock.after(this.#shared.msUntil(dueMs), () => this.#timeUp(expectedMs))
  }

  /** True when what was due at `dueMs` is over; false while the process listens first, because it stood still. */
  isOver(dueMs: number, nowMs: number): boolean {
    return dueMs <= nowMs && nowMs - dueMs <= lateMsMax
  }

  close(): void {
    this.#timer?.[Symbol.dispose]()
    this.#dueMs = Number.NEGATIVE_INFINITY // it is not armed again
  }

  #timeUp(expectedMs: number): void {
    if (this.#shared.nowMs() - expectedMs > lateMsMax) {
      this.#timer = this.#shared.clock.after(hearingMs, () => this.#ring())
    } else this.#ring()
  }

  #ring(): void {
    this.#timer = undefined
    this.#dueMs = Number.POSITIVE_INFINITY
    this.#run()
  }
}
