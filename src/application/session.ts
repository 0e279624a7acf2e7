/**
 * One connection's view of the broker: resolves names, checks permissions before anything is revealed, and hands each
 * operation to the part that does it.
 */
import { RatatoskrError } from '../domain/errors.ts'
import type { Limits } from '../domain/limits.ts'
import type { OutgoingMessage } from '../domain/message.ts'
import {
  assertLabel,
  formatTopicRef,
  isReservedTopicName,
  parseTopicRef,
  quoteForMessage,
  type TopicRef,
} from '../domain/names.ts'
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
  LeaseProof,
  LeaseSink,
  MaybePromise,
  MessageSink,
  PartitionOffset,
  Principal,
  ProducerIdentity,
  PublishOptions,
  PublishReceipt,
  PublishResult,
  PurgeRequest,
  PurgeResult,
  QueueConfig,
  QueueDescription,
  RedriveRequest,
  RedriveResult,
  Resource,
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
import { cancellable, throwIfAborted } from './calls.ts'
import type { LetterDesk } from './dead-letters/letter-desk.ts'
import { isPromise } from './maybe-promise.ts'
import { type GroupOperation, PermissionCheck, type TopicOperation, topicResource } from './permissions.ts'
import type { ProducerIds } from './producers/producer-ids.ts'
import type { Publisher } from './publish/publisher.ts'
import type { Scheduler } from './schedule/scheduler.ts'
import { cancelScheduled, listScheduled } from './schedule/session-calls.ts'
import type { Delivery, Hooks, Subscriber } from './seams.ts'
import { SessionSubscriptions, sessionClosedError } from './session-subscriptions.ts'
import { topicStats } from './stats.ts'
import type { Topic } from './topics/topic.ts'
import { type TopicRegistry, topicNotFound } from './topics/topic-registry.ts'

/** What a session works with. */
export interface SessionContext {
  readonly topics: TopicRegistry
  readonly publisher: Publisher
  readonly producerIds: ProducerIds
  readonly delivery: Delivery
  readonly scheduler: Scheduler
  readonly letters: LetterDesk
  readonly hooks: Hooks
  readonly limits: Limits
  readonly autoCreateTopics: boolean
  stats(): BrokerStats
  /** Called once, when this session has ended. */
  closed(): void
}

/** A topic as a caller named it; kept, so that a name is parsed once a session and not once a batch. */
interface NamedTopic {
  readonly ref: TopicRef
  readonly resource: Resource
  /** The topic when it was last looked up. */
  topic: Topic | undefined
}

/** Names that a session remembers. */
const namesMax = 4_096

export class BrokerSession implements Session {
  readonly id: string
  readonly principal: Principal
  readonly #context: SessionContext
  readonly #permissions: PermissionCheck
  readonly #who: Subscriber
  readonly #subscriptions: SessionSubscriptions
  readonly #names = new Map<string, NamedTopic>()
  #closing: Promise<void> | undefined

  constructor(id: string, principal: Principal, grants: Grants, context: SessionContext) {
    this.id = id
    this.principal = principal
    this.#context = context
    this.#permissions = new PermissionCheck(principal, grants, context.hooks)
    this.#who = { sessionId: id, principal }
    this.#subscriptions = new SessionSubscriptions(context.limits.subscriptionsPerSessionMax)
  }

  async createTopic(topic: string, config?: Partial<TopicConfig>): Promise<TopicCreated> {
    const { ref } = this.#enter('createTopic', topic)
    assertClientMayName(ref)
    const result = await this.#context.topics.create(ref, config, this.principal)
    return { created: result.created, topic: result.topic.describe() }
  }

