/**
 * A batch on its way: the records being built, who waits for them, and until when.
 * Nothing here is made for each message but what its publisher holds anyway.
 */
import {
  type BatchBuilder,
  type BatchReceipt,
  type Durability,
  expiryOf,
  isAfterGap,
  type LeaseProof,
  markAfterGap,
  type OutgoingMessage,
  type ProducerStamp,
  type PublishReceipt,
  parseUuid,
  type RatatoskrError,
  stampProducer,
} from '../ports/index.ts'
import { BatchIds, type IdPool } from './batch-ids.ts'
import type { Deadlines, Due } from './deadlines.ts'
import type { TurnClock } from './turn-clock.ts'

/** Who is told what became of one message. `place` is the owner's own number for it. */
export interface MessageOwner {
  stored(place: number, receipt: PublishReceipt): void
  failed(place: number, error: RatatoskrError): void
}

/** Who is told of whole batches only. Its messages carry no ids but those that they were given. */
export interface BatchOwner {
  /** For its messages that bring no time, in Unix milliseconds. */
  readonly timestampMs: number
  joined(): void
  batchStored(receipt: BatchReceipt): void
  batchFailed(error: RatatoskrError): void
}

// The builder copies what it is given, so one record serves all messages of the process in turn.
const scratch = {
  payload: new Uint8Array(0) as Uint8Array,
  key: undefined as Uint8Array | undefined,
  headers: undefined as OutgoingMessage['headers'],
  id: undefined as Uint8Array | undefined,
  idStart: 0,
  expiresAtMs: undefined as number | undefined,
  timestampMs: 0,
}

/** What the batches of one partition share. */
export interface BatchContext {
  readonly ids: IdPool
  readonly deadlines: Deadlines
  /** When messages that bring no time were published. */
  readonly turn: TurnClock
  /** The broker's clock, in Unix milliseconds: a time to live is counted by it. */
  readonly brokerNow: () => number
  /** Called when the deadline has passed and the batch is not settled. */
  readonly expired: (batch: OutgoingBatch) => void
}

/** Lists that nothing stands in: those of a lone message are mostly such, and five arrays would cost as much as writing it. */
const nobody: MessageOwner[] = []
const noBatchOwners: BatchOwner[] = []
const noNumbers: number[] = []

export class OutgoingBatch implements Due {
  readonly sequence: number
  readonly durability: Durability | undefined
  readonly lease: LeaseProof | undefined
  /** The finished bytes; undefined while records are added. */
  bytes: Uint8Array | undefined
  /** What it holds of the producer's buffer. */
  bufferedBytes = 0
  /** True while records may be added. */
  isOpen = true
  /** True when it need not wait for more records. */
  due = false
  /** True once it was handed to a link. */
  sent = false
  settled = false
  /** Records that it was sealed with. */
  sealedCount = 0
  /** Its first sequence, of an idempotent producer, when it was numbered. */
  stamp: ProducerStamp | undefined
  /** Why nobody knows whether it is stored, when it was sent and may be. */
  doubt: RatatoskrError | undefined
  /** Why it was refused last, when it was. */
  refusal: RatatoskrError | undefined
  /** True when others of its partition were under way as it was sent. */
  behindOthers = false
  /** See `Due`. */
  beforeDue: Due | undefined
  afterDue: Due | undefined
  readonly #context: BatchContext
  readonly #builder: BatchBuilder
  /** Of messages whose owners are told: who that is, his number for it, and the record. */
  #owners = nobody
  #places = noNumbers
  #indexes = noNumbers
  /** The first message with a promise, and its record: for a lone one that costs half of what follows. */
  #first: PromiseWithResolvers<PublishReceipt> | undefined
  #firstIndex = 0
  /** Resolves when the batch is stored, for further messages with a promise; and their records, in the order of the promises. */
  #stored: PromiseWithResolvers<BatchReceipt> | undefined
  #nextReceipt: ((receipt: BatchReceipt) => PublishReceipt) | undefined
  /** Undefined while the records follow on the first one: mostly nothing else is among them. */
  #promised: number[] | undefined
  #promisedCount = 0
  #toldCount = 0
  readonly #ids: BatchIds
  #batchOwner = noBatchOwners
  #deadlineMs = 0
  #aborting: AbortController | undefined
  #whenSettled: PromiseWithResolvers<void> | undefined

  /** @param sequence its place in the order of its partition */
  constructor(
    context: BatchContext,
    builder: BatchBuilder,
    durability: Durability | undefined,
    lease: LeaseProof | undefined,
    sequence: number,
  ) {
    this.#context = context
    this.#builder = builder
    this.#ids = new BatchIds(context.ids)
    this.sequence = sequence
    this.durability = durability
    this.lease = lease
  }

