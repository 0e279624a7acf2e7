/**
 * What the transport suite speaks: a small client of the protocol under test, message by message. Whoever writes a
 * transport writes one; a protocol that the TypeScript client speaks gets it from `probeOfLink`.
 */
import type {
  BatchReceipt,
  CommittedOffset,
  DeadLetterSession,
  DroppedMessages,
  Durability,
  GroupDescription,
  LeaseProof,
  MaybePromise,
  Message,
  OutgoingMessage,
  Overflow,
  PartitionOffset,
  PublishReceipt,
  PublishResult,
  QueueSession,
  RatatoskrError,
  ScheduledPage,
  ScheduledRequest,
  StartPosition,
  TopicChanges,
  TopicConfig,
  TopicDescription,
  TopicStats,
} from 'ratatoskr/ports'

/** What a probe subscribes with. */
export interface ProbeSubscribeOptions {
  readonly group?: string | undefined
  readonly member?: string | undefined
  readonly from?: StartPosition | undefined
  readonly overflow?: Overflow | undefined
  /** Messages that may be pushed before `grant` is called; without credit in the protocol, it is ignored. */
  readonly credit: number
}

/** Where a probe's messages go. */
export interface ProbeSink {
  /** While the promise is open, the probe reads no further messages of this subscription. */
  deliver(message: Message): void | Promise<void>
  assigned?(partitions: readonly PartitionOffset[]): void
  dropped?(messages: DroppedMessages): void
  ended(reason: RatatoskrError | undefined): void
}

/** A subscription of a probe. */
export interface ProbeSubscription {
  /** Name of this member; empty without a group. */
  readonly member: string
  grant(messages: number): void
  commit(offsets: readonly CommittedOffset[]): Promise<void>
  /** Resolves when nothing more will be delivered. */
  close(): Promise<void>
}

/** Queue groups over the protocol: as `QueueSession`, but that every answer may take its time. */
export interface QueueProbe extends Omit<QueueSession, 'heartbeat' | 'leaveQueue'> {
  heartbeat(topic: string, group: string, member: string): MaybePromise<void>
  leaveQueue(topic: string, group: string, member: string): MaybePromise<void>
}

/** Every method rejects with a RatatoskrError that has the code the broker gave. */
export interface TransportProbe {
  createTopic(topic: string, config?: Partial<TopicConfig>): Promise<{ readonly created: boolean }>
  deleteTopic(topic: string): Promise<void>
  alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription>
  describeTopic(topic: string): Promise<TopicDescription>
  topicExists(topic: string): Promise<boolean>
  /** Names only. */
  listTopics(): Promise<readonly string[]>
  topicStats(topic: string): Promise<TopicStats>
  publish(
    topic: string,
    message: OutgoingMessage,
    durability?: Durability,
    lease?: LeaseProof,
  ): Promise<PublishReceipt>
  publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    lease?: LeaseProof,
  ): Promise<readonly PublishResult[]>
  /** One record batch as it is; rejects with RTK_NOT_SUPPORTED where `supports.batches` is false. */
  publishBatch(
    topic: string,
    partition: number,
    batch: Uint8Array,
    lease?: LeaseProof,
  ): Promise<Pick<BatchReceipt, 'baseOffset' | 'duplicate'>>
  subscribe(topic: string, options: ProbeSubscribeOptions, sink: ProbeSink): Promise<ProbeSubscription>
  fetch(
    topic: string,
    partition: number,
    offset: number | 'earliest' | 'latest',
    waitMs?: number,
  ): Promise<readonly Message[]>
  commit(topic: string, group: string, offsets: readonly CommittedOffset[]): Promise<void>
  describeGroup(topic: string, group: string): Promise<GroupDescription>
  /** Messages that wait for their time; left out by a protocol that cannot ask for them. */
  readonly scheduled?:
    | {
        list(topic: string, request?: ScheduledRequest): Promise<ScheduledPage>
        cancel(topic: string, id: string): Promise<boolean>
      }
    | undefined
  /** Undefined for protocols without queue groups. */
  readonly queues?: QueueProbe | undefined
  /** Undefined for protocols that do not ask for dead letters. */
  readonly deadLetters?: DeadLetterSession | undefined
  /** Ends the connection. */
  close(): Promise<void>
}
