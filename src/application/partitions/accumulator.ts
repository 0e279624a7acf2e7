/**
 * Gathers messages that are published one by one into batches: those of one event-loop turn become one, and while the
 * store is still busy with the batch before, those that come meanwhile wait and become one too. So a fast store sees
 * no delay and a slow one sees few, large batches.
 */
import type { BatchBuilder, RecordFields } from '../../domain/batch/builder.ts'
import type { BuilderPool, BuilderPoolBounds } from '../../domain/batch/builder-pool.ts'
import { type Durability, isAtLeast } from '../../domain/durability.ts'
import { type RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { isPromise } from '../maybe-promise.ts'

/** Told what became of one message. Exactly one of the two is called. */
export interface MessageWaiter {
  stored(offset: number, durability: Durability): void
  failed(error: RatatoskrError): void
}

/** Where full batches go: the partition's single writer. */
export interface BatchWriter {
  /** @returns the base offset, when the batch has reached `durability` */
  write(
    batch: Uint8Array,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
  ): number | Promise<number>
  /** True while earlier batches wait for the store. */
  readonly busy: boolean
  /** A batch was refused or failed. */
  refused(recordCount: number, sizeBytes: number, error: RatatoskrError, enteredMs: number): void
  /** A batch was handed to the store: the next messages without a key may go to another partition. */
  flushed(): void
}

/** Batches are closed at this size: large enough that their fixed cost does not show, small enough to go on quickly. */
const batchBytesTarget = 256 * 1024
/** Builders that partitions share; one that was stretched by a large message is not kept. */
export const sharedBuilders: BuilderPoolBounds = { buildersMax: 64, builtBytesMax: 2 * batchBytesTarget }

/** Room within `batchBytesMax` for the batch header, and for the varints of one record with all its headers. */
export const batchOverheadBytes = 4 * 1024

export interface AccumulatorLimits {
  readonly batchBytesMax: number
  readonly messagesPerBatchMax: number
}

export class Accumulator {
  readonly #writer: BatchWriter
  readonly #pool: BuilderPool
  readonly #bytesTarget: number
  readonly #messagesMax: number
  #builder: BatchBuilder | undefined
  #waiters: MessageWaiter[] = []
  #durability: Durability = 'memory'
  #enteredMs = 0
  #scheduled = false

  constructor(writer: BatchWriter, pool: BuilderPool, limits: AccumulatorLimits) {
    this.#writer = writer
    this.#pool = pool
    this.#bytesTarget = Math.min(batchBytesTarget, limits.batchBytesMax - batchOverheadBytes)
    this.#messagesMax = limits.messagesPerBatchMax
  }

  /** Messages that wait to become a batch. */
  get messageCount(): number {
    return this.#waiters.length
  }

  get sizeBytes(): number {
    return this.#builder?.sizeBytes ?? 0
  }

  /** @param sizeBytes about what the record will take, so that a batch is closed before it grows too large */
  add(
    record: RecordFields,
    sizeBytes: number,
    durability: Durability,
    enteredMs: number,
    waiter: MessageWaiter,
  ): void {
    if (this.#builder !== undefined && this.#builder.sizeBytes + sizeBytes > this.#bytesTarget) this.flush()
    if (this.#builder === undefined) {
      this.#builder = this.#pool.take()
      this.#durability = durability
      this.#enteredMs = enteredMs
    } else if (!isAtLeast(this.#durability, durability)) {
      this.#durability = durability
    }
    this.#builder.add(record)
    this.#waiters.push(waiter)
    if (this.#waiters.length >= this.#messagesMax) this.flush()
    else if (!this.#scheduled && !this.#writer.busy) this.#schedule()
  }

  /** Hands what was gathered to the writer now. The writer calls it whenever an earlier batch has settled. */
  flush(): void {
    const builder = this.#builder
    if (builder === undefined) return
    const waiters = this.#waiters
    const durability = this.#durability
    const enteredMs = this.#enteredMs
    this.#builder = undefined
    this.#waiters = []
    const batch = builder.build()
    this.#pool.giveBack(builder, batch.length)
    this.#writer.flushed()
    try {
      const written = this.#writer.write(batch, waiters.length, durability, enteredMs)
      if (!isPromise(written)) {
        settle(waiters, written, durability)
        return
      }
      written.then(
        (baseOffset) => settle(waiters, baseOffset, durability),
        (error) => this.#refuse(waiters, batch.length, error, enteredMs),
      )
    } catch (error) {
      this.#refuse(waiters, batch.length, error, enteredMs)
    }
  }

  /** Refuses what was gathered and not handed on yet. */
  fail(error: RatatoskrError): void {
    const builder = this.#builder
    if (builder === undefined) return
    const waiters = this.#waiters
    this.#builder = undefined
    this.#waiters = []
    this.#refuse(waiters, builder.sizeBytes, error, this.#enteredMs)
  }

  #schedule(): void {
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      // Full batches of the same turn may have made the writer busy; then it asks for the rest when it is ready.
      if (!this.#writer.busy) this.flush()
    })
  }

  #refuse(waiters: readonly MessageWaiter[], sizeBytes: number, error: unknown, enteredMs: number): void {
    const reason = toRatatoskrError(error, 'RTK_STORE_FAILED')
    this.#writer.refused(waiters.length, sizeBytes, reason, enteredMs)
    for (const waiter of waiters) waiter.failed(reason)
  }
}

function settle(waiters: readonly MessageWaiter[], baseOffset: number, durability: Durability): void {
  for (let place = 0; place < waiters.length; place++) waiters[place].stored(baseOffset + place, durability)
}
