/** Subscribers coming and going: limits, the guard, the hooks that tell of it, and the counts of the whole broker. */
import type {
  FetchedBatch,
  Limits,
  MessageDeliveredEvent,
  SubscriberEvent,
  SubscriberOverflowedEvent,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { DeliveryTotals, Hooks } from '../seams.ts'
import type { TopicState } from './topic-state.ts'

export class Admission {
  readonly totals: { -readonly [Name in keyof DeliveryTotals]: DeliveryTotals[Name] } = {
    subscriptions: 0,
    messagesDelivered: 0,
    bytesDelivered: 0,
    messagesSkipped: 0,
    messagesDropped: 0,
  }
  readonly #hooks: Hooks
  readonly #limits: Limits

  constructor(hooks: Hooks, limits: Limits) {
    this.#hooks = hooks
    this.#limits = limits
  }

  /** @throws RTK_LIMIT_EXCEEDED; what a guard throws */
  check(state: TopicState, event: SubscriberEvent): void {
    this.assertRoom(state)
    if (this.#hooks.guards('subscribe')) this.#hooks.check('subscribe', event)
  }

  /** @throws RTK_LIMIT_EXCEEDED; why the topic lets nobody in any more */
  assertRoom(state: TopicState): void {
    if (state.closeReason !== undefined) throw state.closeReason
    const { subscribersPerTopicMax } = this.#limits
    if (state.subscriberCount < subscribersPerTopicMax) return
    throw new RatatoskrError(
      'RTK_LIMIT_EXCEEDED',
      `${state.topic.text} has ${subscribersPerTopicMax} subscribers, the most allowed (subscribersPerTopicMax)`,
    )
  }

  joined(event: SubscriberEvent): void {
    this.totals.subscriptions++
    if (this.#hooks.observes('subscriberJoined')) this.#hooks.emit('subscriberJoined', event)
  }

  left(event: SubscriberEvent, error: RatatoskrError | undefined, failed: boolean): void {
    this.totals.subscriptions--
    if (failed && this.#hooks.observes('subscriberFailed')) {
      this.#hooks.emit('subscriberFailed', { ...event, error })
    }
    if (this.#hooks.observes('subscriberLeft')) this.#hooks.emit('subscriberLeft', { ...event, error })
  }

  /** Counts a push, and tells of it when someone wants to know. */
  delivered(state: TopicState, event: MessageDeliveredEvent): void {
    state.messagesDelivered += event.recordCount
    this.totals.messagesDelivered += event.recordCount
    this.totals.bytesDelivered += event.sizeBytes
    if (this.#hooks.observes('messageDelivered')) this.#hooks.emit('messageDelivered', event)
  }

  /** Counts records that a subscriber cannot be given. */
  skipped(records: number): void {
    this.totals.messagesSkipped += records
  }

  /** A subscriber was further behind than its bound: counts what was dropped, and tells of it. */
  overflowed(event: SubscriberOverflowedEvent): void {
    if (event.policy !== 'disconnect') this.totals.messagesDropped += event.toOffset - event.fromOffset
    if (this.#hooks.observes('subscriberOverflowed')) this.#hooks.emit('subscriberOverflowed', event)
  }

  /** As `delivered`, for what a caller fetched; `member` is told of when there is one. */
  fetched(state: TopicState, batch: FetchedBatch, member?: SubscriberEvent): void {
    const recordCount = batch.nextOffset - batch.fromOffset
    const sizeBytes = batch.bytes.length
    if (member === undefined) {
      state.messagesDelivered += recordCount
      this.totals.messagesDelivered += recordCount
      this.totals.bytesDelivered += sizeBytes
      return
    }
    const { topic, group, subscriptionId } = member
    const { partition, fromOffset } = batch
    this.delivered(state, { topic, partition, group, subscriptionId, fromOffset, recordCount, sizeBytes })
  }
}
