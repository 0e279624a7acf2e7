/**
 * A subscription on a wire link: hands what arrives to its sink one call after the other. While the sink is full, more
 * waits here; it is no more than the credit that the sink's owner gave.
 */
import type {
  BatchDelivery,
  BatchSink,
  CommittedOffset,
  Credit,
  DroppedMessages,
  MaybePromise,
  PartitionOffset,
  RatatoskrError,
  Subscription,
} from '../../ports/index.ts'
import { toRatatoskrError } from '../../ports/index.ts'
import type { WireChannel } from './wire-channel.ts'

/** What the broker said of a subscription when it began. */
export interface SubscribedReply {
  readonly subscriptionId: string
  readonly topic: string
  readonly group?: string
  readonly member: string
}

export class WireSubscription implements Subscription {
  id = ''
  topic = ''
  group: string | undefined
  member = ''
  readonly #wireId: number
  readonly #sink: BatchSink
  readonly #channel: WireChannel
  /** Takes it out of the link's table: nothing more is delivered to it. */
  readonly #forget: () => void
  readonly #queue: (() => MaybePromise<void>)[] = []
  /** True while the sink is in a call, or full. */
  #busy = false
  #over = false
  #closing: Promise<void> | undefined

  constructor(wireId: number, sink: BatchSink, channel: WireChannel, forget: () => void) {
    this.#wireId = wireId
    this.#sink = sink
    this.#channel = channel
    this.#forget = forget
  }

  begun(reply: SubscribedReply): void {
    this.id = reply.subscriptionId
    this.topic = reply.topic
    this.group = reply.group
    this.member = reply.member
  }

  grant(credit: Credit): void {
    const { bytes = 0 } = credit
    if (!this.#over && bytes > 0) this.#channel.credit(this.#wireId, bytes)
  }

  async commit(offsets: readonly CommittedOffset[]): Promise<void> {
    await this.#channel.request('commitSubscription', { subscription: this.#wireId, offsets })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close(undefined)
    return this.#closing
  }

  deliver(delivery: BatchDelivery): void {
    if (this.#busy) {
      this.#then(() => this.#sink.deliver(delivery))
      return
    }
    if (this.#over) return
    // Nearly always nothing is before it: then no function and no promise is made for it.
    this.#busy = true
    try {
      const full = this.#sink.deliver(delivery)
      if (full instanceof Promise) void this.#run(full)
      else this.#delivered()
    } catch (error) {
      this.#busy = false
      this.#closing ??= this.#close(toRatatoskrError(error))
    }
  }

  assigned(partitions: readonly PartitionOffset[]): void {
    this.#then(() => this.#sink.assigned?.(partitions))
  }

  dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    this.#then(() => this.#sink.dropped?.({ partition, fromOffset, toOffset }))
  }

  /** The broker ended it: the sink hears so after what was delivered before. */
  ended(reason: RatatoskrError | undefined): void {
    this.#forget()
    this.#then(() => this.#end(reason))
  }

  /** The link is over: what waits is dropped, for nothing can be acknowledged any more. */
  lost(reason: RatatoskrError | undefined): void {
    this.#end(reason)
  }

  async #close(reason: RatatoskrError | undefined): Promise<void> {
    if (this.#over) return
    this.#forget()
    this.#end(reason)
    try {
      await this.#channel.request('unsubscribe', { subscription: this.#wireId })
    } catch {
      // It is over here, and there as soon as the broker sees the connection gone.
    }
  }

  #end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#queue.length = 0
    try {
      this.#sink.ended(reason)
    } catch {
      // It is over: there is nobody left to tell.
    }
  }

  /** What came while the sink was in the call has its turn. */
  #delivered(): void {
    if (this.#queue.length > 0) void this.#run()
    else this.#busy = false
  }

  #then(call: () => MaybePromise<void>): void {
    if (this.#over) return
    this.#queue.push(call)
    if (!this.#busy) void this.#run()
  }

  /** @param before what the sink still has to do */
  async #run(before?: Promise<void>): Promise<void> {
    this.#busy = true
    try {
      if (before !== undefined) await before
      for (let call = this.#queue.shift(); call !== undefined; call = this.#queue.shift()) {
        const full = call()
        if (full instanceof Promise) await full
      }
    } catch (error) {
      this.#closing ??= this.#close(toRatatoskrError(error))
    } finally {
      this.#busy = false
    }
  }
}
