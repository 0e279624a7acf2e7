/** Counts what is published and tells the observers: once per batch, and for the price of one read when nobody watches. */
import type { Durability } from '../../domain/durability.ts'
import type { RatatoskrError } from '../../domain/errors.ts'
import { formatTopicRef } from '../../domain/names.ts'
import { scheduledTopicRef } from '../../domain/schedule/scheduling.ts'
import { type BatchBytes, type Clock, letEscape } from '../../ports/index.ts'
import type { Hooks, LiveTopic } from '../seams.ts'

const hiddenTopic = formatTopicRef(scheduledTopicRef)

/** Instead of a time: the publish entered in another worker, which counts it and tells its observers. */
export const enteredElsewhere = -1

export class PublishTraffic {
  readonly #hooks: Hooks
  readonly #clock: Clock
  #messagesPublished = 0
  #bytesPublished = 0

  constructor(hooks: Hooks, clock: Clock) {
    this.#hooks = hooks
    this.#clock = clock
  }

  get messagesPublished(): number {
    return this.#messagesPublished
  }

  get bytesPublished(): number {
    return this.#bytesPublished
  }

  /** When a publish entered the broker, by the monotonic clock; 0 when nobody will ask how long it took. */
  entered(): number {
    const watched = this.#hooks.observes('messagePublished') || this.#hooks.observes('publishFailed')
    return watched ? this.#clock.monotonic() : 0
  }

  stored(
    topic: Pick<LiveTopic, 'text' | 'id'>,
    partition: number,
    baseOffset: number,
    recordCount: number,
    durability: Durability,
    batch: BatchBytes,
    enteredMs: number,
  ): void {
    // What waits for its time is published when that has come, and counts then.
    if (topic.text === hiddenTopic || enteredMs === enteredElsewhere) return
    this.#messagesPublished += recordCount
    this.#bytesPublished += batch.length
    if (!this.#hooks.observes('messagePublished')) return
    if (this.#hooks.observes('messagePublished', true)) letEscape(batch) // they may keep what they are told
    this.#hooks.emit('messagePublished', {
      topic: topic.text,
      topicId: topic.id,
      partition,
      baseOffset,
      recordCount,
      sizeBytes: batch.length,
      durability,
      durationMs: this.#clock.monotonic() - enteredMs,
      batch,
    })
  }

  failed(
    topic: string,
    partition: number | undefined,
    recordCount: number,
    sizeBytes: number,
    error: RatatoskrError,
    enteredMs: number,
  ): void {
    if (!this.#hooks.observes('publishFailed')) return
    this.#hooks.emit('publishFailed', {
      topic,
      partition,
      recordCount,
      sizeBytes,
      error,
      durationMs: this.#clock.monotonic() - enteredMs,
    })
  }
}
