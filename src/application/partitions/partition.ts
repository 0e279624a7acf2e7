/**
 * One partition: the single writer of its log.
 *
 * Appends get their offsets here, in the order they come, and settle in that order. What fails, fails here: the log is
 * closed and opened again by the supervisor, with its state rebuilt from storage, and no other partition notices.
 */
import type { RecordFields } from '../../domain/batch/builder.ts'
import { producerIdOf, stampBatch } from '../../domain/batch/header.ts'
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
import { within } from '../deadline.ts'
import { isPromise } from '../maybe-promise.ts'
import { PartitionProducers, sequencedBatch, walkLog } from '../producers/partition-producers.ts'
import type { ReadablePartition } from '../seams.ts'
import type { Supervisor } from '../supervision/supervisor.ts'
import { Accumulator, type MessageWaiter } from './accumulator.ts'
import { AppendQueue } from './append-queue.ts'
import { OneShotListeners } from './listeners.ts'
import { closedLog, type LogOffsets, offsetsOf } from './log-offsets.ts'
import type { PartitionContext, PartitionOwner } from './partition-context.ts'
import {
  partitionCorrupt,
  partitionOverloaded,
  partitionStoreFailed,
  partitionUnavailable,
} from './partition-errors.ts'
import { recordOffsetForTime } from './time-search.ts'

/** The epoch of the one leader that there is so far; see "room to leave" in the design. */
const leaderEpoch = 0

/** Refusals after which the log goes on as before: nothing was written and nothing is broken. */
const harmlessAppendErrors: ReadonlySet<string> = new Set([
  'RTK_STORE_FULL',
  'RTK_DURABILITY_UNAVAILABLE',
  'RTK_NOT_SUPPORTED',
])

export class Partition implements ReadablePartition {
  readonly index: number
  readonly #owner: PartitionOwner
  readonly #context: PartitionContext
  readonly #id: LogId
  readonly #listeners: OneShotListeners
  readonly #supervisor: Supervisor
  #state: PartitionDescription['state'] = 'recovering'
  /** Undefined while there is no log to write to. */
  #log: PartitionLog | undefined
  /** The log, or where it last stood. */
  #offsets: LogOffsets = closedLog
  /** Settles when the log that failed is closed. */
  #closing: Promise<void> | undefined
  #closedWith: RatatoskrError | undefined
  /** Why the store does not open the log, when only a repair helps. */
  #damage: RatatoskrError | undefined
  #accumulator: Accumulator | undefined
  /** It was open before: there must be something of it. */
  #known = false
  readonly #queue: AppendQueue
  readonly #producers: PartitionProducers

