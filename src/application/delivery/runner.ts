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
/**
 * A sink behind a connection costs a system call of some 20 µs, which no clock shows while the ring goes round: they come at its
 * end. So few of them are in a turn that who publishes is answered, and publishes more, while others are still given what came
 * before: those get both in one call. A thousand subscribers of one publisher are given ten times as much so.
 */
const remoteCallsMin = 16
/** More when others kept the loop busy meanwhile: beside them delivering has its share, about a third of the time, */
const remoteCallsPerMs = 16
/** and so that this lasts as long as other turns at most. */
const remoteCallsMost = 512
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
  /** Of this turn: calls of sinks behind a connection, and how many there may be. */
  #remoteCalls = 0
  #remoteCallsMax = remoteCallsMin
  #pausedMs = 0
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

  /**
   * Reports a delivery, so that the turn ends in time.
   * @param remote true when its sink is behind a connection, which has its bytes sent when the work of this turn is done
   */
  spent(bytes: number, remote = false): void {
    this.#spentBytes += bytes + callBytes
    if (remote) this.#remoteCalls++
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
        this.#pausedMs = this.#clock.monotonic()
        return
      }
      const task = this.#ring[this.#head++]
      if (this.#head === 4096) this.#dropHead()
      task.step()
    }
    // A list that is cut to nothing gives its memory away, and the next in it has it made anew.
    if (this.#ring.length === 1) this.#ring.pop()
    else this.#ring.length = 0
    this.#head = 0
    this.#active = false
    this.#remoteCallsMax = remoteCallsMin
    this.#afterwards()
  }

  readonly #nextTurn = (): void => {
    this.#turnTimer = undefined
    this.#spentBytes = 0
    this.#remoteCalls = 0
    if (!this.#paused) return
    this.#paused = false
    const awayMs = this.#clock.monotonic() - this.#pausedMs
    this.#remoteCallsMax = Math.min(Math.max(remoteCallsMin, awayMs * remoteCallsPerMs), remoteCallsMost)
    this.#run()
  }

  #turnIsOver(): boolean {
    if (this.#turnTimer === undefined) return false
    if (this.#remoteCalls >= this.#remoteCallsMax || this.#spentBytes >= turnBytesMax) return true
    return this.#clock.monotonic() - this.#turnStartMs > turnMsMax
  }

  #dropHead(): void {
    this.#ring.copyWithin(0, this.#head)
    this.#ring.length -= this.#head
    this.#head = 0
  }
}