  get recordCount(): number {
    return this.#builder.recordCount
  }

  /** Fires when the batch has run out of time, for the link that carries it. */
  get signal(): AbortSignal {
    this.#aborting ??= new AbortController()
    return this.#aborting.signal
  }

  /** Resolves when everybody was told. */
  get whenSettled(): Promise<void> {
    this.#whenSettled ??= Promise.withResolvers<void>()
    if (this.settled) this.#whenSettled.resolve()
    return this.#whenSettled.promise
  }

  /** Adds a message whose owner wants to know its id and offset. */
  addMessage(message: OutgoingMessage, owner: MessageOwner, place: number): void {
    if (this.#owners === nobody) {
      this.#owners = []
      this.#places = []
      this.#indexes = []
    }
    this.#indexes.push(this.#writeWithId(message))
    this.#owners.push(owner)
    this.#places.push(place)
  }

  /**
   * Adds a message. @returns the promise of its receipt. All but the first of a batch share one handler, which counts: handlers of
   * a promise are called in the order in which they were added. A promise with functions of its own would be three times as
   * large, and thousands wait at a time.
   */
  addPromised(message: OutgoingMessage): Promise<PublishReceipt> {
    return this.#promiseOf(this.#writeWithId(message))
  }

  /** The same for bytes alone. */
  addBare(payload: Uint8Array): Promise<PublishReceipt> {
    const builder = this.#builder
    const ids = this.#ids
    const index = builder.recordCount
    ids.take(index, undefined)
    scratch.payload = payload
    scratch.key = undefined
    scratch.headers = undefined
    scratch.id = ids.bytes
    scratch.idStart = ids.start
    scratch.expiresAtMs = undefined
    scratch.timestampMs = this.#context.turn.nowMs
    builder.add(scratch)
    this.bufferedBytes = builder.sizeBytes
    return this.#promiseOf(index)
  }

