/**
 * The leases of one partition of a queue group: which messages are settled, leased to whom and until when, wait for a
 * retry, or are on their way to the dead letters. Pure: time comes in as a number, what follows goes out as values.
 *
 * How it is used: `admit` offsets as they are read, `next` tells what a member may have, `lease` gives it to him, `settle`
 * ends it; `expire` when `nextDueMs` has come. After each of them `takeLosses` and `takeFailing` have what others must be told.
 *
 * Room for later: a priority orders what `next` chooses among (ready-queue.ts: a heap for each priority); a filter
 * of a member is one more condition of `#allows` there.
 */
import type { QueueCheckpoint } from './checkpoint.ts'
import type { CheckpointWalk } from './checkpoint-of-table.ts'

/** How a lease table begins. */
export interface LeaseTableOptions {
  /** True for `partitioned` and `keyShared`: messages of a key in order, and to one member at a time. */
  readonly ordered: boolean
  /** Greater than that of every table of the partition before, and stored (in a checkpoint) before the first lease. From 1. */
  readonly epoch: number
  /** Leases of the epoch that count as given: see lease-numbers.ts; 0 by default. */
  readonly given?: number | undefined
  /** Where a group without a checkpoint begins. */
  readonly start: number
  /** Deliveries of a message before it fails, less one; -1 for no end. */
  readonly retriesMax: number
  /** What was stored; `start` counts for nothing then. */
  readonly restored?: QueueCheckpoint | undefined
  /** How far ahead of deliveries the stored delivery bound is raised; what was delivered lately decides by default: see `BoundStep`. */
  readonly deliveryBoundStep?: number | undefined
}

/** Consecutive offsets that a member may have, all with the same attempt. */
export interface ReadyRun {
  readonly from: number
  readonly to: number
  /** Which delivery this would be, from 1. */
  readonly attempt: number
  /** True when they may have been delivered before. */
  readonly redelivered: boolean
}

/** What became of a settlement. `settled + repeated + lost` is the number of messages that the range was about. */
export interface SettleCounts {
  /** Messages that were held and now are settled (or extended). */
  readonly settled: number
  /** Messages that this lease settled before: nothing to do, and no error. */
  readonly repeated: number
  /** Messages that this lease does not hold any more, or never did: unchanged. */
  readonly lost: number
}

/** Messages whose holder must be told that he holds them no more. */
export interface Loss {
  readonly member: number
  readonly lease: number
  readonly from: number
  readonly to: number
  readonly reason: 'timeout' | 'order' | 'seek'
}

/** A message that has to become a dead letter. */
export interface FailedMessage {
  readonly offset: number
  /** Deliveries that count; 0 when it expired before the first. */
  readonly attempts: number
  /** Unix ms; 0 when it was never delivered. */
  readonly firstAtMs: number
  readonly lastAtMs: number
  /** What made it fail. `restored`: it was failing when the broker stopped, or `buryAgain` was called. */
  readonly cause: 'nack' | 'terminate' | 'timeout' | 'left' | 'expired' | 'undecodable' | 'restored'
  /** The lease that it failed with, for the reason that came with its settlement; 0 without. */
  readonly lease: number
}

/** What ends or changes a lease, but for `extend`, which has a method of its own. */
export type SettleKind = 'ack' | 'nack' | 'terminate' | 'release'

/** The state of one partition of a queue group: what the class `LeaseTable` of lease-table.ts offers. */
export interface LeaseTableApi {
  /** Everything below is settled. */
  readonly floor: number
  /** The first offset that has not been admitted. */
  readonly nextOffset: number
  /** Admitted messages that are not settled: waiting + leased + delayed + failing. */
  readonly unsettled: number
  /** Messages that may be delivered now, or wait behind an earlier one of their key. */
  readonly waiting: number
  /** Keys that have unsettled messages. */
  readonly keys: number
  readonly leased: number
  /** Messages that wait for the time of their retry. */
  readonly delayed: number
  /** Messages on their way to the dead letters. */
  readonly failing: number
  /** Settled runs above the floor. */
  readonly runs: number
  /** Goes up with everything that a checkpoint would store: compare with the last one's to know whether to store. */
  readonly changes: number
  /** `next` never goes beyond it: see `stored`. */
  readonly deliveryBound: number
  /** True when `next` comes near the delivery bound (or stands at it): store a checkpoint soon (now). */
  readonly needsBound: boolean
  /** Deliveries of a message before it fails, less one; -1 for no end. May be changed at any time. */
  retriesMax: number

