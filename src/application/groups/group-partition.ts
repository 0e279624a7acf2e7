/**
 * One partition of a group: who reads it, where, and what is committed.
 *
 * There are two committed positions. `latest` is what was asked for last and decides what a further commit may do;
 * `committed` is what is stored, and where whoever takes the partition over begins. They differ while a write is under way.
 */
import type { CommittedOffset, GroupPartitionDescription } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { Cursor } from '../delivery/cursor.ts'
import type { PartitionFeed } from '../delivery/feed.ts'
import { outOfRange } from '../delivery/positions.ts'
import type { GroupMember } from './member.ts'
import type { CommittedPosition, OffsetStore } from './offset-store.ts'

export class GroupPartition {
  readonly feed: PartitionFeed
  owner: GroupMember | undefined
  /** The owner's cursor. A partition that moves, to an owner or by a seek, gets another. */
  cursor: Cursor | undefined
  readonly #key: string
  readonly #store: OffsetStore
  #committed: CommittedPosition | undefined
  #latest: CommittedPosition | undefined
  /** The write that `latest` went out with. */
  #write: Promise<void> | undefined
  #seeks = 0

  constructor(
    feed: PartitionFeed,
    key: string,
    store: OffsetStore,
    committed: CommittedPosition | undefined,
  ) {
    this.feed = feed
    this.#key = key
    this.#store = store
    this.#committed = this.#latest = committed
  }

  get index(): number {
    return this.feed.partition.index
  }

  /** True when something is committed, or about to be. */
  get hasPosition(): boolean {
    return this.#latest !== undefined
  }

  /**
   * Where the group goes on: within the log, whatever retention or a crash did to it. Of a log that is not open nobody
   * knows where it ends: then it is what was committed, and the cursor is put into the log when that is open.
   */
  get position(): number {
    const { state, startOffset, stableOffset } = this.feed.partition
    if (state !== 'online' && this.#committed !== undefined) return this.#committed.offset
    return Math.max(Math.min(this.#committed?.offset ?? startOffset, stableOffset), startOffset)
  }

  /**
   * The first offset that the group has still to finish: what is stored counts, not what is about to be, and of a seek
   * back what it asks for. A member that is still reading before its own commit is not overtaken either.
   */
  get owedFrom(): number {
    const { startOffset } = this.feed.partition
    const committed = this.#committed?.offset ?? startOffset
    return Math.min(committed, this.#latest?.offset ?? startOffset, this.cursor?.offset ?? committed)
  }

  /** Hands the partition to `owner`, who begins at the committed offset. */
  handTo(owner: GroupMember | undefined): void {
    this.owner = owner
    this.cursor = owner === undefined ? undefined : new Cursor(this.feed, this.position)
  }

  /**
   * Refuses a commit of someone who does not own the partition, or of what was read before a seek.
   * @param member undefined for callers that gave no name
   * @throws RTK_LEASE_LOST, RTK_OFFSET_OUT_OF_RANGE
   */
  assertCommittable(member: GroupMember | undefined, offset: number): void {
    const { owner, cursor, index } = this
    const owns = member === undefined ? owner === undefined || owner.anonymous : owner === member
    if (!owns) {
      throw leaseLost(`partition ${index} belongs to another member now; go on with the new assignment`)
    }
    if (this.#seeks > 0 || (cursor?.afterSeek === true && offset > cursor.offset)) {
      throw leaseLost(`the group was moved on partition ${index} since; go on where the assignment says`)
    }
    const { partition } = this.feed
    // A consumer that retention has overtaken still commits its progress; it is moved to the start when it reads.
    const progress = this.#latest !== undefined && offset >= this.#latest.offset
    if (offset > partition.stableOffset || (offset < partition.startOffset && !progress)) {
      throw outOfRange(partition, offset)
    }
  }

  /**
   * Stores a commit, unless as much or more is committed already: commits never go back, only seeks do.
   * @returns settles when at least `offset` is stored: with true when this commit did it
   */
  async commit(commit: CommittedOffset, nowMs: number): Promise<boolean> {
    const latest = this.#latest
    // After a crash of the machine the log may end before what was committed.
    const reached = latest && Math.min(latest.offset, this.feed.partition.stableOffset)
    if (reached !== undefined && commit.offset < reached) {
      await this.#write
      return false
    }
    const advances = commit.offset !== latest?.offset
    await this.#put(commit.offset, commit.metadata ?? '', nowMs)
    return advances
  }

  /** Stores where a new group begins, so that what is published while nobody is there is kept for it. */
  async begin(offset: number, nowMs: number): Promise<void> {
    await this.#put(offset, '', nowMs)
  }

  /** Sets the committed offset, also back. Commits are refused until it is stored and the owner told. */
  async seek(offset: number, nowMs: number): Promise<void> {
    this.#seeks++
    try {
      await this.#put(offset, '', nowMs)
      // The log may have lost its tail meanwhile.
      const to = Math.min(offset, this.#latest?.offset ?? offset)
      if (this.owner !== undefined) this.cursor = new Cursor(this.feed, to, true)
    } finally {
      this.#seeks--
    }
  }

  /**
   * The log was opened and ends at `end`: what the group had beyond is lost, and what will be there is new to it.
   * @param told of what was committed beyond it
   * @returns settles when it is stored; undefined when nothing changes, for the owner neither
   */
  putBack(end: number, nowMs: number, told: (committed: number) => void): Promise<void> | undefined {
    const ahead = this.cursor !== undefined && this.cursor.offset > end
    if (ahead) this.cursor = new Cursor(this.feed, end, true)
    const latest = this.#latest
    const known = Math.max(latest?.offset ?? 0, this.#committed?.offset ?? 0)
    if (latest === undefined || known <= end) return ahead ? Promise.resolve() : undefined
    told(known)
    return this.#put(Math.min(latest.offset, end), latest.metadata, nowMs, true)
  }

  /** Settles when nothing is being stored, whether that went well or not. */
  async idle(): Promise<void> {
    await this.#write?.catch(() => {})
  }

  /** Forgets what is committed. */
  async forget(): Promise<void> {
    await this.#store.put(this.#key, undefined) // also an entry that could not be read
  }

  describe(): GroupPartitionDescription {
    const { stableOffset } = this.feed.partition
    return {
      partition: this.index,
      committedOffset: this.#committed?.offset,
      metadata: this.#committed?.metadata ?? '',
      stableOffset,
      lag: Math.max(0, stableOffset - this.position),
      member: this.owner?.name,
    }
  }

  async #put(offset: number, metadata: string, committedAtMs: number, frees = false): Promise<void> {
    const leaderEpoch = this.cursor?.leaderEpoch ?? -1
    const position: CommittedPosition = { offset, leaderEpoch, metadata, committedAtMs }
    this.#latest = position
    const write = this.#store.put(this.#key, position, frees)
    this.#write = write
    try {
      await write
    } catch (error) {
      if (this.#latest === position) this.#latest = this.#committed
      throw error
    } finally {
      if (this.#write === write) this.#write = undefined
    }
    this.#committed = position
  }
}

function leaseLost(message: string): RatatoskrError {
  return new RatatoskrError('RTK_LEASE_LOST', message)
}
