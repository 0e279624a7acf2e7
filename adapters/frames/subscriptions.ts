/**
 * The subscriptions of one connection, by the id of the request that began each, and the sinks that turn what the
 * broker pushes into frames: events in `+json`, deliver frames in `+binary`. Those of queue groups are in lease-events.ts.
 */
import type {
  BatchDelivery,
  BatchSink,
  CommittedOffset,
  ConsumeOptions,
  DroppedMessages,
  LeasedSubscription,
  MaybePromise,
  Message,
  MessageSink,
  PayloadEncoding,
  Platform,
  QueueConfig,
  RatatoskrError,
  Session,
  Settlement,
  SettleResult,
  SubscribeOptions,
  Subscription,
} from 'ratatoskr/ports'
import {
  encodeDeliverHeader,
  giveBackBytes,
  messageToJson,
  RatatoskrError as RatatoskrErrorClass,
} from 'ratatoskr/ports'
import type { FrameWriter } from './frame-writer.ts'
import { LeaseEvents } from './lease-events.ts'
import {
  Expander,
  type SubscriptionForm,
  type SubscriptionsHost,
  type WireCredit,
  WireSink,
} from './wire-sink.ts'

export interface Subscribed {
  readonly subscription: number
  /** The broker's own name for it, as logs and hooks have it. */
  readonly subscriptionId: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
}

export interface Consuming extends Subscribed {
  readonly config: QueueConfig
  /** How long the member may be silent before it is evicted. */
  readonly memberTimeoutMs: number
  /** Before which messages the member says `begin`: 1 for all, 2 for those that were delivered before, 0 for none. */
  readonly beginsFrom: number
}

export class Subscriptions implements SubscriptionsHost {
  readonly session: Session
  readonly platform: Platform
  readonly writer: FrameWriter
  readonly expandedBatchBytesMax: number
  readonly binary: boolean
  readonly #open = new Map<number, WireSink<Subscription> | LeaseEvents>()

  constructor(shared: Omit<SubscriptionsHost, 'forget'>) {
    this.session = shared.session
    this.platform = shared.platform
    this.writer = shared.writer
    this.expandedBatchBytesMax = shared.expandedBatchBytesMax
    this.binary = shared.binary
  }

  forget(id: number): void {
    this.#open.delete(id)
  }

  /** Opens a subscription, silent until `announced`. @throws RTK_INVALID_ARGUMENT when the id is in use, and as the session does */
  async open(
    id: number,
    topic: string,
    options: SubscribeOptions,
    form: SubscriptionForm,
  ): Promise<Subscribed> {
    this.#assertFree(id)
    const { session, binary } = this
    const sink = binary ? new BatchEvents(id, this, form) : new MessageEvents(id, this, form)
    this.#open.set(id, sink)
    try {
      const subscription =
        sink instanceof BatchEvents
          ? await session.subscribe(topic, options, sink)
          : await session.subscribeMessages(topic, options, sink)
      sink.began(subscription)
      return {
        subscription: id,
        subscriptionId: subscription.id,
        topic: subscription.topic,
        group: subscription.group,
        member: subscription.member,
      }
    } catch (error) {
      this.forget(id)
      sink.began(undefined)
      throw error
    }
  }

  /** Joins a queue group, silent until `announced`. @throws as `open` */
  async consume(
    id: number,
    topic: string,
    options: ConsumeOptions,
    form: SubscriptionForm,
  ): Promise<Consuming> {
    this.#assertFree(id)
    const sink = new LeaseEvents(id, this, form)
    this.#open.set(id, sink)
    try {
      const subscription = await sink.join(topic, options)
      const { id: subscriptionId, group, member, config, memberTimeoutMs, beginsFrom } = subscription
      const names = { subscription: id, subscriptionId, topic: subscription.topic, group, member }
      return { ...names, config, memberTimeoutMs, beginsFrom }
    } catch (error) {
      this.forget(id)
      sink.began(undefined)
      throw error
    }
  }

