/**
 * The batching producer: messages become record batches here, one for each partition, and batches are what travels.
 *
 * Guarantees: messages of one partition are stored in the order in which they were given to one producer, as far as they
 * are stored at all. A batch that the broker refused for a passing reason is sent again until its deadline, and so is one
 * whose answer was lost: the broker knows batches by their number and stores none twice. What is not answered for until the
 * deadline may be stored: its messages reject with RTK_DISCONNECTED or RTK_TIMEOUT. A producer with `idempotent: false` sends
 * a batch whose answer was lost again only with `retryIndeterminate`, which accepts that it may then be stored twice.
 */
import {
  type Durability,
  type OutgoingMessage,
  type PublishReceipt,
  type PublishResult,
  RatatoskrError,
  toRatatoskrError,
  utf8,
} from '../ports/index.ts'
import { BulkWriter } from './bulk-writer.ts'
import { type ClientCallOptions, checkTimeoutMs, withDeadline } from './call.ts'
import { durabilityOf, leaseProofOf } from './checks.ts'
import { knownOptions, messageNames, publishManyOptions, publishOptions } from './known-options.ts'
import { Lingering } from './lingering.ts'
import { detached, isScheduled, type MessageToPublish, toOutgoing } from './outgoing.ts'
import type { MessageOwner } from './outgoing-batch.ts'
import type { SenderContext } from './partition-sender.ts'
import { ProducerBuffer } from './producer-buffer.ts'
import {
  type ProducerOptions,
  type ProducerParts,
  type PublishManyOptions,
  type PublishOptions,
  producerBounds,
  senderSettings,
} from './producer-options.ts'
import { BulkPublish, type BulkReceipt, ManyPublish, SinglePublish } from './publish-owners.ts'
import { ScheduledPublishes } from './scheduled-publish.ts'
import { TopicSender } from './topic-sender.ts'

export interface ProducerContext extends ProducerParts {
  /** Tells the client that the producer is closed. */
  readonly closed: (producer: Producer) => void
}

// Topics of one producer that are kept at hand; idle ones beyond make room.
const topicsMax = 1_024
const noOptions: PublishOptions = {}

/** Gathers messages into batches and sends them; made by `client.producer()`. */
export class Producer implements AsyncDisposable {
  readonly #context: ProducerContext
  readonly #senders: SenderContext
  readonly #topics = new Map<string, TopicSender>()
  readonly #buffer: ProducerBuffer
  readonly #lingering: Lingering
  readonly #durability: Durability | undefined
  readonly #timeoutMs: number
  readonly #later: ScheduledPublishes
  #closed: RatatoskrError | undefined

  constructor(options: ProducerOptions, context: ProducerContext) {
    const bounds = producerBounds(options, context.timeoutMs)
    const { durability, timeoutMs, lingerMs } = bounds
    this.#context = context
    this.#later = new ScheduledPublishes(context.connection)
    this.#durability = durability
    this.#timeoutMs = timeoutMs
    const buffer = new ProducerBuffer(bounds, () => {
      for (const topic of this.#topics.values()) topic.drain()
    })
    const lingering = new Lingering(context.platform.clock, lingerMs)
    this.#buffer = buffer
    this.#lingering = lingering
    this.#senders = {
      ...senderSettings(options, context),
      turn: lingering.turn,
      look: () => lingering.look(),
      lingerFor: (sender) => lingering.add(sender),
      took: (bytes) => buffer.took(bytes),
      released: (bytes) => buffer.released(bytes),
    }
  }

  /** Bytes of messages that are not acknowledged yet. */
  get bufferedBytes(): number {
    return this.#buffer.bytes
  }

