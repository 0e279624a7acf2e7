/** A member of a queue group that is pushed to: its credit, its sink, and its end. */
import type {
  LeasedBatch,
  LeasedSubscription,
  LeaseLossReason,
  LeaseRange,
  LeaseSink,
  Limits,
  Logger,
  MaybePromise,
  QueueConfig,
  QueueCredit,
  RatatoskrError,
  Settlement,
  SettleResult,
} from '../../ports/index.ts'
import { toRatatoskrError } from '../../ports/index.ts'
import { handledElsewhere, isPromise } from '../maybe-promise.ts'
import { MemberCredit } from './member-credit.ts'
import type { QueueMember } from './queue-member.ts'

/** Who a member is, for its holder, hooks and logs. */
export interface MemberIdentity {
  readonly id: string
  readonly number: number
  readonly topic: string
  readonly group: string
  readonly member: string
  readonly autoAck: boolean
  readonly begins: boolean
}

/** What a member needs of its group, and of the broker. */
export interface MemberHost {
  readonly limits: Limits
  readonly logger: Logger
  readonly config: QueueConfig
  monotonicMs(): number
  /** It may be given something, as far as it is concerned. */
  ready(member: QueueMember): void
  delivered(member: QueueMember, batch: LeasedBatch): void
  settle(settlements: readonly Settlement[]): readonly SettleResult[]
  /** Called once, before the sink is told: `failed` when the sink was the reason. */
  over(member: QueueMember, reason: RatatoskrError | undefined, failed: boolean): void
}

export class PushedMember implements QueueMember, LeasedSubscription {
  readonly id: string
  readonly number: number
  readonly topic: string
  readonly group: string
  readonly member: string
  readonly autoAck: boolean
  readonly begins: boolean
  readonly config: QueueConfig
  readonly memberTimeoutMs: number
  readonly beginsFrom: number
  seenMs: number
  awaiting = false
  readonly #host: MemberHost
  readonly #sink: LeaseSink
  readonly #credit: MemberCredit
  readonly #closed = Promise.withResolvers<void>()
  #over = false
  /** The sink's promise is open. */
  #full = false
  #inSink = false
  /** It was granted something within a call of its sink. */
  #grantedInSink = false
  /** What the sink is told when it has returned. */
  #due: (() => void)[] = []

  constructor(identity: MemberIdentity, sink: LeaseSink, host: MemberHost) {
    this.id = identity.id
    this.number = identity.number
    this.topic = identity.topic
    this.group = identity.group
    this.member = identity.member
    this.autoAck = identity.autoAck
    this.begins = identity.begins
    this.config = host.config
    this.memberTimeoutMs = host.limits.memberTimeoutMs
    this.beginsFrom = !identity.begins ? 0 : host.config.retriesMax === 0 ? 1 : 2
    this.#host = host
    this.#sink = sink
    this.#credit = new MemberCredit(host.limits)
    this.seenMs = host.monotonicMs()
  }

  get name(): string {
    return this.member
  }

  get ready(): boolean {
    return !this.#over && !this.awaiting && !this.#full && !this.#inSink && this.#credit.suffices
  }

  get demand(): unknown {
    return this.#over ? undefined : this
  }

  get messagesLeft(): number {
    return this.#credit.messages
  }

  get bytesLeft(): number {
    return this.#credit.bytes
  }

  get mayOverdraw(): boolean {
    return this.#credit.mayOverdraw
  }

  knowsLeasesFrom(): number {
    return 0
  }

  needsBytes(size: number): void {
    this.#credit.needs(size)
  }

  giveTime(nowMs: number): void {
    this.seenMs = nowMs
  }

  grant(credit: QueueCredit): void {
    if (this.#over) return
    this.#alive()
    this.#credit.grant(credit)
    if (this.#inSink) this.#grantedInSink = true
    else if (this.ready) this.#host.ready(this)
  }

  settle(settlements: readonly Settlement[]): readonly SettleResult[] {
    this.#alive()
    return this.#host.settle(settlements)
  }

  heartbeat(): void {
    this.#alive()
  }

  close(): Promise<void> {
    this.end(undefined)
    return this.#closed.promise
  }

  deliver(batch: LeasedBatch): void {
    this.#credit.spend(batch.recordCount, batch.bytes.length)
    this.#host.delivered(this, batch)
    this.#tell(() => {
      const full = this.#sink.deliver(batch)
      if (isPromise(full)) this.#waitFor(full)
    })
  }

  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void {
    if (!this.#over) this.#tell(() => this.#sink.lost(ranges, reason))
  }

  assigned(partitions: readonly number[]): void {
    if (!this.#over) this.#tell(() => this.#sink.assigned?.(partitions))
  }

  end(reason: RatatoskrError | undefined, failed = false): void {
    if (this.#over) return
    this.#over = true
    this.#credit.clear()
    this.#due = []
    this.#host.over(this, reason, failed)
    if (this.#inSink) this.#due.push(() => this.#tellEnded(reason))
    else this.#tellEnded(reason)
  }

  #alive(): void {
    this.seenMs = this.#host.monotonicMs()
  }

  #waitFor(full: MaybePromise<void>): void {
    this.#full = true
    const open = full as PromiseLike<void>
    open.then(
      () => {
        this.#full = false
        if (this.ready) this.#host.ready(this)
      },
      (error) => this.end(toRatatoskrError(error), true),
    )
  }

  /** Sinks are told one thing at a time: what comes while they are being told something waits until they have returned. */
  #tell(call: () => void): void {
    if (this.#inSink) {
      this.#due.push(call)
      return
    }
    this.#inSink = true
    try {
      call()
    } catch (error) {
      this.#inSink = false
      if (this.#over) this.#tellDue()
      else this.end(toRatatoskrError(error), true)
      return
    }
    this.#inSink = false
    this.#tellDue()
  }

  #tellDue(): void {
    const next = this.#due.shift()
    if (next !== undefined) this.#tell(next)
    else if (this.#grantedInSink) {
      this.#grantedInSink = false
      if (this.ready) this.#host.ready(this)
    }
  }

  #tellEnded(reason: RatatoskrError | undefined): void {
    try {
      const told: unknown = this.#sink.ended(reason)
      if (isPromise(told)) handledElsewhere(told)
    } catch (error) {
      this.#host.logger.warn('a sink threw when it was told of its end', {
        subscription: this.id,
        cause: error,
      })
    }
    this.#closed.resolve()
  }
}
