/**
 * A batch on its way: the records being built, who waits for them, and until when.
 * Nothing here is made for each message but what its publisher holds anyway.
 */
import {
  type BatchBuilder,
  type BatchReceipt,
  type Clock,
  type Durability,
  expiryOf,
  formatUuid,
  isAfterGap,
  type LeaseProof,
  markAfterGap,
  type OutgoingMessage,
  type ProducerStamp,
  type PublishReceipt,
  parseUuid,
  type Random,
  type RatatoskrError,
  stampProducer,
} from '../ports/index.ts'

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

/** Random UUIDs of version 4, sixteen bytes at a time out of one pool. */
export class IdPool {
  readonly #random: Random
  readonly #pool = new Uint8Array(4096)
  #at = 4096

  constructor(random: Random) {
    this.#random = random
  }

  /** Writes the next id into `into`. */
  next(into: Uint8Array): void {
    if (this.#at === this.#pool.length) {
      this.#random.fill(this.#pool)
      this.#at = 0
    }
    const pool = this.#pool
    for (let i = 0; i < 16; i++) into[i] = pool[this.#at + i]
    this.#at += 16
    into[6] = (into[6] & 0x0f) | 0x40
    into[8] = (into[8] & 0x3f) | 0x80
  }
}

// The builder copies what it is given, so one record and one id serve all messages of the process in turn.
const scratchId = new Uint8Array(16)
const scratch = {
  payload: scratchId as Uint8Array,
  key: undefined as Uint8Array | undefined,
  headers: undefined as OutgoingMessage['headers'],
  id: undefined as Uint8Array | undefined,
  expiresAtMs: undefined as number | undefined,
  timestampMs: 0,
}

export interface OutgoingBatchOptions {
  readonly builder: BatchBuilder
  readonly ids: IdPool
  readonly clock: Clock
  /** The broker's clock, in Unix milliseconds: a time to live is counted by it. */
  readonly brokerNow: () => number
  readonly durability: Durability | undefined
  readonly lease: LeaseProof | undefined
  /** Its place in the order of its partition. */
  readonly sequence: number
  /** Called when the deadline has passed and the batch is not settled. */
  readonly expired: (batch: OutgoingBatch) => void
}

export class OutgoingBatch {
  readonly sequence: number
  readonly durability: Durability | undefined
  readonly lease: LeaseProof | undefined
  /** The finished bytes; undefined while records are added. */
  bytes: Uint8Array | undefined
  /** What it holds of the producer's buffer. */
  bufferedBytes = 0
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
  readonly #options: OutgoingBatchOptions
  #owners: (MessageOwner | undefined)[] = []
  #places: number[] = []
  #ids: Uint8Array = scratchId
  #batchOwner: BatchOwner[] = []
  #deadlineMs = 0
  #timer: Disposable | undefined
  #aborting: AbortController | undefined
  #whenSettled: PromiseWithResolvers<void> | undefined

  constructor(options: OutgoingBatchOptions) {
    this.#options = options
    this.sequence = options.sequence
    this.durability = options.durability
    this.lease = options.lease
  }

