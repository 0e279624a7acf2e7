/**
 * A member of a queue group that asks for its messages. A call is credit for as long as it lasts; it is answered when
 * it is full, or when nothing more comes at once. The member exists until it has been silent for too long; a call
 * that waits is a sign of life as long as it waits.
 */
import type { LeasedBatch, RatatoskrError } from '../../ports/index.ts'
import { RatatoskrError as CodedError } from '../../ports/index.ts'
import { abortError } from '../calls.ts'
import type { Runner, Steppable } from '../delivery/runner.ts'
import type { MemberHost, MemberIdentity } from './pushed-member.ts'
import type { QueueMember } from './queue-member.ts'

/** What one call takes: messages exactly; bytes softly, for at least one message comes when there is any. */
export interface TakeBounds {
  readonly messagesMax: number
  readonly bytesMax: number
  readonly waitMs: number
  readonly autoAck: boolean
}

/** How long a call waits beyond its time for partitions that wait for their log, or for the store. */
const busyMsMax = 5_000
/** How long a lease must have run for the answer to say so: less is as nothing to the way that the answer has. */
const worthTellingMs = 50
/** Rounds of the ring that a call waits for partitions which others keep busy. */
const roundsMax = 256

export interface TakingHost extends Omit<MemberHost, 'settle' | 'config'> {
  readonly runner: Runner
  after(delayMs: number, run: () => void): Disposable
  /** True while a partition is about to have its turn. */
  readonly turning: boolean
  /** True while a partition gets ready to give something. */
  readonly busy: boolean
}

interface TakingIdentity extends Omit<MemberIdentity, 'autoAck' | 'begins'> {
  /** It has no name of its own: it is there as long as it holds leases, and nobody expects signs of life of it. */
  readonly passing: boolean
}

interface Call {
  readonly batches: LeasedBatch[]
  /** When each of them was leased: the answer tells what is left of its time. */
  readonly leasedMs: number[]
  /** The first lease of the call, by partition. */
  readonly firstLeases: Map<number, number>
  readonly autoAck: boolean
  messagesLeft: number
  bytesLeft: number
  timedOut: boolean
  /** Rounds of the ring for which it has waited though it could be answered: there may be more behind what it has. */
  rounds: number
  settle(error?: RatatoskrError): void
}

export class TakingMember implements QueueMember, Steppable {
  readonly id: string
  readonly number: number
  readonly name: string
  readonly passing: boolean
  readonly begins = false
  awaiting = false
  readonly #host: TakingHost
  #call: Call | undefined
  #lastCall: Promise<unknown> = Promise.resolve()
  #calls = 0
  #seenMs: number
  #endReason: RatatoskrError | undefined
  #over = false
  #reviewing = false

  constructor(identity: TakingIdentity, host: TakingHost) {
    this.id = identity.id
    this.number = identity.number
    this.name = identity.member
    this.passing = identity.passing
    this.#host = host
    this.#seenMs = host.monotonicMs()
  }

  get autoAck(): boolean {
    return this.#call?.autoAck ?? false
  }

  get ready(): boolean {
    const call = this.#call
    if (this.awaiting) return false
    return call !== undefined && call.messagesLeft > 0 && (call.bytesLeft > 0 || call.batches.length === 0)
  }

  get demand(): unknown {
    return this.#call
  }

  get messagesLeft(): number {
    return this.#call?.messagesLeft ?? 0
  }

  get bytesLeft(): number {
    return this.#call?.bytesLeft ?? 0
  }

  get mayOverdraw(): boolean {
    return this.#call?.batches.length === 0
  }

  /** True while one of its calls waits here. */
  get calling(): boolean {
    return this.#calls > 0
  }

  get seenMs(): number {
    return this.#calls > 0 ? Number.POSITIVE_INFINITY : this.#seenMs
  }

  knowsLeasesFrom(partition: number): number {
    return this.#call?.firstLeases.get(partition) ?? Number.POSITIVE_INFINITY
  }

