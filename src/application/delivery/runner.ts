/**
 * Gives every subscription its turn: a ring of those that have something to do, one step each, on the event loop's
 * microtask queue. A wake of a partition therefore costs its publisher nothing but putting subscriptions in the ring,
 * and a sink that publishes can never recurse into another sink.
 *
 * Microtasks alone would starve the event loop while a backlog is delivered to sinks that are never full, so what one
 * turn of the loop may deliver is bounded: beyond it the ring goes on after a timer has fired.
 */
import type { Clock } from '../../ports/index.ts'

/** Something that takes turns. It sees to it that it is in the ring once at most. */
export interface Steppable {
  step(): void
}

/** Bytes that one turn of the event loop delivers: copying them to sockets takes a few milliseconds. */
const turnBytesMax = 16 * 1024 * 1024
/** What a sink call costs beside its bytes, as bytes: bounds the number of calls in a turn. */
const callBytes = 1024
/** So little, of sinks so quick, needs no look at the turn: a timer for each small message would be a tenth of what it costs. */
const uncountedBytesMax = 16 * 1024
const quickMs = 1
/** Sinks may take their time with each delivery; then this ends the turn. */
const turnMsMax = 10

export class Runner {
  readonly #clock: Clock
  readonly #afterwards: () => void
  #ring: Steppable[] = []
  #head = 0
  #active = false
  #paused = false
  #spentBytes = 0
  #turnStartMs = 0
  /** When a delivery was reported last while no timer ran. */
  #lastMs = Number.NEGATIVE_INFINITY
  #turnTimer: Disposable | undefined

  /** @param afterwards runs each time that all in the ring had their turns */
  constructor(clock: Clock, afterwards: () => void) {
    this.#clock = clock
    this.#afterwards = afterwards
  }

  /** Puts `task` at the end of the ring. */
  schedule(task: Steppable): void {
    this.#ring.push(task)
    if (this.#active) return
    this.#active = true
    queueMicrotask(this.#run)
  }

  /** Reports a delivery, so that the turn ends in time. */
  spent(bytes: number): void {
    this.#spentBytes += bytes + callBytes
    if (this.#turnTimer !== undefined) return
    const nowMs = this.#clock.monotonic()
    const quick = nowMs - this.#lastMs <= quickMs
    this.#lastMs = nowMs
    if (quick && this.#spentBytes <= uncountedBytesMax) return
    this.#turnStartMs = nowMs
    this.#turnTimer = this.#clock.after(0, this.#nextTurn)
  }

  /** Forgets the timer. Whoever is still in the ring has its turn. */
  stop(): void {
    this.#turnTimer?.[Symbol.dispose]()
    this.#nextTurn()
  }

  readonly #run = (): void => {
    while (this.#head < this.#ring.length) {
      if (this.#turnIsOver()) {
        this.#paused = true
        return
      }
      const task = this.#ring[this.#head++]
      if (this.#head === 4096) this.#dropHead()
      task.step()
    }
    this.#ring.length = 0
    this.#head = 0
    this.#active = false
    this.#afterwards()
  }

  readonly #nextTurn = (): void => {
    this.#turnTimer = undefined
    this.#spentBytes = 0
    if (!this.#paused) return
    this.#paused = false
    this.#run()
  }

  #turnIsOver(): boolean {
    if (this.#turnTimer === undefined) return false
    return this.#spentBytes >= turnBytesMax || this.#clock.monotonic() - this.#turnStartMs > turnMsMax
  }

  #dropHead(): void {
    this.#ring.copyWithin(0, this.#head)
    this.#ring.length -= this.#head
    this.#head = 0
  }
}
