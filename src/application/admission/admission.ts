/**
 * Refuses publishes that come from outside while the broker has more to do than it can: early, before they cost more than their
 * reading, and with a hint when to come again. What is being consumed and acknowledged goes on: it is what makes room.
 */
import { RatatoskrError } from '../../domain/errors.ts'
import type { Limits } from '../../domain/limits.ts'
import type { Metrics, Platform } from '../../ports/index.ts'
import { LoopLoad } from './loop-load.ts'
import { SharedRefusal } from './shared-refusal.ts'

const retryAfterMsMin = 100
const retryAfterMsMax = 1_000
/** Overloads that follow each other closer than this are told of once in the log. */
const quietMs = 10_000

export class Admission {
  readonly #load: LoopLoad
  readonly #platform: Platform
  readonly #delayMsMax: number
  readonly #refused: { add(count: number): void }
  readonly #shared: SharedRefusal
  #refusedMs = Number.NEGATIVE_INFINITY

  constructor(platform: Platform, { loopDelayMsMax }: Limits, metrics: Metrics) {
    this.#platform = platform
    this.#delayMsMax = loopDelayMsMax
    this.#load = new LoopLoad(platform.clock, loopDelayMsMax)
    this.#refused = metrics.counter('ratatoskr.publish.overloaded')
    this.#shared = new SharedRefusal(platform.clock)
  }

  /** @throws RTK_OVERLOADED with `details.retryAfterMs` */
  assertRoom(): void {
    if (this.#load.isOverloaded()) throw this.#refusal()
  }

  stop(): void {
    this.#load.stop()
  }

  #refusal(): RatatoskrError {
    const nowMs = this.#platform.clock.monotonic()
    this.#refused.add(1)
    const error = this.#shared.of(() => this.#made(nowMs))
    this.#refusedMs = nowMs
    return error
  }

  #made(nowMs: number): RatatoskrError {
    const { delayMs } = this.#load
    if (nowMs - this.#refusedMs > quietMs) {
      this.#platform.logger.warn(
        'the broker is overloaded: publishes are refused until its event loop keeps up again',
        { loopDelayMs: Math.round(delayMs), loopDelayMsMax: this.#delayMsMax },
      )
    }
    const retryAfterMs = Math.round(Math.min(retryAfterMsMax, Math.max(retryAfterMsMin, 4 * delayMs)))
    return new RatatoskrError(
      'RTK_OVERLOADED',
      `the broker's event loop is ${Math.round(delayMs)} ms behind (loopDelayMsMax ${this.#delayMsMax}); retry after ${retryAfterMs} ms`,
      { details: { retryAfterMs } },
    )
  }
}
