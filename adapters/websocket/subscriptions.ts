/**
 * The subscriptions of one connection, by the id of the request that began each, and the sinks that turn what the
 * broker pushes into frames: events in `+json`, deliver frames in `+binary`.
 *
 * A sink may be called before the broker's `subscribe` has returned; what it says is held back until the reply is out,
 * so that a client hears of a subscription first that it exists.
 */
import type {
  BatchDelivery,
  BatchSink,
  CommittedOffset,
  Credit,
  MaybePromise,
  Message,
  MessageSink,
  PartitionOffset,
  PayloadEncoding,
  Platform,
  RatatoskrError,
  Session,
  SinkEvents,
  SubscribeOptions,
  Subscription,
} from 'ratatoskr/ports'
import {
  encodeDeliverHeader,
  errorToJson,
  messageToJson,
  RatatoskrError as RatatoskrErrorClass,
  uncompressedBatches,
} from 'ratatoskr/ports'
import type { SocketWriter } from './socket-writer.ts'

export interface SubscriptionsHost {
  readonly session: Session
  readonly platform: Platform
  readonly writer: SocketWriter
  readonly expandedBatchBytesMax: number
  readonly binary: boolean
}

/** How this protocol carries a subscription. */
export interface SubscriptionForm {
  readonly encoding?: PayloadEncoding | undefined
  /** The client lacks codecs: batches are sent uncompressed. */
  readonly expand?: boolean | undefined
}

export interface Subscribed {
  readonly subscription: number
  /** The broker's own name for it, as logs and hooks have it. */
  readonly subscriptionId: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
}

export class Subscriptions {
  readonly #host: SubscriptionsHost
  readonly #open = new Map<number, WireSink>()

  constructor(host: SubscriptionsHost) {
    this.#host = host
  }

