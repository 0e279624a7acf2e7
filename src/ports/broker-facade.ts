/**
 * All that a transport or a plugin may ask of the broker.
 *
 * A connection becomes a `Session` once, with a principal; each operation of the session names its permission in
 * `operationPermissions` (application ring) and is checked against it. Everything here speaks in bytes and plain data:
 * a transport only translates.
 */
import type { Durability } from '../domain/durability.ts'
import type { RatatoskrError } from '../domain/errors.ts'
import type { Limits } from '../domain/limits.ts'
import type { Message, OutgoingMessage } from '../domain/message.ts'
import type { Overflow } from '../domain/overflow.ts'
import type { TopicChanges, TopicConfig, TopicDescription, TopicStats } from '../domain/topic.ts'
import type { MaybePromise } from './component.ts'
import type { DeadLetterSession } from './dead-letters.ts'
import type { BatchBytes, LogStoreCounters } from './log-store.ts'
import type { Platform } from './platform.ts'
import type { LeaseProof, QueueSession } from './queue.ts'
import type { Authenticator, Credentials, Peer, Principal } from './security.ts'

/** The broker, as transports and plugins see it. */
export interface BrokerFacade {
  readonly limits: Limits
  readonly platform: Platform
  /** What a transport must know before it binds: see `assertBindAllowed`. */
  readonly authenticator: Authenticator
  /**
   * Authenticates a peer and opens its session. Close it when the connection ends.
   * @throws RTK_UNAUTHENTICATED, RTK_LIMIT_EXCEEDED (sessionsMax), RTK_UNAVAILABLE when the broker is not running
   */
  connect(peer: Peer, credentials: Credentials): Promise<Session>
  /** For health endpoints that answer without a session. */
  health(): Health
}

/** Cancels a call from outside: settles it with RTK_CANCELLED, and with RTK_TIMEOUT when the reason is a TimeoutError. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/**
 * One connection's view of the broker. Topics are given as `topic` or `namespace/topic`.
 * Every method throws or rejects with a RatatoskrError; RTK_PERMISSION_DENIED comes before RTK_TOPIC_NOT_FOUND, so that
 * nobody learns of topics he may not see. After `close` everything rejects with RTK_CLOSED.
 */
export interface Session extends QueueSession, DeadLetterSession {
  readonly id: string
  readonly principal: Principal

  /**
   * Creates a topic. Doing so again with an equal configuration is no error.
   * @throws RTK_TOPIC_EXISTS, RTK_TOPIC_NAME_INVALID, RTK_INVALID_ARGUMENT, RTK_LIMIT_EXCEEDED, RTK_DURABILITY_UNAVAILABLE
   */
  createTopic(topic: string, config?: Partial<TopicConfig>): Promise<TopicCreated>
  /** Ends its subscriptions with RTK_TOPIC_DELETED and deletes its logs, groups and offsets. @throws RTK_TOPIC_NOT_FOUND */
  deleteTopic(topic: string): Promise<void>
  /** The topics that the principal may see, by name. */
  listTopics(): Promise<readonly TopicDescription[]>
  topicExists(topic: string): Promise<boolean>
  /** @throws RTK_TOPIC_NOT_FOUND */
  describeTopic(topic: string): Promise<TopicDescription>
  /** Changes what is given and leaves the rest; takes effect at once. @throws RTK_INVALID_ARGUMENT when partitions would shrink */
  alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription>

  /**
   * Finds the topic to publish to, and creates it when `autoCreateTopics` is on: what a producer asks before its first batch.
   * @throws RTK_TOPIC_NOT_FOUND
   */
  resolveTopic(topic: string): Promise<TopicDescription>

