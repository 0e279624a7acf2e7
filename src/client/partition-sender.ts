/**
 * Sends one partition's batches in order.
 *
 * Several batches may be under way at a time. The producer itself never breaks their order: a batch that the broker
 * refused goes again only when none behind it was stored meanwhile, and nothing new is sent before that is settled.
 * After a refusal one batch at a time goes out until one is stored.
 *
 * The batches of an idempotent producer are numbered, see batch-numbers.ts: then the broker keeps their order too, and one
 * whose answer was lost goes again.
 */
import type { BuilderPool } from '../domain/batch/builder-pool.ts'
import {
  type BatchBuilder,
  type BatchReceipt,
  type Clock,
  type Durability,
  type LeaseProof,
  type Logger,
  type OutgoingMessage,
  type PublishReceipt,
  type Random,
  RatatoskrError,
  toRatatoskrError,
} from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import type { IdPool } from './batch-ids.ts'
import { BatchNumbers } from './batch-numbers.ts'
import type { Connection } from './connection.ts'
import type { Deadlines } from './deadlines.ts'
import { type BatchOwner, type MessageOwner, OutgoingBatch } from './outgoing-batch.ts'
import { PartitionRoute } from './partition-route.ts'
import { isAnswerLost, isIndeterminate, isOutOfOrder, isPassing } from './publish-failures.ts'
import type { SenderIdentity } from './sender-identity.ts'
import type { TurnClock } from './turn-clock.ts'

/** What the senders of one producer share. */
export interface SenderContext {
  readonly connection: Connection
  readonly clock: Clock
  /** The time of messages that are added now; `look` sees to it that it is that, before each. */
  readonly turn: TurnClock
  readonly look: () => void
  readonly deadlines: Deadlines
  readonly random: Random
  readonly ids: IdPool
  readonly builders: BuilderPool
  readonly batchBytesMax: number
  readonly messagesPerBatchMax: number
  readonly inFlightMax: number
  readonly retryIndeterminate: boolean
  readonly idempotent: boolean
  readonly checksum: (bytes: Uint8Array) => number
  readonly logger: Logger
  /** Asks for `linger` to be called when the batch has waited long enough. */
  readonly lingerFor: (sender: PartitionSender) => void
  /** The buffer holds so much more. */
  readonly took: (bytes: number) => void
  /** The buffer has room again. */
  readonly released: (bytes: number) => void
}

/** While so many batches are under way, one that is not full waits: it costs the broker as much as one that is. */
const growingFrom = 5

export class PartitionSender {
  readonly topic: string
  readonly partition: number
  readonly #context: SenderContext
  readonly #topicGone: () => void
  readonly #backoff: Backoff
  readonly #brokerNow = (): number => this.#context.connection.brokerNow()
  #open: OutgoingBatch | undefined
  #builder: BatchBuilder | undefined
  readonly #ready: OutgoingBatch[] = []
  readonly #underWay = new Set<OutgoingBatch>()
  #refused: OutgoingBatch[] = []
  #pause: Disposable | undefined
  #oneAtATime = false
  #pumping = false
  #sequence = 0
  #lastStored = -1
  readonly #identity: SenderIdentity | undefined
  readonly route: PartitionRoute
  /** Undefined while nothing was sealed, and for a producer that is not idempotent. */
  #numbers: BatchNumbers | undefined
  #renewing = false
  /** Why the partition takes nothing at present; undefined when that is not known to be so. */
  #trouble: RatatoskrError | undefined

  /** @param topicGone called when the broker does not know the topic or the partition any more */
  constructor(
    topic: string,
    partition: number,
    context: SenderContext,
    identity: SenderIdentity | undefined,
    topicGone: () => void,
  ) {
    this.#identity = identity
    this.#topicGone = topicGone
    this.topic = topic
    this.partition = partition
    this.#context = context
    this.route = new PartitionRoute(context.connection)
    this.#backoff = new Backoff({ baseMs: 20, maxMs: 1_000 }, context.random)
  }