  /**
   * Takes the offsets from `nextOffset` up to, without, `to` in as messages that wait.
   * @param keyHashes of each offset from `nextOffset` on, 0 for those without key; for ordered tables, undefined for no keys at all
   * @param settled offsets without a message (holes, control records, expired ones), ascending: from, to, from, to, ...;
   *   the parts outside [nextOffset, to) are left out of account
   */
  admit(to: number, keyHashes?: Int32Array, settled?: readonly number[]): void

  /**
   * What the member may have next: retries that are due and what its key no longer holds back before what is fresh, lower
   * offsets first. Changes nothing that others see: until `lease` it may be given to others. Undefined: nothing for now.
   * @param since a key that the member holds with an earlier lease counts as held by another; 0 by default
   */
  next(member: number, countMax: number, nowMs: number, since?: number): ReadyRun | undefined

  /**
   * Leases what `next` told, or a part of it, as one delivery.
   * @param begun false for a member that says when it begins with a message: until then its loss is nobody's failure
   * @returns the lease; 0, and nothing is changed, when not all of it may be had by this member any more
   */
  lease(
    from: number,
    to: number,
    member: number,
    nowMs: number,
    leaseMs: number,
    since?: number,
    begun?: boolean,
  ): number

  /** Work begins on those messages of the range that the lease holds: the attempt counts from now on, whatever becomes of the member. */
  begin(lease: number, from: number, to: number): SettleCounts

  /** The attempt of a delivery that is not settled or lost as a whole: for the retry policy. 0: not known any more. */
  attemptOf(lease: number): number

  /**
   * Ends the lease on those messages of a range that it holds: `ack` settles, `nack` makes them wait for `delayMs` or fail,
   * `terminate` lets them fail, `release` makes them wait and does not count the attempt. An `ack` from 0 up to an offset
   * is about the messages of this lease only.
   */
  settle(
    kind: SettleKind,
    lease: number,
    from: number,
    to: number,
    nowMs: number,
    delayMs?: number,
  ): SettleCounts

  /** Acknowledges everything below `to` that the member holds, whatever the lease. @returns how many messages */
  ackUpTo(member: number, to: number, nowMs: number): number

  /** Moves the deadline of those messages of the range that the lease holds. */
  extend(lease: number, from: number, to: number, untilMs: number): SettleCounts

  /** True when this lease holds the message: for fenced publishes. */
  holds(lease: number, offset: number): boolean

  /** Messages that the member holds. */
  heldBy(member: number): number

  /** Ends leases whose time is up and retries' delays. @returns how many messages changed */
  expire(nowMs: number): number

  /** When `expire` has something to do next, in Unix ms; Infinity for never. */
  readonly nextDueMs: number

  /**
   * The member is gone: what it held waits again at once, or fails, its attempt counted, unless it had not begun. No losses are
   * told to it.
   * @returns how many messages
   */
  leave(member: number, nowMs: number): number

  /** Begins anew at `offset`: nothing is admitted, attempts are forgotten, all leases are lost. `nextOffset` and `floor` are `offset`. */
  seek(offset: number): void

  /** Settles what of a range is neither leased nor failing: it is not in the log any more, or expired. @returns how many messages */
  skip(from: number, to: number): number

  /** Lets what of a range waits or is delayed fail: it goes to the dead letters. @returns how many messages */
  fail(from: number, to: number, cause: 'expired' | 'undecodable'): number

  /** Messages that are to become dead letters, each once. They stay failing, and hold their key back, until `buried`. */
  takeFailing(): readonly FailedMessage[]

  /** The dead letter is stored: settles its source. @returns false when it is not failing (the group was moved meanwhile) */
  buried(offset: number): boolean

  /** The dead letter could not be stored: `takeFailing` has it again. Nothing happens when it is not failing. */
  buryAgain(offset: number): void

  /** Losses since the last call. */
  takeLosses(): readonly Loss[]

  /** True when a message is not settled, admitted or not. */
  owes(offset: number): boolean

  /** What is known, from the checkpoint that the table began with, of what is not admitted yet. */
  ahead(): Pick<QueueCheckpoint, 'settled' | 'tried'>

  /**
   * Begins a checkpoint that is made in steps, for tables with so many unsettled messages that one would take long. The table may be
   * used meanwhile; `checkpoint` completes it, unless it `isVoid`.
   */
  beginCheckpoint(): CheckpointWalk

  /**
   * What to store. Its delivery bound follows what was delivered since the one before: see `BoundStep`.
   * @param last nothing is leased after it: then nothing is in doubt that was not delivered
   * @param walk one that was begun, and what is left of it is done now; without one, all is told, however much
   */
  checkpoint(last?: boolean, walk?: CheckpointWalk): QueueCheckpoint

  /** The checkpoint is stored: `next` may go up to its delivery bound. A table without `restored` delivers nothing before. */
  stored(checkpoint: QueueCheckpoint): void
}
