/** How long batches wait for more messages, and the time of those that are published meanwhile: both end with the turn. */
import type { Clock } from '../ports/index.ts'
import { TurnClock } from './turn-clock.ts'

/** What has a batch that waits. */
interface Lingerer {
  linger(): void
}

export class Lingering {
  readonly turn: TurnClock
  readonly #clock: Clock
  readonly #lingerMs: number
  readonly #waiting: Lingerer[] = []
  #isSet = false
  #turnEndSet = false

  /** @param lingerMs 0: until the current turn of the event loop is over */
  constructor(clock: Clock, lingerMs: number) {
    this.turn = new TurnClock(clock)
    this.#clock = clock
    this.#lingerMs = lingerMs
  }

  /** Before each message: sees to the time. @returns true when the clocks were read */
  look(): boolean {
    const isRead = this.turn.look()
    if (isRead) this.#atTurnEnd()
    return isRead
  }

  /** Calls `linger` of it when its batch has waited long enough. */
  add(lingerer: Lingerer): void {
    this.#waiting.push(lingerer)
    if (this.#isSet) return
    this.#isSet = true
    if (this.#lingerMs === 0) this.#atTurnEnd()
    else this.#clock.after(this.#lingerMs, () => this.end())
  }

  /** All have waited long enough. */
  end(): void {
    this.#isSet = false
    if (this.#waiting.length === 1) this.#waiting.pop()?.linger()
    else for (const lingerer of this.#waiting.splice(0)) lingerer.linger()
  }

  #atTurnEnd(): void {
    if (this.#turnEndSet) return
    this.#turnEndSet = true
    queueMicrotask(this.#turnEnded)
  }

  readonly #turnEnded = (): void => {
    this.#turnEndSet = false
    this.turn.over()
    if (this.#isSet && this.#lingerMs === 0) this.end()
  }
}