  /** Opens a subscription, silent until `announced`. @throws RTK_INVALID_ARGUMENT when the id is in use, and as the session does */
  async open(
    id: number,
    topic: string,
    options: SubscribeOptions,
    form: SubscriptionForm,
  ): Promise<Subscribed> {
    if (this.#open.has(id)) {
      throw new RatatoskrErrorClass(
        'RTK_INVALID_ARGUMENT',
        `id ${id} belongs to a subscription of this connection; take another`,
      )
    }
    const { session, binary } = this.#host
    const forget = (): void => void this.#open.delete(id)
    const sink = binary
      ? new BatchEvents(id, this.#host, form, forget)
      : new MessageEvents(id, this.#host, form, forget)
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
      forget()
      sink.began(undefined)
      throw error
    }
  }

  /** The reply to the request with this id is out: what its subscription has to say may follow. */
  announced(id: number): void {
    this.#open.get(id)?.announced()
  }

  /** Grants credit. A subscription that is over needs none: its end and the credit may have crossed on the way. */
  grant(id: number, credit: Credit): void {
    this.#open.get(id)?.grant(credit)
  }

  /** Ends a subscription. Ending one that is over is no error. */
  async close(id: number): Promise<void> {
    const sink = this.#open.get(id)
    await (await sink?.ready)?.close()
  }

  /** @throws RTK_SUBSCRIPTION_NOT_FOUND, and as the subscription does */
  async commit(id: number, offsets: readonly CommittedOffset[]): Promise<void> {
    const subscription = this.#open.get(id)?.subscription
    if (subscription === undefined) {
      throw new RatatoskrErrorClass(
        'RTK_SUBSCRIPTION_NOT_FOUND',
        `no subscription ${id} on this connection; it may have ended`,
      )
    }
    await subscription.commit(offsets)
  }

  /** Ends all of them, telling the client why. */
  async endAll(reason: RatatoskrError): Promise<void> {
    const sinks = [...this.#open.values()]
    for (const sink of sinks) sink.endReason = reason
    await Promise.all(sinks.map((sink) => sink.subscription?.close()))
  }
}

/** What both sinks share: holding back, and the events. */
class WireSink implements SinkEvents {
  subscription: Subscription | undefined
  /** Resolves when the broker has begun it, or has not. */
  readonly ready: Promise<Subscription | undefined>
  /** Said instead of "closed by the client" when the transport ends it. */
  endReason: RatatoskrError | undefined
  protected readonly id: number
  protected readonly host: SubscriptionsHost
  readonly #forget: () => void
  readonly #begun = Promise.withResolvers<Subscription | undefined>()
  /** Credit that came before the subscription had begun. */
  #early: Credit[] = []
  /** What came before the reply; undefined when the reply is out. */
  #held: (() => void)[] | undefined = []

  constructor(id: number, host: SubscriptionsHost, forget: () => void) {
    this.id = id
    this.host = host
    this.#forget = forget
    this.ready = this.#begun.promise
  }

  began(subscription: Subscription | undefined): void {
    this.subscription = subscription
    this.#begun.resolve(subscription)
    for (const credit of this.#early.splice(0)) subscription?.grant(credit)
  }

  grant(credit: Credit): void {
    if (this.subscription === undefined) this.#early.push(credit)
    else this.subscription.grant(credit)
  }

  announced(): void {
    const held = this.#held
    this.#held = undefined
    for (const say of held ?? []) say()
  }

  assigned(partitions: readonly PartitionOffset[]): void {
    this.#say(() => this.event({ event: 'assigned', subscription: this.id, partitions }))
  }

  ended(reason: RatatoskrError | undefined): void {
    const why = reason ?? this.endReason
    this.#say(() => {
      this.#forget()
      const error = why === undefined ? undefined : errorToJson(why)
      this.event({ event: 'ended', subscription: this.id, error })
    })
  }

  /** Runs `say` once the reply is out: now, or later and in order. */
  #say(say: () => void): void {
    if (this.#held === undefined) say()
    else this.#held.push(say)
  }

  /** As `#say`, for what may find the socket full. */
  protected sayInTurn(say: () => MaybePromise<void>): MaybePromise<void> {
    if (this.#held === undefined) return say()
    const held = this.#held
    return new Promise((resolve, reject) => held.push(() => void (async () => say())().then(resolve, reject)))
  }

  /** Events stand in line with deliveries, so that none overtakes what was delivered before it. */
  protected event(event: object): void {
    void this.host.writer.deliverText(JSON.stringify(event))
  }
}

class MessageEvents extends WireSink implements MessageSink {
  readonly #encoding: PayloadEncoding | undefined

  constructor(id: number, host: SubscriptionsHost, form: SubscriptionForm, forget: () => void) {
    super(id, host, forget)
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

class BatchEvents extends WireSink implements BatchSink {
  readonly #expand: boolean
  /** Bytes sent beyond what the broker counted, because they were expanded: the client's grants cover them first. */
  #surplusBytes = 0

  constructor(id: number, host: SubscriptionsHost, form: SubscriptionForm, forget: () => void) {
    super(id, host, forget)
    this.#expand = form.expand === true
  }

  deliver({ partition, fromOffset, nextOffset, bytes }: BatchDelivery): MaybePromise<void> {
    return this.sayInTurn(() => {
      const head = encodeDeliverHeader(this.id, partition, fromOffset, nextOffset)
      return this.host.writer.deliverBinary(head, this.#expand ? this.#expanded(bytes) : bytes)
    })
  }

  override grant({ bytes = 0 }: Credit): void {
    const covered = Math.min(bytes, this.#surplusBytes)
    this.#surplusBytes -= covered
    super.grant({ bytes: bytes - covered })
  }

  #expanded(bytes: Uint8Array): Uint8Array {
    const { platform, expandedBatchBytesMax } = this.host
    const expansion = { codecs: platform.compression, bytesMax: expandedBatchBytesMax }
    const expanded = uncompressedBatches(bytes, expansion, platform.checksum)
    this.#surplusBytes += expanded.length - bytes.length
    return expanded
  }
}
