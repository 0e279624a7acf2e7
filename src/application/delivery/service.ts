/**
 * The `Delivery` of the broker: admits subscribers, gives them cursors, and keeps the books. What moves bytes is in
 * subscription.ts and runner.ts; what shares partitions among members is in ../groups.
 */
import { checkOverflow } from '../../domain/overflow.ts'
import type {
  BatchSink,
  CallOptions,
  CommitRequest,
  ComponentHealth,
  FetchedBatch,
  FetchRequest,
  GroupDescription,
  GroupFetchRequest,
  Limits,
  MaybePromise,
  MessageSink,
  PartitionOffset,
  Platform,
  SeekRequest,
  StartPosition,
  StateStore,
  SubscribeOptions,
  Subscription,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { GroupService, subscriberEvent } from '../groups/group-service.ts'
import { OffsetStore, type StoredGroups } from '../groups/offset-store.ts'
import { asGroup } from '../queues/as-group.ts'
import { makeQueues, type QueueParts } from '../queues/index.ts'
import type { DeadLetters, Delivery, DeliveryTotals, Hooks, LiveTopic, Queues, Subscriber } from '../seams.ts'
import { Admission } from './admission.ts'
import { Cursor } from './cursor.ts'
import type { PartitionFeed } from './feed.ts'
import { fetchBatch } from './fetch.ts'
import { MessageOutlet } from './message-sink.ts'
import { BatchOutlet, grantOf, type Outlet, type OutletHost } from './outlet.ts'
import { partitionsOf, resolvePosition } from './positions.ts'
import { Runner } from './runner.ts'
import { PushSubscription } from './subscription.ts'
import { type SharedDelivery, SubscriptionHome } from './subscription-home.ts'
import { TopicState } from './topic-state.ts'

export interface DeliveryDependencies {
  readonly platform: Platform
  readonly limits: Limits
  readonly hooks: Hooks
  /** Must be started before `start` is called. */
  readonly stateStore: StateStore
}

export const createDelivery = (dependencies: DeliveryDependencies): Delivery =>
  new DeliveryService(dependencies)

class DeliveryService implements Delivery {
  readonly #platform: Platform
  readonly #limits: Limits
  readonly #hooks: Hooks
  readonly #admission: Admission
  readonly #runner: Runner
  readonly #offsets: OffsetStore
  readonly #groups: GroupService
  readonly #queues: QueueParts
  readonly #shared: SharedDelivery
  readonly #topics = new Map<string, TopicState>()
  /** Feeds that hold what they read last. */
  readonly #readFeeds: PartitionFeed[] = []
  /** What groups had committed, of topics that nobody has asked about yet. */
  #stored = new Map<string, StoredGroups>()
  #stopReason: RatatoskrError | undefined

  constructor({ platform, limits, hooks, stateStore }: DeliveryDependencies) {
    this.#platform = platform
    this.#limits = limits
    this.#hooks = hooks
    this.#admission = new Admission(hooks, limits)
    this.#runner = new Runner(platform.clock, this.#dropShared)
    this.#offsets = new OffsetStore(stateStore, platform.logger)
    const { clock, random } = platform
    this.#groups = new GroupService({ clock, random, limits, admission: this.#admission })
    this.#shared = {
      platform,
      runner: this.#runner,
      admission: this.#admission,
      groups: this.#groups,
      expansion: { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax },
    }
    this.#queues = makeQueues({
      platform,
      limits,
      hooks,
      stateStore,
      admission: this.#admission,
      runner: this.#runner,
      state: (topic) => this.#state(topic),
      states: () => this.#topics.values(),
    })
  }

  get queues(): Queues {
    return this.#queues.service
  }

  get totals(): DeliveryTotals {
    return this.#admission.totals
  }

  get trouble(): readonly ComponentHealth[] {
    return this.#queues.service.trouble
  }

  useDeadLetters(deadLetters: DeadLetters): void {
    this.#queues.useDeadLetters(deadLetters)
  }

  async load(): Promise<void> {
    this.#stored = await this.#offsets.load()
    await this.#queues.load()
  }

  logOpened(topic: Pick<LiveTopic, 'id' | 'text'>, partition: number, endOffset: number): MaybePromise<void> {
    const state = this.#topics.get(topic.id)
    const stored = this.#stored.get(topic.id)
    const writes = this.#queues.logOpened(topic, state, partition, endOffset)
    if (stored !== undefined) writes.push(...this.#offsets.putBack(stored, topic, partition, endOffset))
    if (state !== undefined) writes.push(...state.putBack(partition, endOffset))
    if (writes.length > 0) return allSettled(writes)
  }

  async start(topics: readonly LiveTopic[] = []): Promise<void> {
    this.#queues.start()
    this.#stopReason = undefined
    for (const topic of topics) if (this.#queues.hasStored(topic.id)) this.#state(topic)
  }

  async stop(reason: RatatoskrError): Promise<void> {
    this.#stopReason = reason
    // While the tables are there to be stored; nobody gets in any more, and the sessions are closed.
    const queuesStored = await settledResult(this.#queues.stop())
    for (const state of this.#topics.values()) state.close(reason)
    this.#topics.clear()
    this.#stored.clear()
    this.#runner.stop()
    await this.#offsets.idle()
    if (queuesStored.status === 'rejected') throw queuesStored.reason
  }

  subscribe(
    topic: LiveTopic,
    options: SubscribeOptions,
    sink: BatchSink,
    who: Subscriber,
  ): Promise<Subscription> {
    return this.#subscribe(topic, options, who, (host) => new BatchOutlet(sink, host, this.#limits))
  }

  subscribeMessages(
    topic: LiveTopic,
    options: SubscribeOptions,
    sink: MessageSink,
    who: Subscriber,
  ): Promise<Subscription> {
    const { expansion } = this.#shared
    const expiry = this.#platform.clock
    const origin = { topic: topic.text, topicId: topic.id, expansion, expiry }
    return this.#subscribe(topic, options, who, (host) => new MessageOutlet(sink, host, this.#limits, origin))
  }

  async fetch(topic: LiveTopic, request: FetchRequest, call?: CallOptions): Promise<FetchedBatch> {
    const state = this.#state(topic)
    const host = { clock: this.#platform.clock, limits: this.#limits, waits: state.waits }
    const batch = await fetchBatch(topic, request, host, call)
    this.#admission.fetched(state, batch)
    return batch
  }

  async fetchGroup(
    topic: LiveTopic,
    request: GroupFetchRequest,
    who: Subscriber,
    call?: CallOptions,
  ): Promise<readonly FetchedBatch[]> {
    return await this.#groups.fetch(this.#state(topic), request, who, call)
  }

  async commit(topic: LiveTopic, request: CommitRequest): Promise<void> {
    await this.#groups.commit(this.#state(topic), request)
  }

  async seekGroup(
    topic: LiveTopic,
    group: string,
    request: SeekRequest,
  ): Promise<readonly PartitionOffset[]> {
    const state = this.#state(topic)
    const queue = state.queues.get(group)
    if (queue !== undefined) return await this.#queues.service.seek(state, queue, request)
    return await this.#groups.seek(state, group, request)
  }

  async listGroups(topic: LiveTopic): Promise<readonly string[]> {
    return this.#groups.list(this.#state(topic))
  }

  async describeGroup(topic: LiveTopic, group: string): Promise<GroupDescription> {
    const state = this.#state(topic)
    const queue = state.queues.get(group)
    return queue === undefined ? this.#groups.describe(state, group) : asGroup(queue.describe())
  }

  async deleteGroup(topic: LiveTopic, group: string): Promise<void> {
    const state = this.#state(topic)
    const queue = state.queues.get(group)
    if (queue !== undefined) await this.#queues.service.delete(state, queue)
    else await this.#groups.delete(state, group)
  }

  async offsets(topic: LiveTopic, position: StartPosition): Promise<readonly PartitionOffset[]> {
    return await resolvePosition(topic, position, topic.partitions)
  }

  owedFrom(topic: LiveTopic, partition: number): number | undefined {
    return this.#groups.owedFrom(this.#state(topic), partition)
  }

  subscriberCount(topic: LiveTopic): number {
    return this.#topics.get(topic.id)?.subscriberCount ?? 0
  }

  deliveredCount(topic: LiveTopic): number {
    return this.#topics.get(topic.id)?.messagesDelivered ?? 0
  }

  async topicDeleted(topic: LiveTopic, reason: RatatoskrError): Promise<void> {
    const state = this.#state(topic)
    state.close(reason)
    this.#topics.delete(topic.id)
    await Promise.all([...state.groups.values()].map((group) => group.forget()))
    await this.#queues.forgetTopic(topic.id)
  }

  async forgetTopics(isGone: (topicId: string) => boolean): Promise<void> {
    await this.#queues.forgetTopics(isGone)
    const gone = [...this.#stored.keys()].filter(isGone)
    for (const topicId of gone) {
      this.#stored.delete(topicId)
      await this.#offsets.removeTopic(topicId)
    }
  }

  /** @throws why delivery has stopped */
  #state(topic: LiveTopic): TopicState {
    if (this.#stopReason !== undefined) throw this.#stopReason
    let state = this.#topics.get(topic.id)
    if (state === undefined) {
      const { clock, logger } = this.#platform
      const onRead = (feed: PartitionFeed): void => void this.#readFeeds.push(feed)
      const onSkipped = (records: number): void => this.#admission.skipped(records)
      const host = { clock, logger, hooks: this.#hooks, offsets: this.#offsets, onRead, onSkipped }
      state = new TopicState(topic, host, this.#stored.get(topic.id))
      this.#stored.delete(topic.id)
      this.#topics.set(topic.id, state)
      this.#queues.restore(state)
    }
    return state
  }

  async #subscribe(
    topic: LiveTopic,
    options: SubscribeOptions,
    who: Subscriber,
    makeOutlet: (host: OutletHost) => Outlet,
  ): Promise<Subscription> {
    const state = this.#state(topic)
    assertOptions(options, this.#limits)
    const { group, from, credit, overflow } = options
    const id = this.#platform.random.uuid()
    const event = subscriberEvent(state, group, id, who)
    this.#admission.check(state, event)
    const member = group === undefined ? '' : (options.member ?? id)
    const admit = (): PushSubscription => {
      this.#admission.assertRoom(state)
      const identity = { id, topic: topic.text, group, member }
      const host = new SubscriptionHome(this.#shared, state, event, overflow, who.remote)
      const subscription = new PushSubscription(identity, host, makeOutlet, overflow)
      state.subscriptions.add(subscription)
      this.#admission.joined(event)
      return subscription
    }
    if (group !== undefined) {
      const joined = await this.#groups.join(state, group, from, (live) => {
        const subscription = admit()
        live.join(subscription)
        return subscription
      })
      if (credit !== undefined) joined.grant(credit)
      return joined
    }
    const partitions = partitionsOf(topic, options.partitions)
    const offsets = await resolvePosition(topic, from ?? 'latest', partitions)
    const subscription = admit()
    if (options.partitions === undefined) {
      state.growing.add(subscription)
      for (let index = offsets.length; index < topic.partitions.length; index++) {
        offsets.push({ partition: index, offset: topic.partitions[index].startOffset })
      }
    }
    subscription.assign(offsets.map(({ partition, offset }) => new Cursor(state.feed(partition), offset)))
    if (credit !== undefined) subscription.grant(credit)
    return subscription
  }

  readonly #dropShared = (): void => {
    const feeds = this.#readFeeds
    while (feeds.length > 0) feeds.pop()?.dropShared()
  }
}

/** Settles when all have. @throws what the first of them did */
async function allSettled(writes: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(writes)) if (result.status === 'rejected') throw result.reason
}

async function settledResult(promise: Promise<void>): Promise<PromiseSettledResult<void>> {
  const [result] = await Promise.allSettled([promise])
  return result
}

/** @throws RTK_INVALID_ARGUMENT */
function assertOptions(options: SubscribeOptions, limits: Limits): void {
  if (options.group !== undefined && options.partitions !== undefined) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      'partitions cannot be chosen in a group: the group shares them out; leave out one of the two',
    )
  }
  if (options.overflow !== undefined) {
    checkOverflow(options.overflow)
    if (options.group !== undefined && options.overflow.policy !== 'pause') {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `the overflow policy ${options.overflow.policy} does not go with a group: its members get every message`,
      )
    }
  }
  grantOf('bytes', options.credit?.bytes, limits.creditBytesMax)
  grantOf('messages', options.credit?.messages, limits.creditMessagesMax)
}
