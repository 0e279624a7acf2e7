/**
 * A partition whose single writer is another worker. Where it stands is read from memory that all share; appends and reads
 * are calls. Messages that are published one by one are gathered here, so that the owner gets batches.
 *
 * What waits for the owner is bounded as what waits for a store is, and reads are asked for by cursors that have credit: so a
 * slow owner or a slow subscriber fills neither side.
 */
import type { RecordFields } from '../../domain/batch/builder.ts'
import { producerIdOf, stampBatch } from '../../domain/batch/header.ts'
import { type Durability, durabilityNumber } from '../../domain/durability.ts'
import { isRatatoskrError, type RatatoskrError } from '../../domain/errors.ts'
import type { PartitionDescription } from '../../domain/topic.ts'
import type { BatchBytes, ComponentHealth, MaybePromise, OffsetRange } from '../../ports/index.ts'
import type { MessageWaiter } from '../partitions/accumulator.ts'
import { OneShotListeners } from '../partitions/listeners.ts'
import { leaderEpoch } from '../partitions/partition.ts'
import type { PartitionContext, PartitionOwner } from '../partitions/partition-context.ts'
import { partitionUnavailable } from '../partitions/partition-errors.ts'
import { workerOf } from '../partitions/partition-place.ts'
import { PublishIntake } from '../partitions/publish-intake.ts'
import type { StoredBatch, TopicPartition } from '../partitions/topic-partition.ts'
import { walkLog } from '../producers/partition-producers.ts'
import type { PartitionAddress } from './mesh-operations.ts'
import type { OffsetCells, Standing } from './offset-cells.ts'
import type { Peer } from './peer.ts'
import { RemoteAppend } from './remote-append.ts'

/** Sees to the life of a partition that is elsewhere. */
export interface RemoteLife {
  /** @returns what is lost to damage */
  open(supervised: boolean): Promise<readonly OffsetRange[]>
  close(reason: RatatoskrError): Promise<void>
}

const noBytes = new Uint8Array(0)

export class RemotePartition implements TopicPartition {
  readonly index: number
  readonly #address: PartitionAddress
  readonly #owner: PartitionOwner
  readonly #context: PartitionContext
  readonly #peer: Peer
  readonly #cells: OffsetCells
  readonly #life: RemoteLife | undefined
  readonly #intake: PublishIntake
  readonly #listeners: OneShotListeners
  readonly #watch: Disposable
  /** Where it stood when somebody first asked in this turn: who looks and then waits must wait from what he saw. */
  #standing: Standing | undefined
  #watching = false
  /** Stands for this partition on the link of the moment; 0 when there is none yet. */
  #handle = 0
  #closedWith: RatatoskrError | undefined
  damaged: readonly OffsetRange[] = []

