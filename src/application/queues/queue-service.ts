/** What callers may ask of queue groups: joining, taking, settling, looking, changing and deleting. */
import { equalQueueConfigs, parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import { queueDefaultsOf } from '../../domain/topic-config.ts'
import type {
  CallOptions,
  ComponentHealth,
  ConsumeOptions,
  LeasedSubscription,
  LeaseProof,
  LeaseSink,
  Limits,
  Logger,
  PartitionOffset,
  QueueConfig,
  QueueDescription,
  SeekRequest,
  SettleRequest,
  SettleResult,
  StartPosition,
  SubscriberEvent,
  Taken,
  TakeRequest,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { throwIfAborted } from '../calls.ts'
import type { Admission } from '../delivery/admission.ts'
import { grantOf } from '../delivery/outlet.ts'
import { boundOf, partitionOf, partitionsOf, resolvePosition } from '../delivery/positions.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import type { Group } from '../groups/group.ts'
import { subscriberEvent } from '../groups/group-service.ts'
import type { LiveTopic, Queues, Subscriber } from '../seams.ts'
import type { Checkpoints } from './checkpoints.ts'
import type { Liveness } from './liveness.ts'
import type { QueueShared } from './partition-host.ts'
import { beginAt } from './positions.ts'
import { type MemberHost, PushedMember } from './pushed-member.ts'
import { QueueGroup } from './queue-group.ts'
import type { QueueMember } from './queue-member.ts'
import type { QueueRecord, QueueStore, StoredQueues } from './queue-store.ts'
import { assertSettlements } from './settlements.ts'
import { TakingMember } from './taking-member.ts'

export interface QueueServiceHost {
  readonly limits: Limits
  readonly logger: Logger
  readonly admission: Admission
  readonly store: QueueStore
  readonly checkpoints: Checkpoints
  readonly liveness: Liveness
  readonly shared: QueueShared
  /** @throws why delivery has stopped */
  state(topic: LiveTopic): TopicState
}

export class QueueService implements Queues {
  readonly #host: QueueServiceHost
  /** Groups that are being made, by topic and name: whoever wants one of them waits for it. */
  readonly #making = new Map<string, Promise<QueueGroup>>()
  #members = 0

  constructor(host: QueueServiceHost) {
    this.#host = host
  }

  get trouble(): readonly ComponentHealth[] {
    return this.#host.checkpoints.trouble
  }

  /** Gives a topic the groups that it had. */
  restore(state: TopicState, stored: StoredQueues): void {
    for (const [name, { record, checkpoints }] of stored) {
      state.queues.set(name, new QueueGroup(name, record, checkpoints, this.#groupHost(state, name)))
      const stream = state.groups.get(name)
      if (stream !== undefined) void this.#forgetStream(state, stream) // it was about to be, when the broker ended
    }
  }

  /** The log of a partition was opened and ends at `end`: its groups go on there where they know more. @returns the writes */
  putBack(state: TopicState, partition: number, end: number): Promise<void>[] {
    let changed = false
    for (const group of state.queues.values()) {
      const known = group.partitions[partition]?.putBack(end)
      if (known === undefined) continue
      changed = true
      this.#host.store.tailLost({ topic: state.topic.text, group: group.name, partition }, known, end)
    }
    return changed ? [this.#host.checkpoints.flush()] : []
  }

  async consume(
    topic: LiveTopic,
    options: ConsumeOptions,
    sink: LeaseSink,
    who: Subscriber,
  ): Promise<LeasedSubscription> {
    const { limits, admission, shared } = this.#host
    const state = this.#host.state(topic)
    grantOf('messages', options.credit?.messages, limits.creditMessagesMax)
    grantOf('bytes', options.credit?.bytes, limits.creditBytesMax)
    const event = subscriberEvent(state, options.group, shared.random.uuid(), who)
    admission.check(state, event)
    const group = await this.#joinable(state, options)
    this.#assertRoom(state, group, options.member)
    const member = new PushedMember(
      {
        id: event.subscriptionId,
        number: ++this.#members,
        topic: topic.text,
        group: group.name,
        member: options.member ?? event.subscriptionId,
        autoAck: options.autoAck === true,
      },
      sink,
      this.#memberHost(state, group, event),
    )
    this.#admit(group, member, event)
    if (options.credit !== undefined) member.grant(options.credit)
    return member
  }

  async take(
    topic: LiveTopic,
    request: TakeRequest,
    who: Subscriber,
    call: CallOptions | undefined,
  ): Promise<Taken> {
    const { limits } = this.#host
    const bounds = {
      messagesMax: boundOf('messagesMax', request.messagesMax, 1, limits.creditMessagesMax),
      bytesMax: boundOf('bytesMax', request.bytesMax, 1, limits.deliveryBytesMax),
      waitMs: boundOf('waitMs', request.waitMs ?? 0, 0, limits.fetchWaitMsMax),
      autoAck: request.autoAck === true,
    }
    throwIfAborted(call?.signal)
    const state = this.#host.state(topic)
    const member = await this.#takingMember(state, request, who)
    const batches = await member.take(bounds, call?.signal)
    return { topicId: topic.id, member: member.name, memberTimeoutMs: limits.memberTimeoutMs, batches }
  }

  settle(topic: LiveTopic, { group, member, settlements }: SettleRequest): readonly SettleResult[] {
    const queue = existing(this.#host.state(topic), group)
    assertSettlements(settlements, queue, this.#host.limits)
    const known = member === undefined ? undefined : queue.member(member)
    if (known !== undefined) heard(known)
    return queue.settle(settlements)
  }

  heartbeat(topic: LiveTopic, group: string, name: string): void {
    const member = existing(this.#host.state(topic), group).member(name)
    if (member !== undefined) heard(member)
    else throw new RatatoskrError('RTK_LEASE_LOST', `${group} has no member ${name} any more; join again`)
  }

  leave(topic: LiveTopic, group: string, name: string): void {
    this.#host.state(topic).queues.get(group)?.member(name)?.end(undefined)
  }

  async create(
    topic: LiveTopic,
    name: string,
    given: Partial<QueueConfig> | undefined,
    from: StartPosition | undefined,
  ): Promise<QueueDescription> {
    const state = this.#host.state(topic)
    const known = state.queues.get(name)
    const own = parseQueueSettings(given)
    if (known !== undefined) assertSetAlike(known, own)
    return (known ?? (await this.#make(state, name, own, from))).describe()
  }

  async alter(topic: LiveTopic, name: string, changes: Partial<QueueConfig>): Promise<QueueDescription> {
    const group = existing(this.#host.state(topic), name)
    await group.configure(parseQueueSettings(changes))
    return group.describe()
  }

  async describe(topic: LiveTopic, name: string): Promise<QueueDescription> {
    return existing(this.#host.state(topic), name).describe()
  }

  async pause(
    topic: LiveTopic,
    name: string,
    paused: boolean,
    partitions: readonly number[] | undefined,
  ): Promise<void> {
    const group = existing(this.#host.state(topic), name)
    for (const index of partitions ?? []) partitionOf(topic, index)
    await group.pause(paused, partitions)
  }

  holdsLease(topic: LiveTopic, proof: LeaseProof): boolean {
    return this.#host.state(topic).queues.get(proof.group)?.holds(proof) ?? false
  }

  owes(topic: LiveTopic, group: string, partition: number, offset: number): boolean {
    return this.#host.state(topic).queues.get(group)?.partitions[partition]?.owes(offset) ?? false
  }

  expiredOwedFrom(topic: LiveTopic, partition: number): number | undefined {
    let from: number | undefined
    for (const { config, partitions } of this.#host.state(topic).queues.values()) {
      const owedFrom = config.deadLetterExpired ? partitions[partition]?.stored.owedFrom : undefined
      if (owedFrom !== undefined) from = Math.min(from ?? owedFrom, owedFrom)
    }
    return from
  }

  configOf(topic: LiveTopic, group: string): QueueConfig | undefined {
    return this.#host.state(topic).queues.get(group)?.config
  }

  /** Sets where a group goes on. @throws as `resolvePosition`; what the state store throws */
  async seek(
    state: TopicState,
    group: QueueGroup,
    request: SeekRequest,
  ): Promise<readonly PartitionOffset[]> {
    const { topic } = state
    const partitions = partitionsOf(topic, request.partitions ?? namedIn(request.position))
    const offsets = await resolvePosition(topic, request.position, partitions)
    if (state.closeReason !== undefined) throw state.closeReason
    group.seek(offsets)
    await this.#host.checkpoints.flush()
    return offsets
  }

  /** Forgets a group. @throws RTK_INVALID_ARGUMENT while it has members; what the state store throws */
  async delete(state: TopicState, group: QueueGroup): Promise<void> {
    if (group.memberCount > 0) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `the group ${group.name} has members; close them before it is deleted`,
      )
    }
    state.queues.delete(group.name)
    group.close()
    await this.#host.store.remove(state.topic.id, group.name)
  }

  /** The group to join: with the settings that are wished for. @throws RTK_GROUP_MISMATCH and more: see `consume` */
  async #joinable(
    state: TopicState,
    { group: name, config: given, from }: Pick<ConsumeOptions, 'group' | 'config' | 'from'>,
  ): Promise<QueueGroup> {
    const known = state.queues.get(name)
    if (known === undefined) {
      const stream = state.groups.get(name)
      if (stream?.isInUse === true) {
        throw new RatatoskrError(
          'RTK_GROUP_MISMATCH',
          `${name} is a stream group with members, who take whole batches; when they are closed it becomes a queue group with the next one who joins`,
        )
      }
      return await this.#make(state, name, parseQueueSettings(given), from, stream)
    }
    const wished = parseQueueSettings(given)
    if (equalQueueConfigs({ ...known.config, ...wished }, known.config)) return known
    if (known.memberCount > 0) throw otherSettings(known)
    await known.configure(wished)
    return known
  }

  async #make(
    state: TopicState,
    name: string,
    own: Partial<QueueConfig>,
    from: StartPosition | undefined,
    stream?: Group,
  ): Promise<QueueGroup> {
    const key = `${state.topic.id}/${name}`
    const making = this.#making.get(key)
    if (making !== undefined) {
      const made = await making
      assertSetAlike(made, own)
      return made
    }
    const { groupsPerTopicMax } = this.#host.limits
    if (stream === undefined) state.assertGroupIs('queue', name)
    if (stream === undefined && state.groupCount >= groupsPerTopicMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `${state.topic.text} has ${groupsPerTopicMax} groups, the most allowed (groupsPerTopicMax)`,
      )
    }
    const made = this.#makeNow(state, name, own, from, stream)
    this.#making.set(key, made)
    state.making.add(name)
    try {
      return await made
    } finally {
      this.#making.delete(key)
      state.making.delete(name)
    }
  }

  /**
   * Everything of a new group is stored before anybody joins it.
   * @param stream the group of batches that it was: it goes on where that stands
   */
  async #makeNow(
    state: TopicState,
    name: string,
    own: Partial<QueueConfig>,
    from: StartPosition | undefined,
    stream: Group | undefined,
  ): Promise<QueueGroup> {
    const { store, shared } = this.#host
    const { topic } = state
    const offsets = await resolvePosition(topic, from ?? 'earliest', topic.partitions)
    const { sharing } = queueDefaultsOf(topic.config)
    const record: QueueRecord = {
      own: { sharing, ...own },
      paused: false,
      pausedPartitions: [],
      usedAtMs: shared.clock.now(),
    }
    const stands = await stream?.positions()
    const begins = new Map(
      offsets.map(({ partition, offset }) => [partition, beginAt(stands?.get(partition) ?? offset)]),
    )
    const writes = [store.putRecord(topic.id, name, record)]
    for (const [index, begin] of begins) writes.push(store.putCheckpoint(topic.id, name, index, begin))
    try {
      await Promise.all(writes)
    } catch (error) {
      await store.remove(topic.id, name).catch(() => {}) // nobody knows what of it was stored
      throw error
    }
    if (state.closeReason !== undefined) throw state.closeReason
    const group = new QueueGroup(name, record, begins, this.#groupHost(state, name))
    state.queues.set(name, group)
    if (stream !== undefined) await this.#forgetStream(state, stream)
    return group
  }

  /** It is a queue group from here on, and is one after a restart too, whatever is left of the other kind. */
  async #forgetStream(state: TopicState, stream: Group): Promise<void> {
    state.groups.delete(stream.name)
    try {
      await stream.forget()
    } catch (error) {
      this.#host.logger.warn('what a group had committed before it became a queue group is still stored', {
        topic: state.topic.text,
        group: stream.name,
        error,
      })
    }
  }

  async #takingMember(state: TopicState, request: TakeRequest, who: Subscriber): Promise<TakingMember> {
    const { admission, shared, limits } = this.#host
    const name = request.member ?? who.principal.name
    const known = state.queues.get(request.group)?.member(name)
    if (known instanceof TakingMember && request.config === undefined) return known
    const event = subscriberEvent(state, request.group, shared.random.uuid(), who)
    admission.check(state, event)
    const group = await this.#joinable(state, request)
    const faster = group.member(name) // the same member's other call
    if (faster instanceof TakingMember) return faster
    this.#assertRoom(state, group, name)
    const host = this.#memberHost(state, group, event)
    const member = new TakingMember(
      {
        id: event.subscriptionId,
        number: ++this.#members,
        topic: state.topic.text,
        group: group.name,
        member: name,
      },
      {
        limits,
        logger: host.logger,
        monotonicMs: host.monotonicMs,
        ready: host.ready,
        delivered: host.delivered,
        over: host.over,
        runner: shared.runner,
        after: (delayMs, run) => shared.clock.after(delayMs, run),
        get turning() {
          return group.turning
        },
        get busy() {
          return group.busy
        },
      },
    )
    this.#admit(group, member, event)
    return member
  }

  #assertRoom(state: TopicState, group: QueueGroup, member: string | undefined): void {
    this.#host.admission.assertRoom(state)
    const { queueMembersMax } = this.#host.limits
    if (group.memberCount < queueMembersMax || (member !== undefined && group.member(member) !== undefined))
      return
    throw new RatatoskrError(
      'RTK_LIMIT_EXCEEDED',
      `the group ${group.name} has ${queueMembersMax} members, the most allowed (queueMembersMax)`,
    )
  }

  #admit(group: QueueGroup, member: QueueMember, event: SubscriberEvent): void {
    this.#host.admission.joined(event)
    this.#host.liveness.add(member)
    group.join(member)
  }

  #memberHost(state: TopicState, group: QueueGroup, event: SubscriberEvent): MemberHost {
    const { admission, liveness, limits, logger, shared } = this.#host
    return {
      limits,
      logger,
      config: group.config,
      monotonicMs: () => shared.clock.monotonic(),
      ready: (member) => group.ready(member),
      delivered: (_member, { partition, firstOffset, recordCount, bytes }) =>
        admission.delivered({
          topic: state.topic.text,
          partition,
          group: group.name,
          subscriptionId: event.subscriptionId,
          fromOffset: firstOffset,
          recordCount,
          sizeBytes: bytes.length,
        }),
      settle: (settlements) => {
        assertSettlements(settlements, group, limits)
        return group.settle(settlements)
      },
      over: (member, reason, failed) => {
        liveness.remove(member)
        group.leave(member)
        admission.left(event, reason, failed)
      },
    }
  }

  #groupHost(state: TopicState, name: string): ConstructorParameters<typeof QueueGroup>[3] {
    const { store, checkpoints, shared, logger } = this.#host
    const { topic } = state
    const source = {
      topicId: topic.id,
      group: name,
      get intervalMs(): number {
        return state.queues.get(name)?.config.checkpointIntervalMs ?? 0
      },
    }
    return {
      topic,
      shared,
      store: (record) => store.putRecord(topic.id, name, record),
      dirty: (partition, urgent) => checkpoints.mark(partition, source, urgent),
      forget: (partition) => checkpoints.forget(partition),
      gap: (partition, { from, to }) =>
        logger.error('records are lost to damage; a queue group goes on after them', {
          topic: topic.text,
          group: name,
          partition,
          from,
          to,
        }),
    }
  }
}

