/** Reading a topic: subscriptions that push, their credit and their sinks, and fetches without one. */
import type { RatatoskrError } from '../domain/errors.ts'
import type { Message } from '../domain/message.ts'
import type { Overflow } from '../domain/overflow.ts'
import type { MaybePromise } from './component.ts'
import type { CommittedOffset } from './groups.ts'
import type { BatchBytes } from './log-store.ts'
import type { PartitionOffset, StartPosition } from './positions.ts'

/** What a subscription reads, and as whom. */
export interface SubscribeOptions {
  /** Shares the partitions with the other members of the group and begins at its committed offsets. Without: every message. */
  readonly group?: string | undefined
  /** Name of this member within the group; made up by the broker otherwise. A name that is taken replaces its holder. */
  readonly member?: string | undefined
  /** Where to begin: without a group, `latest` by default; with one, where it has no committed offset, `earliest`. */
  readonly from?: StartPosition | undefined
  /** Only these partitions; not with a group. */
  readonly partitions?: readonly number[] | undefined
  /** First credit. Nothing is delivered before there is some. */
  readonly credit?: Credit | undefined
  /** How far it may fall behind, and what happens then; as far as it likes by default. Not with a group. */
  readonly overflow?: Overflow | undefined
}

/** Messages of a partition that a subscriber is not given, since it fell behind further than its `overflow` allows. */
export interface DroppedMessages {
  readonly partition: number
  /** Offsets from this one up to, without, `toOffset`. */
  readonly fromOffset: number
  readonly toOffset: number
}

/**
 * What a subscriber is ready to take, beyond what it was granted before.
 *
 * Bytes: batches come while there is credit and the next one fits in what is left. A batch that is larger comes all the
 * same once credit is back at the largest single grant so far, which is taken to mean that nothing is outstanding; credit
 * is then below zero until more is granted, and what pays for it does not count as part of that grant. So a subscriber that keeps a window grants again all it has consumed, at the
 * latest when it has consumed everything: one that holds some back may wait for ever for a batch larger than the rest.
 *
 * Messages: counted one by one, and never exceeded.
 */
export interface Credit {
  /** Bytes of batches, for `subscribe`. */
  readonly bytes?: number | undefined
  /** Messages, for `subscribeMessages`. */
  readonly messages?: number | undefined
}

/** One push of whole batches from one partition. */
export interface BatchDelivery {
  readonly partition: number
  /** Whole, contiguous batches. Shared and immutable. */
  readonly bytes: BatchBytes
  /** Records below this offset in the first batch are not part of the delivery. */
  readonly fromOffset: number
  /** Where the next delivery of this partition goes on. */
  readonly nextOffset: number
}

/**
 * What both kinds of sink are told. Calls come one after the other, never after `ended`. They may come before
 * `subscribe` has settled: a sink that needs the `Subscription` gives its first credit with `grant`.
 */
export interface SinkEvents {
  /**
   * The partitions that are now this subscription's, and where each begins: once before the first delivery, and in a
   * group again at each rebalance. Deliveries of partitions that are gone from the list have stopped.
   */
  assigned?(partitions: readonly PartitionOffset[]): void
  /** Messages were dropped by the subscription's `overflow` policy: told before the next delivery of their partition. */
  dropped?(messages: DroppedMessages): void
  /** The subscription is over: `undefined` when its holder closed it. Called exactly once. */
  ended(reason: RatatoskrError | undefined): void
}

/** Where a subscription's batches go. */
export interface BatchSink extends SinkEvents {
  /**
   * True when the sink gives the bytes of each delivery back with `giveBackBytes`, once, when they are used no more: their
   * memory may then serve another batch. The bytes that others are given are theirs for as long as they hold them.
   */
  readonly givesBack?: boolean
  /**
   * Takes a delivery. While a returned promise is open the sink is full and gets nothing more; nobody else waits for it.
   * A throw or rejection ends the subscription.
   */
  deliver(delivery: BatchDelivery): MaybePromise<void>
}

/** Where a subscription's messages go, one at a time, in the order of each partition. */
export interface MessageSink extends SinkEvents {
  deliver(message: Message): MaybePromise<void>
}

/** A subscription that runs. */
export interface Subscription {
  readonly id: string
  readonly topic: string
  readonly group: string | undefined
  /** The member's name within the group; empty without a group. */
  readonly member: string
  /** Adds credit; credit above the limits is cut to them. */
  grant(credit: Credit): void
  /** Commits as this member: see `Session.commit`. */
  commit(offsets: readonly CommittedOffset[]): Promise<void>
  /** Stops delivery; resolves when no further call to the sink will come. Idempotent. */
  close(): Promise<void>
}

/** What to read of one partition. */
export interface FetchRequest {
  readonly partition: number
  /** An offset, or where to begin. */
  readonly offset: number | 'earliest' | 'latest'
  /** Soft bound: at least one batch comes when there is any. */
  readonly bytesMax?: number | undefined
  /** How long to wait for the first message; 0 answers at once. */
  readonly waitMs?: number | undefined
}

/** What a fetch found; `bytes` is empty when there was nothing. Records from `nextOffset` on are not part of it. */
export interface FetchedBatch extends BatchDelivery {
  /** Id of the topic: messages without an id of their own have one that is derived from it. */
  readonly topicId: string
  readonly startOffset: number
  readonly stableOffset: number
}