  /** Batches that somebody still waits for, oldest first. */
  get pending(): readonly OutgoingBatch[] {
    const open = this.#open === undefined ? [] : [this.#open]
    return [...this.#underWay, ...this.#refused, ...this.#ready, ...open]
  }

  get idle(): boolean {
    return this.#open === undefined && this.#ready.length + this.#underWay.size + this.#refused.length === 0
  }

  /** True when the next record begins a batch: the moment for keyless messages to move on. */
  get startsAnew(): boolean {
    return this.#open === undefined
  }

  addMessage(
    message: OutgoingMessage,
    owner: MessageOwner,
    place: number,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    const batch = this.#batchFor(message, durability, lease)
    const before = batch.bufferedBytes
    batch.addMessage(message, owner, place)
    this.#added(batch, before, deadlineMs)
  }

  addPromised(
    message: OutgoingMessage,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): Promise<PublishReceipt> {
    const batch = this.#batchFor(message, durability, lease)
    const before = batch.bufferedBytes
    const promise = batch.addPromised(message)
    this.#added(batch, before, deadlineMs)
    return promise
  }

  addOfBulk(
    message: OutgoingMessage,
    owner: BatchOwner,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    const batch = this.#batchFor(message, durability, lease)
    const before = batch.bufferedBytes
    batch.addOfBulk(message, owner)
    this.#added(batch, before, deadlineMs)
  }

  /**
   * Adds bytes alone to the batch that the last message of their bulk is in: the short way, for nearly all of a bulk.
   * @returns false when they must go the long one
   */
  addBareOfBulk(
    payload: Uint8Array,
    owner: BatchOwner,
    durability: Durability | undefined,
    lease: LeaseProof | undefined,
  ): boolean {
    const open = this.#open
    if (open === undefined || open.durability !== durability || open.lease !== lease) return false
    if (!this.#fits(payload.length)) return false
    const before = open.bufferedBytes
    if (!open.addBareOfBulk(payload, owner)) return false
    this.#context.took(open.bufferedBytes - before)
    return true
  }

  /** The batch has waited long enough: it goes as soon as there is a place for it. */
  linger(): void {
    if (this.#open === undefined) return
    this.#open.due = true
    this.#pump()
  }

  /** Fails everything that is not settled. */
  close(error: RatatoskrError): void {
    this.#endPause()
    for (const batch of this.pending) {
      batch.abort(error)
      this.#settle(batch, () => batch.fail(error))
    }
    this.#discardOpen()
    this.#ready.length = 0
    this.#refused = []
    this.#underWay.clear()
  }

  #batchFor(
    message: OutgoingMessage,
    durability: Durability | undefined,
    lease: LeaseProof | undefined,
  ): OutgoingBatch {
    const open = this.#open
    if (open !== undefined) {
      const fits = this.#fits(message.payload.length + (message.key?.length ?? 0))
      if (fits && open.durability === durability && open.lease === lease) return open
      this.#sealOpen()
      this.#pump()
    }
    this.#builder = this.#context.builders.take()
    this.#open = new OutgoingBatch({
      builder: this.#builder,
      ids: this.#context.ids,
      deadlines: this.#context.deadlines,
      turn: this.#context.turn,
      brokerNow: this.#brokerNow,
      durability,
      lease,
      sequence: this.#sequence++,
      expired: (batch) => this.#expired(batch),
    })
    return this.#open
  }

