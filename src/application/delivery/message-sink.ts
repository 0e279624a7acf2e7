/**
 * Delivery one message at a time, for what cannot carry batches. The same cursor reads the same batches; this outlet
 * decodes them as the sink takes them. Credit counts messages and is never exceeded: between two grants the rest of the
 * read waits here, which is why reads are small.
 *
 * Messages that have expired when their turn comes are stepped over: they cost no credit and are no delivery, and the
 * cursor goes on behind them.
 *
 * A batch that cannot be decoded (a codec that is not installed, more than `expandedBatchBytesMax`, records that do not
 * add up) ends the subscription with that error, whose details say where to go on: `partition`, `offset` of what could
 * not be decoded, and `nextOffset` of the batch after it. Passing over it silently would be a loss nobody notices.
 */
import type {
  BatchDelivery,
  BatchSource,
  Credit,
  Expansion,
  ExpiryRule,
  Limits,
  MaybePromise,
  Message,
  MessageSink,
} from '../../ports/index.ts'
import {
  batchStarts,
  isRatatoskrError,
  leaderEpochOf,
  letEscape,
  messagesOf,
  nextOffsetOf,
  RatatoskrError,
} from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { Cursor } from './cursor.ts'
import { grantOf, type Outlet, type OutletHost } from './outlet.ts'

/** What a stalled subscriber may pin, unless one batch is larger. */
const readBytesMax = 64 * 1024
/** Messages handed over before others have their turn. */
const messagesPerTurn = 64

/** A read that is being handed over. */
class Unfinished implements ExpiryRule {
  readonly cursor: Cursor
  readonly delivery: BatchDelivery
  readonly messages: Generator<Message, void, undefined>
  readonly #clock: ExpiryRule
  delivered = 0
  /** Stepped over because they have expired. */
  expiredCount = 0
  /** Bytes that were reported as delivered or as stepped over. */
  reportedBytes = 0

  constructor(cursor: Cursor, delivery: BatchDelivery, { expiry, ...origin }: MessageOrigin) {
    this.cursor = cursor
    this.delivery = delivery
    this.#clock = expiry
    const source: BatchSource = { ...origin, partition: delivery.partition, expiry: this }
    this.messages = messagesOf(delivery.bytes, source, delivery.fromOffset)
  }

  now(): number {
    return this.#clock.now()
  }

  expired(offset: number): void {
    this.expiredCount++
    this.cursor.offset = offset + 1
  }

  /** Bytes of the stored batches, shared out over the messages that were taken since the last call. */
  takenBytes(): number {
    const { bytes, fromOffset, nextOffset } = this.delivery
    const taken = this.delivered + this.expiredCount
    const sizeBytes = Math.floor((bytes.length * taken) / (nextOffset - fromOffset)) - this.reportedBytes
    this.reportedBytes += sizeBytes
    return sizeBytes
  }
}

/** Where the messages come from, but for the partition. */
export interface MessageOrigin {
  readonly topic: string
  readonly topicId: string
  readonly expansion: Expansion
  readonly expiry: ExpiryRule
}

export class MessageOutlet implements Outlet {
  readonly sink: MessageSink
  readonly readBytesMax: number
  readonly #host: OutletHost
  readonly #creditMax: number
  readonly #origin: MessageOrigin
  #credit = 0
  #rest: Unfinished | undefined

  constructor(sink: MessageSink, host: OutletHost, limits: Limits, origin: MessageOrigin) {
    this.sink = sink
    this.readBytesMax = Math.min(readBytesMax, limits.deliveryBytesMax)
    this.#host = host
    this.#creditMax = limits.creditMessagesMax
    this.#origin = origin
  }

  get open(): boolean {
    return this.#credit > 0
  }

  get unfinished(): Cursor | undefined {
    return this.#rest?.cursor
  }

  grant(credit: Credit): void {
    const granted = grantOf('messages', credit.messages, this.#creditMax)
    this.#credit = Math.min(this.#credit + granted, this.#creditMax)
  }

  fits(): boolean {
    return true
  }

  offer(cursor: Cursor, delivery: BatchDelivery): MaybePromise<void> {
    cursor.leaderEpoch = leaderEpochOf(delivery.bytes)
    letEscape(delivery.bytes) // messages are views of it
    this.#rest = new Unfinished(cursor, delivery, this.#origin)
    return this.resume()
  }

  resume(): MaybePromise<void> {
    const rest = this.#rest
    if (rest === undefined) return
    const fromOffset = rest.cursor.offset
    const before = rest.delivered
    try {
      return this.#handOver(rest)
    } catch (error) {
      throw withPlace(error, rest)
    } finally {
      this.#report(rest, fromOffset, rest.delivered - before)
    }
  }

  drop(): void {
    this.#rest = undefined
  }

  #handOver(rest: Unfinished): MaybePromise<void> {
    for (let n = 0; n < messagesPerTurn && this.#credit > 0 && !this.#host.interrupted; n++) {
      const next = rest.messages.next()
      if (next.done) {
        rest.cursor.offset = rest.delivery.nextOffset
        this.#rest = undefined
        return
      }
      this.#credit--
      rest.delivered++
      rest.cursor.offset = next.value.offset + 1
      const full = this.sink.deliver(next.value)
      if (isPromise(full)) return full
    }
    if (rest.cursor.offset === rest.delivery.nextOffset) this.#rest = undefined
  }

  #report(rest: Unfinished, fromOffset: number, count: number): void {
    const sizeBytes = rest.takenBytes()
    if (count > 0) this.#host.delivered(rest.delivery.partition, fromOffset, count, sizeBytes)
    else if (sizeBytes > 0) this.#host.passedOver(sizeBytes)
  }
}

/** Adds where it happened to the error of a batch that cannot be decoded; other errors stay as they are. */
function withPlace(error: unknown, rest: Unfinished): unknown {
  if (!isRatatoskrError(error) || !undecodable.has(error.code)) return error
  const { offset } = rest.cursor
  const { bytes, partition } = rest.delivery
  let { nextOffset } = rest.delivery
  for (const at of batchStarts(bytes)) {
    if (nextOffsetOf(bytes, at) > offset) {
      nextOffset = nextOffsetOf(bytes, at)
      break
    }
  }
  const message = `${error.message}; partition ${partition}, offset ${offset}: go on at ${nextOffset}`
  return new RatatoskrError(error.code, message, {
    cause: error,
    details: { ...error.details, partition, offset, nextOffset },
  })
}

const undecodable: ReadonlySet<string> = new Set([
  'RTK_BATCH_MALFORMED',
  'RTK_BATCH_TOO_LARGE',
  'RTK_COMPRESSION_UNAVAILABLE',
])
