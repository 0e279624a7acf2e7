/**
 * Tells whether the event loop has more to do than it can: a timer that is always due soon, and how late it comes.
 *
 * One late turn says nothing (a collection of garbage, a start, a processor that others use); none in time for a while says
 * that work comes faster than it goes, as in CoDel, whose rule this follows (RFC 8289, section 4: the least delay of an
 * interval, not the mean). The loop is measured only while somebody asks: an idle broker sets no timers.
 */
import type { Clock } from '../../ports/index.ts'

const lookMs = 10
/** Nothing but late turns for so long is an overload. */
const lateMsMin = 500
/** So long after an overload a single late turn begins the next: otherwise each pause would let half a second's work in. */
const memoryMs = 1_000
/** Turns without a question, after which nothing is measured any more. */
const idleTurnsMax = 10

export class LoopLoad {
  readonly #clock: Clock
  readonly #delayMsMax: number
  #timer: Disposable | undefined
  #dueMs = 0
  #idleTurns = 0
  /** When the first of the late turns in a row was due; undefined while the loop keeps up. */
  #lateSinceMs: number | undefined
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
    this.#delayMs = 0
    this.#lateSinceMs = undefined
    this.#overloaded = false
  }

  #lookSoon(): void {
    this.#dueMs = this.#clock.monotonic() + lookMs
    this.#timer = this.#clock.after(lookMs, () => this.#look())
  }

  #look(): void {
    const nowMs = this.#clock.monotonic()
    this.#delayMs = Math.max(0, nowMs - this.#dueMs)
    if (this.#delayMs <= this.#delayMsMax) this.#lateSinceMs = undefined
    else this.#lateSinceMs ??= this.#dueMs
    const again = nowMs - this.#overloadedMs < memoryMs
    this.#overloaded = this.#lateSinceMs !== undefined && (again || nowMs - this.#lateSinceMs >= lateMsMin)
    if (this.#overloaded) this.#overloadedMs = nowMs
    if (++this.#idleTurns > idleTurnsMax) this.stop()
    else this.#lookSoon()
  }
}
