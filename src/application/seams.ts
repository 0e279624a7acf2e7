/**
 * The interfaces between the parts of the application: what publishing, delivery and plugins know of each other.
 * Each part can be tested with a small double of the others.
 */
import type { TopicRef } from '../domain/names.ts'
import type { PartitionDescription, TopicConfig } from '../domain/topic.ts'
import type {
  BatchBytes,
  BatchSink,
  CallOptions,
  CommitRequest,
  ComponentHealth,
  ConsumeOptions,
  DeadLetterReason,
  FetchedBatch,
  FetchRequest,
  GroupDescription,
  GroupFetchRequest,
  GuardEvents,
  LeasedSubscription,
  LeaseProof,
  LeaseSink,
  MaybePromise,
  MessageSink,
  ObserverEvents,
  OffsetRange,
  PartitionOffset,
  Principal,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  RatatoskrError,
  SeekRequest,
  SettleRequest,
  SettleResult,
  StartPosition,
  SubscribeOptions,
  Subscription,
  Taken,
  TakeRequest,
} from '../ports/index.ts'

/** A partition as readers see it. Offsets are live and synchronous. */
export interface ReadablePartition {
  readonly index: number
  readonly state: PartitionDescription['state']
  readonly startOffset: number
  readonly stableOffset: number
  readonly endOffset: number
  readonly sizeBytes: number
  /** What is lost to damage. */
  readonly damaged: readonly OffsetRange[]
  /** As `PartitionLog.read`; RTK_UNAVAILABLE while the partition is being reopened. */
  read(offset: number, bytesMax: number, lent?: boolean): MaybePromise<BatchBytes>
  /** Offset of the first record whose timestamp is at least this; `stableOffset` when there is none. */
  offsetForTime(timestampMs: number): Promise<number>
  /** Calls `run` once, when `stableOffset` has moved or the state has changed. Dispose to be forgotten. */
  onceChanged(run: () => void): Disposable
}

/** A topic as long as it exists. */
export interface LiveTopic {
  readonly ref: TopicRef
  /** Text form of the name. */
  readonly text: string
  readonly id: string
  readonly config: TopicConfig
  /** Grows when partitions are added; never shrinks. */
  readonly partitions: readonly ReadablePartition[]
  /** Calls `run` each time partitions were added. */
  onPartitionsAdded(run: () => void): Disposable
  /** Calls `run` each time the configuration was changed. */
  onConfigChanged(run: () => void): Disposable
}

/** Who subscribes, for limits, hooks and logs. */
export interface Subscriber {
  readonly sessionId: string
  readonly principal: Principal
  /** False in the process that holds the broker: it is given things by a call, nobody else is. */
  readonly remote: boolean
}