  /** What comes next is too large for the rest of the call. */
  needsBytes(_size: number): void {
    if (this.#call !== undefined) this.#call.messagesLeft = 0
  }

  giveTime(nowMs: number): void {
    this.#seenMs = nowMs
  }

  alive(): void {
    this.#seenMs = this.#host.monotonicMs()
  }

  /** Takes what comes next. Calls take one after the other. @throws why it is no member any more; RTK_CANCELLED, RTK_TIMEOUT by the signal */
  async take(bounds: TakeBounds, signal: AbortSignal | undefined): Promise<readonly LeasedBatch[]> {
    this.#calls++
    const taken = this.#lastCall.then(() => this.#takeNow(bounds, signal))
    this.#lastCall = taken.catch(() => {}) // whoever called is told
    try {
      return await taken
    } finally {
      this.#calls--
      this.alive()
    }
  }

  deliver(batch: LeasedBatch): void {
    const call = this.#call
    this.#host.delivered(this, batch)
    if (call === undefined) return // unreachable while only ready members are given something
    call.batches.push(batch)
    call.leasedMs.push(this.#host.monotonicMs())
    const { partition, lease } = batch
    if (lease > 0 && !call.firstLeases.has(partition)) call.firstLeases.set(partition, lease)
    call.messagesLeft -= batch.recordCount
    call.bytesLeft -= batch.bytes.length
    if (this.ready) this.review()
    else call.settle()
  }

  lost(): void {} // its settlements say so

  assigned(): void {} // it has the messages that it is given

  end(reason: RatatoskrError | undefined, failed = false): void {
    if (this.#over) return
    this.#over = true
    this.#endReason = reason ?? new CodedError('RTK_LEASE_LOST', `${this.name} has left the group`)
    this.#host.over(this, reason, failed)
    this.#call?.settle(this.#endReason)
  }

  /** Looks whether the call that waits can be answered, after everybody else in the ring had a turn. */
  review(): void {
    if (this.#reviewing || this.#call === undefined) return
    this.#reviewing = true
    this.#host.runner.schedule(this)
  }

  step(): void {
    this.#reviewing = false
    const call = this.#call
    if (call === undefined) return
    if (call.batches.length === 0 && !call.timedOut) return
    if (this.#host.turning && call.rounds++ < roundsMax) this.review()
    else if (!this.#host.busy) call.settle()
  }

  #takeNow(bounds: TakeBounds, signal: AbortSignal | undefined): Promise<readonly LeasedBatch[]> {
    if (this.#endReason !== undefined) throw this.#endReason
    if (signal?.aborted) throw abortError(signal)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => call.settle(abortError(signal as AbortSignal))
      let timer = this.#host.after(bounds.waitMs, () => {
        call.timedOut = true
        timer = this.#host.after(busyMsMax, () => call.settle())
        this.review()
      })
      const call: Call = {
        batches: [],
        leasedMs: [],
        firstLeases: new Map(),
        autoAck: bounds.autoAck,
        messagesLeft: bounds.messagesMax,
        bytesLeft: bounds.bytesMax,
        timedOut: bounds.waitMs === 0,
        rounds: 0,
        settle: (error) => {
          if (this.#call !== call) return
          this.#call = undefined
          timer[Symbol.dispose]()
          signal?.removeEventListener('abort', onAbort)
          // What it was leased already comes to nobody else before its time: then the answer is given all the same.
          if (error === undefined || (call.batches.length > 0 && !this.#over))
            resolve(withTimeLeft(call, this.#host.monotonicMs()))
          else reject(error)
        },
      }
      this.#call = call
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#host.ready(this)
      this.review()
    })
  }
}

/** What a call has come to. A lease runs while its call waits for more. */
const withTimeLeft = ({ batches, leasedMs }: Call, nowMs: number): readonly LeasedBatch[] =>
  batches.map((batch, i) => {
    const waitedMs = nowMs - leasedMs[i]
    if (batch.leaseMs === 0 || waitedMs < worthTellingMs) return batch
    return { ...batch, leaseMs: Math.max(1, Math.floor(batch.leaseMs - waitedMs)) }
  })
