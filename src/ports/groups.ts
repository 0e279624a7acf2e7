/** Groups whose members share the partitions of a topic and commit offsets: what they ask, and how they are described. */
import type { PartitionOffset, StartPosition } from './positions.ts'

/** What a member that polls takes next. */
export interface GroupFetchRequest {
  readonly group: string
  /** Members share partitions by name; callers that give none are one member, named after their principal. */
  readonly member?: string | undefined
  /** Where this member stands, for partitions where it knows better than the broker: after a lost answer. */
  readonly positions?: readonly PartitionOffset[] | undefined
  readonly from?: StartPosition | undefined
  readonly bytesMax?: number | undefined
  /** Messages to take, exactly: what is beyond them stays for the next call. */
  readonly messagesMax?: number | undefined
  readonly waitMs?: number | undefined
}

/** The next offset that a group reads of a partition. */
export interface CommittedOffset extends PartitionOffset {
  /** Anything the consumer wants back with the offset. */
  readonly metadata?: string | undefined
}

/** Offsets that a group commits, and as which member. */
export interface CommitRequest {
  readonly group: string
  readonly member?: string | undefined
  readonly offsets: readonly CommittedOffset[]
}

/** Where a group goes on. */
export interface SeekRequest {
  readonly position: StartPosition
  /** Only these partitions; otherwise all, or those that `position` names when it says nothing about the others. */
  readonly partitions?: readonly number[] | undefined
}

/** A group: who is in it, and how far it has come. */
export interface GroupDescription {
  readonly topic: string
  readonly group: string
  readonly state: 'empty' | 'stable'
  readonly members: readonly GroupMemberDescription[]
  readonly partitions: readonly GroupPartitionDescription[]
  /** Sum of the partitions' lags. */
  readonly lag: number
}

/** A member, and the partitions that it owns now. */
export interface GroupMemberDescription {
  readonly member: string
  readonly partitions: readonly number[]
}

/** How far a group has come in one partition. */
export interface GroupPartitionDescription {
  readonly partition: number
  /** Next offset to read, at first where the group began; undefined while neither is known. */
  readonly committedOffset: number | undefined
  readonly metadata: string
  readonly stableOffset: number
  /** Messages between the committed offset (or the start) and the end. */
  readonly lag: number
  readonly member: string | undefined
}
