/** Stores how far the scheduler came, soon after each change, and lets go of what is done at the start of its log. */
import type { Platform } from '../../ports/index.ts'
import type { ScheduleState } from './schedule-state.ts'

/** A checkpoint comes so long after the first change: what a crash leaves in doubt. */
const checkpointDelayMs = 100

export class ScheduleCheckpoints {
  readonly #state: ScheduleState
  readonly #platform: Platform
  #timer: Disposable | undefined
  #stopped = false
  #truncatedTo = 0

  constructor(state: ScheduleState, platform: Platform) {
    this.#state = state
    this.#platform = platform
  }

  /** No checkpoint comes by itself any more. */
  stop(): void {
    this.#stopped = true
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  soon(): void {
    if (this.#timer !== undefined || this.#stopped) return
    this.#timer = this.#platform.clock.after(checkpointDelayMs, () => {
      this.write()
        .catch((error: unknown) => {
          this.#platform.logger.warn('the position of the scheduler could not be stored; it is tried again', {
            error,
          })
        })
        .finally(() => {
          this.#timer = undefined
          if (this.#state.positions.changed) this.soon()
        })
    })
  }

  /** @throws what storing the position or letting go of the log's start throws */
  async write(): Promise<void> {
    const { positions, log } = this.#state
    const { floor } = positions.done
    await positions.write()
    if (floor <= this.#truncatedTo) return
    await log.truncateBefore(floor)
    this.#truncatedTo = floor
  }
}
