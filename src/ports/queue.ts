/**
 * Queue groups: members take leased messages and settle each of them. What a transport or the client needs to know; the
 * rules are in src/domain/queue, what carries them out in src/application/queues.
 *
 * A lease is a number. Within a group and partition it is greater with each delivery, also across restarts of the broker:
 * whoever stores it along with what he writes elsewhere can refuse writes with a smaller one (a fencing token).
 */
import type { RatatoskrError } from '../domain/errors.ts'
import type { QueueChanges, QueueConfig } from '../domain/queue/queue-config.ts'
import type { settlementActions } from '../domain/queue/settlement.ts'
import type { CallOptions, MaybePromise } from './component.ts'
import type { BatchBytes } from './log-store.ts'
import type { StartPosition } from './positions.ts'

/** As whom to consume from a queue group. */
export interface ConsumeOptions {
  readonly group: string
  /** Name of this member within the group; made up by the broker otherwise. A name that is taken replaces its holder. */
  readonly member?: string | undefined
  /** Where a group begins that has no position yet; `earliest` by default. */
  readonly from?: StartPosition | undefined
  /**
   * Settings of a group that is new, or has no other members; otherwise they must not contradict the group's own. Unless they
   * are what the group has, or as a new one would have anyway, whoever gives them needs `group:configure`, and to name a
   * `deadLetterTopic` the right to publish to it.
   */
  readonly config?: Partial<QueueConfig> | undefined
  /** Messages count as acknowledged when they are handed over: at most once, without leases. */
  readonly autoAck?: boolean | undefined
  /**
   * This member says `begin` before it works on a message, as the answer to joining asks it to (`LeasedSubscription.beginsFrom`). When
   * it is lost, what it held and had not begun comes again without that delivery counting. Without it, all of it counts.
   */
  readonly begins?: boolean | undefined
  /** First credit. Nothing is delivered before there is some. */
  readonly credit?: QueueCredit | undefined
}

/**
 * What a member is ready to take beyond what it was granted before. Neither is ever exceeded, but for a message that is
 * larger than `bytes` alone: it comes when nothing else is outstanding (byte credit is back at the largest single grant so
 * far), and byte credit is then below zero. A kind that was never granted has no end once the other one was.
 */
export interface QueueCredit {
  readonly messages?: number | undefined
  readonly bytes?: number | undefined
}

/** Messages of one partition that are leased together: every record of `bytes`, and nothing else, is leased. */
export interface LeasedBatch {
  readonly partition: number
  /** 0 for members with `autoAck`, who hold no lease. */
  readonly lease: number
  /** Whole record batches. Shared and immutable. Their offsets may have holes. */
  readonly bytes: BatchBytes
  readonly recordCount: number
  readonly firstOffset: number
  readonly lastOffset: number
  /** Which delivery of these messages this is, of those that count; from 1. */
  readonly attempt: number
  /** True when they may have been delivered before. */
  readonly redelivered: boolean
  /** How long the lease lasts from now on, in milliseconds. */
  readonly leaseMs: number
}

/** Offsets of one partition from `from` up to, without, `to`, that were leased with `lease`. */
export interface LeaseRange {
  readonly partition: number
  readonly lease: number
  readonly from: number
  readonly to: number
}

/**
 * What to do with messages that are held:
 * - `ack`: they are done
 * - `nack`: they failed; they come again after the group's retry policy, or `delayMs`, or become dead letters
 * - `extend`: the lease lasts for another `extendMs` from now on (the group's `ackTimeoutMs` by default)
 * - `terminate`: they are dead letters at once
 * - `release`: they were not handled; they come again at once, and the attempt does not count
 * - `ackUpTo`: all of the partition below `to` is done that the holder of `lease` holds, by whatever lease; `from` is 0. `lease`
 *   must be that of the last of them, `to - 1`: when it is lost, nothing is done
 * - `begin`: work on them begins. Nothing changes but that: when their holder is lost from now on, that counts as a failure
 *   (see `ConsumeOptions.begins`). RTK_LEASE_LOST says that it is not to begin
 */
