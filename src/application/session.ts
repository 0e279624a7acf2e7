/**
 * One connection's view of the broker: each operation is handed to the part that does it.
 *
 * An operation is declared once: a method here that gives its own name to the gate, and a row of that name in
 * `permissions.ts`, without which it does not compile.
 */
import type { Limits } from '../domain/limits.ts'
import type { OutgoingMessage } from '../domain/message.ts'
import { assertLabel, formatTopicRef } from '../domain/names.ts'
import { isHiddenTopic } from '../domain/schedule/scheduling.ts'
import type { TopicChanges, TopicConfig, TopicDescription, TopicStats } from '../domain/topic.ts'
import type {
  BatchBytes,
  BatchReceipt,
  BatchSink,
  BrokerStats,
  CallOptions,
  CommitRequest,
  ConsumeOptions,
  DeadLetterFilter,
  DeadLetterPage,
  DeadLetterRequest,
  FetchedBatch,
  FetchRequest,
  Grants,
  GroupDescription,
  GroupFetchRequest,
  LeasedSubscription,
  LeaseSink,
  MaybePromise,
  MessageSink,
  PartitionOffset,
  Principal,
  ProducerIdentity,
  ProfileRequest,
  PublishOptions,
  PublishReceipt,
  PublishResult,
  PurgeRequest,
  PurgeResult,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  Random,
  RedriveRequest,
  RedriveResult,
  ScheduledPage,
  ScheduledRequest,
  SeekRequest,
  Session,
  SettleRequest,
  SettleResult,
  StartPosition,
  SubscribeOptions,
  Subscription,
  Taken,
  TakeRequest,
  TopicCreated,
} from '../ports/index.ts'
import { throwIfAborted } from './calls.ts'
import type { LetterDesk } from './dead-letters/letter-desk.ts'
import { drawProducerId } from './producers/producer-ids.ts'
import type { Profiler } from './profiler.ts'
import type { Publisher } from './publish/publisher.ts'
import type { Scheduler } from './schedule/scheduler.ts'
import { cancelScheduled, listScheduled } from './schedule/session-calls.ts'
import type { Subscriber } from './seams.ts'
import { assertClientMayChange, type GateContext, SessionGate } from './session-gate.ts'
import { SessionSubscriptions } from './session-subscriptions.ts'
import type { Topic } from './topics/topic.ts'
import type { TopicRegistry } from './topics/topic-registry.ts'

/** What a session works with. */
export interface SessionContext extends GateContext {
  readonly topics: TopicRegistry
  readonly letters: LetterDesk
  readonly publisher: Publisher
  readonly random: Random
  readonly scheduler: Scheduler
  readonly limits: Limits
  readonly profiler: Profiler
  /** Counts, with what the process uses. */
  stats(): BrokerStats
  /** Of all workers. */
  topicStats(topic: Topic): TopicStats
}

export class BrokerSession implements Session {
  readonly id: string
  readonly principal: Principal
  readonly #context: SessionContext
  readonly #gate: SessionGate
  readonly #who: Subscriber
  readonly #subscriptions: SessionSubscriptions
  readonly #closed: (session: Session) => void
  #closing: Promise<void> | undefined

  /** @param closed called once, when this session has ended */
  constructor(
    id: string,
    principal: Principal,
    grants: Grants,
    context: SessionContext,
    closed: (session: Session) => void,
  ) {
    this.id = id
    this.principal = principal
    this.#context = context
    this.#closed = closed
    this.#gate = new SessionGate(principal, grants, context)
    this.#who = { sessionId: id, principal, remote: context.admission !== undefined }
    this.#subscriptions = new SessionSubscriptions(context.limits.subscriptionsPerSessionMax)
  }

  async createTopic(topic: string, config?: Partial<TopicConfig>): Promise<TopicCreated> {
    const ref = this.#gate.nameForCreating('createTopic', topic)
    this.#gate.assertMaySetForGroups(ref, config?.queue)
    const result = await this.#context.topics.create(ref, config, this.principal)
    return { created: result.created, topic: result.topic.describe() }
  }