  constructor(index: number, owner: PartitionOwner, context: PartitionContext) {
    this.index = index
    this.#owner = owner
    this.#context = context
    this.#id = { topicId: owner.id, partition: index }
    this.#queue = new AppendQueue(context.limits)
    this.#producers = new PartitionProducers(this.#id, context)
    this.#listeners = new OneShotListeners(context.platform.logger)
    this.#supervisor = context.supervision.supervise({
      name: `partition ${owner.text}/${index}`,
      restart: () => this.#reopen(),
      statusChanged: (status) => {
        if (status !== 'ok') this.#setState(status === 'failed' ? 'failed' : 'recovering')
      },
    })
  }

  get state(): PartitionDescription['state'] {
    return this.#state
  }

  get startOffset(): number {
    return this.#offsets.startOffset
  }

  get stableOffset(): number {
    return this.#offsets.stableOffset
  }

  get endOffset(): number {
    return this.#offsets.endOffset
  }

  get sizeBytes(): number {
    return this.#offsets.sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#offsets.damaged
  }

  /** Health of a partition that serves though records of it are lost; the supervisor reports one that does not serve. */
  get trouble(): readonly ComponentHealth[] {
    if (this.#log === undefined) return []
    const lost = [{ ...this.#supervisor.health, status: 'degraded', lastError: 'RTK_STORE_CORRUPT' } as const]
    if (this.#log.wasMissing === true) return lost
    // What was accepted is a part of what is damaged, so that counting tells whether anything else is.
    if (offsetsIn(this.damaged) === offsetsIn(this.#log.acceptedLosses)) return []
    return lost
  }

  describe(): PartitionDescription {
    return {
      partition: this.index,
      startOffset: this.startOffset,
      stableOffset: this.stableOffset,
      endOffset: this.endOffset,
      sizeBytes: this.sizeBytes,
      state: this.#state,
      damaged: [...this.damaged],
    }
  }

  /** Opens the log. @throws what the store throws */
  async open(): Promise<void> {
    this.#online(await this.#openLog())
  }

  /**
   * Opens a log that was there before, and leaves a failure to the supervisor: a damaged partition must not keep the broker
   * from starting.
   */
  async openSupervised(): Promise<void> {
    this.#known = true
    try {
      await this.open()
    } catch (error) {
      this.#supervisor.failed(error)
    }
  }

  /**
   * Appends one batch. Admission is by what waits already: a lone batch is taken whatever its size.
   * @param batch verified and owned: its base offset is written into it
   * @param enteredMs when the publish entered the broker, by the monotonic clock
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
  ): MaybePromise<number | KnownBatch> {
    this.admit(recordCount, batch.length)
    // Single messages that came before keep their place before this batch.
    this.#accumulator?.flush()
    if (producerIdOf(batch) === -1) return this.#write(batch, recordCount, durability, enteredMs)
    return this.#writeOnce(batch, batch, recordCount, durability, enteredMs)
  }

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
  ): MaybePromise<number | KnownBatch> {
    this.admit(recordCount, rest.length)
    this.#accumulator?.flush()
    if (producerIdOf(original) === -1) return this.#write(rest, recordCount, durability, enteredMs)
    return this.#writeOnce(rest, original, recordCount, durability, enteredMs)
  }

  /**
   * Takes a batch none of whose messages are stored, since the topic has them all: its producer's sequence goes on.
   * @throws RTK_UNAVAILABLE, RTK_SEQUENCE_OUT_OF_ORDER, RTK_PRODUCER_FENCED
   */
  passOver(original: BatchBytes, baseOffset: number, durability: Durability): void {
    this.#onlineLog()
    if (producerIdOf(original) === -1 || this.#producers.check(original) !== undefined) return
    const known = sequencedBatch(original, durability)
    known.baseOffset = baseOffset
    this.#producers.add(known)
  }

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
  ): void {
    this.admit(1, sizeBytes)
    this.#accumulator ??= this.#makeAccumulator()
    this.#accumulator.add(record, sizeBytes, durability, enteredMs, waiter)
  }

  /** @throws RTK_OVERLOADED when more waits for the store than the limits allow, RTK_UNAVAILABLE while there is no log */
  admit(recordCount: number, sizeBytes: number): void {
    this.#onlineLog()
    const gathered = this.#accumulator
    const refusal = this.#queue.refusal(
      recordCount,
      sizeBytes,
      gathered?.messageCount ?? 0,
      gathered?.sizeBytes ?? 0,
    )
    if (refusal !== undefined) throw partitionOverloaded(this.#owner.text, this.index, refusal)
  }

  read(offset: number, bytesMax: number): MaybePromise<BatchBytes> {
    const log = this.#onlineLog()
    try {
      const bytes = log.read(offset, bytesMax)
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

  /** Offset of the first batch that holds a record of at least this time, without looking into it. */
  batchOffsetForTime(timestampMs: number): Promise<number> {
    return this.#onLog((log) => log.offsetForTime(timestampMs))
  }

  /** Lets go of records below `offset`, in whole segments. @returns the new start offset */
  truncateBefore(offset: number): Promise<number> {
    return this.#onLog((log) => log.truncateBefore(offset))
  }

  onceChanged(run: () => void): Disposable {
    return this.#listeners.add(run)
  }

  /** Opens the log again with the topic's options as they are now. Publishes are refused for that moment. */
  async reconfigure(): Promise<void> {
    if (this.#log === undefined) return // The supervisor will open it with the new options.
    this.#accumulator?.flush()
    this.#takeOffline(this.#log)
    this.#setState('recovering')
    try {
      await this.#reopen()
    } catch (error) {
      this.#supervisor.failed(error)
    }
  }

  /** Ends the partition: what waits is written, later calls get `reason`. Idempotent. */
  async close(reason: RatatoskrError): Promise<void> {
    if (this.#closedWith === undefined) {
      this.#accumulator?.flush()
      this.#closedWith = reason
    }
    const log = this.#log
    if (log !== undefined) this.#takeOffline(log)
    this.#setState('failed')
    await this.#supervisor.stop()
    await this.#closing
    if (!this.#owner.deleted) await this.#producers.close()
  }

  async #onLog<T>(use: (log: PartitionLog) => Promise<T>): Promise<T> {
    const log = this.#onlineLog()
    try {
      return await use(log)
    } catch (error) {
      throw this.#readFailed(log, error)
    }
  }

  #makeAccumulator(): Accumulator {
    const queue = this.#queue
    return new Accumulator(
      {
        write: (batch, recordCount, durability, enteredMs) =>
          this.#write(batch, recordCount, durability, enteredMs),
        get busy() {
          return queue.busy
        },
        refused: (recordCount, sizeBytes, error, enteredMs) =>
          this.#context.traffic.failed(
            this.#owner.text,
            this.index,
            recordCount,
            sizeBytes,
            error,
            enteredMs,
          ),
        flushed: () => this.#owner.batchFlushed(this.index),
      },
      this.#context.builders,
      this.#context.limits,
    )
  }

  /** Writes a batch of an idempotent producer, unless it was written before. @param original which names the producer */
  #writeOnce(
    batch: BatchBytes,
    original: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
  ): MaybePromise<number | KnownBatch> {
    this.#onlineLog()
    const before = this.#producers.check(original)
    if (before !== undefined) return before.settled?.then(() => before) ?? before
    return this.#write(batch, recordCount, durability, enteredMs, sequencedBatch(original, durability))
  }

  /** @param sequenced what the partition is to remember of the batch, when an idempotent producer sent it */
  #write(
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    sequenced?: KnownBatch,
  ): MaybePromise<number> {
    const log = this.#onlineLog()
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
    this.#queue.entered(recordCount, sizeBytes)
    const settled = written.then(
      () => {
        this.#queue.left(recordCount, sizeBytes)
        if (room.full) room.stored(sizeBytes, refusals)
        if (sequenced !== undefined) this.#producers.stored(sequenced)
        this.#producers.appended(log, baseOffset + recordCount, sizeBytes)
        this.#stored(batch, baseOffset, recordCount, durability, enteredMs)
        this.#accumulator?.flush()
        return baseOffset
      },
      (error) => {
        if (sequenced !== undefined) this.#producers.failed(sequenced)
        const reason = this.#appendFailed(log, sizeBytes, error)
        this.#queue.left(recordCount, sizeBytes)
        this.#accumulator?.flush()
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
    this.#listeners.wake()
  }

  /** What the publisher is told; the log is given up unless the refusal was harmless. */
  #appendFailed(log: PartitionLog, sizeBytes: number, error: unknown): RatatoskrError {
    if (isRatatoskrError(error) && harmlessAppendErrors.has(error.code)) {
      if (error.code === 'RTK_STORE_FULL') this.#context.room.refused(sizeBytes, error)
      return error
    }
    this.#failed(log, error)
    return partitionStoreFailed(this.#owner.text, this.index, error)
  }

  /** What the reader is told: coded errors as they are, but a log that failed is given up. */
  #readFailed(log: PartitionLog, error: unknown): RatatoskrError {
    if (this.#log !== log) return this.#unavailable()
    if (isRatatoskrError(error) && error.code !== 'RTK_STORE_FAILED' && error.code !== 'RTK_CLOSED')
      return error
    this.#failed(log, error)
    return partitionStoreFailed(this.#owner.text, this.index, error)
  }

  #failed(log: PartitionLog, error: unknown): void {
    if (this.#log !== log) return
    this.#takeOffline(log)
    this.#accumulator?.fail(partitionStoreFailed(this.#owner.text, this.index, error))
    this.#supervisor.failed(error)
  }

  #takeOffline(log: PartitionLog): void {
    this.#log = undefined
    this.#offsets = offsetsOf(log)
    // A store that never finishes closing must not keep the partition down for ever.
    this.#closing = within(
      this.#context.platform.clock,
      this.#context.limits.stopTimeoutMs,
      closeLog(log),
    ).then(undefined, (error) => {
      this.#context.platform.logger.warn('closing a log failed', { ...this.#id, error })
    })
  }

  async #openLog(): Promise<PartitionLog> {
    const log = await this.#openStored()
    try {
      await this.#readBack(log)
      await this.#context.delivery.logOpened(this.#owner, this.index, log.endOffset)
      return log
    } catch (error) {
      await closeLog(log)
      throw error
    }
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

  async #openStored(): Promise<PartitionLog> {
    try {
      const log = await this.#context.store.openLog(this.#id, {
        ...this.#owner.logOptions,
        known: this.#known,
      })
      this.#damage = undefined
      return log
    } catch (error) {
      const corrupt = isRatatoskrError(error, 'RTK_STORE_CORRUPT')
      this.#damage = corrupt ? partitionCorrupt(this.#owner.text, this.index, error) : undefined
      throw error
    }
  }

  async #reopen(): Promise<void> {
    await this.#closing
    const log = await this.#openLog()
    if (this.#closedWith === undefined) this.#online(log)
    else await log.close()
  }

  #online(log: PartitionLog): void {
    this.#log = log
    this.#known = true
    this.#offsets = log
    this.#setState('online')
  }

  #setState(state: PartitionDescription['state']): void {
    const shown = this.#closedWith === undefined ? state : 'failed'
    if (shown === this.#state) return
    this.#state = shown
    this.#listeners.wake()
  }

  #onlineLog(): PartitionLog {
    if (this.#log === undefined) throw this.#unavailable()
    return this.#log
  }

  #unavailable(): RatatoskrError {
    return this.#closedWith ?? this.#damage ?? partitionUnavailable(this.#owner.text, this.index)
  }
}

// An adapter's close may throw before it returns its promise; then it is the same as a rejection.
async function closeLog(log: PartitionLog): Promise<void> {
  await log.close()
}

const offsetsIn = (ranges: readonly OffsetRange[]): number =>
  ranges.reduce((sum, { from, to }) => sum + to - from, 0)