  /** Adds a message of a bulk. */
  addOfBulk(message: OutgoingMessage, owner: BatchOwner): void {
    if (!this.isJoinedBy(owner)) {
      if (this.#batchOwner === noBatchOwners) this.#batchOwner = []
      this.#batchOwner.push(owner)
      owner.joined()
    }
    scratch.id = message.id === undefined ? undefined : parseUuid(message.id)
    scratch.idStart = 0
    this.#write(message, owner.timestampMs)
  }

  /** True when the bulk was the last to add to it: it is told of the batch. */
  isJoinedBy(bulk: BatchOwner): boolean {
    return this.#batchOwner.at(-1) === bulk
  }

  /** Takes what was written past it, by a `BulkRun`, as its own. @returns how many bytes that is */
  counted(): number {
    const before = this.bufferedBytes
    this.bufferedBytes = this.#builder.sizeBytes
    return this.bufferedBytes - before
  }

  /** The bytes of the batch in a buffer of their own; no record comes in any more. */
  seal(stamp: ProducerStamp | undefined): void {
    this.isOpen = false
    this.sealedCount = this.recordCount
    this.stamp = stamp
    this.bytes = this.#builder.build(stamp)
  }

  /** True when it says that its producer has given up what it numbered before. */
  get isAfterGap(): boolean {
    return this.bytes !== undefined && isAfterGap(this.bytes)
  }

  /** Has it say so. What was sent belongs to the broker: the bytes are others then. */
  markAfterGap(checksum: (bytes: Uint8Array) => number): void {
    if (this.bytes === undefined || this.isAfterGap) return
    if (this.sent) this.bytes = new Uint8Array(this.bytes)
    markAfterGap(this.bytes, checksum)
  }

  /** Numbers it anew; its bytes are others then, too. */
  renumber(stamp: ProducerStamp, checksum: (bytes: Uint8Array) => number): void {
    if (this.bytes === undefined) return
    if (this.sent) this.bytes = new Uint8Array(this.bytes)
    this.stamp = stamp
    stampProducer(this.bytes, stamp, checksum)
  }

  /** By the monotonic clock. */
  get deadlineMs(): number {
    return this.#deadlineMs
  }

  /** Moves the deadline to `deadlineMs` of the monotonic clock when that is later. */
  extendTo(deadlineMs: number): void {
    if (deadlineMs <= this.#deadlineMs) return
    const isFirst = this.#deadlineMs === 0
    this.#deadlineMs = deadlineMs
    if (isFirst) this.#context.deadlines.watch(this)
  }

  /** The deadline has passed. */
  expire(): void {
    this.#context.expired(this)
  }

  store(receipt: BatchReceipt): void {
    if (this.settled) return
    this.#first?.resolve(this.#receiptOf(this.#firstIndex, receipt))
    this.#stored?.resolve(receipt)
    for (let i = 0; i < this.#owners.length; i++) {
      this.#owners[i].stored(this.#places[i], this.#receiptOf(this.#indexes[i], receipt))
    }
    for (const owner of this.#batchOwner) owner.batchStored(receipt)
    this.#finish()
  }

  fail(error: RatatoskrError): void {
    if (this.settled) return
    this.#first?.reject(error)
    this.#stored?.reject(error)
    for (let i = 0; i < this.#owners.length; i++) this.#owners[i].failed(this.#places[i], error)
    for (const owner of this.#batchOwner) owner.batchFailed(error)
    this.#finish()
  }

  /** Tells the link that nobody waits for the answer any more. */
  abort(reason: unknown): void {
    this.#aborting ??= new AbortController() // who asks for the signal later finds it aborted
    this.#aborting.abort(reason)
  }

  #finish(): void {
    this.settled = true
    this.isOpen = false
    this.bytes = undefined
    this.#owners = nobody
    this.#places = noNumbers
    this.#indexes = noNumbers
    this.#context.deadlines.forget(this)
    this.#whenSettled?.resolve()
  }

  #promiseOf(index: number): Promise<PublishReceipt> {
    if (this.#first === undefined) {
      this.#firstIndex = index
      this.#first = Promise.withResolvers<PublishReceipt>()
      return this.#first.promise
    }
    const count = this.#promisedCount++
    const inLine = this.#firstIndex + 1
    if (this.#promised !== undefined) this.#promised.push(index)
    else if (index !== inLine + count)
      this.#promised = [...Array.from({ length: count }, (_, place) => inLine + place), index]
    this.#stored ??= Promise.withResolvers<BatchReceipt>()
    this.#nextReceipt ??= (receipt) => this.#receiptOf(this.#nextTold(), receipt)
    return this.#stored.promise.then(this.#nextReceipt)
  }

  /** The record of the promise that is settled next. */
  #nextTold(): number {
    const told = this.#toldCount++
    return this.#promised === undefined ? this.#firstIndex + 1 + told : this.#promised[told]
  }

  #receiptOf(index: number, receipt: BatchReceipt): PublishReceipt {
    const { partition, baseOffset, durability, duplicates } = receipt
    const id = this.#ids.textOf(index)
    if (duplicates === undefined) return new Receipt(id, partition, baseOffset + index, durability)
    const passed = countBefore(duplicates, index) // records before this one that were not stored
    const repeat = duplicates[passed]
    if (repeat?.index !== index) return new Receipt(id, partition, baseOffset + index - passed, durability)
    return { id, partition: repeat.partition, offset: repeat.offset, durability, duplicate: true }
  }

  /** @returns the record's place in the batch */
  #writeWithId(message: OutgoingMessage): number {
    const index = this.recordCount
    const ids = this.#ids
    ids.take(index, message.id)
    scratch.id = ids.bytes
    scratch.idStart = ids.start
    this.#write(message, this.#context.turn.nowMs)
    return index
  }

  /** @param nowMs the time of a message that brings none */
  #write(message: OutgoingMessage, nowMs: number): void {
    const builder = this.#builder
    scratch.payload = message.payload
    scratch.key = message.key
    scratch.headers = message.headers
    scratch.expiresAtMs =
      message.ttlMs === undefined ? message.expiresAtMs : expiryOf(message, this.#context.brokerNow())
    scratch.timestampMs = message.timestampMs ?? nowMs
    builder.add(scratch)
    this.bufferedBytes = builder.sizeBytes
  }
}

/**
 * Of a class, though an object literal would do: of literals V8 remembers where they are made, takes receipts that some wait long
 * for as a sign that all live long, and puts them where they are collected late. That took a quarter of a publisher's time.
 */
class Receipt implements PublishReceipt {
  readonly id: string
  readonly partition: number
  readonly offset: number
  readonly durability: Durability

  constructor(id: string, partition: number, offset: number, durability: Durability) {
    this.id = id
    this.partition = partition
    this.offset = offset
    this.durability = durability
  }
}

/** How many of them, in order, stand before `index`. */
function countBefore(duplicates: readonly { readonly index: number }[], index: number): number {
  let from = 0
  let to = duplicates.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if (duplicates[middle].index < index) from = middle + 1
    else to = middle
  }
  return from
}