  /** The reply to the request with this id is out: what its subscription has to say may follow. */
  announced(id: number): void {
    this.#open.get(id)?.announced()
  }

  /** Grants credit. A subscription that is over needs none: its end and the credit may have crossed on the way. */
  grant(id: number, credit: WireCredit): void {
    this.#open.get(id)?.grant(credit)
  }

  /** Ends a subscription. Ending one that is over is no error. */
  async close(id: number): Promise<void> {
    const ready: Promise<Subscription | LeasedSubscription | undefined> | undefined = this.#open
      .get(id)
      ?.ready()
    await (await ready)?.close()
  }

  /** @throws RTK_SUBSCRIPTION_NOT_FOUND, and as the subscription does */
  async commit(id: number, offsets: readonly CommittedOffset[]): Promise<void> {
    const sink = this.#open.get(id)
    if (sink?.subscription === undefined || sink instanceof LeaseEvents) throw notFound(id, 'subscription')
    await sink.subscription.commit(offsets)
  }

  /** Settles as the member of this subscription. @throws RTK_SUBSCRIPTION_NOT_FOUND, and as the subscription does */
  settle(id: number, settlements: readonly Settlement[]): MaybePromise<readonly SettleResult[]> {
    const sink = this.#open.get(id)
    if (sink instanceof LeaseEvents && sink.subscription !== undefined) {
      return sink.subscription.settle(settlements)
    }
    throw notFound(id, 'subscription to a queue group')
  }

  /** A sign of life. A subscription that is over needs none. */
  heartbeat(id: number): void {
    const sink = this.#open.get(id)
    if (sink instanceof LeaseEvents) sink.subscription?.heartbeat()
  }

  /** Ends all of them, telling the client why. */
  async endAll(reason: RatatoskrError): Promise<void> {
    const sinks = [...this.#open.values()]
    for (const sink of sinks) sink.endReason = reason
    await Promise.all(sinks.map((sink) => sink.subscription?.close()))
  }

  #assertFree(id: number): void {
    if (!this.#open.has(id)) return
    throw new RatatoskrErrorClass(
      'RTK_INVALID_ARGUMENT',
      `id ${id} belongs to a subscription of this connection; take another`,
    )
  }
}

const notFound = (id: number, what: string): RatatoskrError =>
  new RatatoskrErrorClass(
    'RTK_SUBSCRIPTION_NOT_FOUND',
    `no ${what} ${id} on this connection; it may have ended`,
  )

/** What sinks of subscriptions say beside deliveries. */
class SubscriptionEvents extends WireSink<Subscription> {
  dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    this.say({ event: 'dropped', subscription: this.id, partition, fromOffset, toOffset })
  }
}

class MessageEvents extends SubscriptionEvents implements MessageSink {
  readonly #encoding: PayloadEncoding | undefined

  constructor(id: number, host: SubscriptionsHost, form: SubscriptionForm) {
    super(id, host)
    this.#encoding = form.encoding
  }

  deliver(message: Message): MaybePromise<void> {
    return this.sayInTurn(() => {
      const event = {
        event: 'message',
        subscription: this.id,
        message: messageToJson(message, this.#encoding),
      }
      return this.host.writer.deliverText(JSON.stringify(event))
    })
  }
}

class BatchEvents extends SubscriptionEvents implements BatchSink {
  readonly givesBack = true
  readonly #expander: Expander

  constructor(id: number, host: SubscriptionsHost, form: SubscriptionForm) {
    super(id, host)
    this.#expander = new Expander(host, form)
  }

  deliver({ partition, fromOffset, nextOffset, bytes }: BatchDelivery): MaybePromise<void> {
    return this.sayInTurn(() => {
      const head = encodeDeliverHeader(this.id, partition, fromOffset, nextOffset)
      const sent = this.#expander.bytesOf(bytes)
      if (sent !== bytes) giveBackBytes(bytes)
      return this.host.writer.deliverBinary(head, sent, true)
    })
  }

  override grant({ bytes = 0 }: WireCredit): void {
    super.grant({ bytes: this.#expander.granted(bytes) })
  }
}
