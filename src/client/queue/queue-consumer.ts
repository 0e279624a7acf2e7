/**
 * What handlers and iterators of a queue group take messages from: the batches that are leased to this member, its credit,
 * whose turn it is, and what becomes of messages that are settled or lost.
 *
 * Bounds: at most `maxInFlight` messages are leased and not settled, and `prefetchBytes` of batches on their way or waiting here.
 */
import {
  type BatchSource,
  type Expansion,
  hasExpired,
  type LeasedBatch,
  type Logger,
  type MaybePromise,
  type QueueCredit,
  RatatoskrError,
  toRatatoskrError,
} from '../../ports/index.ts'
import { wholeNumber } from '../checks.ts'
import type { ClientMessage, MessageEnd, NackOptions } from '../client-message.ts'
import { type ConsumeOptions, checkedOptions, groupConfigOf, retryPauseMs } from '../consume-options.ts'
import type { ClientContext } from '../context.ts'
import type { MessageSource, TakenBy } from '../message-source.ts'
import { SubscriptionTeller } from '../subscription-teller.ts'
import { Beginnings } from './beginnings.ts'
import { CreditWindow } from './credit-window.ts'
import { HeldBatch } from './held-batch.ts'
import { HeldBatches } from './held-batches.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { LiveQueue, type LiveQueueSink } from './live-queue.ts'
import { MessageTurns } from './message-turns.ts'
import { leaseRange, reasonText, Settler } from './settler.ts'

/** How long the broker is left alone when it could not settle for a reason that may pass. */
const settleAgainAfterMs = 100

export class QueueConsumer implements MessageSource {
  readonly group: string
  readonly settlesItself: boolean
  readonly #context: ClientContext
  readonly #options: ConsumeOptions
  readonly #logger: Logger
  readonly #atMostOnce: boolean
  readonly #expansion: Expansion
  readonly #teller: SubscriptionTeller
  readonly #credit: CreditWindow
  readonly #settler: Settler
  readonly #keeper: LeaseKeeper
  readonly #beginnings: Beginnings
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #turns = new MessageTurns()
  readonly #batches: HeldBatches
  #live: LiveQueue | undefined
  /** When the broker was last asked to let this member in. */
  #askedAtMs = 0
  #batchCount = 0
  #expiredCount = 0
  #stopping = false
  #over = false
  #reason: RatatoskrError | undefined
  wake: () => void = () => {}