  /**
   * Publishes one message.
   * @param payload bytes, or text that is stored as UTF-8
   * @throws RTK_TOPIC_NOT_FOUND, RTK_MESSAGE_TOO_LARGE, RTK_HEADER_INVALID, RTK_OVERLOADED, RTK_DISCONNECTED, RTK_TIMEOUT, …
   */
  publish(
    topic: string,
    payload: string | Uint8Array,
    options: PublishOptions = noOptions,
  ): Promise<PublishReceipt> {
    try {
      if (options === noOptions) {
        const promise = this.#publishBare(topic, payload)
        if (promise !== undefined) return promise
      }
      return this.#publish(topic, payload, options)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Publishes a message of which nothing is said, at once: most are such, and need no object and few checks.
   * @returns undefined when it must go the long way
   */
  #publishBare(topic: string, payload: string | Uint8Array): Promise<PublishReceipt> | undefined {
    const bytes = typeof payload === 'string' ? utf8(payload) : payload
    if (!(bytes instanceof Uint8Array)) return undefined
    const sender = this.#senderFor(topic)
    if (!sender.ready || !this.#buffer.hasRoom || bytes.length > sender.messageBytesMax) return undefined
    return sender.addBare(bytes, this.#durability, this.#senders.turn.monotonicMs + this.#timeoutMs)
  }

  /** Not an async function: its promise and what it remembers would be kept with each message that is under way. */
  #publish(topic: string, payload: string | Uint8Array, options: PublishOptions): Promise<PublishReceipt> {
    if (options !== noOptions) knownOptions('publish', options, publishOptions)
    const message = toOutgoing(payload, options)
    leaseProofOf(options.lease)
    if (isScheduled(message)) return this.#publishLater(topic, message, options)
    const { signal, timeoutMs } = options
    if (signal === undefined) return this.#acceptPromised(topic, message, options)
    const owner = new SinglePublish()
    return withDeadline(this.#senders.clock, 'publish', { signal, timeoutMs }, this.#timeoutMs, (aborted) => {
      this.#accept(topic, message, owner, options)
      aborted.addEventListener('abort', () => owner.abandon(), { once: true })
      return owner.promise
    })
  }

  /**
   * Publishes many, each on its own: some may fail while others are stored. Results are in the order of `messages`.
   * For bulk data `addAll` is cheaper.
   * @throws when nothing was stored: RTK_TOPIC_NOT_FOUND, …; RTK_TIMEOUT, RTK_CANCELLED for all together
   */
  async publishMany(
    topic: string,
    messages: readonly MessageToPublish[],
    options: PublishManyOptions = {},
  ): Promise<readonly PublishResult[]> {
    knownOptions('publishMany', options, publishManyOptions)
    leaseProofOf(options.lease)
    const owner = new ManyPublish(messages.length)
    const outgoing = messages.map((message, place) => {
      try {
        return toOutgoing(message.payload, knownOptions('a message', message, messageNames))
      } catch (error) {
        owner.failed(place, toRatatoskrError(error))
        return undefined
      }
    })
    return withDeadline(this.#senders.clock, 'publishMany', options, this.#timeoutMs, async (aborted) => {
      aborted.addEventListener('abort', () => owner.abandon(), { once: true })
      const later = this.#publishAllLater(topic, outgoing, owner, options, aborted)
      later.catch(() => {}) // what it throws is thrown below, when the others are on their way
      if (outgoing.some((message) => message !== undefined)) {
        await this.#acceptMany(topic, outgoing, owner, options)
      }
      await later
      return owner.promise
    })
  }

