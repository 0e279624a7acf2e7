/**
 * A consumer group on one topic: its members, which of them reads which partition, and how far the group has come.
 *
 * A rebalance happens at once, when a member joins or is gone: partitions that move stop at their old owner, which is
 * synchronous here, and begin at the committed offset at the new one; the others are not touched. The group owns the
 * cursors, members borrow them: a lease table for queues will stand between the two.
 */
import type { Clock, CommittedOffset, GroupDescription, Logger, PartitionOffset } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { Cursor } from '../delivery/cursor.ts'
import type { PartitionFeed } from '../delivery/feed.ts'
import { partitionOf } from '../delivery/positions.ts'
import { handledElsewhere } from '../maybe-promise.ts'
import type { Hooks, LiveTopic } from '../seams.ts'
import { assignPartitions } from './assignment.ts'
import { GroupPartition } from './group-partition.ts'
import type { GroupMember } from './member.ts'
import { type CommittedPosition, type OffsetStore, offsetKey } from './offset-store.ts'

/** What a group needs of delivery as a whole. */
export interface GroupHost {
  readonly topic: LiveTopic
  readonly clock: Clock
  readonly logger: Logger
  readonly hooks: Hooks
  readonly offsets: OffsetStore
  feed(partition: number): PartitionFeed
}

/** Finds where a new group begins, for the partitions that have no position yet. */
export type FindStart = (partitions: readonly number[]) => Promise<readonly PartitionOffset[]>

export class Group {
  readonly name: string
  /** Joins that are under way: it is in use though it has no members yet. */
  joins = 0
  readonly #host: GroupHost
  readonly #stored: ReadonlyMap<number, CommittedPosition>
  readonly #partitions: GroupPartition[] = []
  /** In the order in which they joined. */
  readonly #members = new Map<string, GroupMember>()
  #opening: Promise<void> | undefined

  /** @param stored what it had committed before the broker started */
  constructor(name: string, host: GroupHost, stored: ReadonlyMap<number, CommittedPosition> = new Map()) {
    this.name = name
    this.#host = host
    this.#stored = stored
    this.#addPartitions()
  }

  /** True when nothing would be lost by forgetting it. */
  get isUnused(): boolean {
    return this.#members.size === 0 && !this.#partitions.some((partition) => partition.hasPosition)
  }

  get memberCount(): number {
    return this.#members.size
  }

  /** True when it has members, or is about to. */
  get isInUse(): boolean {
    return this.#members.size > 0 || this.joins > 0
  }

  member(name: string): GroupMember | undefined {
    return this.#members.get(name)
  }

