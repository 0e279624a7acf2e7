/**
 * What publishes meet before a partition's single writer, wherever that is: the bound on what waits for it, and the
 * gathering of single messages into batches.
 */
import type { RecordFields } from '../../domain/batch/builder.ts'
import type { Durability } from '../../domain/durability.ts'
import type { RatatoskrError } from '../../domain/errors.ts'
import { SharedRefusal } from '../admission/shared-refusal.ts'
import { Accumulator, type BatchWriter, type MessageWaiter } from './accumulator.ts'
import { AppendQueue } from './append-queue.ts'
import type { PartitionContext, PartitionOwner } from './partition-context.ts'
import { partitionOverloaded } from './partition-errors.ts'

/** The writer that the intake is for. */
export interface IntakeWriter {
  /** @throws why nothing can be taken now */
  online(): void
  write: BatchWriter['write']
}

export class PublishIntake {
  readonly #partition: number
  readonly #owner: PartitionOwner
  readonly #context: PartitionContext
  readonly #writer: IntakeWriter
  readonly #queue: AppendQueue
  readonly #refusal: SharedRefusal
  #accumulator: Accumulator | undefined

  constructor(partition: number, owner: PartitionOwner, context: PartitionContext, writer: IntakeWriter) {
    this.#partition = partition
    this.#owner = owner
    this.#context = context
    this.#writer = writer
    this.#queue = new AppendQueue(context.limits, context.budget)
    this.#refusal = new SharedRefusal(context.platform.clock)
  }

  /** See `TopicPartition.admit`. */
  admit(recordCount: number, sizeBytes: number): void {
    this.#writer.online()
    const gathered = this.#accumulator
    const refusal = this.#queue.refusal(
      recordCount,
      sizeBytes,
      gathered?.messageCount ?? 0,
      gathered?.sizeBytes ?? 0,
    )
    if (refusal !== undefined) {
      throw this.#refusal.of(() => partitionOverloaded(this.#owner.text, this.#partition, refusal))
    }
  }

  /** See `TopicPartition.appendMessage`. */
  appendMessage(
    record: RecordFields,
    sizeBytes: number,
    durability: Durability,
    enteredMs: number,
    waiter: MessageWaiter,
  ): void {
    this.admit(1, sizeBytes)
    this.#accumulator ??= this.#makeAccumulator()
    this.#accumulator.add(record, sizeBytes, durability, enteredMs, waiter)
  }

  /** A batch was handed over, and waits from now on. */
  entered(recordCount: number, sizeBytes: number): void {
    this.#queue.entered(recordCount, sizeBytes)
  }

  /** It waits no longer. What was gathered meanwhile may be flushed. */
  left(recordCount: number, sizeBytes: number): void {
    this.#queue.left(recordCount, sizeBytes)
  }

  /** Hands single messages to the writer that were gathered: before what comes after them, and when nothing waits. */
  flush(): void {
    this.#accumulator?.flush()
  }

  /** Refuses what was gathered. */
  fail(error: RatatoskrError): void {
    this.#accumulator?.fail(error)
  }

  #makeAccumulator(): Accumulator {
    const queue = this.#queue
    const writer = this.#writer
    const { traffic, builders, limits } = this.#context
    return new Accumulator(
      {
        write: (batch, recordCount, durability, enteredMs) =>
          writer.write(batch, recordCount, durability, enteredMs),
        get busy() {
          return queue.busy
        },
        refused: (recordCount, sizeBytes, error, enteredMs) =>
          traffic.failed(this.#owner.text, this.#partition, recordCount, sizeBytes, error, enteredMs),
        flushed: () => this.#owner.batchFlushed(this.#partition),
      },
      builders,
      limits,
    )
  }
}
