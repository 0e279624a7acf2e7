/**
 * Messages of one delivery of a queue group: what of them waits here, is in somebody's hands, is being settled, is settled,
 * or is lost. One byte a message; signals and answers are made only for those that somebody asked about.
 */
import {
  type BatchSource,
  type LeasedBatch,
  type LeaseLossReason,
  type LeaseProof,
  type Message,
  messagesOf,
  RatatoskrError,
} from '../../ports/index.ts'
import { ClientMessage, type MessageEnd, type MessageOrigin, type NackOptions } from '../client-message.ts'

/** Has not been handed out. Its lease is kept up. */
const waiting = 0
/** Handed out, and its lease is kept up. */
const working = 1
/** Handed out to somebody who looks after the lease himself. */
const handed = 2
/** Settled here; the broker has not answered. */
const settling = 3
const done = 4
const lost = 5

const unknown = -1

/** What a batch needs of the consumer that holds it. */
export interface BatchHolder {
  readonly group: string
  sourceOf(partition: number): BatchSource
  settle(batch: HeldBatch, message: ClientMessage, end: MessageEnd, options: NackOptions): void
  ackBefore(message: ClientMessage): void
  extend(batch: HeldBatch, message: ClientMessage, extendMs: number | undefined): Promise<void>
}

/** Places of a batch from `from` up to, without, `to`. */
export interface Places {
  readonly from: number
  readonly to: number
}

export class HeldBatch implements MessageOrigin {
  readonly partition: number
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly leaseMs: number
  /** How many bytes of credit it took. */
  readonly byteLength: number
  /** Which batch of this subscription it is: goes up. */
  readonly number: number
  /** When the lease ends, as far as this side knows, by the monotonic clock. */
  endsAtMs: number
  /** True while an extension of it is on its way. */
  extending = false
  /** Messages that are neither settled nor lost. */
  openCount: number
  readonly #holder: BatchHolder
  readonly #batch: LeasedBatch
  readonly #states: Uint8Array
  #messages: Generator<Message, void, undefined> | undefined
  /** Place of the next message to be decoded. */
  #cursor = 0
  #offsets: Float64Array | undefined
  #signals: Map<number, AbortController> | undefined
  #answers: Map<number, PromiseWithResolvers<undefined>> | undefined
  #errors: Map<number, RatatoskrError> | undefined