  async deleteTopic(topic: string): Promise<void> {
    const { ref } = this.#enter('deleteTopic', topic)
    assertClientMayChange(ref)
    await this.#context.topics.remove(ref, this.principal)
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    this.#assertOpen()
    const visible = this.#context.topics
      .list()
      .filter(({ ref }) => !isHiddenTopic(ref) && this.#permissions.lists(ref))
    return visible.map((topic) => topic.describe()).sort(byName)
  }

  async topicExists(topic: string): Promise<boolean> {
    return this.#live(this.#enter('topicExists', topic)) !== undefined
  }

  async describeTopic(topic: string): Promise<TopicDescription> {
    return this.#existing('describeTopic', topic).describe()
  }

  async alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription> {
    const { ref } = this.#enter('alterTopic', topic)
    assertClientMayChange(ref)
    return (await this.#context.topics.alter(ref, changes, this.principal)).describe()
  }

  async resolveTopic(topic: string): Promise<TopicDescription> {
    return (await this.#ensured(this.#enterPublish('resolveTopic', topic))).describe()
  }

  async publish(topic: string, message: OutgoingMessage, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#publishing('publish', topic, options, (live) =>
      this.#context.publisher.publish(live, message, options, this.principal),
    )
  }

  async publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    options?: PublishOptions,
  ): Promise<readonly PublishResult[]> {
    return this.#publishing('publishMany', topic, options, (live) =>
      this.#context.publisher.publishMany(live, messages, options, this.principal),
    )
  }

