/**
 * One partition within a subscription without a group: what was received and not handed out, and the messages that are to
 * come again. Batches are decoded one message ahead, when their turn has come.
 */
import {
  type BatchDelivery,
  type BatchSource,
  type Clock,
  type ExpiryRule,
  hasExpired,
  MessageReader,
} from '../ports/index.ts'
import { ClientMessage, type MessageEnd, type MessageOrigin, type NackOptions } from './client-message.ts'
import { takeFirst } from './take-first.ts'

/** What a lane needs of its consumer. */
export interface LaneOwner {
  readonly clock: Clock
  /** The broker's clock: what has expired by it is not handed out. */
  readonly expiry: ExpiryRule
  readonly sourceOf: (partition: number) => BatchSource
  /** Something may be taken from the lane again. */
  ready(lane: Lane): void
  /** A message was passed over because it has expired. */
  expired(): void
  /** Bytes of a batch were used up. */
  released(bytes: number): void
  settled(lane: Lane, message: ClientMessage, end: MessageEnd, options: NackOptions): void
}

interface Repeat {
  readonly message: ClientMessage
  readonly attempt: number
  readonly dueMs: number
}

export class Lane implements MessageOrigin {
  readonly partition: number
  readonly lease = 0
  readonly redelivered = false
  /** True while a handler of this lane runs. */
  busy = false
  /** Messages handed out and neither acknowledged nor given back. */
  handedOutCount = 0
  readonly #owner: LaneOwner
  readonly #queue: BatchDelivery[] = []
  #delivery: BatchDelivery | undefined
  readonly #reader = new MessageReader()
  /** True while the reader stands at a message. */
  #hasNext = false
  /** Messages given back, the oldest first: the lane goes no further before they were handed out again. */
  readonly #repeats: Repeat[] = []
  #pause: Disposable | undefined
  #signal: AbortController | undefined
  #over = false

  constructor(partition: number, owner: LaneOwner) {
    this.partition = partition
    this.#owner = owner
  }

  get over(): boolean {
    return this.#over
  }

  signalOf(): AbortSignal {
    this.#signal ??= new AbortController()
    if (this.#over) this.#signal.abort()
    return this.#signal.signal
  }

  proofOf(): undefined {
    return undefined
  }

  async extend(): Promise<void> {} // there is no lease

  ackBefore(): void {} // nobody keeps what was acknowledged

  async answerTo(): Promise<undefined> {
    return undefined // nobody else is asked
  }

  /** True when `take` has, or may have, something to give. */
  get available(): boolean {
    if (this.#over || this.#pause !== undefined) return false
    return this.#repeats.length > 0 || this.#hasNext || this.#queue.length > 0
  }

  /** True when the next message is the first of its delivery: the moment to let other lanes have a turn. */
  get betweenDeliveries(): boolean {
    return !this.#hasNext
  }

  push(delivery: BatchDelivery): void {
    this.#queue.push(delivery)
  }

  /** The next message, to be settled by its holder. @throws as `messagesOf` does when a batch cannot be decoded */
  take(): ClientMessage | undefined {
    while (this.available) {
      const message = this.#repeats.length > 0 ? this.#takeRepeat() : this.#takeNew()
      if (message !== undefined) {
        this.handedOutCount++
        return message
      }
    }
    return undefined
  }

  /** The oldest message that was given back; undefined when it has expired meanwhile. */
  #takeRepeat(): ClientMessage | undefined {
    const { message, attempt } = this.#repeats.shift() as Repeat
    this.#schedule()
    if (!hasExpired(message, this.#owner.expiry)) return new ClientMessage(message.stored, this, attempt, 0)
    this.#owner.expired()
    return undefined
  }

  /** The next message of the deliveries; undefined when there is none, or when it has expired. */
  #takeNew(): ClientMessage | undefined {
    while (!this.#hasNext) if (!this.#open()) return undefined
    const message = this.#reader.hasExpired(this.#owner.expiry) ? undefined : this.#reader.view()
    this.#advance()
    if (message !== undefined) return new ClientMessage(message, this, 1, 0)
    this.#owner.expired()
    return undefined
  }

  settle(message: ClientMessage, end: MessageEnd, options: NackOptions): void {
    if (this.#over) return
    this.handedOutCount--
    this.#owner.settled(this, message, end, options)
  }

  /** Hands the message out again after a pause, before later ones. */
  repeat(message: ClientMessage, attempt: number, pauseMs: number): void {
    const { clock } = this.#owner
    this.#repeats.push({ message, attempt, dueMs: clock.monotonic() + pauseMs })
    this.#repeats.sort((a, b) => a.message.offset - b.message.offset)
    this.#schedule()
  }

  /** The partition is gone: nothing more is handed out, and what was counts no more. */
  end(): void {
    if (this.#over) return
    this.#over = true
    this.#pause?.[Symbol.dispose]()
    this.#pause = undefined
    this.#repeats.length = 0
    this.#finishDelivery()
    for (const { bytes } of this.#queue.splice(0)) this.#owner.released(bytes.length)
    this.#signal?.abort()
  }

  /** Blocks the lane until its oldest message that is to be repeated is due. */
  #schedule(): void {
    this.#pause?.[Symbol.dispose]()
    this.#pause = undefined
    if (this.#repeats.length === 0) return
    const { clock } = this.#owner
    const leftMs = this.#repeats[0].dueMs - clock.monotonic()
    if (leftMs <= 0) return
    this.#pause = clock.after(leftMs, () => {
      this.#pause = undefined
      this.#owner.ready(this)
    })
  }

  /** Begins the next delivery. @returns false when there is none */
  #open(): boolean {
    const delivery = takeFirst(this.#queue)
    if (delivery !== undefined) this.#begin(delivery)
    return delivery !== undefined
  }

  #begin(delivery: BatchDelivery): void {
    this.#delivery = delivery
    this.#reader.open(delivery.bytes, this.#owner.sourceOf(this.partition), delivery.fromOffset)
    this.#advance()
  }

  /** Decodes one message ahead, so that a batch is known to be used up when its last message is taken. */
  #advance(): void {
    this.#hasNext = this.#reader.next()
    if (!this.#hasNext) this.#finishDelivery()
  }

  #finishDelivery(): void {
    const delivery = this.#delivery
    this.#hasNext = false
    this.#reader.close()
    this.#delivery = undefined
    if (delivery === undefined) return
    this.#owner.released(delivery.bytes.length)
  }
}