  /**
   * Publishes one message. Messages of one event-loop turn to one partition become one batch.
   * @throws RTK_MESSAGE_TOO_LARGE, RTK_HEADER_INVALID, RTK_TOPIC_NOT_FOUND, RTK_OVERLOADED, RTK_STORE_FULL, RTK_STORE_FAILED, …
   */
  publish(topic: string, message: OutgoingMessage, options?: PublishOptions): Promise<PublishReceipt>
  /**
   * Publishes many, each on its own: some may fail while others are stored. Results are in the order of `messages`.
   * Rejects as a whole only when nothing was stored (no such topic, not permitted, too many).
   */
  publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): Promise<readonly PublishResult[]>
  /**
   * Allocates an id to number batches with, so that one which is sent again is not stored again: batches carry it with the
   * epoch and, for each partition, the sequence of their first record, from 0 on. Needs no permission: publishing does.
   * @throws RTK_STORE_FULL, RTK_STORE_FAILED
   */
  initProducer(): Promise<ProducerIdentity>
  /**
   * Publishes record batches as they are: the hot path. `batch` is one or more whole batches, back to back, that belong
   * to the broker from here on: base offset and leader epoch (the bytes outside the CRC) are written into them.
   * @throws RTK_BATCH_MALFORMED, RTK_BATCH_CRC_MISMATCH, RTK_BATCH_TOO_LARGE, RTK_PARTITION_NOT_FOUND,
   *   RTK_SEQUENCE_OUT_OF_ORDER, RTK_PRODUCER_FENCED, …
   */
  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options?: PublishOptions,
  ): MaybePromise<BatchReceipt>

  /**
   * Takes back a message that waits for its time (`deliverAtMs`, `delayMs`).
   * @returns false when there is none of this id: it never was, or is delivered, or is being delivered at this moment
   * @throws RTK_TOPIC_NOT_FOUND, RTK_INVALID_ARGUMENT when the id is no UUID, RTK_UNAVAILABLE, RTK_STORE_FAILED
   */
  cancelScheduled(topic: string, id: string): Promise<boolean>
  /** The messages of a topic that wait for their time. @throws RTK_TOPIC_NOT_FOUND, RTK_INVALID_ARGUMENT, RTK_UNAVAILABLE */
  listScheduled(topic: string, request?: ScheduledRequest): Promise<ScheduledPage>

  /**
   * Starts a subscription that pushes whole batches while it has credit. They are as they are stored: expired messages are
   * among them, and whoever makes messages of them leaves those out (`messagesOf` with `expiry`, `hasExpired`).
   * @throws RTK_TOPIC_NOT_FOUND (unless it is created by `autoCreateTopics`), RTK_OFFSET_OUT_OF_RANGE, RTK_LIMIT_EXCEEDED
   */
  subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription>
  /**
   * The same one message at a time, for what cannot carry batches. Credit then counts messages exactly. Those that have
   * expired when their turn comes are passed over, and cost none.
   */
  subscribeMessages(topic: string, options: SubscribeOptions, sink: MessageSink): Promise<Subscription>

  /**
   * Reads batches at an offset, without a subscription. Waits up to `waitMs` for the first. They are as they are stored:
   * expired messages are among them.
   */
  fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch>
  /**
   * Takes the next batches of a group as one of its members, who need not be connected between calls: joining, sharing
   * of partitions and expiry (`memberTimeoutMs` of silence) are as for a pushed subscription. Batches are as for `fetch`.
   */
  fetchGroup(topic: string, request: GroupFetchRequest, call?: CallOptions): Promise<readonly FetchedBatch[]>

  /**
   * Commits offsets of a group: the next offset to read, a partition each. With `member`, only for partitions that it
   * owns; without, only for partitions that nobody owns, or a polling member that gave no name either. Less than what is
   * committed changes nothing: only `seekGroup` goes back. Settles when the offsets are stored.
   * @throws RTK_LEASE_LOST, RTK_OFFSET_OUT_OF_RANGE, RTK_GROUP_NOT_FOUND when `member` is unknown
   */
  commit(topic: string, request: CommitRequest): Promise<void>
  /** Sets where a group goes on, also while members run. @returns the offsets it resolved to */
  seekGroup(topic: string, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]>
  listGroups(topic: string): Promise<readonly string[]>
  /** @throws RTK_GROUP_NOT_FOUND */
  describeGroup(topic: string, group: string): Promise<GroupDescription>
  /** Forgets a group without members and its offsets. @throws RTK_GROUP_NOT_FOUND, RTK_INVALID_ARGUMENT while it has members */
  deleteGroup(topic: string, group: string): Promise<void>
  /** Offsets for a start position, a partition each: for tools and for clients that keep their own. */
  offsets(topic: string, position: StartPosition): Promise<readonly PartitionOffset[]>

  topicStats(topic: string): Promise<TopicStats>
  brokerStats(): Promise<BrokerStats>

  /** Ends the session's subscriptions and refuses further calls. Idempotent. */
  close(): Promise<void>
}

