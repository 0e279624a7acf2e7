/**
 * What a transport asks of the broker for one connection.
 *
 * A connection becomes a `Session` once, with a principal; each operation of the session names its permission in
 * `operationPermissions` (application ring) and is checked against it. Everything here speaks in bytes and plain data:
 * a transport only translates.
 */
import type { OutgoingMessage } from '../domain/message.ts'
import type { TopicChanges, TopicConfig, TopicDescription, TopicStats } from '../domain/topic.ts'
import type { CallOptions, MaybePromise } from './component.ts'
import type { DeadLetterSession } from './dead-letters.ts'
import type { ProfileRequest } from './diagnostics.ts'
import type { CommitRequest, GroupDescription, GroupFetchRequest, SeekRequest } from './groups.ts'
import type { BrokerStats } from './health.ts'
import type { BatchBytes } from './log-store.ts'
import type { PartitionOffset, StartPosition } from './positions.ts'
import type {
  BatchReceipt,
  ProducerIdentity,
  PublishOptions,
  PublishReceipt,
  PublishResult,
  ScheduledPage,
  ScheduledRequest,
} from './publishing.ts'
import type { QueueSession } from './queue.ts'
import type { Principal } from './security.ts'
import type {
  BatchSink,
  FetchedBatch,
  FetchRequest,
  MessageSink,
  SubscribeOptions,
  Subscription,
} from './subscribing.ts'

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
   * epoch and, for each partition, the sequence of their first record, from 0 on. The id is drawn from 53 random bits.
   * Needs no permission: publishing does.
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
  /**
   * Takes a profile of the event loop that serves this session, in the form that Chrome's developer tools open; the broker goes
   * on meanwhile, somewhat slower. One at a time.
   * @throws RTK_INVALID_ARGUMENT, RTK_LIMIT_EXCEEDED while another is being taken, RTK_NOT_SUPPORTED, RTK_CANCELLED
   */
  profile(request: ProfileRequest, call?: CallOptions): Promise<Uint8Array>

  /** Ends the session's subscriptions and refuses further calls. Idempotent. */
  close(): Promise<void>
}

/** What creating a topic came to. */
export interface TopicCreated {
  /** False when the topic existed with an equal configuration. */
  readonly created: boolean
  readonly topic: TopicDescription
}