  constructor(batch: LeasedBatch, number: number, nowMs: number, holder: BatchHolder) {
    this.partition = batch.partition
    this.lease = batch.lease
    this.attempt = batch.attempt
    this.redelivered = batch.redelivered
    this.leaseMs = batch.leaseMs
    this.byteLength = batch.bytes.length
    this.number = number
    this.endsAtMs = nowMs + batch.leaseMs
    this.openCount = batch.recordCount
    this.#holder = holder
    this.#batch = batch
    this.#states = new Uint8Array(batch.recordCount)
    if (!this.#isDense) this.#offsets = new Float64Array(batch.recordCount).fill(unknown)
  }

  /** Messages that have not been decoded. */
  get undecodedCount(): number {
    return this.#states.length - this.#cursor
  }

  /** Decodes the next message that waits here. @throws as `messagesOf` does when the batch cannot be decoded */
  next(): ClientMessage | undefined {
    if (this.openCount === 0) this.#cursor = this.#states.length
    while (this.#cursor < this.#states.length) {
      this.#messages ??= this.#decode()
      const { value } = this.#messages.next()
      if (value === undefined) break
      const place = this.#cursor++
      if (this.#offsets !== undefined) this.#offsets[place] = value.offset
      if (this.#states[place] === waiting) return new ClientMessage(value, this, this.attempt, place)
    }
    this.#cursor = this.#states.length
    this.#messages = undefined
    return undefined
  }

  isWaiting(message: ClientMessage): boolean {
    return this.#states[message.place] === waiting
  }

  isLost(message: ClientMessage): boolean {
    return this.#states[message.place] === lost
  }

  /** True when it was settled here, by itself or along with a later one. */
  isSettled(message: ClientMessage): boolean {
    const state = this.#states[message.place]
    return state === settling || state === done
  }

  /** It is handed out. @param kept true when its lease is kept up for its holder */
  hand(message: ClientMessage, kept: boolean): void {
    this.#states[message.place] = kept ? working : handed
  }

  /** Its holder looks after the lease himself from now on. */
  letGo(message: ClientMessage): void {
    if (this.#states[message.place] === working) this.#states[message.place] = handed
  }

  /** It counts as settled. @returns false when it was before, or is lost */
  beginSettling(place: number): boolean {
    if (this.#states[place] >= settling) return false
    this.#states[place] = settling
    this.openCount--
    return true
  }

  /** The broker's answer for places that were being settled. @returns true when somebody waits to hear of a failure */
  answer({ from, to }: Places, error: RatatoskrError | undefined): boolean {
    this.#states.fill(error === undefined ? done : lost, from, to)
    if (error === undefined && this.#answers === undefined) return true
    let heard = false
    for (let place = from; place < to; place++) {
      if (error !== undefined) this.#failed(place, error)
      const answer = this.#answers?.get(place)
      if (answer === undefined) continue
      heard = true
      this.#answers?.delete(place)
      if (error === undefined) answer.resolve(undefined)
      else answer.reject(error)
    }
    return heard
  }

  /** What is not settled from one offset up to another is lost. @returns how many messages that were */
  lose(fromOffset: number, toOffset: number, reason: LeaseLossReason | RatatoskrError): number {
    const { from, to } = this.#placesIn(fromOffset, toOffset)
    let count = 0
    for (let place = from; place < to; place++) {
      if (this.#states[place] >= settling) continue
      this.#states[place] = lost
      this.openCount--
      count++
      this.#failed(place, typeof reason === 'string' ? this.#lostError(place, reason) : reason)
    }
    return count
  }

  /** Runs of places whose leases are to be kept up. */
  keptRuns(): Places[] {
    return this.#runs((state) => state === waiting || state === working)
  }

  /** Runs of places that wait here. */
  waitingRuns(): Places[] {
    return this.#runs((state) => state === waiting)
  }

  /** Runs of places below an offset that are in somebody's hands. */
  handedRuns(toOffset: number): Places[] {
    const end = this.#placesIn(0, toOffset).to
    return this.#runs((state) => state === working || state === handed)
      .map(({ from, to }) => ({ from, to: Math.min(to, end) }))
      .filter(({ from, to }) => from < to)
  }

  /** Offsets of messages whose handlers run. */
  workingOffsets(): number[] {
    return this.#runs((state) => state === working).flatMap(({ from, to }) =>
      Array.from({ length: to - from }, (_, i) => this.offsetOf(from + i)),
    )
  }

  offsetOf(place: number): number {
    if (this.#offsets === undefined) return this.#batch.firstOffset + place
    if (this.#offsets[place] === unknown) this.#readOffsets(this.#offsets)
    return this.#offsets[place]
  }

  signalOf({ place }: ClientMessage): AbortSignal {
    this.#signals ??= new Map()
    let controller = this.#signals.get(place)
    if (controller === undefined) {
      controller = new AbortController()
      this.#signals.set(place, controller)
      if (this.#states[place] === lost) controller.abort(this.#errors?.get(place))
    }
    return controller.signal
  }

  proofOf({ offset, topic }: ClientMessage): LeaseProof | undefined {
    const { partition, lease } = this
    return lease === 0 ? undefined : { topic, group: this.#holder.group, partition, offset, lease }
  }

  settle(message: ClientMessage, end: MessageEnd, options: NackOptions): void {
    this.#holder.settle(this, message, end, options)
  }

  ackBefore(message: ClientMessage): void {
    this.#holder.ackBefore(message)
  }

  extend(message: ClientMessage, extendMs: number | undefined): Promise<void> {
    return this.#holder.extend(this, message, extendMs)
  }

  async answerTo({ place }: ClientMessage): Promise<undefined> {
    const error = this.#errors?.get(place)
    if (error !== undefined) throw error
    if (this.#states[place] !== settling) return undefined
    this.#answers ??= new Map()
    let answer = this.#answers.get(place)
    if (answer === undefined) {
      answer = Promise.withResolvers<undefined>()
      this.#answers.set(place, answer)
    }
    return answer.promise
  }

  /** Why settling the message would be refused; undefined while it would not. */
  errorOf({ place }: ClientMessage): RatatoskrError | undefined {
    return this.#errors?.get(place)
  }

  #failed(place: number, error: RatatoskrError): void {
    this.#errors ??= new Map()
    this.#errors.set(place, error)
    this.#signals?.get(place)?.abort(error)
  }

  #lostError(place: number, reason: LeaseLossReason): RatatoskrError {
    const { partition, lease } = this
    const offset = this.offsetOf(place)
    return new RatatoskrError(
      'RTK_LEASE_LOST',
      `the lease on the message at offset ${offset} of partition ${partition} is lost (${reason})`,
      { details: { partition, offset, lease, reason } },
    )
  }

  #runs(wanted: (state: number) => boolean): Places[] {
    const runs: Places[] = []
    const states = this.#states
    for (let at = 0; at < states.length; at++) {
      if (!wanted(states[at])) continue
      const from = at
      while (at < states.length && wanted(states[at])) at++
      runs.push({ from, to: at })
    }
    return runs
  }

  get #isDense(): boolean {
    const { firstOffset, lastOffset, recordCount } = this.#batch
    return lastOffset - firstOffset + 1 === recordCount
  }

  #placesIn(fromOffset: number, toOffset: number): Places {
    const count = this.#states.length
    const { firstOffset, lastOffset } = this.#batch
    if (fromOffset <= firstOffset && toOffset > lastOffset) return { from: 0, to: count }
    if (this.#offsets === undefined) {
      const place = (offset: number): number => Math.min(Math.max(offset - firstOffset, 0), count)
      return { from: place(fromOffset), to: place(toOffset) }
    }
    let from = 0
    while (from < count && this.offsetOf(from) < fromOffset) from++
    let to = from
    while (to < count && this.offsetOf(to) < toOffset) to++
    return { from, to }
  }

  #decode(): Generator<Message, void, undefined> {
    return messagesOf(this.#batch.bytes, this.#holder.sourceOf(this.partition))
  }

  /** Where there are holes, the offset of each message has to be looked up. */
  #readOffsets(offsets: Float64Array): void {
    let place = 0
    for (const { offset } of this.#decode()) offsets[place++] = offset
  }
}
