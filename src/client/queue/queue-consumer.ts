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
  type LeaseLossReason,
  type LeaseRange,
  type Logger,
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
import { CreditWindow } from './credit-window.ts'
import { HeldBatch } from './held-batch.ts'
import { KeyTurns } from './key-turns.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { LiveQueue, type LiveQueueSink } from './live-queue.ts'
import { leaseRange, Settler } from './settler.ts'

/** How long the broker is left alone when it could not settle for a reason that may pass. */
const settleAgainAfterMs = 100

const heldKey = ({ partition, lease }: Pick<LeaseRange, 'partition' | 'lease'>): string =>
  `${partition}/${lease}`

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
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  /** Batches that something is held of. */
  readonly #held = new Map<string, HeldBatch>()
  /** Those with messages that have not been decoded, in order. */
  #queue: HeldBatch[] = []
  /** Messages that had to wait for their turn, and have it now. */
  #again: ClientMessage[] = []
  #turns = new KeyTurns(true)
  #ordered: boolean | undefined
  #live: LiveQueue | undefined
  #batchCount = 0
  #assigned = new Set<number>()
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
      givenBack: (range) => this.#turns.giveBackKnown(range, this.#batchCount),
      later: (run) => context.platform.clock.after(settleAgainAfterMs, run),
      refused: (error) => this.#teller.report(error),
    })
    this.#keeper = new LeaseKeeper({
      clock: context.platform.clock,
      logger: this.#logger,
      held: { [Symbol.iterator]: () => this.#held.values() },
      heartbeat: () => this.#live?.heartbeat(),
      send: (settlements) => this.#liveQueue.settle(settlements),
      overdue: (batch) => this.#loseAll(batch, 'timeout'),
    })
  }

  /** Joins the group. @throws as `QueueSession.consume` does */
  async open(topic: string, signal: AbortSignal): Promise<void> {
    const { member, from } = this.#options
    this.#live = await LiveQueue.open(
      this.#context,
      topic,
      { group: this.group, member, from, config: groupConfigOf(this.#options), autoAck: this.#atMostOnce },
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
    while (this.#live !== undefined && !this.stopped) {
      const message = this.#nextMessage()
      if (message === undefined) return undefined
      const batch = message.origin as HeldBatch
      if (this.#isGone(message, batch)) this.#giveTurns(this.#turns.pass(message))
      else if (!inTurn || this.#turns.begin(message)) {
        batch.hand(message, inTurn)
        if (this.#atMostOnce) this.#credit.returnMessages(1)
        return message
      }
    }
    return undefined
  }

  finished(message: ClientMessage, failure?: { readonly reason: unknown }): void {
    const batch = message.origin as HeldBatch
    const { settled } = message
    if (failure !== undefined) {
      if (settled) this.#teller.report(toRatatoskrError(failure.reason), message)
      else void message.nack({ reason: failure.reason })
    } else if (this.settlesItself) void message.ack()
    if (!settled && message.settled && batch.isLost(message)) {
      this.#teller.report(batch.errorOf(message) as RatatoskrError, message)
    }
    batch.letGo(message)
    this.#giveTurns(this.#turns.end(message))
  }

  /** What was settled is sent, and answered, when it resolves. */
  flush(): Promise<void> {
    return this.#settler.drained()
  }

  setMaxInFlight(value: number): void {
    let surplus = this.#credit.resize(wholeNumber('maxInFlight', value, 1))
    for (const batch of this.#queue.toReversed()) surplus -= this.#release(batch, surplus)
    this.#settler.schedule()
  }

  /** Hands out nothing more, and gives back what nobody has in hand. */
  stop(): void {
    if (this.#stopping) return
    this.#stopping = true
    for (const batch of [...this.#held.values()]) this.#release(batch, Number.POSITIVE_INFINITY)
    this.#queue = []
    this.#again = []
  }

  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.#keeper.stop()
    this.#settler.end()
    const error = reason ?? new RatatoskrError('RTK_CLOSED', 'the subscription is closed')
    for (const batch of [...this.#held.values()]) this.#loseAll(batch, error)
    this.#queue = []
    this.#again = []
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
    this.#settler.add(batch, message.place, message.place + 1, {
      action: end,
      delayMs: end === 'nack' ? this.#retryPauseMs(message, options) : undefined,
      reason: reasonText(options.reason),
    })
    if (end !== 'ack') this.#turns.giveBack(message, batch.lease)
    this.#settledOne(batch)
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
        return this.#firstCredit()
      },
      joined: ({ sharing }, memberTimeoutMs) => {
        const ordered = sharing !== 'shared'
        if (ordered !== this.#ordered) this.#turns = new KeyTurns(ordered)
        this.#ordered = ordered
        this.#keeper.start(memberTimeoutMs)
        this.#settler.resume()
      },
      deliver: (batch) => this.#deliver(batch),
      lost: (ranges, reason) => {
        for (const range of ranges) this.#lose(range, reason)
        this.#settler.schedule()
      },
      assigned: (partitions) => this.#assign(partitions),
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
    return this.#credit.firstGrant(this.#queue.reduce((sum, batch) => sum + batch.undecodedCount, 0))
  }

  #deliver(leased: LeasedBatch): void {
    if (this.#over) return
    const { clock } = this.#context.platform
    const batch = new HeldBatch(leased, ++this.#batchCount, clock.monotonic(), this)
    if (!this.#atMostOnce) {
      this.#held.set(heldKey(batch), batch)
      if (this.#stopping) {
        this.#release(batch, Number.POSITIVE_INFINITY)
        return
      }
      this.#keeper.watch(batch)
    }
    this.#queue.push(batch)
    this.wake()
  }

  #nextMessage(): ClientMessage | undefined {
    const again = this.#again.shift()
    if (again !== undefined) return again
    while (this.#queue.length > 0) {
      const [batch] = this.#queue
      try {
        const message = batch.next()
        if (batch.undecodedCount === 0) this.#usedUp()
        if (message === undefined) continue
        this.#turns.note(message)
        return message
      } catch (error) {
        this.end(toRatatoskrError(error))
        return undefined
      }
    }
    return undefined
  }

  /** The first batch has nothing more to hand out. */
  #usedUp(): void {
    const batch = this.#queue.shift() as HeldBatch
    this.#credit.returnBytes(batch.byteLength)
    this.#turns.forgetBelow(this.#queue[0]?.number ?? Number.POSITIVE_INFINITY)
    this.#settler.schedule()
  }

  /** True when the message is not to be handed out: it is lost, or has to be given back. */
  #isGone(message: ClientMessage, batch: HeldBatch): boolean {
    if (!batch.isWaiting(message)) return true
    const expired = hasExpired(message, { now: () => this.#context.connection.brokerNow() })
    if (expired) this.#expiredCount++
    if (!expired && !this.#turns.isVoid(message, batch)) return false
    // The broker knows what becomes of a message that has expired, and when one behind a failed one may come again.
    if (batch.beginSettling(message.place)) {
      this.#settler.add(batch, message.place, message.place + 1, { action: 'release' })
      this.#turns.giveBack(message, batch.lease)
      this.#settledOne(batch)
    }
    return true
  }

  /** Gives back up to so many messages that wait here, the last ones first. @returns how many */
  #release(batch: HeldBatch, countMax: number): number {
    let count = 0
    for (const run of batch.waitingRuns().reverse()) {
      const from = Math.max(run.from, run.to - (countMax - count))
      if (from >= run.to) break
      for (let place = from; place < run.to; place++) {
        batch.beginSettling(place)
        this.#settledOne(batch)
      }
      this.#settler.add(batch, from, run.to, { action: 'release' })
      count += run.to - from
    }
    return count
  }

  #settledOne(batch: HeldBatch): void {
    this.#credit.returnMessages(1)
    if (batch.openCount === 0) this.#held.delete(heldKey(batch))
  }

  #lose(range: LeaseRange, reason: LeaseLossReason | RatatoskrError): void {
    const batch = this.#held.get(heldKey(range))
    if (batch === undefined) return
    for (const offset of batch.workingOffsets()) {
      if (offset >= range.from && offset < range.to) this.#turns.overtaken(batch.partition, offset)
    }
    this.#credit.returnMessages(batch.lose(range.from, range.to, reason))
    if (batch.openCount === 0) this.#held.delete(heldKey(batch))
  }

  #loseAll(batch: HeldBatch, reason: LeaseLossReason | RatatoskrError): void {
    const { partition, lease } = batch
    this.#lose({ partition, lease, from: 0, to: Number.POSITIVE_INFINITY }, reason)
  }

  /** All leases are void: what was settled and not answered is in doubt, the rest comes again. */
  #voided(reason: RatatoskrError): void {
    this.#keeper.stop()
    this.#settler.suspend()
    const error = new RatatoskrError('RTK_LEASE_LOST', 'the lease is lost, since the connection was', {
      cause: reason,
    })
    for (const batch of [...this.#held.values()]) this.#loseAll(batch, error)
    if (this.#atMostOnce) return
    this.#queue = []
    for (const message of this.#again.splice(0)) this.#giveTurns(this.#turns.pass(message))
    this.#turns.forgetGivenBack()
  }

  #giveTurns(messages: readonly ClientMessage[]): void {
    if (messages.length > 0) this.#again.push(...messages)
  }

  #grantReturned(): void {
    // What is granted while nobody hears it would be lost: joining ends with another look.
    if (this.stopped || this.#live?.isMember !== true) return
    const credit = this.#credit.nextGrant(this.#queue.length === 0 && this.#again.length === 0)
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

  #assign(partitions: readonly number[]): void {
    const before = this.#assigned
    this.#assigned = new Set(partitions)
    const added = partitions.filter((partition) => !before.has(partition))
    const gone = [...before].filter((partition) => !this.#assigned.has(partition))
    if (gone.length > 0) this.#teller.tell(({ onRevoked }) => onRevoked?.(gone))
    if (added.length > 0) {
      const assigned = added.map((partition) => ({ partition, offset: undefined }))
      this.#teller.tell(({ onAssigned }) => onAssigned?.(assigned))
    }
  }
}

const reasonLengthMax = 1_024

/** Why a message failed, as the dead letter tells it; the broker cuts it to its own measure. */
function reasonText(reason: unknown): string | undefined {
  if (reason === undefined) return undefined
  const text = reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason)
  return text.slice(0, reasonLengthMax)
}