/** What creating a topic came to. */
export interface TopicCreated {
  /** False when the topic existed with an equal configuration. */
  readonly created: boolean
  readonly topic: TopicDescription
}

/** What a publish may ask for beside its messages. */
export interface PublishOptions extends CallOptions {
  /** More than the topic's own level, for this publish. @throws RTK_DURABILITY_UNAVAILABLE when the store cannot */
  readonly durability?: Durability | undefined
  /**
   * The lease of a message that this publish is the work of: refused when it is not held any more, so that who has lost it
   * cannot write. @throws RTK_LEASE_LOST
   */
  readonly lease?: LeaseProof | undefined
}

/** What an idempotent producer names itself by in its batches. */
export interface ProducerIdentity {
  readonly producerId: number
  readonly epoch: number
}

/** Where a message is stored, and how safely. */
export interface PublishReceipt {
  readonly id: string
  readonly partition: number
  readonly offset: number
  /** The level that was reached before this receipt was given; of a duplicate what is known of the first. */
  readonly durability: Durability
  /** True when a message of this id was stored within the topic's `dedupWindowMs`: this is the place of that one. */
  readonly duplicate?: boolean | undefined
  /** When it will be delivered, Unix milliseconds, when it waits for that: then partition and offset are -1. */
  readonly deliverAtMs?: number | undefined
}

/** What became of one message of many: its receipt, or why it was not stored. */
export type PublishResult = PublishReceipt | { readonly error: RatatoskrError }

/** Where the records of published batches are stored, and how safely. */
export interface BatchReceipt {
  readonly partition: number
  /**
   * Offset of the first record, and the others follow; of the first that was stored now when some were duplicates. Of several
   * batches of which only some were sent before it is the first one's, and the records need not stand together.
   */
  readonly baseOffset: number
  /** Records that were published, duplicates among them. */
  readonly recordCount: number
  readonly durability: Durability
  /** True when nothing was stored, since all of it was before: the same batch of an idempotent producer, or the same ids. */
  readonly duplicate?: boolean | undefined
  /**
   * Records that were not stored, because a message of their id was within the topic's `dedupWindowMs`, in order. The others
   * stand one after the other from `baseOffset` on.
   */
  readonly duplicates?: readonly DuplicateRecord[] | undefined
}

/** A record that was published before, and where. */
export interface DuplicateRecord {
  /** Its place among the records of the publish, from 0. */
  readonly index: number
  readonly partition: number
  readonly offset: number
}

