/**
 * The idempotent producers of one partition, over the life of its log.
 *
 * The log is the truth: each batch carries who sent it. A snapshot in the state store says how things stood at some
 * offset, and opening the log reads the headers of what came after it. So whatever is lost of the table in a crash is
 * found again, and a batch that is not in the log is not in the table.
 */
import {
  baseOffsetOf,
  baseSequenceOf,
  batchStarts,
  endOffsetOf,
  nextOffsetOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../../domain/batch/header.ts'
import type { Durability } from '../../domain/durability.ts'
import { isRatatoskrError } from '../../domain/errors.ts'
import { type KnownBatch, ProducerTable } from '../../domain/producers/producer-table.ts'
import { producersPerSnapshotMax } from '../../domain/producers/snapshot.ts'
import type { BatchBytes, Limits, LogId, PartitionLog, Platform } from '../../ports/index.ts'
import type { ProducerStore } from './producer-store.ts'

/** Bytes of the log that one opening reads at most, about: so many are appended between two snapshots. */
const snapshotAfterBytes = 64 * 1024 * 1024
/** Less than this is read again sooner than a snapshot is written, when nobody is in it. */
const worthNothingBytes = 1024 * 1024
/** Bytes that are read at a time. */
const readBytes = 1024 * 1024

export interface ProducersContext {
  readonly platform: Platform
  readonly limits: Limits
  readonly producers: ProducerStore
}

/** What of a log is walked. */
export type WalkedLog = Pick<PartitionLog, 'startOffset' | 'stableOffset' | 'read' | 'offsetForTime'>

/** What goes through the log at its opening, batch by batch, from the first offset that somebody has to see. */
export interface LogWalker {
  /** Where it begins. */
  readonly from: number
  /** Whole batches, back to back. */
  batches(bytes: BatchBytes): void
  /** From here on nothing can be read, for the medium fails. */
  unreadable(): void
}

export class PartitionProducers {
  readonly #id: LogId
  readonly #context: ProducersContext
  #table: ProducerTable
  /** The log that the table tells of. */
  #log: PartitionLog | undefined
  /** The table tells of everything below. */
  #upTo = 0
  #bytesSinceSnapshot = 0
  #saving = false
  /** When a batch was decided about last, Unix ms: it is added in the same turn. */
  #checkedMs = 0

  constructor(id: LogId, context: ProducersContext) {
    this.#id = id
    this.#context = context
    this.#table = this.#emptyTable()
  }

  /** Makes the table of a log that was just opened. @returns what must see the batches behind the snapshot */
  async restore(log: PartitionLog): Promise<LogWalker> {
    const { producers } = this.#context
    this.#log = log
    this.#table = this.#emptyTable()
    this.#bytesSinceSnapshot = 0
    const snapshot = await producers.read(this.#id)
    this.#upTo = 0
    if (snapshot !== undefined && snapshot.upTo > log.endOffset) {
      // It tells of batches that were lost, whose offsets will be others': before that happens it must be gone.
      await producers.write(this.#id, undefined)
    } else if (snapshot !== undefined) {
      for (const { batches, lastMs } of snapshot.producers)
        for (const batch of batches) this.#table.add(batch, lastMs)
      this.#upTo = snapshot.upTo
    }
    const nowMs = this.#context.platform.clock.now()
    return {
      from: Math.max(this.#upTo, log.startOffset),
      batches: (bytes) => this.#walked(bytes, nowMs),
      unreadable: () => {
        this.#table = this.#emptyTable()
      },
    }
  }

  /**
   * Decides about a batch with a producer id, before it is stamped.
   * @param batch see `sequencedBatch`
   * @param afterGap see `isAfterGap`
   * @returns what is known of it when it was taken before
   * @throws RTK_BATCH_MALFORMED, RTK_SEQUENCE_OUT_OF_ORDER, RTK_PRODUCER_FENCED
   */
  check(batch: KnownBatch, afterGap: boolean): KnownBatch | undefined {
    this.#checkedMs = this.#context.platform.clock.now()
    return this.#table.check(batch, this.#checkedMs, afterGap)
  }

  /** Takes a batch that `check` let pass and that the log has accepted. */
  add(batch: KnownBatch): void {
    this.#table.add(batch, this.#checkedMs)
  }

  /** A batch with a producer id is stored; before `appended` is told of it. */
  stored(batch: KnownBatch): void {
    this.#table.stored(batch)
  }

  failed(batch: KnownBatch): void {
    this.#table.failed(batch)
  }

  /** Whatever was appended, everything below `upTo` is stored now. */
  appended(log: PartitionLog, upTo: number, sizeBytes: number): void {
    if (log !== this.#log) return
    this.#upTo = upTo
    this.#bytesSinceSnapshot += sizeBytes
    if (this.#bytesSinceSnapshot >= snapshotAfterBytes) void this.save()
  }

  /** When the log is closed: the next opening need not read what it did. */
  async close(): Promise<void> {
    if (this.#bytesSinceSnapshot === 0) return
    if (this.#table.size > 0 || this.#bytesSinceSnapshot >= worthNothingBytes) await this.save()
  }

  /** Stores how things stand. A failure is reported: the one before does, and costs more reading. */
  async save(): Promise<void> {
    if (this.#saving) return
    this.#saving = true
    this.#bytesSinceSnapshot = 0
    try {
      await this.#context.producers.write(this.#id, {
        upTo: this.#upTo,
        producers: [...this.#table.states()],
      })
    } catch (error) {
      this.#context.platform.logger.warn('what is known of producers could not be stored', {
        ...this.#id,
        error,
      })
    } finally {
      this.#saving = false
    }
  }

  #walked(bytes: BatchBytes, nowMs: number): void {
    this.#bytesSinceSnapshot += bytes.length
    for (const at of batchStarts(bytes)) {
      const end = nextOffsetOf(bytes, at)
      if (end <= this.#upTo) continue // the snapshot tells of it
      this.#upTo = end
      if (producerIdOf(bytes, at) === -1) continue
      const batch = sequencedBatch(bytes, undefined, at)
      batch.baseOffset = baseOffsetOf(bytes, at)
      this.#table.add(batch, nowMs)
    }
  }

  #emptyTable(): ProducerTable {
    const { limits } = this.#context
    return new ProducerTable({
      producersMax: Math.min(limits.producersPerPartitionMax, producersPerSnapshotMax),
      expiryMs: limits.producerExpiryMs,
    })
  }
}

/** What a batch's header says of its producer. */
export const sequencedBatch = (
  bytes: BatchBytes,
  durability: Durability | undefined,
  at = 0,
): KnownBatch => ({
  producerId: producerIdOf(bytes, at),
  epoch: producerEpochOf(bytes, at),
  baseSequence: baseSequenceOf(bytes, at),
  recordCount: recordCountOf(bytes, at),
  baseOffset: -1,
  durability,
  settled: undefined,
})

/** Reads a log from where the first of the walkers begins to its end, past what is damaged. */
export async function walkLog(
  log: WalkedLog,
  walkers: readonly LogWalker[],
  unreadable: (error: unknown) => void,
): Promise<void> {
  let offset = Math.min(...walkers.map(({ from }) => from))
  while (offset < log.stableOffset) {
    try {
      const bytes = await log.read(offset, readBytes)
      const end = endOffsetOf(bytes)
      if (end === undefined) return
      for (const walker of walkers) if (end > walker.from) walker.batches(bytes)
      offset = end
    } catch (error) {
      const next = isRatatoskrError(error, 'RTK_STORE_CORRUPT') ? error.details.nextOffset : undefined
      if (typeof next !== 'number' || next <= offset) {
        for (const walker of walkers) walker.unreadable()
        unreadable(error)
        return
      }
      offset = next
    }
  }
}
