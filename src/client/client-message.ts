/** A received message as handlers and iterators see it. */
import { type Header, type Message, RatatoskrError, utf8Text } from '../ports/index.ts'

/** How a message is given back to be handled again. */
export interface NackOptions {
  /** Pause before it comes again, in milliseconds; grows with the attempts otherwise. */
  readonly delayMs?: number | undefined
  /** Why, for `onFailed` and the error that ends a subscription. */
  readonly reason?: unknown
}

/** What a message tells when it is settled. */
export interface MessageOrigin {
  readonly signal: AbortSignal
  settled(message: ClientMessage, outcome: 'ack' | 'nack', options: NackOptions): void
}

/** One delivery of a message. Its bytes are views: copy them to keep them long. */
export class ClientMessage implements Message {
  /** 1 for the first delivery, one more each time that it comes again to this subscription. */
  readonly attempt: number
  /** The message as it is stored. */
  readonly stored: Message
  readonly #origin: MessageOrigin
  #settled = false

  constructor(stored: Message, origin: MessageOrigin, attempt: number) {
    this.stored = stored
    this.#origin = origin
    this.attempt = attempt
  }

  get id(): string {
    return this.stored.id
  }

  get topic(): string {
    return this.stored.topic
  }

  get partition(): number {
    return this.stored.partition
  }

  get offset(): number {
    return this.stored.offset
  }

  get timestampMs(): number {
    return this.stored.timestampMs
  }

  get expiresAtMs(): number | undefined {
    return this.stored.expiresAtMs
  }

  get key(): Uint8Array | undefined {
    return this.stored.key
  }

  get headers(): readonly Header[] {
    return this.stored.headers
  }

  get payload(): Uint8Array {
    return this.stored.payload
  }

  /** The payload as text. */
  text(): string {
    return utf8Text(this.stored.payload)
  }

  /**
   * The payload as JSON. `T` is the caller's claim; nothing checks it.
   * @throws RTK_INVALID_ARGUMENT when the payload is no JSON
   */
  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text()) as T
    } catch (error) {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `the payload of the message at offset ${this.offset} is not JSON`,
        { cause: error },
      )
    }
  }

  /** The key as text; undefined without one. */
  keyText(): string | undefined {
    const { key } = this.stored
    return key === undefined ? undefined : utf8Text(key)
  }

  /** The first header of that name, as text. */
  header(name: string): string | undefined {
    const found = this.headers.find(([each]) => each === name)
    return found === undefined ? undefined : utf8Text(found[1])
  }

  /** Fires when the message's partition is taken away, or the subscription ends: its ack counts no more. */
  get signal(): AbortSignal {
    return this.#origin.signal
  }

  /** True once it was acknowledged or given back. */
  get settled(): boolean {
    return this.#settled
  }

  /**
   * The message is done: its group goes on behind it. Commits follow shortly; `Subscription.commit` waits for them.
   * The first of ack and nack counts; later ones do nothing. Without a group there is nothing to commit.
   */
  ack(): void {
    this.#settle('ack', {})
  }

  /** The message is to come again, to this subscription, before later ones of its partition. */
  nack(options: NackOptions = {}): void {
    this.#settle('nack', options)
  }

  #settle(outcome: 'ack' | 'nack', options: NackOptions): void {
    if (this.#settled) return
    this.#settled = true
    this.#origin.settled(this, outcome, options)
  }
}
