/**
 * What handlers and iterators without a group take messages from: the lanes of a subscription, its credit and its retries.
 *
 * Bounds: `prefetchBytes` of batches are on their way or wait here, and at most `maxInFlight` messages are handed out and
 * not settled.
 */
import { parseRetryPolicy } from '../domain/queue/retry-policy.ts'
import {
  type BatchDelivery,
  type Expansion,
  type Logger,
  type PartitionOffset,
  RatatoskrError,
  type RetryPolicy,
  toRatatoskrError,
} from '../ports/index.ts'
import { oneOf, wholeNumber } from './checks.ts'
import type { ClientMessage, MessageEnd, NackOptions } from './client-message.ts'
import { type ConsumeOptions, checkedOptions, type RetryFunction, retryPauseMs } from './consume-options.ts'
import type { ClientContext } from './context.ts'
import { Lane, type LaneOwner } from './lane.ts'
import { type LiveSink, LiveSubscription } from './live-subscription.ts'
import type { MessageSource, TakenBy } from './message-source.ts'
import { SubscriptionTeller } from './subscription-teller.ts'

/**
 * Credit for less than a quarter of the window goes back after this long, not for each message, which would cost as much as the
 * message itself. Nobody waits for it but a batch of more than three quarters of the window.
 */
const grantAfterMs = 10

export class Consumer implements MessageSource {
  readonly settlesItself: boolean
  readonly #context: ClientContext
  readonly #options: ConsumeOptions
  readonly #logger: Logger
  readonly #teller: SubscriptionTeller
  readonly #lanes = new Map<number, Lane>()
  /** Lanes with something to take, in turn. */
  readonly #ready = new Set<Lane>()
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #atMostOnce: boolean
  readonly #skipsFailed: boolean
  readonly #prefetchBytes: number
  readonly #retriesMax: number
  readonly #retry: RetryPolicy | RetryFunction
  readonly #expansion: Expansion
  readonly #laneOwner: LaneOwner
  #maxInFlight: number
  #live: LiveSubscription | undefined
  #begun: PartitionOffset[] = []
  #bufferedBytes = 0
  #returnedBytes = 0
  #granting: Disposable | undefined
  #inFlight = 0
  #expiredCount = 0
  #stopping = false
  #over = false
  #reason: RatatoskrError | undefined
  wake: () => void = () => {}