/** Which of the messages that wait for their time to list. */
export interface ScheduledRequest {
  /** Messages to list, at most 1,000; 100 by default. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
}

/** A message that waits for its time. */
export interface ScheduledMessage {
  readonly id: string
  readonly deliverAtMs: number
  /** Key, headers and payload together. */
  readonly sizeBytes: number
}

/** Messages that wait for their time, those that are due first at first. */
export interface ScheduledPage {
  readonly messages: readonly ScheduledMessage[]
  /** Where the next page begins; undefined when this is the last. */
  readonly next?: string | undefined
}

/** Where to begin reading. */
export type StartPosition =
  | 'earliest'
  | 'latest'
  | { readonly offset: number }
  /** The first message whose timestamp is at least this. */
  | { readonly timestampMs: number }
  /** An offset for each partition; partitions not named begin at `otherwise`, or at the earliest. */
  | { readonly offsets: readonly PartitionOffset[]; readonly otherwise?: 'earliest' | 'latest' }

/** A place in a topic. */
export interface PartitionOffset {
  readonly partition: number
  readonly offset: number
}

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
 * is then below zero until more is granted. So a subscriber that keeps a window grants again all it has consumed, at the
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

/** What a member that polls takes next. */
export interface GroupFetchRequest {
  readonly group: string
  /** Members share partitions by name; callers that give none are one member, named after their principal. */
  readonly member?: string | undefined
  /** Where this member stands, for partitions where it knows better than the broker: after a lost answer. */
  readonly positions?: readonly PartitionOffset[] | undefined
  readonly from?: StartPosition | undefined
  readonly bytesMax?: number | undefined
  /** Messages to take, exactly: what is beyond them stays for the next call. */
  readonly messagesMax?: number | undefined
  readonly waitMs?: number | undefined
}

/** The next offset that a group reads of a partition. */
export interface CommittedOffset extends PartitionOffset {
  /** Anything the consumer wants back with the offset. */
  readonly metadata?: string | undefined
}

/** Offsets that a group commits, and as which member. */
export interface CommitRequest {
  readonly group: string
  readonly member?: string | undefined
  readonly offsets: readonly CommittedOffset[]
}

/** Where a group goes on. */
export interface SeekRequest {
  readonly position: StartPosition
  /** Only these partitions; otherwise all, or those that `position` names when it says nothing about the others. */
  readonly partitions?: readonly number[] | undefined
}

/** A group: who is in it, and how far it has come. */
export interface GroupDescription {
  readonly topic: string
  readonly group: string
  readonly state: 'empty' | 'stable'
  readonly members: readonly GroupMemberDescription[]
  readonly partitions: readonly GroupPartitionDescription[]
  /** Sum of the partitions' lags. */
  readonly lag: number
}

/** A member, and the partitions that it owns now. */
export interface GroupMemberDescription {
  readonly member: string
  readonly partitions: readonly number[]
}

/** How far a group has come in one partition. */
export interface GroupPartitionDescription {
  readonly partition: number
  /** Next offset to read, at first where the group began; undefined while neither is known. */
  readonly committedOffset: number | undefined
  readonly metadata: string
  readonly stableOffset: number
  /** Messages between the committed offset (or the start) and the end. */
  readonly lag: number
  readonly member: string | undefined
}

/** Counts of the broker; those of messages and bytes begin at its start. */
export interface BrokerStats {
  readonly topics: number
  readonly partitions: number
  readonly sessions: number
  readonly subscriptions: number
  readonly messagesPublished: number
  readonly bytesPublished: number
  readonly messagesDelivered: number
  readonly bytesDelivered: number
  /** Messages that subscribers were not given because they are lost to damage; each subscriber counts. */
  readonly messagesSkipped: number
  /** Messages that subscribers were not given because of their `overflow` policy; each subscriber counts. */
  readonly messagesDropped: number
  readonly uptimeMs: number
  /** What the log store did since it was started. */
  readonly storage: LogStoreCounters
}

/**
 * `ok`: all is well. `degraded`: something is being restarted, was given up, lost records to damage, or has no room.
 * `stopping`: no new work is taken.
 */
export type HealthStatus = 'starting' | 'ok' | 'degraded' | 'stopping' | 'stopped'

/** How the broker and its parts are. */
export interface Health {
  readonly status: HealthStatus
  /** True when the broker takes work: what a load balancer asks. */
  readonly ready: boolean
  readonly uptimeMs: number
  readonly components: readonly ComponentHealth[]
}

/** How one part is, and how often it was restarted. */
export interface ComponentHealth {
  readonly name: string
  /** `degraded`: it serves, but has lost something for good. */
  readonly status: 'ok' | 'restarting' | 'failed' | 'degraded'
  /** Restarts since the broker started. */
  readonly restarts: number
  /** Code of the last failure. */
  readonly lastError?: string | undefined
}
