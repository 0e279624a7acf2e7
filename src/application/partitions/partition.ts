/**
 * One partition: the single writer of its log.
 *
 * Appends get their offsets here, in the order they come, and settle in that order. What fails, fails here: the log is
 * closed and opened again (log-keeper.ts), and no other partition notices.
 */
import type { RecordFields } from '../../domain/batch/builder.ts'
import { isAfterGap, producerIdOf, stampBatch } from '../../domain/batch/header.ts'
import type { Durability } from '../../domain/durability.ts'
import { isRatatoskrError, type RatatoskrError } from '../../domain/errors.ts'
import type { KnownBatch } from '../../domain/producers/producer-table.ts'
import type { PartitionDescription } from '../../domain/topic.ts'
import type {
  BatchBytes,
  ComponentHealth,
  LogId,
  MaybePromise,
  OffsetRange,
  PartitionLog,
} from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import { PartitionProducers, sequencedBatch, walkLog } from '../producers/partition-producers.ts'
import type { MessageWaiter } from './accumulator.ts'
import { OneShotListeners } from './listeners.ts'
import { LogKeeper } from './log-keeper.ts'
import type { PartitionContext, PartitionOwner } from './partition-context.ts'
import { partitionStoreFailed } from './partition-errors.ts'
import { type PartitionPlace, workerOf } from './partition-place.ts'
import { PublishIntake } from './publish-intake.ts'
import { recordOffsetForTime } from './time-search.ts'
import type { PartitionPlacement, TopicPartition } from './topic-partition.ts'

/** The epoch of the one leader that there is so far; see "room to leave" in the design. */
export const leaderEpoch = 0

/** Refusals after which the log goes on as before: nothing was written and nothing is broken. */
const harmlessAppendErrors: ReadonlySet<string> = new Set([
  'RTK_STORE_FULL',
  'RTK_DURABILITY_UNAVAILABLE',
  'RTK_NOT_SUPPORTED',
])

export class Partition implements TopicPartition {
  readonly index: number
  readonly #owner: PartitionOwner
  readonly #context: PartitionContext
  readonly #id: LogId
  readonly #listeners: OneShotListeners
  readonly #keeper: LogKeeper
  readonly #intake: PublishIntake
  readonly #producers: PartitionProducers
  /** Undefined when there are no other workers. */
  readonly #place: PartitionPlace | undefined