  /**
   * Publishes a bulk: any number of messages, taken as fast as the broker stores them and never more than the buffer
   * holds. Makes no object for a message, and no ids but given ones: the broker derives them from the offset. A message
   * is copied before the next is asked for, so that its maker may use the same bytes again. Messages without a time get
   * that of the moment they are taken, but many in a row share one reading of the clock.
   * Without `timeoutMs` only each batch has a deadline.
   * @throws the first failure, when everything sent before it is settled; `details.storedCount` says how many are stored
   */
  async addAll(
    topic: string,
    messages: Iterable<MessageToPublish> | AsyncIterable<MessageToPublish>,
    options: PublishManyOptions = {},
  ): Promise<BulkReceipt> {
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = knownOptions(
      'addAll',
      options,
      publishManyOptions,
    )
    leaseProofOf(options.lease)
    return withDeadline(this.#senders.clock, 'addAll', { signal, timeoutMs }, timeoutMs, async (aborted) => {
      const durability = durabilityOf(options.durability) ?? this.#durability
      const bulk = new BulkPublish(this.#senders.clock)
      const sender = this.#topic(topic)
      aborted.addEventListener('abort', () => bulk.abandon(), { once: true })
      const writer = new BulkWriter({
        sender,
        buffer: this.#buffer,
        bulk,
        durability,
        lease: options.lease,
        timeoutMs: this.#timeoutMs,
        assertOpen: () => this.#assertOpen(),
      })
      try {
        await writer.write(messages)
      } catch (error) {
        bulk.failure ??= toRatatoskrError(error)
      }
      return bulk.finish()
    })
  }

