/**
 * What a subscription of any kind has to say to a client, in events and frames.
 *
 * A sink may be called before the broker has returned the subscription; what it says is held back until the reply is out,
 * so that a client hears of a subscription first that it exists.
 */
import type { MaybePromise, PayloadEncoding, Platform, RatatoskrError, Session } from 'ratatoskr/ports'
import { errorToJson, uncompressedBatches } from 'ratatoskr/ports'
import type { FrameWriter } from './frame-writer.ts'

/** What the subscriptions of one connection share. */
export interface SubscriptionsHost {
  readonly session: Session
  readonly platform: Platform
  readonly writer: FrameWriter
  readonly expandedBatchBytesMax: number
  readonly binary: boolean
  /** The subscription of this id is over. */
  forget(id: number): void
}

/** How this protocol carries a subscription. */
export interface SubscriptionForm {
  readonly encoding?: PayloadEncoding | undefined
  /** The client lacks codecs: batches are sent uncompressed. */
  readonly expand?: boolean | undefined
}

/** Credit as it comes: what counts depends on the subscription. */
export interface WireCredit {
  readonly bytes?: number | undefined
  readonly messages?: number | undefined
}

/** What subscriptions of all kinds can do. */
interface Open {
  grant(credit: WireCredit): void
  close(): Promise<void>
}

/** What all sinks share: holding back, and the events. */
export class WireSink<Opened extends Open> {
  subscription: Opened | undefined
  /** Said instead of "closed by the client" when the transport ends it. */
  endReason: RatatoskrError | undefined
  protected readonly id: number
  protected readonly host: SubscriptionsHost
  /** True when the broker has begun it, or has not. */
  #begun = false
  /** Made when somebody waits for that. */
  #beginning: PromiseWithResolvers<void> | undefined
  /** Credit that came before the subscription had begun. */
  #early: WireCredit[] | undefined
  /** What came before the reply; undefined when the reply is out. */
  #held: (() => void)[] | undefined = []

  constructor(id: number, host: SubscriptionsHost) {
    this.id = id
    this.host = host
  }

  began(subscription: Opened | undefined): void {
    this.subscription = subscription
    this.#begun = true
    this.#beginning?.resolve()
    const early = this.#early ?? []
    this.#early = undefined
    for (const credit of early) subscription?.grant(credit)
  }

  /** Resolves when the broker has begun it, or has not. */
  async ready(): Promise<Opened | undefined> {
    if (!this.#begun) await (this.#beginning ??= Promise.withResolvers()).promise
    return this.subscription
  }

  grant(credit: WireCredit): void {
    if (this.subscription !== undefined) this.subscription.grant(credit)
    else if (!this.#begun) (this.#early ??= []).push(credit)
  }

  announced(): void {
    const held = this.#held
    this.#held = undefined
    for (const say of held ?? []) say()
  }

  /** Numbers of partitions, or places in them. */
  assigned(partitions: readonly unknown[]): void {
    this.say({ event: 'assigned', subscription: this.id, partitions })
  }

  ended(reason: RatatoskrError | undefined): void {
    const why = reason ?? this.endReason
    this.#say(() => {
      this.host.forget(this.id)
      const error = why === undefined ? undefined : errorToJson(why)
      this.event({ event: 'ended', subscription: this.id, error })
    })
  }

  /** Sends an event once the reply is out: now, or later and in order. */
  protected say(event: object): void {
    this.#say(() => this.event(event))
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

/** Sends batches as a client wants them, and keeps its credit right. */
export class Expander {
  readonly #host: SubscriptionsHost
  readonly #expand: boolean
  /** Bytes sent beyond what the broker counted, because they were expanded: the client's grants cover them first. */
  #surplusBytes = 0

  constructor(host: SubscriptionsHost, { expand }: SubscriptionForm) {
    this.#host = host
    this.#expand = expand === true
  }

  bytesOf(bytes: Uint8Array): Uint8Array {
    if (!this.#expand) return bytes
    const { platform, expandedBatchBytesMax } = this.#host
    const expansion = { codecs: platform.compression, bytesMax: expandedBatchBytesMax }
    const expanded = uncompressedBatches(bytes, expansion, platform.checksum)
    this.#surplusBytes += expanded.length - bytes.length
    return expanded
  }

  /** What a grant of so many bytes is to the broker. */
  granted(bytes: number): number {
    const covered = Math.min(bytes, this.#surplusBytes)
    this.#surplusBytes -= covered
    return bytes - covered
  }
}