  /** True when the open batch takes so many bytes of key and payload. */
  #fits(bytes: number): boolean {
    const builder = this.#builder
    if (builder === undefined) return false
    const { batchBytesMax, messagesPerBatchMax } = this.#context
    // A little more, for lengths and the id: batches end near their bound, not exactly at it.
    return builder.sizeBytes + bytes + 64 <= batchBytesMax && builder.recordCount < messagesPerBatchMax
  }

  /** @param bytesBefore what the batch held before the message */
  #added(batch: OutgoingBatch, bytesBefore: number, deadlineMs: number): void {
    const bytes = batch.bufferedBytes
    this.#context.took(bytes - bytesBefore)
    batch.extendTo(deadlineMs)
    if (bytesBefore === 0) this.#context.lingerFor(this)
    if (bytes >= this.#context.batchBytesMax) {
      this.#sealOpen()
      this.#pump()
    }
  }

  #sealOpen(): void {
    if (this.#open === undefined) return
    if (this.#identity !== undefined)
      this.#numbers ??= new BatchNumbers(this.#identity, this.#context.checksum)
    this.#open.seal(this.#numbers?.stamp(this.#open.recordCount))
    this.#ready.push(this.#open)
    this.#discardOpen()
  }

  #discardOpen(): void {
    if (this.#builder !== undefined && this.#builder.recordCount === 0)
      this.#context.builders.giveBack(this.#builder, 0)
    this.#builder = undefined
    this.#open = undefined
  }

  /** Sends what may be sent. While all places are taken the open batch goes on growing. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      const max = this.#oneAtATime ? 1 : this.#context.inFlightMax
      while (this.#pause === undefined && this.#refused.length === 0 && this.#underWay.size < max) {
        if (this.#ready.length === 0) {
          if (this.#open?.due !== true || this.#underWay.size >= growingFrom) return
          this.#sealOpen()
        }
        if (this.#mustWait()) return
        const leased = this.#ready[0].lease !== undefined
        if (!this.route.find(leased, this.#underWay.size)) return
        const batch = this.#ready.shift()
        if (batch !== undefined) this.#send(batch)
      }
    } finally {
      this.#pumping = false
    }
  }

  /** True while the broker would not take the next batch for its number. */
  #mustWait(): boolean {
    const numbers = this.#numbers
    if (numbers === undefined) return false
    const [next] = this.#ready
    const [oldest] = this.#underWay
    if (oldest !== undefined) return !numbers.mayFollow(next, oldest)
    // What may be stored goes as it is, whatever the others need.
    if (numbers.broken === undefined || next.doubt !== undefined) return false
    this.#renew(numbers)
    return true
  }

  #renew(numbers: BatchNumbers): void {
    if (this.#renewing) return
    this.#renewing = true
    numbers
      .renew(this.#ready)
      .catch((error) => this.#rest(this.#backoff.next(toRatatoskrError(error)))) // tried again, until the batches run out of time
      .finally(() => {
        this.#renewing = false
        this.#pump()
      })
  }

  #send(batch: OutgoingBatch): void {
    batch.behindOthers = this.#underWay.size > 0
    this.#numbers?.sending(batch, !batch.behindOthers)
    this.#underWay.add(batch)
    // The bytes belong to the broker once they are sent: a second time it gets a copy.
    const bytes = (batch.sent ? batch.bytes?.slice() : batch.bytes) as Uint8Array
    let returned = !batch.sent
    batch.sent = true
    batch.refusal = undefined
    const { signal, durability, lease } = batch
    try {
      const receipt = this.route.send(
        (link) => {
          returned &&= link.returnsBatches === true
          return link.publishBatch(this.topic, this.partition, bytes, { durability, lease, signal })
        },
        bytes.length,
        signal,
      )
      if (receipt instanceof Promise) {
        receipt.then(
          (value) => {
            if (returned && !batch.settled) this.#context.builders.reuse(bytes)
            this.#stored(batch, value)
          },
          (error: unknown) => this.#failed(batch, toRatatoskrError(error)),
        )
      } else this.#stored(batch, receipt)
    } catch (error) {
      this.#failed(batch, toRatatoskrError(error))
    }
  }

  #stored(batch: OutgoingBatch, receipt: BatchReceipt): void {
    this.#underWay.delete(batch)
    this.#overtakes(batch)
    this.route.stored(batch.sequence)
    this.#numbers?.stored(batch)
    this.#oneAtATime = false
    this.#trouble = undefined
    this.#backoff.reset()
    this.#settle(batch, () => batch.store(receipt))
    this.#retryRefused()
    this.#pump()
  }

  #failed(batch: OutgoingBatch, error: RatatoskrError): void {
    this.#underWay.delete(batch)
    if (isIndeterminate(error)) batch.doubt = error
    if (!isOutOfOrder(error)) this.#trouble = isPassing(error) ? error : undefined
    if (!batch.settled && this.#mayRepeat(batch, error)) {
      batch.refusal = isOutOfOrder(error) ? this.#trouble : error
      this.#refused.push(batch)
    } else {
      this.#numbers?.gaveUp(batch)
      if (isIndeterminate(error)) this.#overtakes(batch)
      if (error.kind === 'not-found') this.#topicGone()
      // A number that cannot be placed is no answer to whoever wants to know what became of his message.
      this.#settle(batch, () => batch.fail((isOutOfOrder(error) ? batch.doubt : undefined) ?? error))
    }
    this.#retryRefused()
    this.#pump()
  }

  /** The batch is stored, or may be: none before it may be sent again. */
  #overtakes(batch: OutgoingBatch): void {
    this.#lastStored = Math.max(this.#lastStored, batch.sequence)
  }

  #mayRepeat(batch: OutgoingBatch, error: RatatoskrError): boolean {
    if (isPassing(error)) return true
    const numbers = this.#numbers
    if (numbers === undefined) return this.#context.retryIndeterminate && error.code === 'RTK_DISCONNECTED'
    if (isOutOfOrder(error)) return numbers.refused(batch, error)
    return isAnswerLost(error)
  }

  /** When nothing is under way any more: puts refused batches back in front, but for those that others have overtaken. */
  #retryRefused(): void {
    if (this.#refused.length === 0 || this.#underWay.size > 0) return
    const refused = this.#refused.sort((a, b) => a.sequence - b.sequence)
    this.#refused = []
    const again: OutgoingBatch[] = []
    for (const batch of refused) {
      if (this.#numbers !== undefined || batch.sequence > this.#lastStored) again.push(batch)
      else this.#settle(batch, () => batch.fail(batch.refusal as RatatoskrError))
    }
    if (again.length === 0) return
    this.#ready.unshift(...again)
    this.#oneAtATime = true
    this.#restFor(again)
  }

  /** Rests before refused batches go again: as long as the broker asks for, but no longer than one of them has time. */
  #restFor(refused: readonly OutgoingBatch[]): void {
    if (this.#pause !== undefined) return
    const asked = (error: RatatoskrError | undefined): number => Number(error?.details.retryAfterMs ?? 0)
    const [refusal] = refused.map((batch) => batch.refusal).sort((a, b) => asked(b) - asked(a))
    const leftMs = Math.max(...refused.map(({ deadlineMs }) => deadlineMs)) - this.#context.clock.monotonic()
    this.#rest(Math.min(this.#backoff.next(refusal), Math.max(0, leftMs)))
  }

  /** Sends nothing for a while. */
  #rest(pauseMs: number): void {
    this.#pause ??= this.#context.clock.after(pauseMs, () => {
      this.#pause = undefined
      this.#pump()
    })
  }

  #expired(batch: OutgoingBatch): void {
    if (batch === this.#open) {
      batch.seal(undefined)
      this.#discardOpen()
    }
    const ready = this.#ready.indexOf(batch)
    if (ready !== -1) this.#ready.splice(ready, 1)
    const refused = this.#refused.indexOf(batch)
    if (refused !== -1) this.#refused.splice(refused, 1)
    const isUnderWay = this.#underWay.delete(batch)
    if (isUnderWay) {
      this.#trouble = undefined
      this.route.strayed(batch.sequence)
    }
    if (isUnderWay || batch.doubt !== undefined) this.#overtakes(batch)
    this.#numbers?.gaveUp(batch)
    const error = this.#reasonOf(batch, isUnderWay)
    batch.abort(new DOMException(error.message, 'TimeoutError'))
    this.#settle(batch, () => batch.fail(error))
    this.#retryRefused()
    if (this.idle) this.#endPause()
    this.#pump()
  }

  /** What whoever waited for a batch that has run out of time is told. */
  #reasonOf(batch: OutgoingBatch, isUnderWay: boolean): RatatoskrError {
    // A refusal tells of one attempt only: the batch may be stored by the one before.
    if (isUnderWay || batch.doubt !== undefined) {
      const told = batch.refusal === batch.doubt ? batch.doubt : undefined
      return told ?? outOfTime('the batch was not stored for sure', 'the publish may or may not be stored')
    }
    return batch.refusal ?? this.#trouble ?? outOfTime('the batch was not sent', 'the publish is not stored')
  }

  #endPause(): void {
    this.#pause?.[Symbol.dispose]()
    this.#pause = undefined
  }

  #settle(batch: OutgoingBatch, settle: () => void): void {
    if (batch.settled) return
    const bytes = batch.bufferedBytes
    settle()
    this.#context.released(bytes)
  }
}

const outOfTime = (what: string, outcome: string): RatatoskrError =>
  new RatatoskrError('RTK_TIMEOUT', `${what} within its deadline (timeoutMs); ${outcome}`)
