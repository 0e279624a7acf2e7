/** One topic of a producer: finds out its partitions, spreads messages over them, and holds what cannot go yet. */
import {
  type Durability,
  type LeaseProof,
  type Limits,
  type OutgoingMessage,
  type PublishReceipt,
  partitionForKey,
  RatatoskrError,
  StickyPartitioner,
  type TopicDescription,
  toRatatoskrError,
  validateOutgoingMessage,
} from '../ports/index.ts'
import { withDeadline } from './call.ts'
import { detached } from './outgoing.ts'
import type { BatchOwner, MessageOwner, OutgoingBatch } from './outgoing-batch.ts'
import { PartitionSender, type SenderContext } from './partition-sender.ts'
import { SenderIdentity } from './sender-identity.ts'

export interface TopicSenderOptions {
  readonly limits: Limits
  readonly timeoutMs: number
  /** True while the producer's buffer takes more. */
  readonly mayAdd: () => boolean
  /** A message no longer waits. */
  readonly left: () => void
}

interface Waiting {
  readonly message: OutgoingMessage
  readonly owner: MessageOwner & { readonly abandoned: boolean }
  readonly place: number
  readonly durability: Durability | undefined
  readonly deadlineMs: number
  readonly lease: LeaseProof | undefined
}

// Partitions may be added while a producer runs: it asks again after this long.
const refreshAfterMs = 60_000

export class TopicSender {
  readonly #name: string
  readonly #senders: SenderContext
  readonly #options: TopicSenderOptions
  readonly #partitions: PartitionSender[] = []
  #waiting: Waiting[] = []
  #drained: PromiseWithResolvers<void> | undefined
  #draining = false
  #timer: Disposable | undefined
  #resolving: Promise<void> | undefined
  #resolvedAtMs = 0
  #messageBytesMax = 0
  readonly #sticky: StickyPartitioner
  readonly #identity: SenderIdentity | undefined
  /** Partitions that the topic has now. */
  #count = 0

  constructor(name: string, senders: SenderContext, options: TopicSenderOptions) {
    this.#name = name
    this.#senders = senders
    this.#options = options
    this.#sticky = new StickyPartitioner(senders.random.next())
    this.#identity = senders.idempotent ? new SenderIdentity(name, senders, options.timeoutMs) : undefined
  }

  /** True when a message can be added at once without passing another. */
  get ready(): boolean {
    return this.#count > 0 && this.#waiting.length === 0
  }

