/**
 * One partition of a producer: gathers messages into its open batch, until that is full or has waited long enough. In what
 * order batches go out, and what becomes of refused ones, is batch-sender.ts's affair.
 */
import type { BuilderPool } from '../domain/batch/builder-pool.ts'
import type {
  BatchBuilder,
  Clock,
  Compression,
  Durability,
  LeaseProof,
  Logger,
  OutgoingMessage,
  PublishReceipt,
  Random,
  RatatoskrError,
} from '../ports/index.ts'
import type { IdPool } from './batch-ids.ts'
import { BatchSender } from './batch-sender.ts'
import { BulkRun } from './bulk-run.ts'
import type { Connection } from './connection.ts'
import type { Deadlines } from './deadlines.ts'
import { type BatchContext, type BatchOwner, type MessageOwner, OutgoingBatch } from './outgoing-batch.ts'
import type { PartitionRoute } from './partition-route.ts'
import type { SenderIdentity } from './sender-identity.ts'
import type { TurnClock } from './turn-clock.ts'

/** What the senders of one producer share. */
export interface SenderContext {
  readonly connection: Connection
  readonly clock: Clock
  /** The time of messages that are added now; `look` sees to it that it is that, before each. */
  readonly turn: TurnClock
  readonly look: () => void
  readonly deadlines: Deadlines
  readonly random: Random
  readonly ids: IdPool
  /** Builders of batches for a topic that asks for this compression. */
  readonly builders: (compression: Compression) => BuilderPool
  readonly batchBytesMax: number
  readonly messagesPerBatchMax: number
  readonly inFlightMax: number
  readonly retryIndeterminate: boolean
  readonly idempotent: boolean
  readonly checksum: (bytes: Uint8Array) => number
  readonly logger: Logger
  /** Asks for `linger` to be called when the batch has waited long enough. */
  readonly lingerFor: (sender: PartitionSender) => void
  /** The buffer holds so much more. */
  readonly took: (bytes: number) => void
  /** The buffer has room again. */
  readonly released: (bytes: number) => void
}

/** For lengths and the id of a record: batches end near their bound, not exactly at it. */
const sparedBytes = 64

export class PartitionSender {
  readonly #context: SenderContext
  readonly #sender: BatchSender
  readonly #batches: BatchContext
  #open: OutgoingBatch | undefined
  /** Of the codec that its topic asks for, as far as the producer leaves it to it. */
  builders: BuilderPool
  /** Where the builder of the open batch is from. */
  #pool: BuilderPool
  #builder: BatchBuilder | undefined
  #sequence = 0

