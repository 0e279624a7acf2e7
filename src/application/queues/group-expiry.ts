/**
 * Forgets queue groups that have had no member for as long as their settings say. When a group was used last is stored while
 * it is used, now and then; what the broker itself was down does not count against anybody at once.
 */
import type { Clock, Logger } from '../../ports/index.ts'
import { WallClockWatch } from '../wall-clock-watch.ts'

const lookMs = 60_000
/** How long after the start groups have for their members to come back. */
const graceMsMax = 10 * 60_000
/** How exact the time of the last use is stored. */
const usedMsMax = 60 * 60_000

/** A group, live or only stored. */
export interface ExpiringGroup {
  readonly topicId: string
  readonly name: string
  readonly groupExpiryMs: number
  /** When it had a member for the last time, Unix ms. */
  readonly usedAtMs: number
  readonly inUse: boolean
  /** Stores that it is used now. */
  touch(): void
  remove(): Promise<void>
}

export class GroupExpiry {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #groups: () => Iterable<ExpiringGroup>
  readonly #watch: WallClockWatch
  #timer: Disposable | undefined
  #startedMs = 0

  constructor(clock: Clock, logger: Logger, groups: () => Iterable<ExpiringGroup>) {
    this.#clock = clock
    this.#logger = logger
    this.#groups = groups
    this.#watch = new WallClockWatch(clock)
  }

  start(): void {
    this.#watch.sample()
    this.#startedMs = this.#clock.monotonic()
    this.#timer = this.#clock.after(lookMs, this.#look)
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  readonly #look = (): void => {
    this.#timer = this.#clock.after(lookMs, this.#look)
    if (this.#watch.sample() !== 0) return // ages are wrong by as much as the clock was set; next time by the new time
    const wallMs = this.#clock.now()
    const upMs = this.#clock.monotonic() - this.#startedMs
    for (const group of [...this.#groups()]) {
      const { groupExpiryMs, usedAtMs } = group
      const unusedMs = wallMs - usedAtMs
      if (groupExpiryMs === -1) continue
      if (group.inUse) {
        if (unusedMs >= Math.min(usedMsMax, groupExpiryMs / 4)) group.touch()
      } else if (unusedMs >= groupExpiryMs && upMs >= Math.min(graceMsMax, groupExpiryMs)) {
        void this.#expire(group, unusedMs)
      }
    }
  }

  async #expire({ topicId, name, remove }: ExpiringGroup, unusedMs: number): Promise<void> {
    try {
      await remove()
      this.#logger.info('a queue group that nobody used was forgotten', { topicId, group: name, unusedMs })
    } catch (error) {
      this.#logger.warn('a queue group that nobody uses could not be forgotten; it is tried again', {
        topicId,
        group: name,
        error,
      })
    }
  }
}
