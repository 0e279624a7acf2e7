/**
 * What handlers and iterators take messages from: the lanes of a subscription, its credit, its retries and commits.
 *
 * Bounds: `prefetchBytes` of batches are on their way or wait here, and at most `maxInFlight` messages are handed out and
 * not settled.
 */
import {
  type BackoffOptions,
  type BatchDelivery,
  backoffDelayMs,
  type Expansion,
  type Logger,
  type PartitionOffset,
  RatatoskrError,
  type StartPosition,
  toRatatoskrError,
} from '../ports/index.ts'
import { delay } from './call.ts'
import { oneOf, wholeNumber } from './checks.ts'
import type { ClientMessage, NackOptions } from './client-message.ts'
import { Committer } from './committer.ts'
import type { ClientContext } from './context.ts'
import { Lane, type LaneOwner } from './lane.ts'
import { type LiveSink, LiveSubscription } from './live-subscription.ts'

/** What happens around a subscription, for those who watch it. Called one after the other; a throw is logged. */
export interface SubscriptionEvents {
  /** Partitions that this subscription has now, and where each begins; more may be added later. */
  readonly onAssigned?: ((partitions: readonly PartitionOffset[]) => void) | undefined
  /** Partitions that went to another member: their messages here count no more. */
  readonly onRevoked?: ((partitions: readonly number[]) => void) | undefined
  /** Messages are missing: retention deleted them, or the topic is another one now. */
  readonly onGap?: ((gap: SubscriptionGap) => void) | undefined
  readonly onDisconnect?: ((reason: RatatoskrError) => void) | undefined
  readonly onReconnect?: (() => void) | undefined
  /** Something went wrong that does not end the subscription: a commit that failed, a message that was skipped. */
  readonly onError?: ((error: RatatoskrError, message?: ClientMessage) => void) | undefined
}

/** Messages of a partition that are gone: those from `expectedOffset` up to, without, `offset`. */
export interface SubscriptionGap {
  readonly partition: number
  readonly expectedOffset: number
  readonly offset: number
}

/** How a subscription reads and settles. */
export interface ConsumeOptions extends SubscriptionEvents {
  /** Shares the partitions with the group's other members and begins at its committed offsets. Without: every message. */
  readonly group?: string | undefined
  /** Name of this member within the group; made up by the broker otherwise. */
  readonly member?: string | undefined
  /** Where to begin: without a group `latest`; with one, where it has committed nothing, `earliest`. */
  readonly from?: StartPosition | undefined
  /** Only these partitions; not with a group. */
  readonly partitions?: readonly number[] | undefined
  /**
   * `at-least-once` (default): acknowledged after it was handled. `at-most-once`: the offset is committed before a batch
   * is handed out and nothing is ever repeated, so that a crash loses what was handed out and not handled.
   */
  readonly delivery?: 'at-least-once' | 'at-most-once' | undefined
  /**
   * `auto` (default): a handler that returns acknowledges and one that throws gives back; an iterator acknowledges the
   * message it gave last when it is asked for the next. `manual`: only `ack()` and `nack()` do.
   */
  readonly ack?: 'auto' | 'manual' | undefined
  readonly prefetchBytes?: number | undefined
  /** Messages handed out and not settled. */
  readonly maxInFlight?: number | undefined
  /** How often a message that was given back comes again before it has failed. */
  readonly retriesMax?: number | undefined
  /** Pauses before a message comes again. */
  readonly retry?: BackoffOptions | undefined
  /** What to do with a failed message: end the subscription, so that nothing is lost (default), or pass over it. */
  readonly onFailed?: 'stop' | 'skip' | undefined
  /** How long an acknowledgement waits to be committed, in milliseconds. */
  readonly commitIntervalMs?: number | undefined
  /** Acknowledgements after which a commit waits no longer. */
  readonly commitAckCount?: number | undefined
}

const MIB = 1024 * 1024

export class Consumer {
  readonly #context: ClientContext
  readonly #options: ConsumeOptions
  readonly #logger: Logger
  readonly #lanes = new Map<number, Lane>()
  /** Lanes with something to take, in turn. */
  readonly #ready = new Set<Lane>()
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #committer: Committer | undefined
  readonly #atMostOnce: boolean
  readonly #settlesItself: boolean
  readonly #skipsFailed: boolean
  readonly #prefetchBytes: number
  readonly #maxInFlight: number
  readonly #retriesMax: number
  readonly #retry: BackoffOptions
  readonly #expansion: Expansion
  readonly #laneOwner: LaneOwner
  #live: LiveSubscription | undefined
  #begun: PartitionOffset[] = []
  #bufferedBytes = 0
  #returnedBytes = 0
  #inFlight = 0
  #expiredCount = 0
  #stopping = false
  #over = false
  #reason: RatatoskrError | undefined
  /** Called when there may be something to take, and at the end. */
  wake: () => void = () => {}

