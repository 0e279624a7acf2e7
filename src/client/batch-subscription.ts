/**
 * Reading whole record batches, without an object for a message: what bulk readers use. In a group a delivery is
 * acknowledged as a whole.
 */
import { expandedRecords } from '../domain/batch/expand.ts'
import {
  type BatchBytes,
  type BatchDelivery,
  batchSizeOf,
  type Expansion,
  type ExpiryRule,
  hasExpired,
  isControlBatch,
  type Logger,
  nextOffsetOf,
  type RatatoskrError,
  RecordCursor,
} from '../ports/index.ts'
import { AckTracker } from './ack-tracker.ts'
import { type ClientCallOptions, withDeadline } from './call.ts'
import { wholeNumber } from './checks.ts'
import { type CommitSource, Committer } from './committer.ts'
import type { ConsumeOptions, SubscriptionEvents } from './consume-options.ts'
import type { ClientContext } from './context.ts'
import { type LiveSink, LiveSubscription } from './live-subscription.ts'
import { SubscriptionTeller } from './subscription-teller.ts'

/** What to read, and how. */
export interface BatchesOptions
  extends ClientCallOptions,
    SubscriptionEvents,
    Pick<ConsumeOptions, 'member' | 'from' | 'partitions' | 'ack' | 'prefetchBytes' | 'overflow'> {
  /** Shares the partitions with the other members of this stream group and begins at its committed offsets. */
  readonly group?: string | undefined
  /** How long an acknowledgement waits to be committed, in milliseconds; 100 by default. */
  readonly commitIntervalMs?: number | undefined
}

/** One partition, as far as acknowledging goes. */
class BatchLane implements CommitSource {
  readonly partition: number
  readonly tracker: AckTracker
  committedOffset = -1
  over = false

  constructor(partition: number, offset: number) {
    this.partition = partition
    this.tracker = new AckTracker(offset)
  }

  get watermark(): number {
    return this.tracker.watermark
  }
}

const over: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined })

/** Goes through the records of a delivery. One result serves for all of them: a generator would make one for each record. */
class RecordIterator implements IterableIterator<RecordCursor, undefined> {
  readonly #delivery: BatchDelivery
  readonly #expansion: Expansion
  readonly #expiry: ExpiryRule
  readonly #cursor = new RecordCursor()
  readonly #found: IteratorYieldResult<RecordCursor> = { done: false, value: this.#cursor }
  /** Where the next batch begins. */
  #nextBatch = 0

  constructor(delivery: BatchDelivery, expansion: Expansion, expiry: ExpiryRule) {
    this.#delivery = delivery
    this.#expansion = expansion
    this.#expiry = expiry
  }

  [Symbol.iterator](): this {
    return this
  }