export type SettlementAction = (typeof settlementActions)[number]

/** One thing to do with a range of messages. */
export interface Settlement extends LeaseRange {
  readonly action: SettlementAction
  /** For `nack`: in how many milliseconds they come again. */
  readonly delayMs?: number | undefined
  /** For `extend`. */
  readonly extendMs?: number | undefined
  /** For `nack` and `terminate`: why, for the dead letter; at most `settleReasonBytesMax` bytes, longer ones are cut. */
  readonly reason?: string | undefined
}

/**
 * What became of one settlement: undefined when all of it was done. Otherwise why not: RTK_LEASE_LOST when messages of the
 * range are not held with this lease any more; what of the range was held is settled all the same, and
 * `details.settled` says how many messages, in the first 100 such results of a call (the others share one error without details).
 */
export type SettleResult = RatatoskrError | undefined

/** Where a member's messages go. Calls come one after the other, never after `ended`. */
export interface LeaseSink {
  /**
   * Takes a delivery. While a returned promise is open the sink is full and gets nothing more; nobody else waits for it.
   * A throw or rejection ends the subscription.
   */
  deliver(batch: LeasedBatch): MaybePromise<void>
  /** These leases are lost: settling them would be refused, and others may be at work on the messages. */
  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void
  /** In a `partitioned` group: the partitions that are now the member's. */
  assigned?(partitions: readonly number[]): void
  /** The subscription is over: `undefined` when its holder closed it. Called exactly once. */
  ended(reason: RatatoskrError | undefined): void
}

/** Why leases are lost: the ack timeout, an earlier message of the key that failed, a seek of the group, or a partition that moves. */
export type LeaseLossReason = 'timeout' | 'order' | 'seek' | 'moved'

/** Why a message was given up: its retries are used up, a member said so (or nobody can be given it), or it expired. */
export type DeadLetterReason = 'retries' | 'terminated' | 'expired'

/** A member that is pushed to. */
export interface LeasedSubscription {
  readonly id: string
  readonly topic: string
  readonly group: string
  readonly member: string
  /** The group's settings when it joined. */
  readonly config: QueueConfig
  /** How long it may be silent before it is evicted, in milliseconds. */
  readonly memberTimeoutMs: number
  /**
   * Before which messages a member that `begins` says so and waits for the answer: 1 for all of them (a group without retries), 2 for
   * those that are `redelivered`; 0 for none, for a member that does not. As the group was when it joined.
   */
  readonly beginsFrom: number
  grant(credit: QueueCredit): void
  /** Settles in order. @throws RTK_INVALID_ARGUMENT, RTK_CLOSED */
  settle(settlements: readonly Settlement[]): MaybePromise<readonly SettleResult[]>
  /** A sign of life. */
  heartbeat(): void
  /** Gives up what is still leased, which comes again at once elsewhere, as `ConsumeOptions.begins` says; resolves when no further call to the sink will come. Idempotent. */
  close(): Promise<void>
}

/**
 * What a member that polls takes next. Without `member`, in `shared` and `keyShared` groups each call is a member of its own, whose
 * name is in the answer: it is there as long as it holds leases, gives no signs of life, and what it does not settle comes
 * again at the ack timeout. In `partitioned` groups, whose partitions have owners, all such calls of a principal are one member,
 * named after it: processes that are to have partitions each need names.
 */
export interface TakeRequest extends Omit<ConsumeOptions, 'credit' | 'begins'> {
  readonly messagesMax?: number | undefined
  readonly bytesMax?: number | undefined
  /** How long to wait for the first message; 0 answers at once. */
  readonly waitMs?: number | undefined
}

/** What a polling member took. */
export interface Taken {
  readonly topicId: string
  /** The member's name, for its settlements and heartbeats. */
  readonly member: string
  readonly memberTimeoutMs: number
  readonly batches: readonly LeasedBatch[]
}

