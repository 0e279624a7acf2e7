/**
 * A partition as those use it who write to its topic, keep it in bounds, or end it. Its single writer may be in this event
 * loop, or elsewhere: nobody but the placement of partitions knows which.
 */
import type { RecordFields } from '../../domain/batch/builder.ts'
import type { Durability } from '../../domain/durability.ts'
import type { RatatoskrError } from '../../domain/errors.ts'
import type { PartitionDescription } from '../../domain/topic.ts'
import type { BatchBytes, ComponentHealth, MaybePromise } from '../../ports/index.ts'
import type { ReadablePartition } from '../seams.ts'
import type { MessageWaiter } from './accumulator.ts'
import type { PartitionContext, PartitionOwner } from './partition-context.ts'

/** Where a batch is that its idempotent producer has sent before, and how durably it was stored, when that is known. */
export interface StoredBatch {
  readonly baseOffset: number
  readonly durability: Durability | undefined
}

export interface TopicPartition extends ReadablePartition {
  /** Health of a partition that serves though records of it are lost; the supervisor reports one that does not serve. */
  readonly trouble: readonly ComponentHealth[]
  describe(): PartitionDescription
  /** Opens the log. @throws what the store throws */
  open(): Promise<void>
  /** Opens a log that was there before. One that cannot be opened now is tried again and again. */
  openSupervised(): Promise<void>
  /**
   * Appends one batch. Admission is by what waits already: a lone batch is taken whatever its size.
   * @param batch verified and owned: its base offset is written into it
   * @param enteredMs when the publish entered the broker, by the monotonic clock
   * @param mayStore asked last, of what is not known already; throws when it must not be stored
   * @returns the base offset, when the batch has reached `durability`; for a batch that an idempotent producer sends
   *   again what is known of it, when it is stored
   * @throws RTK_OVERLOADED, RTK_UNAVAILABLE, RTK_STORE_FULL, RTK_STORE_FAILED, RTK_SEQUENCE_OUT_OF_ORDER,
   *   RTK_PRODUCER_FENCED
   */
  append(
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | StoredBatch>
  /**
   * Appends what is left of a batch without the messages that the topic has already. Its producer's sequence goes on as
   * if all of it were stored.
   * @returns and @throws as `append`
   */
  appendRest(
    rest: BatchBytes,
    recordCount: number,
    original: BatchBytes,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | StoredBatch>
  /**
   * Takes a batch none of whose messages are stored, since the topic has them all: its producer's sequence goes on.
   * @throws RTK_UNAVAILABLE, RTK_SEQUENCE_OUT_OF_ORDER, RTK_PRODUCER_FENCED
   */
  passOver(original: BatchBytes, baseOffset: number, durability: Durability): MaybePromise<void>
  /**
   * Adds one message to the batch that is being gathered.
   * @param sizeBytes about what its record takes
   * @throws RTK_OVERLOADED, RTK_UNAVAILABLE
   */
  appendMessage(
    record: RecordFields,
    sizeBytes: number,
    durability: Durability,
    enteredMs: number,
    waiter: MessageWaiter,
  ): void
  /** @throws RTK_OVERLOADED when more waits for the store than the limits allow, RTK_UNAVAILABLE while there is no log */
  admit(recordCount: number, sizeBytes: number): void
  /** Offset of the first batch that holds a record of at least this time, without looking into it. */
  batchOffsetForTime(timestampMs: number): Promise<number>
  /** What the log tells of that name; undefined when it can only be read. */
  offsetAfterBytes?(bytes: number): number | undefined
  /** Lets go of records below `offset`, in whole segments. @returns the new start offset */
  truncateBefore(offset: number): Promise<number>
  /** Opens the log again with the topic's options as they are now. Publishes are refused for that moment. */
  reconfigure(): Promise<void>
  /** Ends the partition: what waits is written, later calls get `reason`. Idempotent. */
  close(reason: RatatoskrError): Promise<void>
  /** Deletes what is stored of a partition that is closed. */
  deleteLog(): Promise<void>
}

/** Decides where the partitions of a broker are, and makes them. */
export type PartitionPlacement = (
  index: number,
  owner: PartitionOwner,
  context: PartitionContext,
) => TopicPartition