  /**
   * Stores where the group begins on the partitions where it has no position. The first to come decides for all.
   * @throws what `find` throws; what the state store does
   */
  async open(find: FindStart): Promise<void> {
    while (this.#opening !== undefined) await this.#opening.catch(() => {})
    const missing = this.#partitions.filter((partition) => !partition.hasPosition)
    if (missing.length === 0) return
    this.#opening = this.#begin(missing, find)
    try {
      await this.#opening
    } finally {
      this.#opening = undefined
    }
  }

  /** Takes a member in. Whoever had its name is out, with RTK_LEASE_LOST. */
  join(member: GroupMember): void {
    const replaced = this.#members.get(member.name)
    this.#members.set(member.name, member)
    if (replaced !== undefined) {
      replaced.evict(
        new RatatoskrError('RTK_LEASE_LOST', `another consumer joined ${this.name} as ${member.name}`),
      )
    }
    this.#rebalance(member)
  }

  /** Forgets a member; nothing happens when it is none any more. */
  leave(member: GroupMember): void {
    if (this.#members.get(member.name) !== member) return
    this.#members.delete(member.name)
    this.#rebalance()
  }

  /** Forgets all members at once; whoever calls ends them. */
  disband(): void {
    this.#members.clear()
    for (const partition of this.#partitions) partition.handTo(undefined)
  }

  /** Shares out partitions that the topic got meanwhile; the group begins with their first message. */
  partitionsAdded(): void {
    const added = this.#addPartitions()
    if (this.isUnused) return
    const nowMs = this.#host.clock.now()
    for (const partition of added) {
      const begun = partition.begin(partition.feed.partition.startOffset, nowMs)
      begun.catch((error) =>
        this.#host.logger.warn('the first position of a partition was not stored', { cause: error }),
      )
    }
    this.#rebalance()
  }

  /**
   * Commits for `member`, or for nobody in particular. Nothing is committed when one of the offsets is refused.
   * @throws RTK_LEASE_LOST, RTK_OFFSET_OUT_OF_RANGE, RTK_PARTITION_NOT_FOUND; what the state store throws
   */
  async commit(member: GroupMember | undefined, offsets: readonly CommittedOffset[]): Promise<void> {
    const partitions = offsets.map((commit) => this.#partition(commit.partition))
    for (const [i, partition] of partitions.entries()) partition.assertCommittable(member, offsets[i].offset)
    const nowMs = this.#host.clock.now()
    const commits = partitions.map((partition, i) => partition.commit(offsets[i], nowMs))
    for (const commit of commits) handledElsewhere(commit) // the first failure is reported, for all
    for (const [i, commit] of commits.entries()) {
      if (await commit) this.#acked(offsets[i])
    }
  }

  /** Sets where the group goes on; members who read there are moved. @throws what the state store throws */
  async seek(offsets: readonly PartitionOffset[]): Promise<void> {
    const nowMs = this.#host.clock.now()
    const partitions = offsets.map(({ partition }) => this.#partition(partition))
    const seeks = partitions.map((partition, i) => partition.seek(offsets[i].offset, nowMs))
    await Promise.allSettled(seeks)
    this.#tell(new Set(partitions.map((partition) => partition.owner)))
    await Promise.all(seeks)
  }

  /** The log of a partition was opened and ends at `end`: the group goes on there where it had come further. @returns the writes */
  putBack(index: number, end: number): Promise<void>[] {
    const { clock, offsets, topic } = this.#host
    const partition = this.#partitions[index]
    const stored = partition?.putBack(end, clock.now(), (committed) =>
      offsets.tailLost(topic.text, index, this.name, committed, end),
    )
    if (stored === undefined) return []
    this.#tell(new Set([partition.owner]))
    return [stored]
  }

  /** The first offset of a partition that the group has still to finish. */
  owedFrom(index: number): number {
    return this.#partition(index).owedFrom
  }

  describe(): GroupDescription {
    const partitions = this.#partitions.map((partition) => partition.describe())
    return {
      topic: this.#host.topic.text,
      group: this.name,
      state: this.#members.size === 0 ? 'empty' : 'stable',
      members: [...this.#members.values()].map((member) => ({
        member: member.name,
        partitions: this.#partitions.filter((one) => one.owner === member).map((one) => one.index),
      })),
      partitions,
      lag: partitions.reduce((sum, partition) => sum + partition.lag, 0),
    }
  }

  /** Where it goes on, by partition: those on which it has begun. Once nothing is being stored. */
  async positions(): Promise<ReadonlyMap<number, number>> {
    await Promise.all(this.#partitions.map((partition) => partition.idle()))
    const begun = this.#partitions.filter((partition) => partition.hasPosition)
    return new Map(begun.map(({ index, position }) => [index, position]))
  }

  /** Forgets what is committed. @throws what the state store throws */
  async forget(): Promise<void> {
    await Promise.all(this.#partitions.map((partition) => partition.forget()))
  }

  async #begin(partitions: readonly GroupPartition[], find: FindStart): Promise<void> {
    const offsets = await find(partitions.map((partition) => partition.index))
    const nowMs = this.#host.clock.now()
    // A commit or a seek may have been faster than the search.
    await Promise.all(
      partitions.map(async (partition, i) => {
        if (!partition.hasPosition) await partition.begin(offsets[i].offset, nowMs)
      }),
    )
  }

  #addPartitions(): GroupPartition[] {
    const { topic, offsets } = this.#host
    const added: GroupPartition[] = []
    for (let index = this.#partitions.length; index < topic.partitions.length; index++) {
      const key = offsetKey(topic.id, this.name, index)
      added.push(new GroupPartition(this.#host.feed(index), key, offsets, this.#stored.get(index)))
    }
    this.#partitions.push(...added)
    return added
  }

  #partition(index: number): GroupPartition {
    partitionOf(this.#host.topic, index)
    return this.#partitions[index]
  }

  /** @param joined told of its partitions even when it has none */
  #rebalance(joined?: GroupMember): void {
    // By name: who comes back under a name keeps its partitions. It has not read them, so they are handed over anew.
    const previous = this.#partitions.map(({ owner }) => owner && this.#members.get(owner.name))
    const owners = assignPartitions(previous.length, [...this.#members.values()], previous)
    const changed = new Set<GroupMember | undefined>()
    for (const [i, partition] of this.#partitions.entries()) {
      if (owners[i] === partition.owner) continue
      changed.add(partition.owner).add(owners[i])
      partition.handTo(owners[i])
    }
    if (joined !== undefined) changed.add(joined)
    this.#tell(changed)
  }

  /** Tells those who are still members; being told may make one leave, and then the rest is told anew. */
  #tell(members: ReadonlySet<GroupMember | undefined>): void {
    for (const member of members) {
      if (member !== undefined && this.#members.get(member.name) === member)
        member.assign(this.#cursorsOf(member))
    }
  }

  #cursorsOf(member: GroupMember): Cursor[] {
    const cursors: Cursor[] = []
    for (const { owner, cursor } of this.#partitions) {
      if (owner === member && cursor !== undefined) cursors.push(cursor)
    }
    return cursors
  }

  #acked({ partition, offset }: PartitionOffset): void {
    const { hooks, topic } = this.#host
    if (!hooks.observes('messageAcked')) return
    hooks.emit('messageAcked', { topic: topic.text, partition, group: this.name, offset })
  }
}
