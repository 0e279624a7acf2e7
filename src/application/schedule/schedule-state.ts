/** What the parts of the scheduler share while its log is open. */
import { DueIndex } from '../../domain/schedule/due-index.ts'
import type { Logger } from '../../ports/index.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'
import type { ParkedTopics } from './parked-topics.ts'
import type { SchedulePositions } from './positions.ts'

export class ScheduleState {
  /** The one partition of the scheduler's topic. */
  readonly log: TopicPartition
  readonly positions: SchedulePositions
  readonly parked: ParkedTopics
  readonly index = new DueIndex()
  /** By topic: the messages that the last run delivered without noting so. */
  readonly foundDelivered = new Map<string, Set<string>>()
  readonly #dropped: (messages: number) => void

  constructor(
    log: TopicPartition,
    positions: SchedulePositions,
    parked: ParkedTopics,
    dropped: (messages: number) => void,
  ) {
    this.#dropped = dropped
    this.log = log
    this.positions = positions
    this.parked = parked
  }

  /** The message was delivered, cancelled or dropped: its record is done. */
  finish(slot: number): void {
    this.positions.markDone(this.index.offsetOf(slot))
    this.index.remove(slot)
  }

  /** Drops what waits for topics that are gone. */
  dropAll(topicId: string, logger: Logger): void {
    let count = 0
    for (const slot of this.index.slotsOf(topicId)) {
      // What is in neither is being worked on, and whoever does so drops it.
      if (!this.index.waits(slot) && !this.parked.take(topicId, slot)) continue
      this.finish(slot)
      count++
    }
    this.parked.forget(topicId)
    this.noteDropped(topicId, count, logger)
  }

  noteDropped(topicId: string, messages: number, logger: Logger): void {
    if (messages === 0) return
    this.#dropped(messages)
    logger.warn('scheduled messages were dropped, for their topic was deleted', { topicId, messages })
  }
}