  /** Asks anew, in the background, what partitions the topic has, when that was long ago. */
  refresh(monotonicMs: number): void {
    if (this.#count > 0 && monotonicMs - this.#resolvedAtMs > refreshAfterMs)
      void this.#resolve().catch(() => {}) // what is known goes on being used
  }

  get idle(): boolean {
    return (
      this.#waiting.length === 0 && this.#resolving === undefined && this.#partitions.every((one) => one.idle)
    )
  }

  get pending(): readonly OutgoingBatch[] {
    return this.#partitions.flatMap((sender) => sender.pending)
  }

  /** Resolves when the topic's partitions are known. @throws RTK_TOPIC_NOT_FOUND, … */
  async resolved(): Promise<void> {
    if (this.#count === 0) await this.#resolve()
  }

  /** Adds a message to its partition's batch. */
  add(
    message: OutgoingMessage,
    owner: MessageOwner,
    place: number,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    this.#senderFor(message).addMessage(message, owner, place, durability, deadlineMs, lease)
  }

  /** The same. @returns the promise of its receipt */
  addPromised(
    message: OutgoingMessage,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): Promise<PublishReceipt> {
    return this.#senderFor(message).addPromised(message, durability, deadlineMs, lease)
  }

  /** Adds bytes alone that are no more than a message may be. @returns the promise of the receipt */
  addBare(
    payload: Uint8Array,
    durability: Durability | undefined,
    deadlineMs: number,
  ): Promise<PublishReceipt> {
    return this.#keyless().addBare(payload, durability, deadlineMs)
  }

  /** @returns where it went */
  addOfBulk(
    message: OutgoingMessage,
    owner: BatchOwner,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): PartitionSender {
    const sender = this.#senderFor(message)
    sender.addOfBulk(message, owner, durability, deadlineMs, lease)
    return sender
  }

  /** The largest message that the topic takes, in bytes, as far as that is known. */
  get messageBytesMax(): number {
    return this.#messageBytesMax
  }

  /** Keeps a message until the topic is known and the buffer has room. */
  wait(
    message: OutgoingMessage,
    owner: Waiting['owner'],
    place: number,
    durability: Durability | undefined,
    deadlineMs: number,
    lease: LeaseProof | undefined,
  ): void {
    this.#waiting.push({ message: detached(message), owner, place, durability, deadlineMs, lease })
    this.#armTimer()
    if (this.#count > 0) return
    this.#resolve().then(
      () => this.drain(),
      (error: unknown) => this.#failWaiting(toRatatoskrError(error)),
    )
  }

  /** Adds what waits while there is room. */
  drain(): void {
    // What is added here may be answered at once and make room, which calls this again.
    if (this.#draining || this.#count === 0) return
    this.#draining = true
    let count = 0
    while (count < this.#waiting.length && this.#options.mayAdd()) {
      const { message, owner, place, durability, deadlineMs, lease } = this.#waiting[count++]
      this.#options.left()
      if (owner.abandoned) continue
      try {
        this.#senders.look()
        this.add(message, owner, place, durability, deadlineMs, lease)
      } catch (error) {
        owner.failed(place, toRatatoskrError(error))
      }
    }
    this.#draining = false
    this.#forget(count)
  }

  /** Resolves when nothing waits any more. */
  async whenDrained(): Promise<void> {
    if (this.#waiting.length === 0) return
    this.#drained ??= Promise.withResolvers<void>()
    await this.#drained.promise
  }

  close(error: RatatoskrError): void {
    this.#failWaiting(error)
    for (const sender of this.#partitions) sender.close(error)
  }

  #senderFor(message: OutgoingMessage): PartitionSender {
    validateOutgoingMessage(message, this.#options.limits, this.#messageBytesMax)
    const count = this.#count
    if (message.partition !== undefined) {
      if (message.partition < count) return this.#partitions[message.partition]
      throw new RatatoskrError(
        'RTK_PARTITION_NOT_FOUND',
        `topic has partitions 0 to ${count - 1}, got partition ${message.partition}`,
      )
    }
    if (message.key !== undefined) return this.#partitions[partitionForKey(message.key, count)]
    return this.#keyless()
  }

  /** Keyless messages fill one batch before they move on: fuller batches, and every partition gets its share. */
  #keyless(): PartitionSender {
    const count = this.#count
    const current = this.#partitions[this.#sticky.current(count)]
    if (!current.startsAnew) return current
    this.#sticky.moveOn()
    return this.#partitions[this.#sticky.current(count)]
  }

  #resolve(): Promise<void> {
    this.#resolving ??= this.#ask().finally(() => {
      this.#resolving = undefined
    })
    return this.#resolving
  }

  async #ask(): Promise<void> {
    const { clock, connection } = this.#senders
    const topic = await withDeadline(
      clock,
      'resolving the topic',
      undefined,
      this.#options.timeoutMs,
      async (signal) => {
        const found = await connection.use((link) => link.resolveTopic(this.#name), signal, true)
        await this.#identity?.first(signal)
        return found
      },
    )
    this.#learn(topic)
  }

  #learn(topic: TopicDescription): void {
    this.#resolvedAtMs = this.#senders.clock.monotonic()
    this.#messageBytesMax = topic.config.messageBytesMax
    this.#count = topic.config.partitions
    for (let index = this.#partitions.length; index < this.#count; index++) {
      const gone = (): void => this.#forgetTopic()
      this.#partitions.push(new PartitionSender(this.#name, index, this.#senders, this.#identity, gone))
    }
    const builders = this.#senders.builders(topic.config.compression)
    for (const sender of this.#partitions) sender.builders = builders
    for (const { partition, worker } of topic.partitions) {
      const sender = this.#partitions[partition]
      if (sender !== undefined) sender.route.worker = worker
    }
  }

  /** The topic was deleted, or is another one now: the next message asks for it anew. */
  #forgetTopic(): void {
    this.#count = 0
  }

  #failWaiting(error: RatatoskrError): void {
    const failed = this.#waiting
    this.#forget(failed.length)
    for (const { owner, place } of failed) {
      this.#options.left()
      owner.failed(place, error)
    }
  }

  #forget(count: number): void {
    if (count > 0) this.#waiting = this.#waiting.slice(count)
    if (this.#waiting.length > 0) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
    this.#drained?.resolve()
    this.#drained = undefined
  }

  /** One timer for all that wait: it fires for the first and looks whose time has come. */
  #armTimer(): void {
    if (this.#timer !== undefined || this.#waiting.length === 0) return
    const { clock } = this.#senders
    const dueMs = this.#waiting.reduce(
      (least, { deadlineMs }) => Math.min(least, deadlineMs),
      Number.POSITIVE_INFINITY,
    )
    if (dueMs === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.min(dueMs - clock.monotonic(), 2 ** 31 - 1), () => {
      this.#timer = undefined
      const nowMs = clock.monotonic()
      const late = this.#waiting.filter(({ deadlineMs }) => deadlineMs <= nowMs)
      this.#waiting = this.#waiting.filter(({ deadlineMs }) => deadlineMs > nowMs)
      this.#forget(0)
      for (const { owner, place } of late) {
        this.#options.left()
        owner.failed(place, notSentInTime())
      }
      this.#armTimer()
    })
  }
}

const notSentInTime = (): RatatoskrError =>
  new RatatoskrError(
    'RTK_TIMEOUT',
    'the message found no room, or its topic no answer, within the deadline (timeoutMs); it is not stored',
  )