  next(): IteratorResult<RecordCursor, undefined> {
    const cursor = this.#cursor
    const { fromOffset } = this.#delivery
    for (;;) {
      while (cursor.next()) {
        if (cursor.offset < fromOffset) continue
        if (!cursor.mayExpire || !hasExpired(cursor, this.#expiry)) return this.#found
        this.#expiry.expired?.(cursor.offset)
      }
      if (!this.#openNext()) return over
    }
  }

  /** @returns false after the last batch */
  #openNext(): boolean {
    const { bytes, fromOffset } = this.#delivery
    while (this.#nextBatch < bytes.length) {
      const at = this.#nextBatch
      this.#nextBatch += batchSizeOf(bytes, at)
      if (isControlBatch(bytes, at) || nextOffsetOf(bytes, at) <= fromOffset) continue
      this.#cursor.open(bytes, at, expandedRecords(bytes, at, this.#expansion))
      return true
    }
    return false
  }
}

/** Some batches of one partition. */
export class ClientBatch implements BatchDelivery {
  readonly topic: string
  readonly partition: number
  /** Whole batches, back to back. Shared: must not be changed. */
  readonly bytes: BatchBytes
  /** Records below this offset are not part of the delivery. */
  readonly fromOffset: number
  /** Where the next delivery goes on. */
  readonly nextOffset: number
  readonly #expansion: Expansion
  readonly #expiry: ExpiryRule
  readonly #settled: () => void
  #acked = false

  constructor(
    topic: string,
    delivery: BatchDelivery,
    expansion: Expansion,
    expiry: ExpiryRule,
    settled: () => void,
  ) {
    this.topic = topic
    this.partition = delivery.partition
    this.bytes = delivery.bytes
    this.fromOffset = delivery.fromOffset
    this.nextOffset = delivery.nextOffset
    this.#expansion = expansion
    this.#expiry = expiry
    this.#settled = settled
  }

  /**
   * The records, one after the other, through one cursor that moves: copy what is to be kept. Those that have expired when
   * their turn comes are passed over, by the broker's clock as the client reckons it; in `bytes` they are.
   * @throws RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_MALFORMED, RTK_BATCH_TOO_LARGE
   */
  records(): IterableIterator<RecordCursor, undefined> {
    return new RecordIterator(this, this.#expansion, this.#expiry)
  }

  /** The batches are done: the group goes on behind them. Idempotent; without a group there is nothing to commit. */
  ack(): void {
    if (this.#acked) return
    this.#acked = true
    this.#settled()
  }
}

const MIB = 1024 * 1024

/** An iteration over the batches of a topic. It survives the loss of the connection. */
export class BatchSubscription implements AsyncIterable<ClientBatch>, AsyncDisposable {
  readonly #context: ClientContext
  readonly #options: BatchesOptions
  readonly #logger: Logger
  readonly #teller: SubscriptionTeller
  readonly #removed: (subscription: BatchSubscription) => void
  readonly #lanes = new Map<number, BatchLane>()
  readonly #queue: { readonly delivery: BatchDelivery; readonly lane: BatchLane }[] = []
  readonly #committer: Committer | undefined
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #waiting: PromiseWithResolvers<void>[] = []
  readonly #expiry: ExpiryRule
  #expiredCount = 0
  #live: LiveSubscription | undefined
  #over = false
  #reason: RatatoskrError | undefined
  #closing: Promise<void> | undefined

  private constructor(
    context: ClientContext,
    options: BatchesOptions,
    removed: (subscription: BatchSubscription) => void,
  ) {
    this.#context = context
    this.#options = options
    this.#logger = context.platform.logger
    this.#teller = new SubscriptionTeller(options, this.#logger)
    this.#removed = removed
    this.#expiry = {
      now: () => context.connection.brokerNow(),
      expired: () => {
        this.#expiredCount++
      },
    }
    if (options.group === undefined) return
    this.#committer = new Committer({
      clock: context.platform.clock,
      intervalMs: wholeNumber('commitIntervalMs', options.commitIntervalMs ?? 100, 0),
      ackCountMax: 100,
      commit: async (offsets) => this.#live?.commit(offsets),
      failed: (error) => this.#teller.tell(({ onError }) => onError?.(error)),
    })
  }

  /** Subscribes. @throws as `Session.subscribe` does */
  static async open(
    context: ClientContext,
    topic: string,
    options: BatchesOptions,
    removed: (subscription: BatchSubscription) => void,
    signal: AbortSignal,
  ): Promise<BatchSubscription> {
    const subscription = new BatchSubscription(context, options, removed)
    const { group, member, from, partitions, overflow, prefetchBytes = 4 * MIB } = options
    subscription.#live = await LiveSubscription.open(
      context,
      topic,
      {
        group,
        member,
        from,
        partitions,
        overflow,
        creditBytes: wholeNumber('prefetchBytes', prefetchBytes, 1),
      },
      subscription.#sink(),
      signal,
    )
    return subscription
  }

  /** Records that `ClientBatch.records` passed over because they had expired. */
  get expiredCount(): number {
    return this.#expiredCount
  }