  constructor(context: ClientContext, options: ConsumeOptions) {
    this.#context = context
    this.#options = options
    this.#logger = context.platform.logger
    const { delivery = 'at-least-once', ack = 'auto', onFailed = 'stop' } = options
    this.#atMostOnce = oneOf('delivery', delivery, ['at-least-once', 'at-most-once']) === 'at-most-once'
    this.#settlesItself = oneOf('ack', ack, ['auto', 'manual']) === 'auto'
    this.#skipsFailed = oneOf('onFailed', onFailed, ['stop', 'skip']) === 'skip'
    this.#prefetchBytes = wholeNumber('prefetchBytes', options.prefetchBytes ?? 4 * MIB, 1)
    this.#maxInFlight = wholeNumber('maxInFlight', options.maxInFlight ?? 1_000, 1)
    this.#retriesMax = wholeNumber('retriesMax', options.retriesMax ?? 3, 0)
    this.#retry = options.retry ?? { baseMs: 200, maxMs: 30_000 }
    this.#expansion = {
      codecs: context.platform.compression,
      bytesMax: context.limits.expandedBatchBytesMax,
    }
    const grouped = options.group !== undefined
    this.#committer =
      grouped && !this.#atMostOnce
        ? new Committer({
            clock: context.platform.clock,
            intervalMs: wholeNumber('commitIntervalMs', options.commitIntervalMs ?? 100, 0),
            ackCountMax: wholeNumber('commitAckCount', options.commitAckCount ?? 1_000, 1),
            commit: async (offsets) => this.#live?.commit(offsets),
            failed: (error) => this.#report(error),
          })
        : undefined
    this.#laneOwner = {
      clock: context.platform.clock,
      expiry: { now: () => context.connection.brokerNow() },
      sourceOf: (partition) => ({
        topic: this.live.facts.text,
        topicId: this.live.facts.id,
        partition,
        expansion: this.#expansion,
      }),
      admit: grouped && this.#atMostOnce ? (lane, delivery) => this.#commitFirst(lane, delivery) : undefined,
      ready: (lane) => this.#laneReady(lane),
      expired: (lane, rose) => {
        this.#expiredCount++
        if (rose) this.#committer?.mark(lane)
      },
      released: (bytes) => this.#released(bytes),
      settled: (lane, message, outcome, nack) => this.#settled(lane, message, outcome, nack),
    }
  }

  /** Subscribes. @throws as `Session.subscribe` does */
  async open(topic: string, signal: AbortSignal): Promise<void> {
    const { group, member, from, partitions } = this.#options
    this.#live = await LiveSubscription.open(
      this.#context,
      topic,
      { group, member, from, partitions, creditBytes: this.#prefetchBytes, exact: this.#atMostOnce },
      this.#sink(),
      signal,
    )
    this.wake()
  }

  get live(): LiveSubscription {
    return this.#live as LiveSubscription
  }

  /** Settles with the reason when the subscription is over; with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  get over(): boolean {
    return this.#over
  }

  /** True once nothing is handed out any more. */
  get stopped(): boolean {
    return this.#stopping || this.#over
  }

  /** Hands out nothing more; what is handed out may still be settled. */
  stop(): void {
    this.#stopping = true
  }

  /** Messages that were not handed out because they had expired. */
  get expiredCount(): number {
    return this.#expiredCount
  }

  get reason(): RatatoskrError | undefined {
    return this.#reason
  }

  get settlesItself(): boolean {
    return this.#settlesItself
  }

  /** A lane that something can be taken from now, and that no handler is at work on. */
  readyLane(): Lane | undefined {
    if (!this.#mayTake) return undefined
    for (const lane of this.#ready) {
      if (!lane.available) this.#ready.delete(lane)
      else if (!lane.busy) return lane
    }
    return undefined
  }

  /** The next message, of any lane or of this one. */
  take(from?: Lane): ClientMessage | undefined {
    while (this.#mayTake) {
      const lane = from ?? this.readyLane()
      if (lane === undefined) return undefined
      try {
        const message = lane.take()
        if (message !== undefined) {
          this.#inFlight++
          if (lane.betweenDeliveries) this.#giveTurn(lane)
          return message
        }
      } catch (error) {
        this.end(toRatatoskrError(error))
      }
      if (from !== undefined) return undefined
    }
    return undefined
  }

  get #mayTake(): boolean {
    return this.#live !== undefined && !this.stopped && this.#inFlight < this.#maxInFlight
  }

  /** Commits what is acknowledged now. @throws what the commit threw */
  async commit(): Promise<void> {
    await this.#committer?.flush()
  }

  /** Ends with a reason: nothing more is handed out. */
  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#committer?.cancel()
    for (const lane of this.#lanes.values()) lane.end()
    this.#lanes.clear()
    this.#ready.clear()
    void this.#live?.close()
    this.#ended.resolve(reason)
    this.wake()
  }

  /** Hands out nothing more, commits what was acknowledged until `signal` fires, and leaves. */
  async close(signal: AbortSignal): Promise<void> {
    if (this.#over) return
    this.stop()
    await this.#committer?.stop(signal)
    const leaving = this.#live?.close()
    this.end(undefined)
    await leaving
  }

  #sink(): LiveSink {
    return {
      begin: (partition, offset) => this.#begin(partition, offset),
      revoked: (partition) => {
        this.#endLane(partition)
        this.#tell('onRevoked', () => this.#options.onRevoked?.([partition]))
      },
      deliver: (delivery) => this.#deliver(delivery),
      gap: (partition, expectedOffset, offset) => {
        this.#logger.warn('messages are missing', { partition, expectedOffset, offset })
        this.#tell('onGap', () => this.#options.onGap?.({ partition, expectedOffset, offset }))
      },
      disconnected: (reason) => this.#tell('onDisconnect', () => this.#options.onDisconnect?.(reason)),
      reconnected: () => this.#tell('onReconnect', () => this.#options.onReconnect?.()),
      ended: (reason) => {
        if (reason !== undefined) this.end(reason)
      },
    }
  }

  #begin(partition: number, offset: number): void {
    this.#endLane(partition)
    const lane = new Lane(partition, offset, this.#laneOwner)
    this.#lanes.set(partition, lane)
    // Partitions are assigned together, so they are told together.
    if (this.#begun.length === 0) {
      queueMicrotask(() => {
        const begun = this.#begun
        this.#begun = []
        this.#tell('onAssigned', () => this.#options.onAssigned?.(begun))
      })
    }
    this.#begun.push({ partition, offset })
  }

  #endLane(partition: number): void {
    const lane = this.#lanes.get(partition)
    if (lane === undefined) return
    this.#lanes.delete(partition)
    this.#ready.delete(lane)
    this.#inFlight -= lane.handedOutCount
    lane.end()
  }

  #deliver(delivery: BatchDelivery): void {
    const lane = this.#lanes.get(delivery.partition)
    if (lane === undefined || this.#over) return
    this.#bufferedBytes += delivery.bytes.length
    lane.push(delivery)
    this.#laneReady(lane)
  }

  #laneReady(lane: Lane): void {
    if (this.#over || lane.over) return
    this.#ready.add(lane)
    this.wake()
  }

  /** Others may have a turn. */
  #giveTurn(lane: Lane): void {
    if (this.#ready.delete(lane) && lane.available) this.#ready.add(lane)
  }

  #released(bytes: number): void {
    this.#bufferedBytes -= bytes
    this.#returnedBytes += bytes
    if (this.#over) return
    if (this.#bufferedBytes > 0 && this.#returnedBytes < this.#prefetchBytes / 4) return
    const grant = this.#returnedBytes
    this.#returnedBytes = 0
    this.#live?.grant(grant)
  }

  #settled(lane: Lane, message: ClientMessage, outcome: 'ack' | 'nack', options: NackOptions): void {
    const full = this.#inFlight === this.#maxInFlight
    this.#inFlight--
    if (outcome === 'ack' || this.#atMostOnce) this.#acked(lane, message)
    else if (message.attempt <= this.#retriesMax) {
      const random = this.#context.platform.random.next()
      lane.repeat(message, options.delayMs ?? backoffDelayMs(message.attempt - 1, this.#retry, random))
    } else this.#failed(lane, message, options.reason)
    if (lane.available) this.#laneReady(lane)
    else if (full) this.wake()
  }

  #acked(lane: Lane, message: ClientMessage): void {
    if (lane.ack(message)) this.#committer?.mark(lane)
  }

  #failed(lane: Lane, message: ClientMessage, cause: unknown): void {
    const error = new RatatoskrError(
      'RTK_HANDLER_FAILED',
      `the message at offset ${message.offset} of partition ${message.partition} failed ${message.attempt} times (retriesMax: ${this.#retriesMax})`,
      { cause, details: { partition: message.partition, offset: message.offset, attempts: message.attempt } },
    )
    if (this.#skipsFailed) {
      this.#report(error, message)
      this.#acked(lane, message)
    } else void this.#stopFailed(error)
  }

  /** What was acknowledged before the failure stays so. */
  async #stopFailed(error: RatatoskrError): Promise<void> {
    this.stop()
    await this.#committer?.flush().catch(() => {})
    this.end(error)
  }

  /** Before a batch is handed out at most once, the group's offset is put behind it. */
  async #commitFirst(lane: Lane, { partition, nextOffset }: BatchDelivery): Promise<void> {
    const { clock } = this.#context.platform
    while (!this.#over && !lane.over) {
      try {
        await this.#live?.commit([{ partition, offset: nextOffset }])
        return
      } catch (error) {
        const failure = toRatatoskrError(error)
        if (failure.code === 'RTK_LEASE_LOST') {
          this.#endLane(partition)
          return
        }
        if (!failure.retryable) {
          this.end(failure)
          return
        }
        await delay(clock, 100, lane.signal, 'committing').catch(() => {})
      }
    }
  }

  #report(error: RatatoskrError, message?: ClientMessage): void {
    this.#logger.warn('subscription error', { code: error.code, error: error.message })
    this.#tell('onError', () => this.#options.onError?.(error, message))
  }

  #tell(event: string, run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#logger.error('a subscription event callback threw', { event, error: String(error) })
    }
  }
}