  /** Sends what waits and resolves when everything published before the call is settled. */
  async flush(options: ClientCallOptions = {}): Promise<void> {
    await withDeadline(this.#senders.clock, 'flush', options, this.#timeoutMs, () => this.#flushed())
  }

  /** Flushes, then refuses further publishes. What is not settled within the deadline rejects with RTK_CLOSED. Idempotent. */
  async close(options: ClientCallOptions = {}): Promise<void> {
    if (this.#closed !== undefined) return
    this.#closed = new RatatoskrError('RTK_CLOSED', 'the producer is closed')
    try {
      await withDeadline(this.#senders.clock, 'close', options, this.#timeoutMs, () => this.#flushed())
    } catch {
      // What could not be flushed in time is failed below, and its publishers are told.
    } finally {
      for (const topic of this.#topics.values()) topic.close(this.#closed)
      this.#topics.clear()
      this.#senders.deadlines.close()
      this.#context.closed(this)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** One message that is to be delivered later. */
  #publishLater(
    topic: string,
    message: OutgoingMessage,
    options: PublishManyOptions,
  ): Promise<PublishReceipt> {
    const owner = new SinglePublish()
    return withDeadline(this.#senders.clock, 'publish', options, this.#timeoutMs, async (aborted) => {
      await this.#publishAllLater(topic, [message], owner, options, aborted)
      return owner.promise // in here: a refusal after the deadline is nobody's, and would end the process
    })
  }

  /** Publishes the messages of a list that are to be delivered later, and takes them out of it. */
  async #publishAllLater(
    topic: string,
    list: (OutgoingMessage | undefined)[],
    owner: MessageOwner,
    options: PublishManyOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const { messages, places } = ScheduledPublishes.takeFrom(list)
    if (messages.length === 0) return
    this.#assertOpen()
    const durability = durabilityOf(options.durability) ?? this.#durability
    const { lease } = options
    const results = await this.#later.publish(topic, messages, { durability, lease, signal })
    for (const [i, result] of results.entries()) {
      if ('error' in result) owner.failed(places[i], result.error)
      else owner.stored(places[i], result)
    }
  }

  #acceptPromised(
    topic: string,
    message: OutgoingMessage,
    options: PublishManyOptions,
  ): Promise<PublishReceipt> {
    const { timeoutMs, durability, lease } = options
    const sender = this.#senderFor(topic)
    if (!sender.ready || !this.#buffer.hasRoom) {
      const owner = new SinglePublish()
      this.#wait(sender, message, owner, options)
      return owner.promise
    }
    const level = durability === undefined ? this.#durability : durabilityOf(durability)
    return sender.addPromised(message, level, this.#deadlineMs(timeoutMs), lease)
  }

  #accept(topic: string, message: OutgoingMessage, owner: SinglePublish, options: PublishManyOptions): void {
    const sender = this.#senderFor(topic)
    if (!sender.ready || !this.#buffer.hasRoom) {
      this.#wait(sender, message, owner, options)
      return
    }
    const durability = durabilityOf(options.durability) ?? this.#durability
    sender.add(message, owner, 0, durability, this.#deadlineMs(options.timeoutMs), options.lease)
  }

  /** The message waits for its topic, or for room. */
  #wait(
    sender: TopicSender,
    message: OutgoingMessage,
    owner: SinglePublish,
    { durability, timeoutMs, lease }: PublishManyOptions,
  ): void {
    const level = durabilityOf(durability) ?? this.#durability
    const deadlineMs = this.#deadlineMs(timeoutMs)
    if (sender.ready && !this.#buffer.waits) this.#buffer.assertRoom()
    this.#buffer.entered()
    sender.wait(message, owner, 0, level, deadlineMs, lease)
  }

  #assertOpen(): void {
    if (this.#closed !== undefined) throw this.#closed
  }

  /** The topic of a message that is published now. */
  #senderFor(topic: string): TopicSender {
    this.#assertOpen()
    const sender = this.#topic(topic)
    if (this.#lingering.look()) sender.refresh(this.#senders.turn.monotonicMs)
    return sender
  }

  #deadlineMs(timeoutMs: number | undefined): number {
    return this.#senders.turn.monotonicMs + checkTimeoutMs(timeoutMs, this.#timeoutMs)
  }

  /** Adds all, at once when it can be; while there is no room they wait, copied, so that the caller has his bytes back. */
  async #acceptMany(
    topic: string,
    messages: (OutgoingMessage | undefined)[],
    owner: ManyPublish,
    options: PublishManyOptions,
  ): Promise<void> {
    const sender = this.#senderFor(topic)
    const deadlineMs = this.#deadlineMs(options.timeoutMs)
    const durability = durabilityOf(options.durability) ?? this.#durability
    let copied = false
    for (let place = 0; place < messages.length; place++) {
      const message = messages[place]
      if (message === undefined) continue
      const waits = !sender.ready || (this.#buffer.waits && !this.#buffer.hasRoom)
      if (waits && !copied) {
        for (let i = place; i < messages.length; i++) {
          const left = messages[i]
          if (left !== undefined) messages[i] = detached(left)
        }
        copied = true
      }
      if (!sender.ready) await sender.resolved()
      while (this.#buffer.waits && !this.#buffer.hasRoom && !owner.abandoned) await this.#buffer.room()
      if (owner.abandoned) return
      this.#assertOpen()
      try {
        this.#buffer.assertRoom()
        this.#lingering.look()
        const message = messages[place] as OutgoingMessage
        sender.add(message, owner, place, durability, deadlineMs, options.lease)
      } catch (error) {
        owner.failed(place, toRatatoskrError(error))
      }
    }
  }

  #topic(name: string): TopicSender {
    const known = this.#topics.get(name)
    if (known !== undefined) return known
    if (this.#topics.size >= topicsMax) this.#forgetIdleTopic()
    const sender = new TopicSender(name, this.#senders, {
      limits: this.#context.limits,
      timeoutMs: this.#timeoutMs,
      /** Moves what waits into batches while there is room. */
      mayAdd: () => this.#buffer.hasRoom,
      left: () => this.#buffer.left(),
    })
    this.#topics.set(name, sender)
    return sender
  }

  #forgetIdleTopic(): void {
    for (const [name, sender] of this.#topics) {
      if (!sender.idle) continue
      this.#topics.delete(name)
      return
    }
  }

  async #flushed(): Promise<void> {
    const topics = [...this.#topics.values()]
    await Promise.all(topics.map((topic) => topic.whenDrained()))
    const batches = topics.flatMap((topic) => topic.pending)
    this.#lingering.end()
    await Promise.all(batches.map((batch) => batch.whenSettled))
    await this.#later.settled()
  }
}