  async deleteTopic(topic: string): Promise<void> {
    const ref = this.#gate.nameForChanging('deleteTopic', topic)
    await this.#context.topics.remove(ref, this.principal)
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    this.#gate.assertOpen()
    const visible = this.#context.topics
      .list()
      .filter(({ ref }) => !isHiddenTopic(ref) && this.#gate.permissions.lists(ref))
    return visible.map((topic) => topic.describe()).sort(byName)
  }

  async topicExists(topic: string): Promise<boolean> {
    return this.#gate.topicIfAny('topicExists', topic) !== undefined
  }

  async describeTopic(topic: string): Promise<TopicDescription> {
    return this.#gate.topic('describeTopic', topic).describe()
  }

  async alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription> {
    const ref = this.#gate.nameForChanging('alterTopic', topic)
    this.#gate.assertMaySetForGroups(ref, changes?.queue)
    return (await this.#context.topics.alter(ref, changes, this.principal)).describe()
  }

  async resolveTopic(topic: string): Promise<TopicDescription> {
    return (await this.#gate.topicToPublish('resolveTopic', topic)).describe()
  }

  async publish(topic: string, message: OutgoingMessage, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#gate.publish('publish', topic, options, (live, mayStore) =>
      this.#context.publisher.publish(live, message, options, this.principal, mayStore),
    )
  }

  async publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): Promise<readonly PublishResult[]> {
    return this.#gate.publish('publishMany', topic, options, (live, mayStore) =>
      this.#context.publisher.publishMany(live, messages, options, this.principal, mayStore),
    )
  }

  async initProducer(): Promise<ProducerIdentity> {
    this.#gate.assertOpen()
    return { producerId: drawProducerId(this.#context.random), epoch: 0 }
  }

  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options?: PublishOptions,
  ): MaybePromise<BatchReceipt> {
    return this.#gate.publish('publishBatch', topic, options, (live, mayStore) =>
      this.#context.publisher.publishBatch(live, partition, batch, options, this.principal, mayStore),
    )
  }

  /**
   * The same for a batch that the client of this very process has built, of which nothing more is asked: what would find out that
   * bytes were changed on their way, of which there is none, is left out.
   */
  publishOwnBatch(topic: string, partition: number, batch: BatchBytes): MaybePromise<BatchReceipt> {
    const live = this.#gate.topicToPublishIfAny('publishBatch', topic)
    if (live === undefined) return this.publishBatch(topic, partition, batch)
    const { publisher } = this.#context
    return publisher.publishBatch(live, partition, batch, undefined, this.principal, undefined, true)
  }

  async cancelScheduled(topic: string, id: string): Promise<boolean> {
    const live = this.#gate.topic('cancelScheduled', topic)
    assertClientMayChange(live.ref)
    return cancelScheduled(this.#context.scheduler, live, id)
  }

  async listScheduled(topic: string, request?: ScheduledRequest): Promise<ScheduledPage> {
    return listScheduled(this.#context.scheduler, this.#gate.topic('listScheduled', topic), request)
  }

  async deadLetters(
    topic: string,
    request: DeadLetterRequest = {},
    call?: CallOptions,
  ): Promise<DeadLetterPage> {
    const { source, of } = this.#letters('deadLetters', topic, request, call)
    return this.#context.letters.list(source, of, request)
  }

  async redriveDeadLetters(
    topic: string,
    request: RedriveRequest = {},
    call?: CallOptions,
  ): Promise<RedriveResult> {
    const { source, of } = this.#letters('redriveDeadLetters', topic, request, call)
    const mayPublish = (target: string): void => void this.#gate.nameForChanging('redriveDeadLetters', target)
    if (request.target !== undefined) mayPublish(request.target)
    return this.#context.letters.redrive(source, of, request, mayPublish, call?.signal)
  }

  async purgeDeadLetters(
    topic: string,
    request: PurgeRequest = {},
    call?: CallOptions,
  ): Promise<PurgeResult> {
    const { source, of } = this.#letters('purgeDeadLetters', topic, request, call)
    return this.#context.letters.purge(source, of, request, call?.signal)
  }

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    const live = await this.#gate.topicToSubscribe('subscribe', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribe(live, options, watched, this.#who),
    )
  }

