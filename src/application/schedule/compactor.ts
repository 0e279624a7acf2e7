/** Goes through the scheduler's log when it has become sparse, pass by pass, so that its start can be let go of. */
import type { Limits } from '../../domain/limits.ts'
import type { Platform } from '../../ports/index.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { ScheduleCheckpoints } from './checkpoints.ts'
import { isSparse, moveOldest } from './compaction.ts'
import type { Breather } from './log-walk.ts'
import type { ScheduleState } from './schedule-state.ts'

/** A log is gone through again when it has grown by so much. */
const compactionStepBytes = 16 * 1024 * 1024

export interface CompactorParts {
  readonly platform: Platform
  readonly limits: Limits
  readonly offer: DurabilityOffer
}

export class Compactor {
  readonly #state: ScheduleState
  readonly #checkpoints: ScheduleCheckpoints
  readonly #parts: CompactorParts
  /** Where the pass ends that runs; undefined while there is none. */
  #endOffset: number | undefined
  /** The next pass begins when the log has grown to this. */
  #aboveBytes = 0
  #moving: Promise<unknown> | undefined

  constructor(state: ScheduleState, checkpoints: ScheduleCheckpoints, parts: CompactorParts) {
    this.#state = state
    this.#checkpoints = checkpoints
    this.#parts = parts
  }

  /** Resolves when what is being moved in the log is back in the index; undefined while nothing is. */
  get moving(): Promise<unknown> | undefined {
    return this.#moving
  }

  /** Moves some of what waits at the start of the log to its end, when that is worth while. @returns true when there is more to do */
  async step(breather: Breather): Promise<boolean> {
    const { log } = this.#state
    if (!isSparse(this.#state) || log.sizeBytes < this.#aboveBytes) return false
    const { platform, limits, offer } = this.#parts
    // One pass goes as far as the log went when it began: what it moves is not moved again.
    this.#endOffset ??= log.endOffset
    const moved = moveOldest(this.#state, this.#endOffset, {
      platform,
      limits,
      durability: offer.strongest,
      breather,
    })
    this.#moving = moved.catch(() => {})
    let more: boolean
    try {
      more = await moved
    } finally {
      this.#moving = undefined
    }
    await this.#checkpoints.write()
    if (more) return true
    this.#endOffset = undefined
    this.#aboveBytes = log.sizeBytes + compactionStepBytes
    return false
  }
}
