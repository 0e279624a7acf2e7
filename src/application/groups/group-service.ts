/** What callers may ask of groups: joining, polling, committing, seeking, looking and deleting. */

import { utf8Size } from '../../domain/batch/bytes.ts'
import type {
  CallOptions,
  Clock,
  CommitRequest,
  CommittedOffset,
  FetchedBatch,
  GroupDescription,
  GroupFetchRequest,
  Limits,
  PartitionOffset,
  Random,
  SeekRequest,
  StartPosition,
  SubscriberEvent,
} from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { throwIfAborted } from '../calls.ts'
import type { Admission } from '../delivery/admission.ts'
import { assertOffset, boundOf, partitionsOf, resolvePosition } from '../delivery/positions.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import { lookAgainMs } from '../delivery/wait.ts'
import type { Subscriber } from '../seams.ts'
import type { Group } from './group.ts'
import type { GroupMember } from './member.ts'
import { PollingMember } from './polling-member.ts'

export interface GroupServiceHost {
  readonly clock: Clock
  readonly random: Random
  readonly limits: Limits
  readonly admission: Admission
}

export class GroupService {
  readonly #host: GroupServiceHost

  constructor(host: GroupServiceHost) {
    this.#host = host
  }

  /**
   * Lets a member in, as soon as the group has its positions.
   * @param admit makes the member, or throws when it may not come in after all
   */
  async join<Member extends GroupMember>(
    state: TopicState,
    name: string,
    from: StartPosition | undefined,
    admit: (group: Group) => Member,
  ): Promise<Member> {
    const group = this.#groupFor(state, name)
    group.joins++
    try {
      await group.open(async (indexes) => {
        const { topic } = state
        const found = await resolvePosition(topic, from ?? 'earliest', partitionsOf(topic, indexes))
        if (state.closeReason !== undefined) throw state.closeReason
        return found
      })
      return admit(group)
    } finally {
      group.joins--
      this.#dropUnused(state, group)
    }
  }

  /** A member is gone. */
  leave(state: TopicState, groupName: string, member: GroupMember): void {
    const group = state.groups.get(groupName)
    if (group === undefined) return
    group.leave(member)
    this.#dropUnused(state, group)
  }

  async fetch(
    state: TopicState,
    request: GroupFetchRequest,
    who: Subscriber,
    call: CallOptions | undefined,
  ): Promise<readonly FetchedBatch[]> {
    const { clock, limits, admission } = this.#host
    const bounds = {
      bytesMax: boundOf('bytesMax', request.bytesMax, 1, limits.deliveryBytesMax),
      messagesMax: boundOf('messagesMax', request.messagesMax, 1, limits.creditMessagesMax),
    }
    const waitMs = boundOf('waitMs', request.waitMs ?? 0, 0, limits.fetchWaitMsMax)
    const positions = request.positions ?? []
    for (const { offset } of positions) assertOffset('positions', offset)
    throwIfAborted(call?.signal)
    const deadlineMs = clock.monotonic() + waitMs
    const member = await this.#pollingMember(state, request, who)
    member.speaking()
    try {
      member.reposition(positions)
      for (;;) {
        throwIfAborted(call?.signal)
        if (member.endReason !== undefined) throw member.endReason
        const batches = await member.take(bounds)
        for (const batch of batches)
          admission.fetched(state, batch, subscriberEvent(state, request.group, member.id, who))
        const leftMs = deadlineMs - clock.monotonic()
        if (batches.length > 0 || leftMs <= 0) return batches
        const missed = member.cursors.some((cursor) => cursor.readable)
        const partitions = member.cursors.map((cursor) => cursor.feed.partition)
        const waitLongMs = missed ? Math.min(leftMs, lookAgainMs) : leftMs
        await state.waits.wait([member, ...partitions], waitLongMs, call?.signal)
      }
    } finally {
      member.silent()
    }
  }

  /** @throws as `Session.commit` */
  async commit(state: TopicState, request: CommitRequest): Promise<void> {
    if (request.member === undefined) {
      this.#assertCommit(request.offsets)
      const group = this.#groupFor(state, request.group)
      try {
        await group.commit(undefined, request.offsets)
      } finally {
        this.#dropUnused(state, group)
      }
      return
    }
    const member = state.groups.get(request.group)?.member(request.member)
    if (member === undefined) {
      throw new RatatoskrError(
        'RTK_GROUP_NOT_FOUND',
        `${request.group} has no member ${request.member} on ${state.topic.text}; join before committing`,
      )
    }
    if (member instanceof PollingMember) member.alive()
    await this.commitAs(state, request.group, member, request.offsets)
  }

  /** Commits as a member that the caller holds. */
  async commitAs(
    state: TopicState,
    groupName: string,
    member: GroupMember,
    offsets: readonly CommittedOffset[],
  ): Promise<void> {
    this.#assertCommit(offsets)
    const group = state.groups.get(groupName)
    if (group === undefined) throw new RatatoskrError('RTK_LEASE_LOST', `the group ${groupName} is gone`)
    await group.commit(member, offsets)
  }