/** Settlements of a polling member; `member` may be left out: then the leases alone say who settles. */
export interface SettleRequest {
  readonly group: string
  readonly member?: string | undefined
  readonly settlements: readonly Settlement[]
}

/** Names a lease on one message: a publish that carries it is refused once it is lost. */
export interface LeaseProof {
  readonly topic: string
  readonly group: string
  readonly partition: number
  readonly offset: number
  readonly lease: number
}

/** A queue group: its settings, who is in it, and how far it has come. */
export interface QueueDescription {
  readonly topic: string
  readonly group: string
  readonly state: 'empty' | 'stable'
  readonly paused: boolean
  readonly config: QueueConfig
  readonly members: readonly QueueMemberDescription[]
  readonly partitions: readonly QueuePartitionDescription[]
  /** Sum of the partitions' lags. */
  readonly lag: number
}

export interface QueueMemberDescription {
  readonly member: string
  /** In a `partitioned` group: the partitions that it owns. */
  readonly partitions: readonly number[]
  /** Messages that it holds leases on. */
  readonly inFlight: number
}

export interface QueuePartitionDescription {
  readonly partition: number
  readonly paused: boolean
  /** Everything below is settled. */
  readonly ackedOffset: number
  readonly stableOffset: number
  /** Messages up to the end that are not settled. */
  readonly lag: number
  /** Of those: leased. */
  readonly inFlight: number
  /** Of those: wait for their next attempt. */
  readonly delayed: number
  readonly member: string | undefined
}

/** The part of a `Session` that has to do with queue groups. */
export interface QueueSession {
  /**
   * Joins a queue group and is pushed to while there is credit. A stream group that has no members becomes a queue group, which
   * goes on where it stands.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_GROUP_MISMATCH when the group is a stream group with members or has members with other settings,
   *   RTK_OFFSET_OUT_OF_RANGE, RTK_LIMIT_EXCEEDED, RTK_INVALID_ARGUMENT
   */
  consume(topic: string, options: ConsumeOptions, sink: LeaseSink): Promise<LeasedSubscription>
  /**
   * Takes the next messages as a member that polls: with a name it exists from its first call until it has been silent for
   * `memberTimeoutMs` (each call of it and `heartbeat` are signs of life), or `leaveQueue`.
   */
  take(topic: string, request: TakeRequest, call?: CallOptions): Promise<Taken>
  /** Settles messages, whoever of the group holds them: the lease is the proof. @throws RTK_GROUP_NOT_FOUND, RTK_INVALID_ARGUMENT */
  settle(topic: string, request: SettleRequest): MaybePromise<readonly SettleResult[]>
  /** A sign of life of a polling member. @throws RTK_LEASE_LOST when there is none of that name any more */
  heartbeat(topic: string, group: string, member: string): MaybePromise<void>
  /** A polling member leaves: what it holds comes again at once. Nothing happens when it is gone already. */
  leaveQueue(topic: string, group: string, member: string): MaybePromise<void>
  /**
   * Creates a queue group, which begins at `from`. Doing so again with equal settings is no error.
   * @returns the group as it stands
   * @throws RTK_GROUP_MISMATCH when it exists with others, or is a stream group
   */
  createQueue(
    topic: string,
    group: string,
    config?: Partial<QueueConfig>,
    from?: StartPosition,
  ): Promise<QueueDescription>
  /**
   * Changes settings; `sharing` only while the group has no members. What is null is the topic's from then on, as for a group that
   * never had it set.
   * @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH, RTK_INVALID_ARGUMENT
   */
  alterQueue(topic: string, group: string, changes: QueueChanges): Promise<QueueDescription>
  /** @throws RTK_GROUP_NOT_FOUND */
  describeQueue(topic: string, group: string): Promise<QueueDescription>
  /** Stops or starts delivery of a group, or of some of its partitions; survives restarts. Leases go on. */
  pauseQueue(topic: string, group: string, paused: boolean, partitions?: readonly number[]): Promise<void>
}