  constructor(context: ClientContext, options: ConsumeOptions) {
    this.#context = context
    this.#options = options
    this.#logger = context.platform.logger
    this.#teller = new SubscriptionTeller(options, this.#logger)
    const { atMostOnce, settlesItself, prefetchBytes, maxInFlight } = checkedOptions(options)
    this.settlesItself = settlesItself
    this.#atMostOnce = atMostOnce
    this.#skipsFailed = oneOf('onFailed', options.onFailed ?? 'stop', ['stop', 'skip']) === 'skip'
    this.#prefetchBytes = prefetchBytes
    this.#maxInFlight = maxInFlight
    const { retriesMax = 3 } = options
    this.#retriesMax = retriesMax === -1 ? Number.POSITIVE_INFINITY : wholeNumber('retriesMax', retriesMax, 0)
    this.#retry = retryOf(options.retry)
    this.#expansion = {
      codecs: context.platform.compression,
      bytesMax: context.limits.expandedBatchBytesMax,
    }
    this.#laneOwner = {
      clock: context.platform.clock,
      expiry: { now: () => context.connection.brokerNow() },
      sourceOf: (partition) => ({
        topic: this.#facts.text,
        topicId: this.#facts.id,
        partition,
        expansion: this.#expansion,
      }),
      ready: (lane) => this.#laneReady(lane),
      expired: () => {
        this.#expiredCount++
      },
      released: (bytes) => this.#released(bytes),
      settled: (lane, message, end, nack) => this.#settled(lane, message, end, nack),
    }
  }

  /** Subscribes. @throws as `Session.subscribe` does */
  async open(topic: string, signal: AbortSignal): Promise<void> {
    const { from, partitions, overflow } = this.#options
    this.#live = await LiveSubscription.open(
      this.#context,
      topic,
      { from, partitions, overflow, creditBytes: this.#prefetchBytes },
      this.#sink(),
      signal,
    )
    this.wake()
  }

  get topic(): string {
    return this.#facts.text
  }

  get member(): string {
    return ''
  }

  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  get over(): boolean {
    return this.#over
  }

  get stopped(): boolean {
    return this.#stopping || this.#over
  }

  stop(): void {
    this.#stopping = true
  }

  get expiredCount(): number {
    return this.#expiredCount
  }

  get reason(): RatatoskrError | undefined {
    return this.#reason
  }

  /** The next message of the lane whose turn it is; a handler has a lane for itself. */
  take(by: TakenBy): ClientMessage | undefined {
    while (this.#live !== undefined && !this.stopped && this.#inFlight < this.#maxInFlight) {
      const lane = this.#readyLane()
      if (lane === undefined) return undefined
      try {
        const message = lane.take()
        if (message !== undefined) {
          this.#inFlight++
          lane.busy = by === 'handler'
          if (lane.betweenDeliveries) this.#giveTurn(lane)
          return message
        }
      } catch (error) {
        this.end(toRatatoskrError(error))
      }
    }
    return undefined
  }

  begin(): true {
    return true
  }

  finished(message: ClientMessage, failure?: { readonly reason: unknown }): void {
    if (failure !== undefined) message.end('nack', { reason: failure.reason })
    else if (this.settlesItself) message.end('ack')
    const lane = message.origin as Lane
    lane.busy = false
    if (lane.available && !this.#over) this.#ready.add(lane)
  }

  /** Nobody else is asked: what is settled is settled. */
  async flush(): Promise<void> {}

  setMaxInFlight(value: number): void {
    this.#maxInFlight = wholeNumber('maxInFlight', value, 1)
    this.wake()
  }

  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    for (const lane of this.#lanes.values()) lane.end()
    this.#lanes.clear()
    this.#ready.clear()
    this.#granting?.[Symbol.dispose]()
    void this.#live?.close()
    this.#ended.resolve(reason)
    this.wake()
  }

  async close(): Promise<void> {
    if (this.#over) return
    this.stop()
    const leaving = this.#live?.close()
    this.end(undefined)
    await leaving
  }

  get #facts(): LiveSubscription['facts'] {
    return (this.#live as LiveSubscription).facts
  }

  #sink(): LiveSink {
    return {
      begin: (partition, offset) => this.#begin(partition, offset),
      revoked: (partition) => {
        this.#endLane(partition)
        this.#teller.tell(({ onRevoked }) => onRevoked?.([partition]))
      },
      deliver: (delivery) => this.#deliver(delivery),
      gap: (gap) => {
        this.#logger.warn('messages are missing', { ...gap })
        this.#teller.tell(({ onGap }) => onGap?.(gap))
      },
      disconnected: (reason) => this.#teller.tell(({ onDisconnect }) => onDisconnect?.(reason)),
      reconnected: () => this.#teller.tell(({ onReconnect }) => onReconnect?.()),
      ended: (reason) => {
        if (reason !== undefined) this.end(reason)
      },
    }
  }

  #begin(partition: number, offset: number): void {
    this.#endLane(partition)
    this.#lanes.set(partition, new Lane(partition, this.#laneOwner))
    // Partitions are assigned together, so they are told together.
    if (this.#begun.length === 0) {
      queueMicrotask(() => {
        const begun = this.#begun
        this.#begun = []
        this.#teller.tell(({ onAssigned }) => onAssigned?.(begun))
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

  /** A lane that something can be taken from now, and that no handler is at work on. */
  #readyLane(): Lane | undefined {
    for (const lane of this.#ready) {
      if (!lane.available) this.#leave(lane)
      else if (!lane.busy) return lane
    }
    return undefined
  }

  /** A lane with nothing to take. The only one stays, for the next message: a set that is emptied is made anew by it. */
  #leave(lane: Lane): void {
    if (this.#ready.size > 1) this.#ready.delete(lane)
  }

  /** Others may have a turn. */
  #giveTurn(lane: Lane): void {
    if (this.#ready.size === 1) return // there are no others, and a set pays for each change
    if (this.#ready.delete(lane) && lane.available) this.#ready.add(lane)
  }

  #released(bytes: number): void {
    this.#bufferedBytes -= bytes
    this.#returnedBytes += bytes
    if (this.#over) return
    if (this.#returnedBytes >= this.#prefetchBytes / 4) this.#grant()
    else if (this.#bufferedBytes === 0) {
      this.#granting ??= this.#context.platform.clock.after(grantAfterMs, () => this.#grant())
    }
  }

  #grant(): void {
    this.#granting?.[Symbol.dispose]()
    this.#granting = undefined
    const grant = this.#returnedBytes
    this.#returnedBytes = 0
    this.#live?.grant(grant)
  }

  #settled(lane: Lane, message: ClientMessage, end: MessageEnd, options: NackOptions): void {
    const full = this.#inFlight === this.#maxInFlight
    this.#inFlight--
    if (end === 'release' && !this.#atMostOnce) lane.repeat(message, message.attempt, 0)
    else if (end !== 'ack' && !this.#atMostOnce) this.#failed(lane, message, end, options)
    if (lane.available) this.#laneReady(lane)
    else if (full) this.wake()
  }

  #failed(lane: Lane, message: ClientMessage, end: MessageEnd, { delayMs, reason }: NackOptions): void {
    const { partition, offset, attempt } = message
    if (end === 'nack' && attempt <= this.#retriesMax) {
      try {
        lane.repeat(
          message,
          attempt + 1,
          delayMs ?? retryPauseMs(this.#retry, message, reason, this.#context.platform.random),
        )
      } catch (error) {
        this.end(toRatatoskrError(error))
      }
      return
    }
    const error = new RatatoskrError(
      'RTK_HANDLER_FAILED',
      `the message at offset ${offset} of partition ${partition} failed ${attempt} times (retriesMax: ${this.#retriesMax})`,
      { cause: reason, details: { partition, offset, attempts: attempt } },
    )
    if (this.#skipsFailed) this.#teller.report(error, message)
    else this.end(error)
  }
}

const defaultRetry: RetryPolicy = { kind: 'exponential', delayMs: 200, maxMs: 30_000, jitter: 0.5 }

/** @throws RTK_INVALID_ARGUMENT */
function retryOf(retry: RetryPolicy | RetryFunction | undefined): RetryPolicy | RetryFunction {
  if (retry === undefined) return defaultRetry
  return typeof retry === 'function' ? retry : parseRetryPolicy(retry)
}