  /** @param topicGone called when the broker does not know the topic or the partition any more */
  constructor(
    topic: string,
    partition: number,
    context: SenderContext,
    identity: SenderIdentity | undefined,
    topicGone: () => void,
  ) {
    this.#context = context
    this.builders = this.#pool = context.builders('none')
    this.#sender = new BatchSender(topic, partition, context, identity, this, topicGone)
    const { ids, deadlines, turn, connection } = context
    this.#batches = {
      ids,
      deadlines,
      turn,
      brokerNow: () => connection.brokerNow(),
      expired: (batch) => this.#expired(batch),
    }
  }

  get route(): PartitionRoute {
    return this.#sender.route
  }

  /** Batches that somebody still waits for, oldest first. */
  get pending(): readonly OutgoingBatch[] {
    const sealed = this.#sender.pending
    return this.#open === undefined ? sealed : [...sealed, this.#open]
  }

  get idle(): boolean {
    return this.#open === undefined && this.#sender.idle
  }

  /** True when the next record begins a batch: the moment for keyless messages to move on. */
  get startsAnew(): boolean {
    return this.#open === undefined
  }

  addMessage(
    message: OutgoingMessage,
    owner: MessageOwner,
    place: number,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    const batch = this.#batchFor(sizeOf(message), durability, lease)
    const before = batch.bufferedBytes
    batch.addMessage(message, owner, place)
    this.#added(batch, before, deadlineMs)
  }

  addPromised(
    message: OutgoingMessage,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): Promise<PublishReceipt> {
    const batch = this.#batchFor(sizeOf(message), durability, lease)
    const before = batch.bufferedBytes
    const promise = batch.addPromised(message)
    this.#added(batch, before, deadlineMs)
    return promise
  }

  /** Adds bytes alone. @returns the promise of their receipt */
  addBare(
    payload: Uint8Array,
    durability: Durability | undefined,
    deadlineMs: number,
  ): Promise<PublishReceipt> {
    const batch = this.#batchFor(payload.length, durability, undefined)
    const before = batch.bufferedBytes
    const promise = batch.addBare(payload)
    this.#added(batch, before, deadlineMs)
    return promise
  }

  addOfBulk(
    message: OutgoingMessage,
    owner: BatchOwner,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    const batch = this.#batchFor(sizeOf(message), durability, lease)
    const before = batch.bufferedBytes
    batch.addOfBulk(message, owner)
    this.#added(batch, before, deadlineMs)
  }

  /**
   * The short way into the open batch for a bulk whose message was added just now, until the batch has `roomBytes` more.
   * @returns undefined when that message has filled its batch
   */
  runOf(bulk: BatchOwner, roomBytes: number): BulkRun | undefined {
    const open = this.#open
    const builder = this.#builder
    if (open === undefined || builder === undefined || !open.isJoinedBy(bulk)) return undefined
    const { batchBytesMax, messagesPerBatchMax } = this.#context
    const sizeBytesMax = Math.min(batchBytesMax - sparedBytes, builder.sizeBytes + roomBytes)
    return new BulkRun(open, builder, sizeBytesMax, messagesPerBatchMax)
  }

  /** The batch has waited long enough: it goes as soon as there is a place for it. */
  linger(): void {
    if (this.#open === undefined) return
    this.#open.due = true
    this.#sender.pump()
  }

  /** Seals the open batch when it has waited long enough. */
  sealDue(): OutgoingBatch | undefined {
    return this.#open?.due === true ? this.#seal(this.#open) : undefined
  }

  /** Fails everything that is not settled. */
  close(error: RatatoskrError): void {
    const open = this.#open
    this.#sender.close(error)
    if (open !== undefined) this.#sender.giveUp(open, error)
    this.#discardOpen()
  }

  /** @param bytes of the message's key and payload */
  #batchFor(bytes: number, durability: Durability | undefined, lease: LeaseProof | undefined): OutgoingBatch {
    const open = this.#open
    if (open !== undefined) {
      if (this.#fits(bytes) && open.durability === durability && open.lease === lease) return open
      this.#sender.add(this.#seal(open))
    }
    this.#pool = this.builders
    this.#builder = this.#pool.take()
    this.#open = new OutgoingBatch(this.#batches, this.#builder, durability, lease, this.#sequence++)
    return this.#open
  }

  /** True when the open batch takes so many bytes of key and payload. */
  #fits(bytes: number): boolean {
    const builder = this.#builder
    if (builder === undefined) return false
    const { batchBytesMax, messagesPerBatchMax } = this.#context
    return (
      builder.sizeBytes + bytes <= batchBytesMax - sparedBytes && builder.recordCount < messagesPerBatchMax
    )
  }

  /** @param bytesBefore what the batch held before the message */
  #added(batch: OutgoingBatch, bytesBefore: number, deadlineMs: number): void {
    const bytes = batch.bufferedBytes
    this.#context.took(bytes - bytesBefore)
    batch.extendTo(deadlineMs)
    if (bytesBefore === 0) this.#context.lingerFor(this)
    if (bytes >= this.#context.batchBytesMax) {
      this.#sender.add(this.#seal(batch))
    }
  }

  #expired(batch: OutgoingBatch): void {
    if (batch === this.#open) {
      batch.seal(undefined)
      this.#discardOpen()
    }
    this.#sender.expired(batch)
  }

  #seal(open: OutgoingBatch): OutgoingBatch {
    this.#context.took(open.counted())
    open.seal(this.#sender.stamp(open.recordCount))
    this.#discardOpen()
    return open
  }

  #discardOpen(): void {
    if (this.#builder !== undefined && this.#builder.recordCount === 0) this.#pool.giveBack(this.#builder, 0)
    this.#builder = undefined
    this.#open = undefined
  }
}

const sizeOf = ({ payload, key }: OutgoingMessage): number => payload.length + (key?.length ?? 0)