  constructor(context: ClientContext, options: ConsumeOptions, group: string) {
    const { atMostOnce, settlesItself, prefetchBytes, maxInFlight } = checkedOptions(options)
    this.group = group
    this.settlesItself = settlesItself
    this.#context = context
    this.#options = options
    this.#logger = context.platform.logger
    this.#atMostOnce = atMostOnce
    this.#teller = new SubscriptionTeller(options, this.#logger)
    this.#credit = new CreditWindow(maxInFlight, prefetchBytes)
    this.#expansion = {
      codecs: context.platform.compression,
      bytesMax: context.limits.expandedBatchBytesMax,
    }
    this.#settler = new Settler({
      send: (settlements) => this.#liveQueue.settle(settlements),
      sent: () => this.#grantReturned(),
      known: (range) => this.#turns.known(range) && this.wake(),
      later: (run) => context.platform.clock.after(settleAgainAfterMs, run),
      refused: (error) => this.#teller.report(error),
    })
    this.#batches = new HeldBatches(this.#credit, this.#turns.keys, this.#settler)
    this.#beginnings = new Beginnings({
      send: (settlements) => this.#liveQueue.settle(settlements),
      later: (run) => context.platform.clock.after(settleAgainAfterMs, run),
      lost: (batch, message, reason) => {
        const { partition, lease, offset } = message
        if (!batch.isLost(message))
          this.#batches.lose({ partition, lease, from: offset, to: offset + 1 }, reason)
      },
      refused: (error, message) => this.#teller.report(error, message),
    })
    this.#keeper = new LeaseKeeper({
      clock: context.platform.clock,
      logger: this.#logger,
      held: this.#batches,
      heartbeat: () => this.#live?.heartbeat(),
      send: (settlements) => this.#liveQueue.settle(settlements),
      overdue: (batch) => this.#batches.giveUp(batch),
      sure: () => this.wake(),
    })
  }

  /** Joins the group. @throws as `QueueSession.consume` does */
  async open(topic: string, signal: AbortSignal): Promise<void> {
    const { member, from } = this.#options
    this.#live = await LiveQueue.open(
      this.#context,
      topic,
      {
        group: this.group,
        member,
        from,
        config: groupConfigOf(this.#options),
        autoAck: this.#atMostOnce,
        begins: !this.#atMostOnce,
      },
      this.#sink(),
      signal,
    )
    // What was lost before the answer to joining has left credit behind.
    this.#settler.schedule()
    this.wake()
  }

  get topic(): string {
    return this.#liveQueue.facts.text
  }

  get member(): string {
    return this.#liveQueue.member
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

  get reason(): RatatoskrError | undefined {
    return this.#reason
  }

  get expiredCount(): number {
    return this.#expiredCount
  }

  take(by: TakenBy): ClientMessage | undefined {
    // Whoever pulls messages, or settles them himself one day, has as many in hand as he likes: nobody waits for him.
    const inTurn = by === 'handler' || (by === 'iterator' && this.settlesItself)
    const { clock } = this.#context.platform
    while (this.#live !== undefined && !this.stopped) {
      const nowMs = this.#atMostOnce ? 0 : clock.monotonic()
      if (!this.#atMostOnce && this.#isUnsure(nowMs)) return undefined
      const message = this.#nextMessage()
      if (message === undefined) return undefined
      const batch = message.origin as HeldBatch
      if (this.#isGone(message, batch, nowMs)) this.#turns.end(message)
      else if (!inTurn || this.#turns.keys.begin(message)) {
        batch.hand(message, inTurn)
        if (this.#atMostOnce) this.#givenForGood()
        return message
      }
    }
    return undefined
  }

  begin(message: ClientMessage): MaybePromise<boolean> {
    const { beginsFrom } = this.#liveQueue
    if (beginsFrom === 0 || (beginsFrom > 1 && !message.redelivered)) return true
    return this.#begin(message, message.origin as HeldBatch)
  }

  finished(message: ClientMessage, failure?: { readonly reason: unknown }): void {
    const batch = message.origin as HeldBatch
    const settled = message.settled || batch.isSettled(message)
    if (failure !== undefined) {
      if (settled) this.#teller.report(toRatatoskrError(failure.reason), message)
      else void message.nack({ reason: failure.reason })
    } else if (this.settlesItself) void message.ack()
    if (!settled && message.settled && batch.isLost(message)) {
      this.#teller.report(batch.errorOf(message) as RatatoskrError, message)
    }
    batch.letGo(message)
    this.#turns.end(message)
  }

  /** What was settled is sent, and answered, when it resolves. */
  flush(): Promise<void> {
    return this.#settler.drained()
  }

  setMaxInFlight(value: number): void {
    this.#batches.releaseLast(this.#credit.resize(wholeNumber('maxInFlight', value, 1)))
    this.#settler.schedule()
  }

  /** Hands out nothing more, and gives back what nobody has in hand. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    this.#batches.releaseAll()
    this.#batches.clearQueue()
    this.#turns.stop()
  }

  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#keeper.stop()
    this.#beginnings.end()
    this.#settler.end()
    this.#batches.loseAll(reason ?? new RatatoskrError('RTK_CLOSED', 'the subscription is closed'))
    this.#batches.clearQueue()
    this.#turns.stop()
    void this.#live?.close()
    this.#ended.resolve(reason)
    this.wake()
  }

  async close(_signal: AbortSignal): Promise<void> {
    if (this.#over) return
    this.stop()
    await this.#settler.drained()
    const leaving = this.#live?.close()
    this.end(undefined)
    await leaving
  }

  // What batches ask of their holder.

  sourceOf(partition: number): BatchSource {
    const { id, text } = this.#liveQueue.facts
    return { topic: text, topicId: id, partition, expansion: this.#expansion }
  }

  settle(batch: HeldBatch, message: ClientMessage, end: MessageEnd, options: NackOptions): void {
    if (this.#atMostOnce || !batch.beginSettling(message.place)) return
    // First: the answer may be there when `add` returns.
    if (end !== 'ack' && message.turn !== 0) this.#turns.keys.hold(message, message.turn)
    this.#settler.add(batch, message.place, message.place + 1, {
      action: end,
      delayMs: end === 'nack' ? this.#retryPauseMs(message, options) : undefined,
      reason: reasonText(options.reason),
    })
    this.#batches.settledOne(batch)
  }

  ackBefore(message: ClientMessage): void {
    if (!this.#atMostOnce) this.#batches.ackBefore(message)
  }

  async extend(batch: HeldBatch, message: ClientMessage, extendMs: number | undefined): Promise<void> {
    if (this.#atMostOnce) return
    const lost = batch.errorOf(message)
    if (lost !== undefined) throw lost
    const range = leaseRange(batch, { from: message.place, to: message.place + 1 })
    const [error] = await this.#liveQueue.settle([{ ...range, action: 'extend', extendMs }])
    if (error !== undefined) throw error
  }

  get #liveQueue(): LiveQueue {
    return this.#live as LiveQueue
  }

  #sink(): LiveQueueSink {
    return {
      joining: async (link) => {
        await this.#settler.askAgain((settlements) =>
          link.settle(this.#liveQueue.topic, { group: this.group, settlements }),
        )
        this.#askedAtMs = this.#context.platform.clock.monotonic()
        return this.#firstCredit()
      },
      joined: ({ sharing, ackTimeoutMs }, memberTimeoutMs) => {
        this.#turns.ordered = sharing !== 'shared'
        this.#keeper.start({ memberTimeoutMs, ackTimeoutMs, askedAtMs: this.#askedAtMs })
        this.#settler.resume()
        this.wake()
      },
      deliver: (batch) => this.#deliver(batch),
      lost: (ranges, reason) => {
        for (const range of ranges) this.#batches.lose(range, reason)
        let isReady = false
        for (const range of ranges) isReady = this.#turns.known(range) || isReady
        if (isReady) this.wake()
        this.#settler.schedule()
      },
      assigned: (partitions) => this.#teller.tellAssigned(partitions),
      voided: (reason) => this.#voided(reason),
      disconnected: (reason) => this.#teller.tell(({ onDisconnect }) => onDisconnect?.(reason)),
      reconnected: () => this.#teller.tell(({ onReconnect }) => onReconnect?.()),
      ended: (reason) => {
        if (reason !== undefined) this.end(reason)
      },
    }
  }

  #firstCredit(): QueueCredit {
    if (this.#stopping) return { messages: 0 }
    return this.#credit.firstGrant(this.#batches.undecodedCount)
  }

  #deliver(leased: LeasedBatch): void {
    if (this.#over) return
    const { clock } = this.#context.platform
    const batch = new HeldBatch(leased, ++this.#batchCount, clock.monotonic(), this)
    if (!this.#atMostOnce) {
      this.#batches.hold(batch)
      if (this.#stopping) {
        this.#batches.release(batch)
        return
      }
      this.#keeper.watch(batch)
    }
    this.#batches.queue(batch)
    this.wake()
  }

  #nextMessage(): ClientMessage | undefined {
    const ready = this.#turns.takeReady()
    if (ready !== undefined) return ready
    try {
      const message = this.#batches.next()
      if (message !== undefined) this.#turns.place(message)
      return message
    } catch (error) {
      this.end(toRatatoskrError(error))
      return undefined
    }
  }

  /** True while what came may be leased to somebody else by now; `wake` tells when it is known. */
  #isUnsure(nowMs: number): boolean {
    return this.#live?.isMember !== true || this.#keeper.isUnsure(nowMs)
  }

  /** True when the message is not to be handed out: it is lost, or has to be given back. */
  #isGone(message: ClientMessage, batch: HeldBatch, nowMs: number): boolean {
    if (!this.#atMostOnce && nowMs >= batch.endsAtMs) this.#batches.giveUp(batch)
    if (!batch.isWaiting(message)) return true
    if (!hasExpired(message, { now: () => this.#context.connection.brokerNow() })) return false
    this.#expiredCount++
    // The broker knows what becomes of a message that has expired.
    if (this.#atMostOnce) this.#givenForGood()
    else this.#batches.releaseOne(batch, message)
    return true
  }

  /** A message that is handed over at most once takes no credit any more. */
  #givenForGood(): void {
    this.#credit.returnMessages(1)
    this.#settler.schedule()
  }

  /** All leases are void: what was settled and not answered is in doubt, the rest comes again. */
  #voided(reason: RatatoskrError): void {
    this.#keeper.stop()
    this.#settler.suspend()
    const error = new RatatoskrError('RTK_LEASE_LOST', 'the lease is lost, since the connection was', {
      cause: reason,
    })
    this.#batches.loseAll(error)
    if (this.#atMostOnce) return
    this.#batches.clearQueue()
    this.#turns.clear()
  }

  async #begin(message: ClientMessage, batch: HeldBatch): Promise<boolean> {
    if ((await this.#beginnings.begin(batch, message)) && !batch.isLost(message)) return true
    batch.letGo(message)
    this.#turns.end(message)
    this.#settler.schedule()
    return false
  }

  #grantReturned(): void {
    // What is granted while nobody hears it would be lost: joining ends with another look.
    if (this.stopped || this.#live?.isMember !== true) return
    const credit = this.#credit.nextGrant(this.#batches.isUsedUp && this.#turns.isEmpty)
    if (credit !== undefined) this.#live.grant(credit)
  }

  #retryPauseMs(message: ClientMessage, { delayMs, reason }: NackOptions): number | undefined {
    const { retry } = this.#options
    if (delayMs !== undefined || typeof retry !== 'function') return delayMs
    try {
      return retryPauseMs(retry, message, reason, this.#context.platform.random)
    } catch (error) {
      this.#teller.report(toRatatoskrError(error), message)
      return undefined
    }
  }
}