  /** @param life who may open and close it; undefined for those who only use it */
  constructor(
    index: number,
    owner: PartitionOwner,
    context: PartitionContext,
    at: { readonly peer: Peer; readonly cells: OffsetCells; readonly life: RemoteLife | undefined },
  ) {
    this.index = index
    this.#address = { topicId: owner.id, partition: index }
    this.#owner = owner
    this.#context = context
    this.#peer = at.peer
    this.#cells = at.cells
    this.#life = at.life
    this.#intake = new PublishIntake(index, owner, context, {
      online: () => this.#online(),
      write: (batch, recordCount, durability, enteredMs) =>
        this.#append(batch, undefined, recordCount, durability, enteredMs) as Promise<number>,
    })
    this.#listeners = new OneShotListeners(context.platform.logger)
    this.#watch = at.peer.watch({ up: () => this.#linkChanged(), down: () => this.#linkChanged() })
  }

  get state(): PartitionDescription['state'] {
    if (this.#closedWith !== undefined) return 'failed'
    const { state } = this.#now
    return state === 'online' && !this.#peer.connected ? 'recovering' : state
  }

  get startOffset(): number {
    return this.#now.startOffset
  }

  get stableOffset(): number {
    return this.#now.stableOffset
  }

  get endOffset(): number {
    return this.#now.endOffset
  }

  get sizeBytes(): number {
    return this.#now.sizeBytes
  }

  /** The owner's health tells. */
  get trouble(): readonly ComponentHealth[] {
    return []
  }

  describe(): PartitionDescription {
    const { startOffset, stableOffset, endOffset, sizeBytes } = this.#now
    return {
      partition: this.index,
      startOffset,
      stableOffset,
      endOffset,
      sizeBytes,
      state: this.state,
      damaged: [...this.damaged],
      ...workerOf(this.#owner, this.#peer.index),
    }
  }

  async open(): Promise<void> {
    await this.#open(false)
  }

  async openSupervised(): Promise<void> {
    await this.#open(true)
  }

  append(
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | StoredBatch> {
    this.admit(recordCount, batch.length)
    this.#intake.flush()
    return this.#appendUnless(batch, undefined, recordCount, durability, enteredMs, mayStore)
  }

  appendRest(
    rest: BatchBytes,
    recordCount: number,
    original: BatchBytes,
    durability: Durability,
    enteredMs: number,
    mayStore?: () => void,
  ): MaybePromise<number | StoredBatch> {
    this.admit(recordCount, rest.length)
    this.#intake.flush()
    return this.#appendUnless(rest, original, recordCount, durability, enteredMs, mayStore)
  }

  async passOver(original: BatchBytes, baseOffset: number, durability: Durability): Promise<void> {
    this.#online()
    await this.#peer.call('passOver', { ...this.#address, baseOffset, durability }, original)
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

  read(offset: number, bytesMax: number): MaybePromise<BatchBytes> {
    this.#online()
    const read = this.#peer.call('read', { ...this.#address, offset, bytesMax })
    return read.then(({ bytes }) => bytes ?? noBytes) as Promise<BatchBytes>
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    this.#online()
    return (await this.#peer.call('offsetForTime', { ...this.#address, timestampMs })).value
  }

  async batchOffsetForTime(timestampMs: number): Promise<number> {
    this.#online()
    return (await this.#peer.call('batchOffsetForTime', { ...this.#address, timestampMs })).value
  }

  async truncateBefore(offset: number): Promise<number> {
    this.#online()
    return (await this.#peer.call('truncateBefore', { ...this.#address, offset })).value
  }

  onceChanged(run: () => void): Disposable {
    const listening = this.#listeners.add(run)
    this.#watchOwner()
    return listening
  }

  async reconfigure(): Promise<void> {
    // A worker that is away opens the log with the new options when it comes back.
    if (this.#peer.connected) await this.#peer.call('reconfigure', this.#address)
  }

  async close(reason: RatatoskrError): Promise<void> {
    if (this.#closedWith !== undefined) return
    this.#intake.flush()
    this.#closedWith = reason
    this.#watch[Symbol.dispose]()
    this.#listeners.wake()
    await this.#life?.close(reason)
  }

  async deleteLog(): Promise<void> {
    await this.#peer.call('deleteLog', this.#address)
  }

  /** The owner says that it stands elsewhere than it was seen to. */
  changed(damaged: readonly OffsetRange[]): void {
    this.damaged = damaged
    this.#moved()
  }

  async #open(supervised: boolean): Promise<void> {
    if (this.#life === undefined) return
    this.damaged = await this.#life.open(supervised)
    await this.#readIds()
  }

  /** Reads the ids back that the topic remembers: they are remembered where the topic is, not where its partitions are. */
  async #readIds(): Promise<void> {
    const { dedup } = this.#owner
    if (dedup === undefined || this.state !== 'online') return
    const log = {
      startOffset: this.startOffset,
      stableOffset: this.stableOffset,
      read: (offset: number, bytesMax: number) => this.read(offset, bytesMax),
      offsetForTime: (timestampMs: number) => this.batchOffsetForTime(timestampMs),
    }
    const walker = await dedup.walker(this.index, log, this.#context.store.supports.timeIndex)
    if (walker === undefined) return
    await walkLog(log, [walker], (error) => {
      this.#context.platform.logger.warn('the ids of a partition could not be read to their end', {
        ...this.#address,
        error,
      })
    })
  }

  get #now(): Standing {
    if (this.#standing === undefined) {
      this.#standing = this.#cells.read()
      queueMicrotask(() => {
        this.#standing = undefined
      })
    }
    return this.#standing
  }

  #online(): void {
    if (this.#closedWith !== undefined) throw this.#closedWith
    if (!this.#peer.connected || this.#cells.state !== 'online')
      throw partitionUnavailable(this.#owner.text, this.index)
  }

  /** Appends, unless `mayStore` throws and the owner does not know the batch. */
  #appendUnless(
    batch: BatchBytes,
    original: BatchBytes | undefined,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    mayStore: (() => void) | undefined,
  ): Promise<number | StoredBatch> {
    try {
      mayStore?.()
    } catch (error) {
      if (producerIdOf(original ?? batch) === -1) throw error
      return this.#known(batch, original, recordCount, durability, error)
    }
    return this.#append(batch, original, recordCount, durability, enteredMs)
  }

  async #known(
    batch: BatchBytes,
    original: BatchBytes | undefined,
    recordCount: number,
    durability: Durability,
    refusal: unknown,
  ): Promise<number | StoredBatch> {
    try {
      const { value } = await this.#ask(batch, original, recordCount, durability, true)
      return value
    } catch (error) {
      throw isRatatoskrError(error, 'RTK_LEASE_LOST') ? refusal : error
    }
  }

  #append(
    batch: BatchBytes,
    original: BatchBytes | undefined,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
  ): Promise<number | StoredBatch> {
    this.#intake.entered(recordCount, batch.length)
    return new Promise((resolve, reject) => {
      const append = new RemoteAppend(
        this.#settled,
        batch,
        recordCount,
        durability,
        enteredMs,
        resolve,
        reject,
      )
      if (original !== undefined) {
        this.#ask(batch, original, recordCount, durability, false).then(
          (answer) => append.resolve(answer),
          (error) => append.reject(error),
        )
        return
      }
      if (this.#handle === 0) this.#handle = this.#peer.handleFor(this.#address)
      this.#peer.append(this.#handle, recordCount, durabilityNumber(durability), batch, append)
    })
  }

  /** An append has its answer. @param offset where it was stored now; undefined when it was not */
  readonly #settled = (append: RemoteAppend, offset: number | undefined): void => {
    const { batch, recordCount, durability, enteredMs } = append
    this.#intake.left(recordCount, batch.length)
    this.#intake.flush()
    if (offset === undefined) return
    stampBatch(batch, offset, leaderEpoch)
    const { traffic } = this.#context
    traffic.stored(this.#owner, this.index, offset, recordCount, durability, batch, enteredMs)
  }

  #ask(
    batch: BatchBytes,
    original: BatchBytes | undefined,
    recordCount: number,
    durability: Durability,
    onlyKnown: boolean,
  ) {
    const takes = { ...this.#address, recordCount, durability, originalAt: undefined, onlyKnown }
    if (original === undefined) return this.#peer.call('append', takes, batch)
    const both = new Uint8Array(batch.length + original.length)
    both.set(batch)
    both.set(original, batch.length)
    return this.#peer.call('append', { ...takes, originalAt: batch.length }, both)
  }

  /** Asks the owner to tell when it stands elsewhere than those who wait have seen. */
  #watchOwner(): void {
    if (this.#watching || !this.#peer.connected) return
    this.#watching = true
    const { stableOffset, state } = this.#now
    this.#peer.tell('watch', { ...this.#address, stableOffset, state })
  }

  #linkChanged(): void {
    this.#handle = 0
    this.#moved()
  }

  #moved(): void {
    this.#watching = false
    this.#listeners.wake()
  }
}