/** Delivery: subscriptions, fetches, groups and their offsets. Names and permissions are checked before it is called. */
export interface Delivery {
  subscribe(
    topic: LiveTopic,
    options: SubscribeOptions,
    sink: BatchSink,
    who: Subscriber,
  ): Promise<Subscription>
  subscribeMessages(
    topic: LiveTopic,
    options: SubscribeOptions,
    sink: MessageSink,
    who: Subscriber,
  ): Promise<Subscription>
  fetch(topic: LiveTopic, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch>
  fetchGroup(
    topic: LiveTopic,
    request: GroupFetchRequest,
    who: Subscriber,
    call?: CallOptions,
  ): Promise<readonly FetchedBatch[]>
  commit(topic: LiveTopic, request: CommitRequest): Promise<void>
  seekGroup(topic: LiveTopic, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]>
  listGroups(topic: LiveTopic): Promise<readonly string[]>
  describeGroup(topic: LiveTopic, group: string): Promise<GroupDescription>
  deleteGroup(topic: LiveTopic, group: string): Promise<void>
  offsets(topic: LiveTopic, position: StartPosition): Promise<readonly PartitionOffset[]>
  /**
   * The first offset of a partition that a group of the topic has not committed past, or that a member still reads;
   * undefined when the topic has no group.
   */
  owedFrom(topic: LiveTopic, partition: number): number | undefined
  /** Live subscriptions on a topic, pushed ones and polling members together. */
  subscriberCount(topic: LiveTopic): number
  /** Messages of a topic that were given out; each taker counts. */
  deliveredCount(topic: LiveTopic): number
  readonly totals: DeliveryTotals
  readonly queues: Queues
  /** What of it is not well. */
  readonly trouble: readonly ComponentHealth[]
  /** Ends a topic's subscriptions with `reason` and forgets its groups and their stored offsets. */
  topicDeleted(topic: LiveTopic, reason: RatatoskrError): Promise<void>
  /** Removes the stored offsets of topics that are gone, of those for which `isGone` says so. Failures are reported and left. */
  forgetTopics(isGone: (topicId: string) => boolean): Promise<void>
  /** Where dead letters go from now on. Asked for once: what publishes them knows delivery, and is made after it. */
  useDeadLetters(deadLetters: DeadLetters): void
  /** Loads what groups had come to; before any log is opened, so that `logOpened` knows it. */
  load(): Promise<void>
  /**
   * A log was opened, and nothing is appended until this settles. Groups that had come further than its end, for it lost
   * records in a crash, are put back to the end, so that they get what is stored at those offsets next; so are those who read.
   * @throws what the state store throws; then the log must not be used
   */
  logOpened(topic: Pick<LiveTopic, 'id' | 'text'>, partition: number, endOffset: number): MaybePromise<void>
  /** @param topics those that there are: their queue groups must see where the logs end before anybody publishes */
  start(topics?: readonly LiveTopic[]): Promise<void>
  /** Ends every subscription with `reason` and stores what was committed. */
  stop(reason: RatatoskrError): Promise<void>
}

/** Queue groups: as `QueueSession` in the ports, with names and permissions checked. */
export interface Queues {
  consume(
    topic: LiveTopic,
    options: ConsumeOptions,
    sink: LeaseSink,
    who: Subscriber,
  ): Promise<LeasedSubscription>
  take(topic: LiveTopic, request: TakeRequest, who: Subscriber, call?: CallOptions): Promise<Taken>
  settle(topic: LiveTopic, request: SettleRequest): MaybePromise<readonly SettleResult[]>
  heartbeat(topic: LiveTopic, group: string, member: string): void
  leave(topic: LiveTopic, group: string, member: string): void
  create(
    topic: LiveTopic,
    group: string,
    config: Partial<QueueConfig> | undefined,
    from: StartPosition | undefined,
  ): Promise<QueueDescription>
  alter(topic: LiveTopic, group: string, changes: QueueChanges): Promise<QueueDescription>
  describe(topic: LiveTopic, group: string): Promise<QueueDescription>
  pause(
    topic: LiveTopic,
    group: string,
    paused: boolean,
    partitions: readonly number[] | undefined,
  ): Promise<void>
  /** True while a member of the group holds the message with this very lease: what a publish that carries it is let in by. */
  holdsLease(topic: LiveTopic, proof: LeaseProof): boolean
  /** True while there is such a group, which has not settled the message. */
  owes(topic: LiveTopic, group: string, partition: number, offset: number): boolean
  /**
   * The first offset that a group has not settled whose expired messages become dead letters; undefined when the topic has no
   * such group.
   */
  expiredOwedFrom(topic: LiveTopic, partition: number): number | undefined
  /** The settings of a queue group; undefined when there is none of that name. */
  configOf(topic: LiveTopic, group: string): QueueConfig | undefined
}

/** A message that a queue group gave up, and what is known of it. */
export interface DeadLetter {
  readonly topic: LiveTopic
  readonly group: string
  readonly partition: number
  readonly offset: number
  readonly reason: DeadLetterReason
  /** What the last member that had it said; empty when nothing. */
  readonly error: string
  /** How often it was delivered. */
  readonly attempts: number
  /** When it was delivered for the first and the last time, Unix milliseconds; undefined when that is not known any more. */
  readonly firstAtMs: number | undefined
  readonly lastAtMs: number | undefined
  /** Whole batches, one of which holds the message. */
  readonly bytes: BatchBytes
  /** The group's settings for dead letters. */
  readonly config: Pick<QueueConfig, 'deadLetterTopic' | 'deadLetterRetentionMs'>
  /** True when it may have been buried before: in the broker's last run, or by a try that failed. */
  readonly mayBeStored: boolean
}

/** A letter that is stored. */
export interface Burial {
  /** The topic that it is in. */
  readonly topic: string
  /** To be called when it is stored that the message is settled: then it does not come again after a crash. */
  confirm(): void
}

/** Where messages go that were given up. */
export interface DeadLetters {
  /**
   * Stores a message as a dead letter, as durably as the dead letter topic promises. Only then may the message be settled;
   * whoever calls tries again for as long as it rejects.
   * @returns undefined when the group's dead letters are dropped
   * @throws what kept it from being stored
   */
  bury(letter: DeadLetter): Promise<Burial | undefined>
}

export interface DeliveryTotals {
  readonly subscriptions: number
  readonly messagesDelivered: number
  readonly bytesDelivered: number
  /** Messages that were passed over because they are lost to damage. */
  readonly messagesSkipped: number
  /** Messages that subscribers were not given because they fell behind further than they wanted to. */
  readonly messagesDropped: number
}

/** The hooks as the broker's own code calls them. Ask `observes` or `guards` first: then an unused hook costs one read. */
export interface Hooks {
  /** @param batches true to ask for such as look at the bytes of batches */
  observes(name: keyof ObserverEvents, batches?: boolean): boolean
  /** Tells observers. Never throws. */
  emit<Name extends keyof ObserverEvents>(name: Name, event: ObserverEvents[Name]): void
  guards(name: keyof GuardEvents): boolean
  /** Asks guards in order. @throws what the guard threw when it is a RatatoskrError, RTK_HOOK_ERROR with it as cause otherwise */
  check<Name extends keyof GuardEvents>(name: Name, event: GuardEvents[Name]): void
}
