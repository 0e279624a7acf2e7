/** A received message as handlers and iterators see it. */
import { type Header, type LeaseProof, type Message, RatatoskrError, utf8Text } from '../ports/index.ts'
import { wholeNumber } from './checks.ts'

/** How a message is given back to be handled again. */
export interface NackOptions {
  /** Pause before it comes again, in milliseconds; as the retry policy says otherwise. */
  readonly delayMs?: number | undefined
  /** Why: an error or a text. In a group the dead letter tells it. */
  readonly reason?: unknown
}

const noMore: NackOptions = {}

/** What ends the handling of a message. */
export type MessageEnd = 'ack' | 'nack' | 'terminate' | 'release'

/** Where a message came from: who is told when it is settled, and who knows whether it still counts. */
export interface MessageOrigin {
  /** The lease on its messages; 0 without one. */
  readonly lease: number
  readonly redelivered: boolean
  signalOf(message: ClientMessage): AbortSignal
  proofOf(message: ClientMessage): LeaseProof | undefined
  settle(message: ClientMessage, end: MessageEnd, options: NackOptions): void
  /** Acknowledges what came before it in its partition and is in somebody's hands. */
  ackBefore(message: ClientMessage): void
  extend(message: ClientMessage, extendMs: number | undefined): Promise<void>
  /** What became of the settlement. */
  answerTo(message: ClientMessage): Promise<undefined>
}

/** One delivery of a message. Its bytes are views: copy them to keep them long. */
export class ClientMessage implements Message {
  /** 1 for the first delivery, one more each time that it comes again after a delivery that counts. */
  readonly attempt: number
  /** The message as it is stored. */
  readonly stored: Message
  /** Its place among those that came together with it. */
  readonly place: number
  /** For the subscription that gave it. */
  readonly origin: MessageOrigin
  /** What its key counts as, for the subscription that gave it: see `KeyTurns`. */
  turn = 0
  #settled = false

  constructor(stored: Message, origin: MessageOrigin, attempt: number, place: number) {
    this.stored = stored
    this.origin = origin
    this.attempt = attempt
    this.place = place
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

  /** True when it may have been delivered before, to this consumer or another one. */
  get redelivered(): boolean {
    return this.origin.redelivered || this.attempt > 1
  }

  /**
   * The lease on it, greater with each delivery of the group and partition: whoever stores it with what he writes elsewhere
   * can refuse writes with a smaller one (a fencing token). 0 without a group, and at most once.
   */
  get lease(): number {
    return this.origin.lease
  }

  /** Names the lease, for `publish({ lease })`: that publish is refused once the lease is lost. Undefined without a lease. */
  get leaseProof(): LeaseProof | undefined {
    return this.origin.proofOf(this)
  }

  /**
   * Fires when settling it counts no more: its lease is lost (somebody else may be at work on it), its partition is taken
   * away, or the subscription ends. Made when it is first asked for.
   */
  get signal(): AbortSignal {
    return this.origin.signalOf(this)
  }

  /** True once it was acknowledged or given back. */
  get settled(): boolean {
    return this.#settled
  }

  /**
   * The message is done. The first of `ack`, `nack`, `terminate` and `release` counts; later ones change nothing.
   * @returns the broker's answer, for those who look at it: RTK_LEASE_LOST when another one may have the message by now,
   *   RTK_DISCONNECTED when nobody knows. Not looking is free. Without a group it resolves at once.
   */
  ack(): Promise<void> {
    return this.settle('ack', noMore)
  }

  /**
   * The message is done, and with it all messages of its partition with lower offsets that this subscription has handed out
   * and that are not settled. What waits here unseen is not, nor what other members hold. Without a group it is `ack`.
   * @returns as `ack`, for this message
   */
  ackUpTo(): Promise<void> {
    this.origin.ackBefore(this)
    return this.ack()
  }

  /** The message failed: it comes again after a pause, or is a dead letter when its retries are used up. @returns as `ack` */
  nack(options: NackOptions = {}): Promise<void> {
    return this.settle('nack', options)
  }

  /** The message will never succeed: a dead letter at once; without a group it has failed for good. @returns as `ack` */
  terminate(reason?: unknown): Promise<void> {
    return this.settle('terminate', { reason })
  }

  /** Gives the message back unhandled: it comes again at once, and the attempt does not count. @returns as `ack` */
  release(): Promise<void> {
    return this.settle('release', noMore)
  }

  /**
   * The lease lasts for another `extendMs` milliseconds from now on; the group's `ackTimeoutMs` by default. Leases of running
   * handlers are extended without it. Without a lease nothing happens.
   * @throws RTK_LEASE_LOST, RTK_DISCONNECTED
   */
  extend(extendMs?: number): Promise<void> {
    return this.origin.extend(this, extendMs)
  }

  /** What the four above do. */
  settle(end: MessageEnd, options: NackOptions): Promise<void> {
    this.end(end, options)
    return new Answer(this.origin, this)
  }

  /** The same for those who look at no answer. */
  end(end: MessageEnd, options: NackOptions = noMore): void {
    if (this.#settled) return
    const { delayMs } = options
    if (delayMs !== undefined) wholeNumber('delayMs', delayMs, 0)
    this.#settled = true
    this.origin.settle(this, end, options)
  }
}

/**
 * An answer that becomes a promise when somebody looks at it: most do not, and a promise for each message would cost more
 * than the message, and crash the process when it is rejected unseen.
 */
class Answer implements Promise<void> {
  readonly [Symbol.toStringTag] = 'Promise'
  readonly #origin: MessageOrigin
  readonly #message: ClientMessage

  constructor(origin: MessageOrigin, message: ClientMessage) {
    this.#origin = origin
    this.#message = message
  }

  // biome-ignore lint/suspicious/noThenProperty: to be awaited is what it is for
  then<T = void, E = never>(
    fulfilled?: ((value: undefined) => T | PromiseLike<T>) | null,
    rejected?: ((reason: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    return this.#origin.answerTo(this.#message).then(fulfilled, rejected)
  }

  catch<E = never>(rejected?: ((reason: unknown) => E | PromiseLike<E>) | null): Promise<undefined | E> {
    return this.then(undefined, rejected)
  }

  finally(settled?: (() => void) | null): Promise<void> {
    return this.#origin.answerTo(this.#message).finally(settled)
  }
}