/** @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH when it is a stream group */
function existing(state: TopicState, name: string): QueueGroup {
  const group = state.queues.get(name)
  if (group !== undefined) return group
  state.assertGroupIs('queue', name)
  throw new RatatoskrError('RTK_GROUP_NOT_FOUND', `${state.topic.text} has no queue group ${name}`)
}

function heard(member: QueueMember): void {
  if (member instanceof TakingMember) member.alive()
  else if (member instanceof PushedMember) member.heartbeat()
}

/** @throws RTK_GROUP_MISMATCH when a group is not what it would be with these settings of its own, if it were new */
function assertSetAlike(group: QueueGroup, own: Partial<QueueConfig>): void {
  if (!equalQueueConfigs(group.config, { ...group.defaults, ...own })) throw otherSettings(group)
}

const otherSettings = (group: QueueGroup): RatatoskrError =>
  new RatatoskrError(
    'RTK_GROUP_MISMATCH',
    `the queue group ${group.name} has other settings; leave them out to take its own, or alter the group`,
  )

/** The partitions that a position names one by one; seeking to it moves only them, unless it says what the others do. */
function namedIn(position: StartPosition): readonly number[] | undefined {
  if (typeof position !== 'object' || position === null || !('offsets' in position)) return undefined
  if (position.otherwise !== undefined) return undefined
  return position.offsets.map(({ partition }) => partition)
}
