/**
 * A member of a queue group that outlives its link: when the link is lost, or the broker had not heard of it for too long, it
 * joins again under the same name. What it was leased before is then void, and comes again.
 */
import {
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseLossReason,
  type LeaseRange,
  type MaybePromise,
  type ConsumeOptions as MemberOptions,
  type QueueConfig,
  type QueueCredit,
  RatatoskrError,
  type Settlement,
  type SettleResult,
  toRatatoskrError,
} from '../../ports/index.ts'
import type { ClientContext } from '../context.ts'
import type { Link } from '../link.ts'
import { LinkedLife } from '../linked-life.ts'
import { type TopicFacts, topicFacts } from '../topic-facts.ts'

/** What the holder of a live member is told. Calls come one after the other, never after `ended`. */
export interface LiveQueueSink {
  /** About to join on this link: what is in doubt can be asked first. @returns the first credit */
  joining(link: Link): Promise<QueueCredit>
  joined(config: QueueConfig, memberTimeoutMs: number): void
  deliver(batch: LeasedBatch): void
  lost(ranges: readonly LeaseRange[], reason: LeaseLossReason): void
  assigned(partitions: readonly number[]): void
  /** All leases are void. */
  voided(reason: RatatoskrError): void
  disconnected(reason: RatatoskrError): void
  reconnected(): void
  ended(reason: RatatoskrError | undefined): void
}

const LOST = new RatatoskrError(
  'RTK_DISCONNECTED',
  'the connection is lost; the subscription joins its group again by itself',
)

export class LiveQueue {
  readonly topic: string
  readonly #options: MemberOptions
  readonly #sink: LiveQueueSink
  readonly #life: LinkedLife
  #facts: TopicFacts | undefined
  /** Why a membership ended before it was even answered. */
  #early: RatatoskrError | undefined
  #member: string | undefined
  #current: LeasedSubscription | undefined
  #link: Link | undefined

  private constructor(context: ClientContext, topic: string, options: MemberOptions, sink: LiveQueueSink) {
    this.topic = topic
    this.#options = options
    this.#sink = sink
    this.#member = options.member
    this.#life = new LinkedLife(context, {
      joiningAgain: 'joining the group again',
      join: (link) => this.#join(link),
      leave: () => {
        this.#current = undefined
      },
      mayPass: (refusal) => refusal.retryable || wasEvicted(refusal),
      disconnected: (reason) => {
        sink.voided(reason)
        sink.disconnected(reason)
      },
      reconnected: () => sink.reconnected(),
      over: (reason) => sink.ended(reason),
    })
  }

  /** Joins. @throws as `QueueSession.consume` does */
  static async open(
    context: ClientContext,
    topic: string,
    options: MemberOptions,
    sink: LiveQueueSink,
    signal: AbortSignal,
  ): Promise<LiveQueue> {
    const live = new LiveQueue(context, topic, options, sink)
    await live.#life.begin(signal)
    return live
  }

  /** The topic's id and name as messages show them. */
  get facts(): TopicFacts {
    return this.#facts ?? { id: '', text: this.topic }
  }

  get member(): string {
    return this.#member ?? ''
  }

  /** False while it is joining, or has left. */
  get isMember(): boolean {
    return this.#current !== undefined
  }

  /** As `LeasedSubscription.beginsFrom`. */
  get beginsFrom(): number {
    return this.#current?.beginsFrom ?? 0
  }

  grant(credit: QueueCredit): void {
    this.#current?.grant(credit)
  }

  heartbeat(): void {
    this.#current?.heartbeat()
  }

  /** @throws RTK_DISCONNECTED while there is no link, or when it is lost meanwhile */
  settle(settlements: readonly Settlement[]): MaybePromise<readonly SettleResult[]> {
    if (this.#current === undefined) throw LOST
    return this.#current.settle(settlements)
  }

  /** Leaves; no call of the sink comes after it resolves. Idempotent. */
  close(): Promise<void> {
    const subscription = this.#current
    return this.#life.close(() => subscription?.close().catch(() => {}))
  }

  async #join(link: Link): Promise<void> {
    const generation = this.#life.joins()
    this.#early = undefined
    const credit = await this.#sink.joining(link)
    let subscription: LeasedSubscription | undefined
    try {
      subscription = await link.consume(
        this.topic,
        { ...this.#options, member: this.#member, credit },
        {
          deliver: (batch) => {
            if (this.#life.isCurrent(generation)) this.#sink.deliver(batch)
          },
          lost: (ranges, reason) => {
            if (this.#life.isCurrent(generation)) this.#sink.lost(ranges, reason)
          },
          assigned: (partitions) => {
            if (this.#life.isCurrent(generation)) this.#sink.assigned(partitions)
          },
          ended: (reason) => {
            if (!this.#life.isCurrent(generation)) return
            // Before `consume` has answered, its caller is the one to try again.
            if (this.#current === undefined) this.#early = reason ?? LOST
            else this.#life.linkEnded(this.#link, reason ?? LOST)
          },
        },
      )
      const facts = await topicFacts(link, this.topic)
      this.#facts = facts ?? this.#facts
      if (this.#early !== undefined) throw this.#early
      if (this.#life.isEnding) throw LOST
    } catch (error) {
      // Deliveries may have come before the answer, also when none came.
      this.#life.leaves()
      await subscription?.close().catch(() => {})
      this.#sink.voided(toRatatoskrError(error))
      throw error
    }
    this.#current = subscription
    this.#link = link
    this.#member = subscription.member
    this.#sink.joined(subscription.config, subscription.memberTimeoutMs)
  }
}

/** The broker had not heard of the member for too long: it may join again, unlike one whose name another has taken. */
const wasEvicted = ({ code, details }: RatatoskrError): boolean =>
  code === 'RTK_LEASE_LOST' && details.silentMs !== undefined