  async initProducer(): Promise<ProducerIdentity> {
    this.#assertOpen()
    return { producerId: await this.#context.producerIds.next(), epoch: 0 }
  }

  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options?: PublishOptions,
  ): MaybePromise<BatchReceipt> {
    return this.#publishing('publishBatch', topic, options, (live) =>
      this.#context.publisher.publishBatch(live, partition, batch, options, this.principal),
    )
  }

  async cancelScheduled(topic: string, id: string): Promise<boolean> {
    const live = this.#existing('cancelScheduled', topic)
    assertClientMayChange(live.ref)
    return cancelScheduled(this.#context.scheduler, live, id)
  }

  async listScheduled(topic: string, request?: ScheduledRequest): Promise<ScheduledPage> {
    return listScheduled(this.#context.scheduler, this.#existing('listScheduled', topic), request)
  }

  async deadLetters(
    topic: string,
    request: DeadLetterRequest = {},
    call?: CallOptions,
  ): Promise<DeadLetterPage> {
    throwIfAborted(call?.signal)
    const { source, of } = this.#enterDeadLetters('deadLetters', topic, request)
    return this.#context.letters.list(source, of, request)
  }

  async redriveDeadLetters(
    topic: string,
    request: RedriveRequest = {},
    call?: CallOptions,
  ): Promise<RedriveResult> {
    throwIfAborted(call?.signal)
    const { source, of } = this.#enterDeadLetters('redriveDeadLetters', topic, request)
    const mayPublish = (target: string): void => void this.#enterPublish('redriveDeadLetters', target)
    if (request.target !== undefined) mayPublish(request.target)
    return this.#context.letters.redrive(source, of, request, mayPublish, call?.signal)
  }

  async purgeDeadLetters(
    topic: string,
    request: PurgeRequest = {},
    call?: CallOptions,
  ): Promise<PurgeResult> {
    throwIfAborted(call?.signal)
    const { source, of } = this.#enterDeadLetters('purgeDeadLetters', topic, request)
    return this.#context.letters.purge(source, of, request, call?.signal)
  }

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    const live = await this.#enterSubscribe('subscribe', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribe(live, options, watched, this.#who),
    )
  }

  async subscribeMessages(
    topic: string,
    options: SubscribeOptions,
    sink: MessageSink,
  ): Promise<Subscription> {
    const live = await this.#enterSubscribe('subscribeMessages', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.subscribeMessages(live, options, watched, this.#who),
    )
  }

  async fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch> {
    throwIfAborted(call?.signal)
    return this.#context.delivery.fetch(this.#existing('fetch', topic), request, call)
  }

  async fetchGroup(
    topic: string,
    request: GroupFetchRequest,
    call?: CallOptions,
  ): Promise<readonly FetchedBatch[]> {
    throwIfAborted(call?.signal)
    if (request.member !== undefined) assertLabel('member', request.member)
    const live = this.#existingGroup('fetchGroup', topic, request.group)
    return this.#context.delivery.fetchGroup(live, request, this.#who, call)
  }

  async commit(topic: string, request: CommitRequest): Promise<void> {
    return this.#context.delivery.commit(this.#existingGroup('commit', topic, request.group), request)
  }

  async seekGroup(topic: string, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]> {
    return this.#context.delivery.seekGroup(this.#existingGroup('seekGroup', topic, group), group, request)
  }

  async listGroups(topic: string): Promise<readonly string[]> {
    const live = this.#existing('listGroups', topic)
    const groups = await this.#context.delivery.listGroups(live)
    return groups.filter((group) => this.#permissions.listsGroup(live.ref, group))
  }

  async describeGroup(topic: string, group: string): Promise<GroupDescription> {
    return this.#context.delivery.describeGroup(this.#existingGroup('describeGroup', topic, group), group)
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    return this.#context.delivery.deleteGroup(this.#existingGroup('deleteGroup', topic, group), group)
  }

  async consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription> {
    const live = await this.#enterSubscribe('consume', topic, options)
    return this.#subscriptions.add(sink, (watched) =>
      this.#context.delivery.queues.consume(live, options, watched, this.#who),
    )
  }

  async take(topic: string, request: TakeRequest, call?: CallOptions): Promise<Taken> {
    throwIfAborted(call?.signal)
    const live = await this.#enterSubscribe('take', topic, request)
    return this.#context.delivery.queues.take(live, request, this.#who, call)
  }

  settle(topic: string, request: SettleRequest): MaybePromise<readonly SettleResult[]> {
    return this.#context.delivery.queues.settle(this.#existingGroup('settle', topic, request.group), request)
  }

  heartbeat(topic: string, group: string, member: string): void {
    this.#context.delivery.queues.heartbeat(this.#existingGroup('heartbeat', topic, group), group, member)
  }

  leaveQueue(topic: string, group: string, member: string): void {
    this.#context.delivery.queues.leave(this.#existingGroup('leaveQueue', topic, group), group, member)
  }

  async createQueue(
    topic: string,
    group: string,
    config?: Partial<QueueConfig>,
    from?: StartPosition,
  ): Promise<QueueDescription> {
    const live = this.#existingGroup('createQueue', topic, group)
    return this.#context.delivery.queues.create(live, group, config, from)
  }

  async alterQueue(topic: string, group: string, changes: Partial<QueueConfig>): Promise<QueueDescription> {
    const live = this.#existingGroup('alterQueue', topic, group)
    return this.#context.delivery.queues.alter(live, group, changes)
  }

  async describeQueue(topic: string, group: string): Promise<QueueDescription> {
    const live = this.#existingGroup('describeQueue', topic, group)
    return this.#context.delivery.queues.describe(live, group)
  }

  async pauseQueue(
    topic: string,
    group: string,
    paused: boolean,
    partitions?: readonly number[],
  ): Promise<void> {
    const live = this.#existingGroup('pauseQueue', topic, group)
    return this.#context.delivery.queues.pause(live, group, paused, partitions)
  }

  async offsets(topic: string, position: StartPosition): Promise<readonly PartitionOffset[]> {
    return this.#context.delivery.offsets(this.#existing('offsets', topic), position)
  }

  async topicStats(topic: string): Promise<TopicStats> {
    const live = this.#existing('topicStats', topic)
    return topicStats(live, this.#context.delivery.subscriberCount(live))
  }

  async brokerStats(): Promise<BrokerStats> {
    this.#assertOpen()
    this.#permissions.broker('brokerStats')
    return this.#context.stats()
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#names.clear()
    try {
      await this.#subscriptions.close()
    } finally {
      this.#context.closed()
    }
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw sessionClosedError()
  }

  /** The first steps of every operation on a topic: open? lawful name? permitted? Only then may existence show. */
  #enter(operation: TopicOperation, text: string): NamedTopic {
    this.#assertOpen()
    let named = this.#names.get(text)
    if (named === undefined) {
      const ref = parseTopicRef(text, this.principal.namespace)
      named = { ref, resource: topicResource(ref), topic: undefined }
      if (this.#names.size >= namesMax) this.#names.clear()
      this.#names.set(text, named)
    }
    this.#permissions.topic(operation, named.resource)
    return named
  }

  /** Dead letters are messages of their topic, which the caller must be allowed to read as well. */
  #enterDeadLetters(
    operation: TopicOperation,
    topic: string,
    request: DeadLetterFilter,
  ): { readonly source: TopicRef; readonly of: TopicRef } {
    const { ref: source } = this.#enter(operation, topic)
    const of = this.#context.letters.topicFor(source, request)
    this.#enter('deadLetters', formatTopicRef(of))
    return { source, of }
  }

  #enterPublish(operation: TopicOperation, text: string): NamedTopic {
    const named = this.#enter(operation, text)
    assertClientMayChange(named.ref)
    return named
  }

  async #enterSubscribe(
    operation: GroupOperation,
    text: string,
    options: Pick<SubscribeOptions, 'group' | 'member'>,
  ): Promise<Topic> {
    const named = this.#enter(operation, text)
    if (options.group !== undefined) this.#checkGroup(operation, named.ref, options.group)
    if (options.member !== undefined) assertLabel('member', options.member)
    const live = this.#live(named)
    if (live !== undefined) return live
    if (isReservedTopicName(named.ref.name)) throw topicNotFound(named.ref)
    const created = await this.#ensured(named)
    this.#assertOpen()
    return created
  }

  #existing(operation: TopicOperation, text: string): Topic {
    const named = this.#enter(operation, text)
    const live = this.#live(named)
    if (live === undefined) throw topicNotFound(named.ref)
    return live
  }

  #existingGroup(operation: GroupOperation, text: string, group: string): Topic {
    const named = this.#enter(operation, text)
    this.#checkGroup(operation, named.ref, group)
    const live = this.#live(named)
    if (live === undefined) throw topicNotFound(named.ref)
    return live
  }

  #checkGroup(operation: GroupOperation, ref: TopicRef, group: string): void {
    assertLabel('group', group)
    this.#permissions.group(operation, ref, group)
  }

  #live(named: NamedTopic): Topic | undefined {
    if (isHiddenTopic(named.ref)) return undefined
    if (named.topic === undefined || named.topic.deleted) named.topic = this.#context.topics.get(named.ref)
    return named.topic
  }

  /** The topic, created on the way when that is allowed. @throws RTK_TOPIC_NOT_FOUND */
  async #ensured(named: NamedTopic): Promise<Topic> {
    const live = this.#live(named)
    if (live !== undefined) return live
    if (!this.#context.autoCreateTopics || !this.#permissions.mayCreate(named.resource)) {
      throw topicNotFound(named.ref)
    }
    named.topic = await this.#context.topics.ensure(named.ref, this.principal)
    return named.topic
  }

  /** Runs a publish only while the lease is held: asked in the same turn in which the publish gets its place. */
  #leased<T>(proof: LeaseProof, run: (topic: Topic) => MaybePromise<T>): (topic: Topic) => MaybePromise<T> {
    return (topic) => {
      const source = this.#context.topics.get(parseTopicRef(proof.topic, this.principal.namespace))
      if (source === undefined || !this.#context.delivery.queues.holdsLease(source, proof))
        throw leaseLost(proof)
      return run(topic)
    }
  }

  #publishing<T>(
    operation: TopicOperation,
    text: string,
    options: PublishOptions | undefined,
    run: (topic: Topic) => MaybePromise<T>,
  ): MaybePromise<T> {
    const signal = options?.signal
    throwIfAborted(signal)
    const named = this.#enterPublish(operation, text)
    const live = this.#live(named)
    const leased = options?.lease === undefined ? run : this.#leased(options.lease, run)
    const result = live === undefined ? this.#ensured(named).then(leased) : leased(live)
    return signal !== undefined && isPromise(result) ? cancellable(result as Promise<T>, signal) : result
  }
}

const leaseLost = ({ topic, group, partition, offset, lease }: LeaseProof): RatatoskrError =>
  new RatatoskrError(
    'RTK_LEASE_LOST',
    `lease ${lease} of group ${quoteForMessage(group)} does not hold message ${partition}:${offset} of ${quoteForMessage(topic)} any more; nothing was published`,
  )

function byName(one: TopicDescription, other: TopicDescription): number {
  const [a, b] = [formatTopicRef(one), formatTopicRef(other)]
  return a < b ? -1 : a > b ? 1 : 0
}

function assertClientMayName(ref: TopicRef): void {
  if (isReservedTopicName(ref.name)) {
    throw new RatatoskrError(
      'RTK_TOPIC_NAME_INVALID',
      `topic names that begin with _ are the broker's own; got ${formatTopicRef(ref)}`,
    )
  }
}

function assertClientMayChange(ref: TopicRef): void {
  if (isReservedTopicName(ref.name)) {
    throw new RatatoskrError(
      'RTK_PERMISSION_DENIED',
      `topic ${formatTopicRef(ref)} is the broker's own; clients may only read it`,
    )
  }
}
