/** What a queue group knows of a member: those that are pushed to and those that poll are the same to it. */
import type { LeasedBatch, LeaseLossReason, LeaseRange, RatatoskrError } from '../../ports/index.ts'

export interface QueueMember {
  /** Which member it is, in lease tables: unique within the broker's run, from 1. */
  readonly number: number
  readonly name: string
  /** Messages are acknowledged when they are handed over. */
  readonly autoAck: boolean
  /** It says when it begins with a message: what it has not begun comes again uncounted when it is lost. */
  readonly begins: boolean
  /** True while it may be given something. */
  readonly ready: boolean
  /** What it asks for: what was made ready for one demand is not handed over to another. */
  readonly demand: unknown
  /** True while something for it is being stored, before it is handed over: it is not ready meanwhile. */
  awaiting: boolean
  /** Messages that it may be given. */
  readonly messagesLeft: number
  /** Bytes that it may be given; may be below 0. */
  readonly bytesLeft: number
  /** True when nothing is outstanding: then one message that is larger than `bytesLeft` may come. */
  readonly mayOverdraw: boolean
  /**
   * With leases before this one it counts as another member in the order of keys: it may not know of them. Who polls gets the answer
   * to a call or does not, and may begin anew under its name: it gets a later message of a key only in the same call.
   */
  knowsLeasesFrom(partition: number): number
  /** When it gave its last sign of life, by the monotonic clock; Infinity while one of its calls waits here. */
  readonly seenMs: number
  /** Nothing smaller than this can be had for now: it is not ready before it has as much credit. */
  needsBytes(size: number): void
  /** Hands over what was leased to it. */
  deliver(batch: LeasedBatch): void
  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void
  assigned(partitions: readonly number[]): void
  /** Its time begins anew, because the broker itself was not there to hear it. */
  giveTime(nowMs: number): void
  /** Ends it, once; the group forgets it and gives what it holds to others. `failed` when its sink was the reason. */
  end(reason: RatatoskrError | undefined, failed?: boolean): void
}