  async subscribeMessages(
    topic: string,
    options: SubscribeOptions,
    sink: MessageSink,
  ): Promise<Subscription> {
    const live = await this.#gate.topicToSubscribe('subscribeMessages', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribeMessages(live, options, watched, this.#who),
    )
  }

  async fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch> {
    return this.#context.delivery.fetch(this.#gate.topic('fetch', topic, call), request, call)
  }

  async fetchGroup(
    topic: string,
    request: GroupFetchRequest,
    call?: CallOptions,
  ): Promise<readonly FetchedBatch[]> {
    throwIfAborted(call?.signal)
    if (request.member !== undefined) assertLabel('member', request.member)
    const live = this.#gate.topicOfGroup('fetchGroup', topic, request.group)
    return this.#context.delivery.fetchGroup(live, request, this.#who, call)
  }

  async commit(topic: string, request: CommitRequest): Promise<void> {
    return this.#context.delivery.commit(this.#gate.topicOfGroup('commit', topic, request.group), request)
  }

  async seekGroup(topic: string, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]> {
    return this.#context.delivery.seekGroup(
      this.#gate.topicOfGroup('seekGroup', topic, group),
      group,
      request,
    )
  }

  async listGroups(topic: string): Promise<readonly string[]> {
    const live = this.#gate.topic('listGroups', topic)
    const groups = await this.#context.delivery.listGroups(live)
    return groups.filter((group) => this.#gate.permissions.listsGroup(live.ref, group))
  }

  async describeGroup(topic: string, group: string): Promise<GroupDescription> {
    return this.#context.delivery.describeGroup(this.#gate.topicOfGroup('describeGroup', topic, group), group)
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    return this.#context.delivery.deleteGroup(this.#gate.topicOfGroup('deleteGroup', topic, group), group)
  }

  async consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription> {
    const live = await this.#gate.topicToSubscribe('consume', topic, options)
    this.#gate.assertMaySet(live, options.group, options.config)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.queues.consume(live, options, watched, this.#who),
    )
  }

  async take(topic: string, request: TakeRequest, call?: CallOptions): Promise<Taken> {
    throwIfAborted(call?.signal)
    const live = await this.#gate.topicToSubscribe('take', topic, request)
    this.#gate.assertMaySet(live, request.group, request.config)
    return this.#context.delivery.queues.take(live, request, this.#who, call)
  }

  settle(topic: string, request: SettleRequest): MaybePromise<readonly SettleResult[]> {
    return this.#context.delivery.queues.settle(
      this.#gate.topicOfGroup('settle', topic, request.group),
      request,
    )
  }

  heartbeat(topic: string, group: string, member: string): void {
    this.#context.delivery.queues.heartbeat(this.#gate.topicOfGroup('heartbeat', topic, group), group, member)
  }

  leaveQueue(topic: string, group: string, member: string): void {
    this.#context.delivery.queues.leave(this.#gate.topicOfGroup('leaveQueue', topic, group), group, member)
  }

  async createQueue(
    topic: string,
    group: string,
    config?: Partial<QueueConfig>,
    from?: StartPosition,
  ): Promise<QueueDescription> {
    const live = this.#gate.topicOfGroup('createQueue', topic, group)
    this.#gate.assertMaySet(live, group, config)
    return this.#context.delivery.queues.create(live, group, config, from)
  }

  async alterQueue(topic: string, group: string, changes: QueueChanges): Promise<QueueDescription> {
    const live = this.#gate.topicOfGroup('alterQueue', topic, group)
    this.#gate.assertMayAlter(live, group, changes)
    return this.#context.delivery.queues.alter(live, group, changes)
  }

  async describeQueue(topic: string, group: string): Promise<QueueDescription> {
    const live = this.#gate.topicOfGroup('describeQueue', topic, group)
    return this.#context.delivery.queues.describe(live, group)
  }

  async pauseQueue(
    topic: string,
    group: string,
    paused: boolean,
    partitions?: readonly number[],
  ): Promise<void> {
    const live = this.#gate.topicOfGroup('pauseQueue', topic, group)
    return this.#context.delivery.queues.pause(live, group, paused, partitions)
  }

  async offsets(topic: string, position: StartPosition): Promise<readonly PartitionOffset[]> {
    return this.#context.delivery.offsets(this.#gate.topic('offsets', topic), position)
  }

  async topicStats(topic: string): Promise<TopicStats> {
    return this.#context.topicStats(this.#gate.topic('topicStats', topic))
  }

  async brokerStats(): Promise<BrokerStats> {
    this.#gate.assertOpen()
    this.#gate.permissions.broker('brokerStats')
    return this.#context.stats()
  }

  async profile(request: ProfileRequest, call?: CallOptions): Promise<Uint8Array> {
    this.#gate.assertOpen()
    this.#gate.permissions.broker('profile')
    return this.#context.profiler.take(request, this.principal, call)
  }

  close(): Promise<void> {
    if (this.#closing === undefined) {
      this.#closing = this.#close()
      this.#gate.close()
    }
    return this.#closing
  }

  #letters(
    operation: 'deadLetters' | 'redriveDeadLetters' | 'purgeDeadLetters',
    topic: string,
    request: DeadLetterFilter,
    call: CallOptions | undefined,
  ) {
    const { letters } = this.#context
    return this.#gate.deadLetters(operation, topic, (source) => letters.topicFor(source, request), call)
  }

  async #close(): Promise<void> {
    try {
      await this.#subscriptions.close()
    } finally {
      this.#closed(this)
    }
  }
}

function byName(one: TopicDescription, other: TopicDescription): number {
  const [a, b] = [formatTopicRef(one), formatTopicRef(other)]
  return a < b ? -1 : a > b ? 1 : 0
}
