/**
 * Tells whether the event loop has more to do than it can: a timer that is always due soon, and how late it comes.
 *
 * One late turn says nothing (a collection of garbage, a start); several in a row say that work comes faster than it goes, as
 * in CoDel, whose rule this follows (RFC 8289, section 4: the least delay of an interval, not the mean). The loop is measured
 * only while somebody asks: an idle broker sets no timers.
 */
import type { Clock } from '../../ports/index.ts'

const lookMs = 10
/** Late turns in a row that make an overload. */
const lateTurnsMin = 3
/** So long after an overload a single late turn begins the next: otherwise each pause would let three turns' work in. */
const memoryMs = 1_000
/** Turns without a question, after which nothing is measured any more. */
const idleTurnsMax = 10

export class LoopLoad {
  readonly #clock: Clock
  readonly #delayMsMax: number
  #timer: Disposable | undefined
  #dueMs = 0
  #idleTurns = 0
  #lateTurns = 0
  #delayMs = 0
  #overloadedMs = Number.NEGATIVE_INFINITY
  #overloaded = false

  /** @param delayMsMax how late the loop may be, turn after turn */
  constructor(clock: Clock, delayMsMax: number) {
    this.#clock = clock
    this.#delayMsMax = delayMsMax
  }

  /** How late the loop was at the last look, in milliseconds. */
  get delayMs(): number {
    return this.#delayMs
  }

  /** Asked before each publish: costs two writes of fields. */
  isOverloaded(): boolean {
    this.#idleTurns = 0
    if (this.#timer === undefined) this.#lookSoon()
    return this.#overloaded
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#lateTurns = this.#delayMs = 0
    this.#overloaded = false
  }

  #lookSoon(): void {
    this.#dueMs = this.#clock.monotonic() + lookMs
    this.#timer = this.#clock.after(lookMs, () => this.#look())
  }

  #look(): void {
    const nowMs = this.#clock.monotonic()
    this.#delayMs = Math.max(0, nowMs - this.#dueMs)
    this.#lateTurns = this.#delayMs > this.#delayMsMax ? this.#lateTurns + 1 : 0
    const turnsMin = nowMs - this.#overloadedMs < memoryMs ? 1 : lateTurnsMin
    this.#overloaded = this.#lateTurns >= turnsMin
    if (this.#overloaded) this.#overloadedMs = nowMs
    if (++this.#idleTurns > idleTurnsMax) this.stop()
    else this.#lookSoon()
  }
}