  /** Settles when the subscription is over: with the reason when it failed, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  /** The batches, until the subscription is closed; throws the reason when it fails. `ack: 'auto'` as for messages. */
  [Symbol.asyncIterator](): AsyncIterator<ClientBatch, undefined> {
    let given: ClientBatch | undefined
    return {
      next: async () => {
        if (this.#options.ack !== 'manual') given?.ack()
        given = await this.#next()
        return given === undefined ? { done: true, value: undefined } : { done: false, value: given }
      },
      return: async () => {
        await this.close()
        return { done: true, value: undefined }
      },
    }
  }

  /** Commits what is acknowledged now, and resolves when it is stored. */
  async commit(options: ClientCallOptions = {}): Promise<void> {
    const { platform, timeoutMs } = this.#context
    await withDeadline(platform.clock, 'commit', options, timeoutMs, () => this.#committer?.flush())
  }

  /** Commits what was acknowledged and ends the subscription, within the deadline. Idempotent. */
  close(options: ClientCallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: ClientCallOptions): Promise<void> {
    const { platform, limits } = this.#context
    try {
      if (this.#over) return
      await withDeadline(platform.clock, 'close', options, limits.stopTimeoutMs, async (signal) => {
        await this.#committer?.stop(signal)
        await this.#live?.close()
      })
    } finally {
      this.#end(undefined)
      this.#removed(this)
    }
  }

  #end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#queue.length = 0
    for (const lane of this.#lanes.values()) lane.over = true
    this.#committer?.cancel()
    void this.#live?.close()
    this.#ended.resolve(reason)
    this.#wake()
    this.#removed(this)
  }

  async #next(): Promise<ClientBatch | undefined> {
    for (;;) {
      if (this.#reason !== undefined) throw this.#reason
      if (this.#over || this.#closing !== undefined) return undefined
      const item = this.#queue.shift()
      if (item === undefined) {
        const waiting = Promise.withResolvers<void>()
        this.#waiting.push(waiting)
        await waiting.promise
      } else if (!item.lane.over) return this.#batch(item.delivery, item.lane)
    }
  }

  #batch(delivery: BatchDelivery, lane: BatchLane): ClientBatch {
    this.#live?.grant(delivery.bytes.length)
    lane.tracker.handed(delivery.fromOffset, delivery.nextOffset)
    const { platform, limits } = this.#context
    const expansion = { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax }
    return new ClientBatch(this.#live?.facts.text ?? '', delivery, expansion, this.#expiry, () => {
      if (!lane.over && lane.tracker.ack(delivery.fromOffset)) this.#committer?.mark(lane)
    })
  }

  #sink(): LiveSink {
    return {
      begin: (partition, offset) => {
        this.#endLane(partition)
        this.#lanes.set(partition, new BatchLane(partition, offset))
        this.#teller.tell(({ onAssigned }) => onAssigned?.([{ partition, offset }]))
      },
      revoked: (partition) => {
        this.#endLane(partition)
        this.#teller.tell(({ onRevoked }) => onRevoked?.([partition]))
      },
      deliver: (delivery) => {
        const lane = this.#lanes.get(delivery.partition)
        if (lane === undefined || this.#over) return
        this.#queue.push({ delivery, lane })
        this.#wake()
      },
      gap: (gap) => {
        this.#logger.warn('messages are missing', { ...gap })
        this.#teller.tell(({ onGap }) => onGap?.(gap))
      },
      disconnected: (reason) => this.#teller.tell(({ onDisconnect }) => onDisconnect?.(reason)),
      reconnected: () => this.#teller.tell(({ onReconnect }) => onReconnect?.()),
      ended: (reason) => {
        if (reason !== undefined) this.#end(reason)
      },
    }
  }

  /** What waits of a partition that is gone is dropped, and its room given back. */
  #endLane(partition: number): void {
    const lane = this.#lanes.get(partition)
    if (lane === undefined) return
    lane.over = true
    this.#lanes.delete(partition)
    for (const { delivery } of this.#queue.filter((item) => item.lane === lane)) {
      this.#live?.grant(delivery.bytes.length)
    }
    this.#queue.splice(0, this.#queue.length, ...this.#queue.filter((item) => item.lane !== lane))
  }

  #wake(): void {
    for (const waiting of this.#waiting.splice(0)) waiting.resolve()
  }
}