  async seek(
    state: TopicState,
    groupName: string,
    request: SeekRequest,
  ): Promise<readonly PartitionOffset[]> {
    const { topic } = state
    const partitions = partitionsOf(topic, request.partitions ?? namedIn(request.position))
    const offsets = await resolvePosition(topic, request.position, partitions)
    if (state.closeReason !== undefined) throw state.closeReason
    const group = this.#groupFor(state, groupName)
    try {
      await group.seek(offsets)
    } finally {
      this.#dropUnused(state, group)
    }
    return offsets
  }

  list(state: TopicState): readonly string[] {
    return [...state.groups.keys(), ...state.queues.keys()].sort()
  }

  /** The least that one of the groups owes from; undefined when there is none. */
  owedFrom(state: TopicState, partition: number): number | undefined {
    let least: number | undefined
    for (const group of state.groups.values()) {
      const offset = group.owedFrom(partition)
      if (least === undefined || offset < least) least = offset
    }
    for (const queue of state.queues.values()) {
      const offset = queue.owedFrom(partition)
      if (least === undefined || offset < least) least = offset
    }
    return least
  }

  /** @throws RTK_GROUP_NOT_FOUND */
  describe(state: TopicState, name: string): GroupDescription {
    return existing(state, name).describe()
  }

  /** @throws RTK_GROUP_NOT_FOUND, RTK_INVALID_ARGUMENT while it has members; what the state store throws */
  async delete(state: TopicState, name: string): Promise<void> {
    const group = existing(state, name)
    if (group.isInUse) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `the group ${name} has members; close them before it is deleted`,
      )
    }
    state.groups.delete(name)
    try {
      await group.forget()
    } catch (error) {
      if (!state.groups.has(name)) state.groups.set(name, group)
      throw error
    }
  }

  async #pollingMember(
    state: TopicState,
    request: GroupFetchRequest,
    who: Subscriber,
  ): Promise<PollingMember> {
    const { clock, random, limits, admission } = this.#host
    const name = request.member ?? who.principal.name
    const known = state.groups.get(request.group)?.member(name)
    if (known instanceof PollingMember) return known
    const event = subscriberEvent(state, request.group, random.uuid(), who)
    admission.check(state, event)
    return await this.join(state, request.group, request.from, (group) => {
      const faster = group.member(name) // the same member's other call
      if (faster instanceof PollingMember) return faster
      admission.assertRoom(state)
      const member = new PollingMember(event.subscriptionId, name, request.member === undefined, {
        topicId: state.topic.id,
        clock,
        timeoutMs: limits.memberTimeoutMs,
        expired: (one) => {
          one.end(new RatatoskrError('RTK_LEASE_LOST', `${name} was silent for ${limits.memberTimeoutMs} ms`))
        },
        over: (one, reason) => {
          state.pollers.delete(one)
          this.leave(state, request.group, one)
          admission.left(event, reason, false)
        },
      })
      state.pollers.add(member)
      admission.joined(event)
      group.join(member)
      return member
    })
  }

  /** @throws RTK_LIMIT_EXCEEDED */
  #groupFor(state: TopicState, name: string): Group {
    if (state.closeReason !== undefined) throw state.closeReason
    state.assertGroupIs('stream', name) // also when it is about to become a queue group
    const group = state.groups.get(name)
    if (group !== undefined) return group
    const { groupsPerTopicMax } = this.#host.limits
    if (state.groupCount >= groupsPerTopicMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `${state.topic.text} has ${groupsPerTopicMax} groups, the most allowed (groupsPerTopicMax)`,
      )
    }
    return state.addGroup(name)
  }

  #dropUnused(state: TopicState, group: Group): void {
    if (!group.isUnused || group.joins > 0) return
    if (state.groups.get(group.name) === group) state.groups.delete(group.name)
  }

  /** @throws RTK_INVALID_ARGUMENT, RTK_LIMIT_EXCEEDED */
  #assertCommit(offsets: readonly CommittedOffset[]): void {
    const { commitMetadataBytesMax } = this.#host.limits
    for (const { offset, metadata } of offsets) {
      assertOffset('offset', offset)
      if (metadata === undefined) continue
      if (typeof metadata !== 'string') {
        throw new RatatoskrError('RTK_INVALID_ARGUMENT', `metadata must be a string, got ${typeof metadata}`)
      }
      if (utf8Size(metadata) > commitMetadataBytesMax) {
        throw new RatatoskrError(
          'RTK_LIMIT_EXCEEDED',
          `metadata is at most ${commitMetadataBytesMax} bytes (commitMetadataBytesMax), got ${utf8Size(metadata)}`,
        )
      }
    }
  }
}

export const subscriberEvent = (
  state: TopicState,
  group: string | undefined,
  subscriptionId: string,
  who: Subscriber,
): SubscriberEvent => ({ topic: state.topic.text, group, subscriptionId, principal: who.principal })

/** @throws RTK_GROUP_NOT_FOUND */
function existing(state: TopicState, name: string): Group {
  const group = state.groups.get(name)
  if (group !== undefined) return group
  state.assertGroupIs('stream', name)
  throw new RatatoskrError('RTK_GROUP_NOT_FOUND', `${state.topic.text} has no group ${name}`)
}

/** The partitions that a position names one by one; seeking to it moves only them, unless it says what the others do. */
function namedIn(position: StartPosition): readonly number[] | undefined {
  if (typeof position !== 'object' || position === null || !('offsets' in position)) return undefined
  if (position.otherwise !== undefined) return undefined
  return position.offsets.map(({ partition }) => partition)
}
