/** Who waits for publishes: for one, for many with a result each, or for a bulk as a whole. */
import {
  type BatchReceipt,
  type Clock,
  type PublishReceipt,
  type PublishResult,
  RatatoskrError,
} from '../ports/index.ts'
import type { BatchOwner, MessageOwner } from './outgoing-batch.ts'

/** What a bulk came to. */
export interface BulkReceipt {
  readonly messageCount: number
  /** One for each batch, in the order of their acknowledgement. */
  readonly batches: readonly BatchReceipt[]
}

/** One publish that somebody awaits. */
export class SinglePublish implements MessageOwner {
  readonly promise: Promise<PublishReceipt>
  abandoned = false
  #resolve!: (receipt: PublishReceipt) => void
  #reject!: (error: RatatoskrError) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  stored(_place: number, receipt: PublishReceipt): void {
    this.#resolve(receipt)
  }

  failed(_place: number, error: RatatoskrError): void {
    this.#reject(error)
  }

  abandon(): void {
    this.abandoned = true
  }
}

/** Many publishes whose results are awaited together. */
export class ManyPublish implements MessageOwner {
  readonly promise: Promise<readonly PublishResult[]>
  abandoned = false
  readonly #results: PublishResult[]
  #left: number
  #resolve!: (results: readonly PublishResult[]) => void

  constructor(count: number) {
    this.#results = new Array<PublishResult>(count)
    this.#left = count
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve
    })
    if (count === 0) this.#resolve(this.#results)
  }

  stored(place: number, receipt: PublishReceipt): void {
    this.#settle(place, receipt)
  }

  failed(place: number, error: RatatoskrError): void {
    this.#settle(place, { error })
  }

  abandon(): void {
    this.abandoned = true
  }

  #settle(place: number, result: PublishResult): void {
    this.#results[place] = result
    this.#left--
    if (this.#left === 0) this.#resolve(this.#results)
  }
}

/** Messages that share one reading of the clocks, which costs more than encoding a message. */
const messagesPerReading = 64

/** A bulk, told of its batches only. */
export class BulkPublish implements BatchOwner {
  messageCount = 0
  timestampMs = 0
  /** The same moment by the monotonic clock. */
  monotonicMs = 0
  failure: RatatoskrError | undefined
  #abandoned = false
  readonly #batches: BatchReceipt[] = []
  #open = 0
  #finished: PromiseWithResolvers<void> | undefined
  readonly #clock: Clock
  #messagesOfReading = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** True when no more are to be added. Asked for each message: a signal itself would cost more than the message. */
  get isStopped(): boolean {
    return this.failure !== undefined || this.#abandoned
  }

  /** Nobody waits for it any more. */
  abandon(): void {
    this.#abandoned = true
  }

  /** Before each message: sees to its time. @returns true when the clocks were read for it */
  tick(): boolean {
    if (this.#messagesOfReading-- > 0) return false
    this.#messagesOfReading = messagesPerReading - 1
    this.timestampMs = this.#clock.now()
    this.monotonicMs = this.#clock.monotonic()
    return true
  }

  /** True when the next message has the time of the one before. */
  get sharesTime(): boolean {
    return this.#messagesOfReading > 0
  }

  /** A message was added that shares its time. */
  shared(): void {
    this.#messagesOfReading--
    this.messageCount++
  }

  /** After a pause: the clocks have moved on. */
  resumed(): void {
    this.#messagesOfReading = 0
  }

  joined(): void {
    this.#open++
  }

  batchStored(receipt: BatchReceipt): void {
    this.#batches.push(receipt)
    this.#left()
  }

  batchFailed(error: RatatoskrError): void {
    this.failure ??= error
    this.#left()
  }

  /** Resolves when every batch is settled. */
  async finish(): Promise<BulkReceipt> {
    if (this.#open > 0) {
      this.#finished = Promise.withResolvers<void>()
      await this.#finished.promise
    }
    if (this.failure === undefined) return { messageCount: this.messageCount, batches: this.#batches }
    const storedCount = this.#batches.reduce((count, batch) => count + batch.recordCount, 0)
    throw new RatatoskrError(this.failure.code, this.failure.message, {
      cause: this.failure,
      details: { ...this.failure.details, storedCount },
    })
  }

  #left(): void {
    this.#open--
    if (this.#open === 0) this.#finished?.resolve()
  }
}
