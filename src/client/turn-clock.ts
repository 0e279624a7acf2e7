/**
 * The clocks as one turn of the event loop sees them. Reading them costs more than encoding a message, and what is
 * published in one turn is published at one moment.
 */
import type { Clock } from '../ports/index.ts'

// A turn in which very much is published takes its time: it looks again after so many messages.
const messagesPerReading = 64

export class TurnClock {
  /** Unix milliseconds. */
  nowMs = 0
  /** The same moment by the monotonic clock. */
  monotonicMs = 0
  readonly #clock: Clock
  #left = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Before each message. @returns true when the clocks were read for it: `over` is to be called when the turn is over */
  look(): boolean {
    if (this.#left-- > 0) return false
    this.#left = messagesPerReading - 1
    this.nowMs = this.#clock.now()
    this.monotonicMs = this.#clock.monotonic()
    return true
  }

  /** The turn is over, or somebody has waited: the clocks have moved on. */
  over(): void {
    this.#left = 0
  }
}
