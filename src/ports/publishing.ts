/** What is said of a publish, and what comes back; and of messages that wait for their time. */
import type { Durability } from '../domain/durability.ts'
import type { RatatoskrError } from '../domain/errors.ts'
import type { CallOptions } from './component.ts'
import type { LeaseProof } from './queue.ts'

/** What a publish may ask for beside its messages. */
export interface PublishOptions extends CallOptions {
  /** More than the topic's own level, for this publish. @throws RTK_DURABILITY_UNAVAILABLE when the store cannot */
  readonly durability?: Durability | undefined
  /**
   * The lease of a message that this publish is the work of: refused when it is not held any more, so that who has lost it
   * cannot write. @throws RTK_LEASE_LOST
   */
  readonly lease?: LeaseProof | undefined
}

/** What an idempotent producer names itself by in its batches. */
export interface ProducerIdentity {
  readonly producerId: number
  readonly epoch: number
}

/** Where a message is stored, and how safely. */
export interface PublishReceipt {
  readonly id: string
  readonly partition: number
  readonly offset: number
  /** The level that was reached before this receipt was given; of a duplicate what is known of the first. */
  readonly durability: Durability
  /** True when a message of this id was stored within the topic's `dedupWindowMs`: this is the place of that one. */
  readonly duplicate?: boolean | undefined
  /** When it will be delivered, Unix milliseconds, when it waits for that: then partition and offset are -1. */
  readonly deliverAtMs?: number | undefined
}

/** What became of one message of many: its receipt, or why it was not stored. */
export type PublishResult = PublishReceipt | { readonly error: RatatoskrError }

/** Where the records of published batches are stored, and how safely. */
export interface BatchReceipt {
  readonly partition: number
  /**
   * Offset of the first record, and the others follow; of the first that was stored now when some were duplicates. Of several
   * batches of which only some were sent before it is the first one's, and the records need not stand together.
   */
  readonly baseOffset: number
  /** Records that were published, duplicates among them. */
  readonly recordCount: number
  readonly durability: Durability
  /** True when nothing was stored, since all of it was before: the same batch of an idempotent producer, or the same ids. */
  readonly duplicate?: boolean | undefined
  /**
   * Records that were not stored, because a message of their id was within the topic's `dedupWindowMs`, in order. The others
   * stand one after the other from `baseOffset` on.
   */
  readonly duplicates?: readonly DuplicateRecord[] | undefined
}

/** A record that was published before, and where. */
export interface DuplicateRecord {
  /** Its place among the records of the publish, from 0. */
  readonly index: number
  readonly partition: number
  readonly offset: number
}

/** Which of the messages that wait for their time to list. */
export interface ScheduledRequest {
  /** Messages to list, at most 1,000; 100 by default. */
  readonly limit?: number | undefined
  /** `next` of the page before. */
  readonly after?: string | undefined
}

/** A message that waits for its time. */
export interface ScheduledMessage {
  readonly id: string
  readonly deliverAtMs: number
  /** Key, headers and payload together. */
  readonly sizeBytes: number
}

/** Messages that wait for their time, those that are due first at first. */
export interface ScheduledPage {
  readonly messages: readonly ScheduledMessage[]
  /** Where the next page begins; undefined when this is the last. */
  readonly next?: string | undefined
}
