/** What callers may ask of queue groups: joining, taking, settling, looking, changing and deleting. */
import { queueDefaultsOf } from '../../domain/topic-config.ts'
import type {
  CallOptions,
  ComponentHealth,
  ConsumeOptions,
  LeasedSubscription,
  LeaseProof,
  LeaseSink,
  PartitionOffset,
  QueueChanges,
  QueueConfig,
  QueueDescription,
  SeekRequest,
  SettleRequest,
  SettleResult,
  Sharing,
  StartPosition,
  SubscriberEvent,
  Taken,
  TakeRequest,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { throwIfAborted } from '../calls.ts'
import { grantOf } from '../delivery/outlet.ts'
import { boundOf, partitionOf, partitionsOf, resolvePosition } from '../delivery/positions.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import { subscriberEvent } from '../groups/group-service.ts'
import type { LiveTopic, Queues, Subscriber } from '../seams.ts'
import { assertSetAlike, changesFor, GroupMaking, settingsFor } from './group-making.ts'
import { type MemberHost, PushedMember } from './pushed-member.ts'
import type { QueueGroup } from './queue-group.ts'
import type { QueueMember } from './queue-member.ts'
import type { StoredQueues } from './queue-store.ts'
import type { QueueServiceHost } from './service-host.ts'
import { assertSettlements } from './settlements.ts'
import { TakingMember } from './taking-member.ts'

export class QueueService implements Queues {
  readonly #host: QueueServiceHost
  readonly #making: GroupMaking
  #members = 0

  constructor(host: QueueServiceHost) {
    this.#host = host
    this.#making = new GroupMaking(host)
  }

  get trouble(): readonly ComponentHealth[] {
    return this.#host.checkpoints.trouble
  }

  /** Gives a topic the groups that it had. */
  restore(state: TopicState, stored: StoredQueues): void {
    this.#making.restore(state, stored)
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
    const id = shared.random.uuid()
    const { member: name = id } = options
    const event = { ...subscriberEvent(state, options.group, id, who), member: name }
    admission.check(state, event)
    const group = await this.#making.joinable(state, options)
    this.#assertRoom(state, group, options.member)
    const member = new PushedMember(
      {
        id: event.subscriptionId,
        number: ++this.#members,
        topic: topic.text,
        group: group.name,
        member: name,
        autoAck: options.autoAck === true,
        begins: options.begins === true && options.autoAck !== true,
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
    try {
      const batches = await member.take(bounds, call?.signal)
      return { topicId: topic.id, member: member.name, memberTimeoutMs: limits.memberTimeoutMs, batches }
    } finally {
      state.queues.get(request.group)?.retire(member)
    }
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
    const own = settingsFor(state, given)
    if (known !== undefined) assertSetAlike(known, own)
    return (known ?? (await this.#making.make(state, name, own, from))).describe()
  }

  async alter(topic: LiveTopic, name: string, changes: QueueChanges): Promise<QueueDescription> {
    const state = this.#host.state(topic)
    const group = existing(state, name)
    await group.configure(changesFor(state, changes))
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

  async #takingMember(state: TopicState, request: TakeRequest, who: Subscriber): Promise<TakingMember> {
    const { admission, shared, limits } = this.#host
    const id = shared.random.uuid()
    const passing = request.member === undefined && this.#sharingOf(state, request) !== 'partitioned'
    const name = request.member ?? (passing ? id : who.principal.name)
    const known = state.queues.get(request.group)?.member(name)
    if (known instanceof TakingMember && request.config === undefined) return known
    const event = { ...subscriberEvent(state, request.group, id, who), member: name }
    admission.check(state, event)
    const group = await this.#making.joinable(state, request)
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
        passing,
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

  /** How the group shares that a call would join. */
  #sharingOf({ queues, topic }: TopicState, { group, config }: TakeRequest): Sharing {
    return config?.sharing ?? (queues.get(group)?.config ?? queueDefaultsOf(topic.config)).sharing
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
    if (!(member instanceof TakingMember && member.passing))
      this.#host.liveness.add(member, { topic: event.topic, group: group.name })
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
        admission.delivered(state, {
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

/** The partitions that a position names one by one; seeking to it moves only them, unless it says what the others do. */
function namedIn(position: StartPosition): readonly number[] | undefined {
  if (typeof position !== 'object' || position === null || !('offsets' in position)) return undefined
  if (position.otherwise !== undefined) return undefined
  return position.offsets.map(({ partition }) => partition)
}
