/** A member of a queue group on a wire link. */
import {
  type Clock,
  type LeasedBatch,
  type LeasedSubscription,
  type LeaseLossReason,
  type LeaseRange,
  type LeaseSink,
  type QueueConfig,
  type QueueCredit,
  RatatoskrError,
  type Settlement,
  type SettleResult,
  settleResultsFromJson,
} from '../../ports/index.ts'
import { LeaseInbox } from './lease-inbox.ts'
import type { WireChannel } from './wire-channel.ts'

/** What the broker said of a member when it began. */
export interface ConsumingReply {
  readonly subscriptionId: string
  readonly topic: string
  readonly group: string
  readonly member: string
  readonly config: QueueConfig
  readonly memberTimeoutMs: number
  readonly beginsFrom?: number
}

export class WireLeases {
  readonly #wireId: number
  readonly #channel: WireChannel
  /** Takes it out of the link's table: nothing more is delivered to it. */
  readonly #forget: () => void
  readonly #inbox: LeaseInbox
  #over = false
  #closing: Promise<void> | undefined

  constructor(wireId: number, sink: LeaseSink, channel: WireChannel, clock: Clock, forget: () => void) {
    this.#wireId = wireId
    this.#channel = channel
    this.#forget = forget
    this.#inbox = new LeaseInbox(sink, clock, () => void this.close())
  }

  begun(reply: ConsumingReply): LeasedSubscription {
    const { subscriptionId, topic, group, member, config, memberTimeoutMs, beginsFrom = 0 } = reply
    return {
      id: subscriptionId,
      topic,
      group,
      member,
      config,
      memberTimeoutMs,
      beginsFrom,
      grant: (credit) => this.#grant(credit),
      settle: (settlements) => this.#settle(settlements),
      heartbeat: () => this.#heartbeat(),
      close: () => this.close(),
    }
  }

  leased(batch: LeasedBatch): void {
    this.#inbox.deliver(batch)
  }

  /** What the broker says of it beside deliveries. */
  event(
    event: Readonly<Record<string, unknown>>,
    ended: (reason: unknown) => RatatoskrError | undefined,
  ): void {
    if (event.event === 'assigned') this.#inbox.assigned(event.partitions as readonly number[])
    if (event.event === 'lost') {
      this.#inbox.lost(event.ranges as readonly LeaseRange[], event.reason as LeaseLossReason)
    }
    if (event.event === 'ended') {
      this.#over = true
      this.#forget()
      this.#inbox.ended(ended(event.error))
    }
  }

  /** The link is over: what waits is dropped, for nothing can be settled any more. */
  lost(reason: RatatoskrError | undefined): void {
    this.#over = true
    this.#inbox.end(reason)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#over) return
    this.#over = true
    this.#forget()
    this.#inbox.end(undefined)
    try {
      await this.#channel.request('unsubscribe', { subscription: this.#wireId })
    } catch {
      // It is over here, and there as soon as the broker sees the connection gone.
    }
  }

  #grant({ messages, bytes }: QueueCredit): void {
    if (this.#over) return
    this.#channel.credit(this.#wireId, bytes ?? 0, messages ?? 0)
  }

  async #settle(settlements: readonly Settlement[]): Promise<readonly SettleResult[]> {
    if (this.#over) throw new RatatoskrError('RTK_CLOSED', 'the subscription is closed')
    const request = { subscription: this.#wireId, settlements }
    const reply = await this.#channel.request('settleSubscription', request)
    return settleResultsFromJson((reply as { results?: unknown }).results, settlements.length)
  }

  #heartbeat(): void {
    if (!this.#over) this.#channel.notify('heartbeatSubscription', { subscription: this.#wireId })
  }
}
