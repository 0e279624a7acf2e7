/**
 * Notices that the event loop gets no turn. In one process a publish settles without any I/O, so that a loop which awaits
 * one after the other runs in microtasks alone, and timers and sockets of the same process starve. So it is with messages
 * that wait here and are handled as fast as they are asked for.
 */
import type { Clock } from '../ports/index.ts'

// Rarely enough to cost nothing, often enough to see 10 ms go by.
const callsPerLook = 64
const starvedAfterMs = 10

export class LoopWatch {
  readonly #clock: Clock
  #calls = 0
  /** True from when that was noticed until the next turn. */
  #sinceMs = 0
  #starved = false
  #turn: Promise<void> | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Asked before each call. @returns what to wait for first when the loop has had no turn for 10 ms */
  pause(): Promise<void> | undefined {
    if (this.#starved) return this.#turn
    if (++this.#calls < callsPerLook) return undefined
    this.#calls = 0
    this.#turn ??= this.#nextTurn()
    this.#starved = this.#clock.monotonic() - this.#sinceMs > starvedAfterMs
    return this.#starved ? this.#turn : undefined
  }

  /** The next turn of the loop: a timer that is due at once comes with it, or not before the microtasks end. */
  #nextTurn(): Promise<void> {
    this.#sinceMs = this.#clock.monotonic()
    return new Promise((resolve) => {
      this.#clock.after(0, () => {
        this.#calls = 0
        this.#starved = false
        this.#turn = undefined
        resolve()
      })
    })
  }
}
