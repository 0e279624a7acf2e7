/**
 * An outlet is the end of a subscription that its sink hangs on: it knows the sink's credit, and how what was read from
 * the log is handed over. There are two, for batches and for single messages; everything else about a subscription is
 * the same for both.
 */
import type { BatchDelivery, BatchSink, Credit, Limits, MaybePromise, SinkEvents } from '../../ports/index.ts'
import { lendBytes, letEscape, RatatoskrError } from '../../ports/index.ts'
import type { Cursor } from './cursor.ts'

/** What an outlet tells its subscription of. */
export interface OutletHost {
  /** True when something has to be said to the sink before the next delivery, or the subscription is over. */
  readonly interrupted: boolean
  delivered(partition: number, fromOffset: number, recordCount: number, sizeBytes: number): void
  /** Messages that have expired were stepped over. It took time like a delivery, and is none. */
  passedOver(sizeBytes: number): void
}

export interface Outlet {
  readonly sink: SinkEvents
  /** True while the sink may be given something. */
  readonly open: boolean
  /** Soft bound of the next read. */
  readonly readBytesMax: number
  /** The cursor whose last read is not handed over completely; goes on with `resume`. */
  readonly unfinished: Cursor | undefined
  grant(credit: Credit): void
  /** False when a read of this size must wait for more credit. */
  fits(sizeBytes: number): boolean
  /**
   * Hands over what `cursor` read, and moves the cursor. The bytes are the outlet's for this call: see `PartitionFeed.read`. A promise means that the sink is full until it settles.
   */
  offer(cursor: Cursor, delivery: BatchDelivery): MaybePromise<void>
  resume(): MaybePromise<void>
  /** Lets go of what is not handed over yet. */
  drop(): void
}

/** Whole batches, the same bytes for every subscriber. Credit counts bytes: see `Credit`. */
export class BatchOutlet implements Outlet {
  readonly sink: BatchSink
  readonly unfinished = undefined
  readonly #host: OutletHost
  readonly #limits: Limits
  #credit = 0
  #largestGrant = 0

  constructor(sink: BatchSink, host: OutletHost, limits: Limits) {
    this.sink = sink
    this.#host = host
    this.#limits = limits
  }

  get open(): boolean {
    return this.#credit > 0
  }

  get readBytesMax(): number {
    return Math.min(this.#limits.deliveryBytesMax, this.#credit)
  }

  grant(credit: Credit): void {
    const granted = grantOf('bytes', credit.bytes, this.#limits.creditBytesMax)
    this.#credit = Math.min(this.#credit + granted, this.#limits.creditBytesMax)
    // What pays for a batch that was larger than the credit is none of the window: counted, it would never be back.
    this.#largestGrant = Math.max(this.#largestGrant, Math.min(granted, this.#credit))
  }

  fits(sizeBytes: number): boolean {
    return sizeBytes <= this.#credit || this.#credit >= this.#largestGrant
  }

  offer(cursor: Cursor, delivery: BatchDelivery): MaybePromise<void> {
    const { bytes, fromOffset, nextOffset } = delivery
    cursor.advance(delivery)
    this.#credit -= bytes.length
    this.#host.delivered(delivery.partition, fromOffset, nextOffset - fromOffset, bytes.length)
    if (this.sink.givesBack === true) lendBytes(bytes)
    else letEscape(bytes)
    return this.sink.deliver(delivery)
  }

  resume(): void {}

  drop(): void {
    this.#credit = 0
  }
}

/**
 * Checks one kind of credit and cuts it to its limit.
 * @throws RTK_INVALID_ARGUMENT
 */
export function grantOf(unit: 'bytes' | 'messages', amount: number | undefined, amountMax: number): number {
  if (amount === undefined) return 0
  if (!(amount >= 0) || (amount !== Number.POSITIVE_INFINITY && !Number.isSafeInteger(amount))) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `credit.${unit} must be a whole number of at least 0, got ${String(amount)}`,
    )
  }
  return Math.min(amount, amountMax)
}
