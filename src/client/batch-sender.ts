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
import { type BatchReceipt, type ProducerStamp, RatatoskrError, toRatatoskrError } from '../ports/index.ts'
import { Backoff } from './backoff.ts'
import { BatchNumbers } from './batch-numbers.ts'
import type { OutgoingBatch } from './outgoing-batch.ts'
import { PartitionRoute } from './partition-route.ts'
import type { SenderContext } from './partition-sender.ts'
import { isAnswerLost, isIndeterminate, isOutOfOrder, isPassing } from './publish-failures.ts'
import type { SenderIdentity } from './sender-identity.ts'
import { takeFirst } from './take-first.ts'

/** Where the batches come from. */
interface BatchGatherer {
  /** True while it gathers nothing. */
  readonly startsAnew: boolean
  /** Where its batches are built. */
  readonly builders: BuilderPool
  /** Seals the batch that it gathers when that has waited long enough. */
  sealDue(): OutgoingBatch | undefined
}

/** While so many batches are under way, one that is not full waits: it costs the broker as much as one that is. */
const growingFrom = 5

export class BatchSender {
  readonly #topic: string
  readonly #partition: number
  readonly #context: SenderContext
  readonly #identity: SenderIdentity | undefined
  readonly #source: BatchGatherer
  readonly #topicGone: () => void
  readonly #backoff: Backoff
  readonly #ready: OutgoingBatch[] = []
  /** In the order in which they were sent. A few at most: a set would cost more. */
  readonly #underWay: OutgoingBatch[] = []
  #refused: OutgoingBatch[] = []
  #pause: Disposable | undefined
  #oneAtATime = false
  #pumping = false
  #lastStored = -1
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
    source: BatchGatherer,
    topicGone: () => void,
  ) {
    this.#topic = topic
    this.#partition = partition
    this.#context = context
    this.#identity = identity
    this.#source = source
    this.#topicGone = topicGone
    this.route = new PartitionRoute(context.connection)
    this.#backoff = new Backoff({ baseMs: 20, maxMs: 1_000 }, context.random)
  }

  /** Sealed batches that somebody still waits for, oldest first. */
  get pending(): readonly OutgoingBatch[] {
    return [...this.#underWay, ...this.#refused, ...this.#ready]
  }

  get idle(): boolean {
    return this.#ready.length + this.#underWay.length + this.#refused.length === 0
  }

  /** The number of a batch that is sealed now; undefined for a producer that is not idempotent. */
  stamp(recordCount: number): ProducerStamp | undefined {
    if (this.#identity !== undefined)
      this.#numbers ??= new BatchNumbers(this.#identity, this.#context.checksum)
    return this.#numbers?.stamp(recordCount)
  }

  /** Sends a sealed batch when its turn comes. */
  add(batch: OutgoingBatch): void {
    this.#ready.push(batch)
    this.pump()
  }

  /** Fails everything that is not settled. */
  close(error: RatatoskrError): void {
    this.#endPause()
    for (const batch of this.pending) this.giveUp(batch, error)
    this.#ready.length = 0
    this.#refused = []
    this.#underWay.length = 0
  }

  /** Gives a batch up. */
  giveUp(batch: OutgoingBatch, error: RatatoskrError): void {
    batch.abort(error)
    this.#fail(batch, error)
  }

  /** Sends what may be sent. While all places are taken the open batch goes on growing. */
  pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      const max = this.#oneAtATime ? 1 : this.#context.inFlightMax
      while (this.#pause === undefined && this.#refused.length === 0 && this.#underWay.length < max) {
        if (this.#ready.length === 0) {
          const due = this.#underWay.length < growingFrom ? this.#source.sealDue() : undefined
          if (due === undefined) return
          this.#ready.push(due)
        }
        if (this.#mustWait()) return
        const leased = this.#ready[0].lease !== undefined
        if (!this.route.find(leased, this.#underWay.length)) return
        const batch = takeFirst(this.#ready)
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
    const next = this.#ready[0]
    if (this.#underWay.length > 0) return !numbers.mayFollow(next, this.#underWay[0])
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
        this.pump()
      })
  }

  #send(batch: OutgoingBatch): void {
    batch.behindOthers = this.#underWay.length > 0
    this.#numbers?.sending(batch, !batch.behindOthers)
    this.#underWay.push(batch)
    // The bytes belong to the broker once they are sent: a second time it gets a copy.
    const bytes = (batch.sent ? new Uint8Array(batch.bytes as Uint8Array) : batch.bytes) as Uint8Array
    let returned = !batch.sent
    batch.sent = true
    batch.refusal = undefined
    try {
      const receipt = this.route.send(
        (link) => {
          returned &&= link.returnsBatches === true
          return link.publishBatch(this.#topic, this.#partition, bytes, batch)
        },
        bytes.length,
        batch,
      )
      if (receipt instanceof Promise) {
        receipt.then(
          (value) => {
            if (returned && !batch.settled) this.#source.builders.reuse(bytes)
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
    this.#takeOut(batch)
    this.#overtakes(batch)
    this.route.stored(batch.sequence)
    this.#numbers?.stored(batch)
    this.#oneAtATime = false
    this.#trouble = undefined
    this.#backoff.reset()
    if (!batch.settled) {
      const bytes = batch.bufferedBytes
      batch.store(receipt)
      this.#context.released(bytes)
    }
    this.#retryRefused()
    this.pump()
  }

  #failed(batch: OutgoingBatch, error: RatatoskrError): void {
    this.#takeOut(batch)
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
      this.#fail(batch, (isOutOfOrder(error) ? batch.doubt : undefined) ?? error)
    }
    this.#retryRefused()
    this.pump()
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
    if (this.#refused.length === 0 || this.#underWay.length > 0) return
    const refused = this.#refused.sort((a, b) => a.sequence - b.sequence)
    this.#refused = []
    const again: OutgoingBatch[] = []
    for (const batch of refused) {
      if (this.#numbers !== undefined || batch.sequence > this.#lastStored) again.push(batch)
      else this.#fail(batch, batch.refusal as RatatoskrError)
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
      this.pump()
    })
  }

  /** A batch has run out of time, whether or not it was sent. */
  expired(batch: OutgoingBatch): void {
    const ready = this.#ready.indexOf(batch)
    if (ready !== -1) this.#ready.splice(ready, 1)
    const refused = this.#refused.indexOf(batch)
    if (refused !== -1) this.#refused.splice(refused, 1)
    const isUnderWay = this.#takeOut(batch)
    if (isUnderWay) {
      this.#trouble = undefined
      this.route.strayed(batch.sequence)
    }
    if (isUnderWay || batch.doubt !== undefined) this.#overtakes(batch)
    this.#numbers?.gaveUp(batch)
    const error = this.#reasonOf(batch, isUnderWay)
    batch.abort(new DOMException(error.message, 'TimeoutError'))
    this.#fail(batch, error)
    this.#retryRefused()
    if (this.idle && this.#source.startsAnew) this.#endPause()
    this.pump()
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

  #fail(batch: OutgoingBatch, error: RatatoskrError): void {
    if (batch.settled) return
    const bytes = batch.bufferedBytes
    batch.fail(error)
    this.#context.released(bytes)
  }

  /** @returns true when it was under way */
  #takeOut(batch: OutgoingBatch): boolean {
    const underWay = this.#underWay
    const place = underWay.indexOf(batch)
    if (place === -1) return false
    if (place === underWay.length - 1) underWay.pop()
    else underWay.splice(place, 1)
    return true
  }
}

const outOfTime = (what: string, outcome: string): RatatoskrError =>
  new RatatoskrError('RTK_TIMEOUT', `${what} within its deadline (timeoutMs); ${outcome}`)