  constructor(index: number, owner: PartitionOwner, context: PartitionContext, place?: PartitionPlace) {
    this.index = index
    this.#owner = owner
    this.#context = context
    this.#place = place
    this.#id = { topicId: owner.id, partition: index }
    this.#intake = new PublishIntake(index, owner, context, {
      online: () => this.#keeper.online(),
      write: (batch, recordCount, durability, enteredMs) =>
        this.#write(batch, recordCount, durability, enteredMs),
    })
    this.#producers = new PartitionProducers(this.#id, context)
    this.#listeners = new OneShotListeners(context.platform.logger)
    this.#keeper = new LogKeeper(index, owner, context, {
      readBack: (log) => this.#readBack(log),
      logFailed: (error) => this.#intake.fail(partitionStoreFailed(owner.text, index, error)),
      stateChanged: () => this.#moved(),
    })
  }

  get state(): PartitionDescription['state'] {
    return this.#keeper.state
  }

  get startOffset(): number {
    return this.#keeper.offsets.startOffset
  }

  get stableOffset(): number {
    return this.#keeper.offsets.stableOffset
  }

  get endOffset(): number {
    return this.#keeper.offsets.endOffset
  }

  get sizeBytes(): number {
    return this.#keeper.offsets.sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#keeper.offsets.damaged
  }

  get trouble(): readonly ComponentHealth[] {
    return this.#keeper.trouble
  }

  describe(): PartitionDescription {
    return {
      partition: this.index,
      startOffset: this.startOffset,
      stableOffset: this.stableOffset,
      endOffset: this.endOffset,
      sizeBytes: this.sizeBytes,
      state: this.state,
      damaged: [...this.damaged],
      ...workerOf(this.#owner, this.#place?.worker),
    }
  }

  open(): Promise<void> {
    return this.#keeper.open()
  }

  openSupervised(): Promise<void> {
    return this.#keeper.openSupervised()
  }

  append(
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | KnownBatch> {
    this.admit(recordCount, batch.length)
    // Single messages that came before keep their place before this batch.
    this.#intake.flush()
    return this.#writeOnce(batch, batch, recordCount, durability, enteredMs, mayStore)
  }

  appendRest(
    rest: BatchBytes,
    recordCount: number,
    original: BatchBytes,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | KnownBatch> {
    this.admit(recordCount, rest.length)
    this.#intake.flush()
    return this.#writeOnce(rest, original, recordCount, durability, enteredMs, mayStore)
  }

  passOver(original: BatchBytes, baseOffset: number, durability: Durability): void {
    this.#keeper.online()
    if (producerIdOf(original) === -1) return
    const known = sequencedBatch(original, durability)
    if (this.#producers.check(known, isAfterGap(original)) !== undefined) return
    known.baseOffset = baseOffset
    this.#producers.add(known)
  }

  appendMessage(
    record: RecordFields,
    sizeBytes: number,
    durability: Durability,
    enteredMs: number,
    waiter: MessageWaiter,
  ): void {
    this.#intake.appendMessage(record, sizeBytes, durability, enteredMs, waiter)
  }

  admit(recordCount: number, sizeBytes: number): void {
    this.#intake.admit(recordCount, sizeBytes)
  }

  read(offset: number, bytesMax: number, lent?: boolean): MaybePromise<BatchBytes> {
    const log = this.#keeper.online()
    try {
      const bytes = log.read(offset, bytesMax, lent)
      if (!isPromise(bytes)) return bytes
      return bytes.then(undefined, (error) => {
        throw this.#readFailed(log, error)
      }) as Promise<BatchBytes>
    } catch (error) {
      throw this.#readFailed(log, error)
    }
  }

  offsetForTime(timestampMs: number): Promise<number> {
    return this.#onLog((log) => recordOffsetForTime(log, timestampMs, this.#context.expansion))
  }

  batchOffsetForTime(timestampMs: number): Promise<number> {
    return this.#onLog((log) => log.offsetForTime(timestampMs))
  }

  offsetAfterBytes(bytes: number): number | undefined {
    return this.#keeper.online().offsetAfterBytes?.(bytes)
  }

  async truncateBefore(offset: number): Promise<number> {
    const startOffset = await this.#onLog((log) => log.truncateBefore(offset))
    this.#place?.cells.write(this)
    return startOffset
  }

  onceChanged(run: () => void): Disposable {
    return this.#listeners.add(run)
  }

  async reconfigure(): Promise<void> {
    const { log } = this.#keeper
    if (log === undefined) return // The supervisor will open it with the new options.
    this.#intake.flush()
    await this.#keeper.openAgain(log)
  }

  async close(reason: RatatoskrError): Promise<void> {
    if (!this.#keeper.closed) this.#intake.flush()
    await this.#keeper.close(reason)
    if (!this.#owner.deleted) await this.#producers.close()
  }

  deleteLog(): Promise<void> {
    return this.#context.store.deleteLog(this.#id)
  }

  async #onLog<T>(use: (log: PartitionLog) => Promise<T>): Promise<T> {
    const log = this.#keeper.online()
    try {
      return await use(log)
    } catch (error) {
      throw this.#readFailed(log, error)
    }
  }

  /** Writes a batch, unless an idempotent producer's was written before. @param original which names the producer */
  #writeOnce(
    batch: BatchBytes,
    original: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    mayStore: (() => void) | undefined,
  ): MaybePromise<number | KnownBatch> {
    if (producerIdOf(original) === -1) {
      mayStore?.()
      return this.#write(batch, recordCount, durability, enteredMs)
    }
    this.#keeper.online()
    const sequenced = sequencedBatch(original, durability)
    const before = this.#producers.check(sequenced, isAfterGap(original))
    if (before !== undefined) return before.settled?.then(() => before) ?? before
    mayStore?.()
    return this.#write(batch, recordCount, durability, enteredMs, sequenced)
  }

  /** @param sequenced what the partition is to remember of the batch, when an idempotent producer sent it */
  #write(
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    sequenced?: KnownBatch,
  ): MaybePromise<number> {
    const log = this.#keeper.online()
    const { room } = this.#context
    const { refusals } = room
    let baseOffset: number
    let written: MaybePromise<void>
    try {
      baseOffset = log.endOffset
      stampBatch(batch, baseOffset, leaderEpoch)
      written = log.append(batch, baseOffset, recordCount, durability)
    } catch (error) {
      throw this.#appendFailed(log, batch.length, error)
    }
    if (sequenced !== undefined) sequenced.baseOffset = baseOffset
    if (!isPromise(written)) {
      if (room.full) room.stored(batch.length, refusals)
      if (sequenced !== undefined) this.#producers.add(sequenced)
      this.#producers.appended(log, baseOffset + recordCount, batch.length)
      this.#stored(batch, baseOffset, recordCount, durability, enteredMs)
      return baseOffset
    }
    const sizeBytes = batch.length
    this.#intake.entered(recordCount, sizeBytes)
    const settled = written.then(
      () => {
        this.#intake.left(recordCount, sizeBytes)
        if (room.full) room.stored(sizeBytes, refusals)
        if (sequenced !== undefined) this.#producers.stored(sequenced)
        this.#producers.appended(log, baseOffset + recordCount, sizeBytes)
        this.#stored(batch, baseOffset, recordCount, durability, enteredMs)
        this.#intake.flush()
        return baseOffset
      },
      (error) => {
        if (sequenced !== undefined) this.#producers.failed(sequenced)
        const reason = this.#appendFailed(log, sizeBytes, error)
        this.#intake.left(recordCount, sizeBytes)
        this.#intake.flush()
        throw reason
      },
    ) as Promise<number>
    if (sequenced !== undefined) {
      sequenced.settled = settled
      this.#producers.add(sequenced)
    }
    return settled
  }

  #stored(
    batch: BatchBytes,
    baseOffset: number,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
  ): void {
    this.#context.traffic.stored(
      this.#owner,
      this.index,
      baseOffset,
      recordCount,
      durability,
      batch,
      enteredMs,
    )
    this.#moved()
  }

  #moved(): void {
    this.#place?.cells.write(this)
    this.#listeners.wake()
  }

  /** What the publisher is told; the log is given up unless the refusal was harmless. */
  #appendFailed(log: PartitionLog, sizeBytes: number, error: unknown): RatatoskrError {
    if (isRatatoskrError(error) && harmlessAppendErrors.has(error.code)) {
      if (error.code === 'RTK_STORE_FULL') this.#context.room.refused(sizeBytes, error)
      return error
    }
    this.#keeper.failed(log, error)
    return partitionStoreFailed(this.#owner.text, this.index, error)
  }

  /** What the reader is told: coded errors as they are, but a log that failed is given up. */
  #readFailed(log: PartitionLog, error: unknown): RatatoskrError {
    if (this.#keeper.log !== log) return this.#keeper.unavailable()
    if (isRatatoskrError(error) && error.code !== 'RTK_STORE_FAILED' && error.code !== 'RTK_CLOSED')
      return error
    this.#keeper.failed(log, error)
    return partitionStoreFailed(this.#owner.text, this.index, error)
  }

  /** Finds out what the log says about duplicates, before anything is appended. */
  async #readBack(log: PartitionLog): Promise<void> {
    const walkers = [await this.#producers.restore(log)]
    const timeIndex = this.#context.store.supports.timeIndex
    const ids = await this.#owner.dedup?.walker(this.index, log, timeIndex)
    if (ids !== undefined) walkers.push(ids)
    await walkLog(log, walkers, (error) => {
      this.#context.platform.logger.warn(
        'a log could not be read to its end: what idempotent producers have sent is not known',
        { ...this.#id, error },
      )
    })
  }
}

/** Partitions whose single writer is in this event loop. */
export const localPlacement: PartitionPlacement = (index, owner, context) =>
  new Partition(index, owner, context)