  get recordCount(): number {
    return this.#options.builder.recordCount
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

  /** Adds a message whose owner wants to know its id and offset. @returns bytes by which the batch grew */
  addMessage(message: OutgoingMessage, owner: MessageOwner, place: number): number {
    const index = this.recordCount
    if (message.id === undefined) this.#options.ids.next(scratchId)
    else scratchId.set(parseUuid(message.id))
    this.#keepId(index)
    this.#owners[index] = owner
    this.#places[index] = place
    return this.#write(message, scratchId, message.timestampMs ?? this.#options.clock.now())
  }

  /** Adds a message of a bulk. @returns bytes by which the batch grew */
  addOfBulk(message: OutgoingMessage, owner: BatchOwner): number {
    if (this.#batchOwner.at(-1) !== owner) {
      this.#batchOwner.push(owner)
      owner.joined()
    }
    const id = message.id === undefined ? undefined : parseUuid(message.id)
    return this.#write(message, id, message.timestampMs ?? owner.timestampMs)
  }

  /** The bytes of the batch in a buffer of their own; no record comes in any more. */
  seal(stamp: ProducerStamp | undefined): void {
    this.sealedCount = this.recordCount
    this.stamp = stamp
    this.bytes = this.#options.builder.build(stamp)
  }

  /** True when it says that its producer has given up what it numbered before. */
  get isAfterGap(): boolean {
    return this.bytes !== undefined && isAfterGap(this.bytes)
  }

  /** Has it say so. What was sent belongs to the broker: the bytes are others then. */
  markAfterGap(checksum: (bytes: Uint8Array) => number): void {
    if (this.bytes === undefined || this.isAfterGap) return
    if (this.sent) this.bytes = this.bytes.slice()
    markAfterGap(this.bytes, checksum)
  }

  /** Numbers it anew; its bytes are others then, too. */
  renumber(stamp: ProducerStamp, checksum: (bytes: Uint8Array) => number): void {
    if (this.bytes === undefined) return
    if (this.sent) this.bytes = this.bytes.slice()
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
    this.#deadlineMs = deadlineMs
    if (this.#timer === undefined) this.#arm()
  }

  store(receipt: BatchReceipt): void {
    if (this.settled) return
    const { partition, baseOffset, durability, duplicates } = receipt
    let passed = 0 // records before this one that were not stored
    for (let index = 0; index < this.#owners.length; index++) {
      const id = formatUuid(this.#ids, index * 16)
      const repeat = duplicates?.[passed]
      if (repeat?.index === index) {
        passed++
        const place = { partition: repeat.partition, offset: repeat.offset }
        this.#owners[index]?.stored(this.#places[index], { id, ...place, durability, duplicate: true })
      } else {
        const offset = baseOffset + index - passed
        this.#owners[index]?.stored(this.#places[index], { id, partition, offset, durability })
      }
    }
    for (const owner of this.#batchOwner) owner.batchStored(receipt)
    this.#finish()
  }

  fail(error: RatatoskrError): void {
    if (this.settled) return
    for (let index = 0; index < this.#owners.length; index++) {
      this.#owners[index]?.failed(this.#places[index], error)
    }
    for (const owner of this.#batchOwner) owner.batchFailed(error)
    this.#finish()
  }

  /** Tells the link that nobody waits for the answer any more. */
  abort(reason: unknown): void {
    this.#aborting?.abort(reason)
  }

  #finish(): void {
    this.settled = true
    this.bytes = undefined
    this.#owners = []
    this.#places = []
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#whenSettled?.resolve()
  }

  #arm(): void {
    const { clock, expired } = this.#options
    const leftMs = this.#deadlineMs - clock.monotonic()
    if (leftMs === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.min(leftMs, 2 ** 31 - 1), () => {
      this.#timer = undefined
      if (clock.monotonic() < this.#deadlineMs) this.#arm()
      else expired(this)
    })
  }

  #keepId(index: number): void {
    const end = (index + 1) * 16
    if (this.#ids === scratchId || this.#ids.length < end) {
      const larger = new Uint8Array(Math.max(16, end * 2))
      if (this.#ids !== scratchId) larger.set(this.#ids)
      this.#ids = larger
    }
    this.#ids.set(scratchId, index * 16)
  }

  #write(message: OutgoingMessage, id: Uint8Array | undefined, timestampMs: number): number {
    const { builder, brokerNow } = this.#options
    const before = this.bufferedBytes === 0 ? 0 : builder.sizeBytes
    scratch.payload = message.payload
    scratch.key = message.key
    scratch.headers = message.headers
    scratch.id = id
    scratch.expiresAtMs = message.ttlMs === undefined ? message.expiresAtMs : expiryOf(message, brokerNow())
    scratch.timestampMs = timestampMs
    builder.add(scratch)
    const grown = builder.sizeBytes - before
    this.bufferedBytes += grown
    return grown
  }
}
