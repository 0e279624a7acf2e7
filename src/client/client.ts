/**
 * The client: one API over every link. It adds to a link what no protocol should have to bring along: deadlines and
 * cancellation, batching, reconnection, acknowledgement.
 */
import {
  type BatchBytes,
  type BatchReceipt,
  type BrokerStats,
  type CommittedOffset,
  type DeadLetterPage,
  type DeadLetterRequest,
  type GroupDescription,
  type MaybePromise,
  type Message,
  messagesOf,
  type PartitionOffset,
  type PublishReceipt,
  type PublishResult,
  type PurgeRequest,
  type PurgeResult,
  type QueueConfig,
  type QueueDescription,
  type RatatoskrError,
  type RedriveRequest,
  type RedriveResult,
  type ScheduledPage,
  type ScheduledRequest,
  type SeekRequest,
  type Settlement,
  type SettleResult,
  type StartPosition,
  type TopicChanges,
  type TopicConfig,
  type TopicCreated,
  type TopicDescription,
  type TopicStats,
} from '../ports/index.ts'
import { type BatchesOptions, BatchSubscription } from './batch-subscription.ts'
import { type ClientCallOptions, withDeadline } from './call.ts'
import { durabilityOf, topicSettings } from './checks.ts'
import type { ClientContext } from './context.ts'
import { purgeAll, redriveAll } from './dead-letters.ts'
import type { Link } from './link.ts'
import type { MessageToPublish, PublishCall } from './outgoing.ts'
import { Producer, type ProducerOptions, type PublishManyOptions, type PublishOptions } from './producer.ts'
import {
  type CreateQueueOptions,
  type MemberCallOptions,
  type TakenBatches,
  type TakeOptions,
  takeBatches,
} from './queue/taking.ts'
import { checkPosition } from './start-position.ts'
import {
  type HandlerOptions,
  type MessageHandler,
  type SubscribeOptions,
  Subscription,
} from './subscription.ts'
import { topicFacts } from './topic-facts.ts'

/** What to read without subscribing. */
export interface FetchOptions extends ClientCallOptions {
  readonly partition?: number | undefined
  /** Where to read; the earliest message by default. */
  readonly offset?: number | 'earliest' | 'latest' | undefined
  /** Messages to return at most; 100 by default. */
  readonly max?: number | undefined
  readonly bytesMax?: number | undefined
  /** How long to wait for the first message; 0 (default) answers at once. Comes on top of the deadline. */
  readonly waitMs?: number | undefined
}

/** As whom to commit. */
export interface CommitOptions extends ClientCallOptions {
  /** The member that commits, for a partition that it owns; without, only while the group has no members. */
  readonly member?: string | undefined
}

/** Which partitions to move; all otherwise. */
export interface SeekOptions extends ClientCallOptions, Pick<SeekRequest, 'partitions'> {}

interface Closable {
  close(options?: ClientCallOptions): Promise<void>
}

/** A client of a broker: everything that one can ask of it, over any link. */
export class Client implements AsyncDisposable {
  readonly #context: ClientContext
  readonly #subscriptions = new Set<Closable>()
  readonly #producers = new Set<Producer>()
  #producer: Producer | undefined
  #closing: Promise<void> | undefined

  /** Made by `connect` and by `broker.client()`. */
  constructor(context: ClientContext) {
    this.#context = context
    void context.connection.closed.then(() => this.close())
  }

  /** Settles when the client is over: with the reason when its connection was given up, with undefined when it was closed. */
  get closed(): Promise<RatatoskrError | undefined> {
    return this.#context.connection.closed
  }

  /** Creates a topic; again with an equal configuration is no error. @throws RTK_TOPIC_EXISTS, RTK_TOPIC_NAME_INVALID, … */
  createTopic(
    topic: string,
    config: Partial<TopicConfig> = {},
    options?: ClientCallOptions,
  ): Promise<TopicCreated> {
    return this.#read('createTopic', options, (link) => link.createTopic(topic, topicSettings(config)))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  deleteTopic(topic: string, options?: ClientCallOptions): Promise<void> {
    return this.#call('deleteTopic', options, (link) => link.deleteTopic(topic))
  }

  /** The topics that this client may see, by name. */
  listTopics(options?: ClientCallOptions): Promise<readonly TopicDescription[]> {
    return this.#read('listTopics', options, (link) => link.listTopics())
  }

  topicExists(topic: string, options?: ClientCallOptions): Promise<boolean> {
    return this.#read('topicExists', options, (link) => link.topicExists(topic))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  describeTopic(topic: string, options?: ClientCallOptions): Promise<TopicDescription> {
    return this.#read('describeTopic', options, (link) => link.describeTopic(topic))
  }

  /** Changes what is given and leaves the rest. @throws RTK_INVALID_ARGUMENT when partitions would shrink */
  alterTopic(topic: string, changes: TopicChanges, options?: ClientCallOptions): Promise<TopicDescription> {
    return this.#call('alterTopic', options, (link) => link.alterTopic(topic, topicSettings(changes)))
  }

  /**
   * Publishes one message and resolves when it is as durable as asked. Messages of one event-loop turn travel together.
   * @param payload bytes, or text that is stored as UTF-8
   */
  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<PublishReceipt> {
    return this.#ownProducer.publish(topic, payload, options)
  }

  /** Publishes many, each on its own: see `Producer.publishMany`. */
  publishMany(
    topic: string,
    messages: readonly MessageToPublish[],
    options?: PublishManyOptions,
  ): Promise<readonly PublishResult[]> {
    return this.#ownProducer.publishMany(topic, messages, options)
  }

  /**
   * Publishes record batches as they are, whole and back to back. The bytes belong to the broker from here on.
   * @throws RTK_BATCH_MALFORMED, RTK_BATCH_CRC_MISMATCH, RTK_BATCH_TOO_LARGE, RTK_PARTITION_NOT_FOUND, …
   */
  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options: PublishCall & ClientCallOptions = {},
  ): Promise<BatchReceipt> {
    return this.#call('publishBatch', options, (link, signal) =>
      link.publishBatch(topic, partition, batch, { durability: durabilityOf(options.durability), signal }),
    )
  }

  /**
   * Takes back a message that waits for its time (`deliverAtMs`, `delayMs`).
   * @returns false when there is none of this id: it never was, or is delivered, or is being delivered at this moment
   */
  cancelScheduled(topic: string, id: string, options?: ClientCallOptions): Promise<boolean> {
    return this.#call('cancelScheduled', options, (link) => link.cancelScheduled(topic, id))
  }

  /** The messages of a topic that wait for their time, page by page, those that are due first at first. */
  listScheduled(
    topic: string,
    { limit, after, ...call }: ScheduledRequest & ClientCallOptions = {},
  ): Promise<ScheduledPage> {
    return this.#read('listScheduled', call, (link) => link.listScheduled(topic, { limit, after }))
  }

  /**
   * The dead letters of a topic, page by page in the order of their burial: messages that its queue groups gave up, and that
   * were neither redriven nor purged.
   */
  deadLetters(
    topic: string,
    { signal, timeoutMs, ...request }: DeadLetterRequest & ClientCallOptions = {},
  ): Promise<DeadLetterPage> {
    return this.#read('deadLetters', { signal, timeoutMs }, (link, aborted) =>
      link.deadLetters(topic, request, { signal: aborted }),
    )
  }

  /**
   * Publishes dead letters again, each once, in as many calls as it takes: at most `max`, by default all of them.
   * `timeoutMs` is for each call. What is interrupted goes on when this is called again, without a double send.
   * @param progress told after each call what was done so far
   */
  redriveDeadLetters(
    topic: string,
    request: RedriveRequest & ClientCallOptions = {},
    progress: (sofar: RedriveResult) => void = () => {},
  ): Promise<RedriveResult> {
    const { signal, timeoutMs, ...rest } = request
    return redriveAll(
      (step) =>
        this.#call('redriveDeadLetters', { signal, timeoutMs }, (link, aborted) =>
          link.redriveDeadLetters(topic, step, { signal: aborted }),
        ),
      rest,
      progress,
    )
  }

  /** Lets go of dead letters, of all that the filter means. Their bytes stay until the retention of their topic deletes them. */
  purgeDeadLetters(
    topic: string,
    { signal, timeoutMs, ...request }: PurgeRequest & ClientCallOptions = {},
  ): Promise<PurgeResult> {
    return purgeAll(
      (step) =>
        this.#call('purgeDeadLetters', { signal, timeoutMs }, (link, aborted) =>
          link.purgeDeadLetters(topic, step, { signal: aborted }),
        ),
      request,
    )
  }

  /** A producer of its own, with its own buffer and batches. */
  producer(options: ProducerOptions = {}): Producer {
    const producer = new Producer(options, {
      ...this.#context,
      closed: (closed) => this.#producers.delete(closed),
    })
    this.#producers.add(producer)
    return producer
  }

  /**
   * Subscribes, with a handler or to be iterated: `for await (const message of await client.subscribe('orders'))`.
   * `signal` and `timeoutMs` are for subscribing; `Subscription.close` ends it.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_OFFSET_OUT_OF_RANGE, RTK_LIMIT_EXCEEDED, …
   */
  subscribe(topic: string, handler: MessageHandler, options?: HandlerOptions): Promise<Subscription>
  subscribe(topic: string, options?: SubscribeOptions): Promise<Subscription>
  subscribe(
    topic: string,
    handlerOrOptions: MessageHandler | SubscribeOptions = {},
    handlerOptions: HandlerOptions = {},
  ): Promise<Subscription> {
    const handler = typeof handlerOrOptions === 'function' ? handlerOrOptions : undefined
    const options = typeof handlerOrOptions === 'function' ? handlerOptions : handlerOrOptions
    return this.#opened('subscribe', options, (signal, removed) => {
      if (options.from !== undefined) checkPosition(options.from)
      return Subscription.open(this.#context, topic, handler, options, removed, signal)
    })
  }

  /** Subscribes to whole record batches: the fast way to read. @throws as `subscribe` */
  batches(topic: string, options: BatchesOptions = {}): Promise<BatchSubscription> {
    return this.#opened('batches', options, (signal, removed) => {
      if (options.from !== undefined) checkPosition(options.from)
      return BatchSubscription.open(this.#context, topic, options, removed, signal)
    })
  }

  /**
   * Reads messages at an offset, without a subscription; those that have expired are left out. @throws RTK_OFFSET_OUT_OF_RANGE, RTK_PARTITION_NOT_FOUND, …
   */
  async fetch(topic: string, options: FetchOptions = {}): Promise<readonly Message[]> {
    const { partition = 0, offset = 'earliest', max = 100, bytesMax, waitMs } = options
    const { connection, platform, limits, timeoutMs } = this.#context
    const call = { signal: options.signal, timeoutMs: (options.timeoutMs ?? timeoutMs) + (waitMs ?? 0) }
    return this.#read('fetch', call, async (link, signal) => {
      const [found, facts] = await Promise.all([
        link.fetch(topic, { partition, offset, bytesMax, waitMs }, { signal }),
        topicFacts(link, topic),
      ])
      const source = {
        topic: facts?.text ?? topic,
        topicId: facts?.id ?? '',
        partition,
        expansion: { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax },
        expiry: { now: () => connection.brokerNow() },
      }
      return [...messagesOf(found.bytes, source, found.fromOffset).take(max)]
    })
  }

  /** Commits offsets of a group: the next offset to read, one a partition. @throws RTK_LEASE_LOST, RTK_OFFSET_OUT_OF_RANGE */
  commit(
    topic: string,
    group: string,
    offsets: readonly CommittedOffset[],
    options: CommitOptions = {},
  ): Promise<void> {
    return this.#read('commit', options, (link) =>
      link.commit(topic, { group, member: options.member, offsets }),
    )
  }

  /** Sets where a group goes on, also while members run. @returns the offsets it resolved to */
  seek(
    topic: string,
    group: string,
    position: StartPosition,
    options: SeekOptions = {},
  ): Promise<readonly PartitionOffset[]> {
    const { partitions } = options
    return this.#call('seek', options, (link) => {
      checkPosition(position)
      return link.seekGroup(topic, group, { position, partitions })
    })
  }

  listGroups(topic: string, options?: ClientCallOptions): Promise<readonly string[]> {
    return this.#read('listGroups', options, (link) => link.listGroups(topic))
  }

  /** @throws RTK_GROUP_NOT_FOUND */
  describeGroup(topic: string, group: string, options?: ClientCallOptions): Promise<GroupDescription> {
    return this.#read('describeGroup', options, (link) => link.describeGroup(topic, group))
  }

  /** Forgets a group without members. @throws RTK_GROUP_NOT_FOUND, RTK_INVALID_ARGUMENT while it has members */
  deleteGroup(topic: string, group: string, options?: ClientCallOptions): Promise<void> {
    return this.#call('deleteGroup', options, (link) => link.deleteGroup(topic, group))
  }

  /**
   * Takes messages of a queue group without a subscription, as a member that polls: it exists until it has been silent for
   * `memberTimeoutMs`. `waitMs` comes on top of the deadline. When the answer is lost, what was taken comes again at its ack timeout.
   * @throws RTK_GROUP_MISMATCH, RTK_LIMIT_EXCEEDED, …
   */
  take(topic: string, group: string, options: TakeOptions = {}): Promise<TakenBatches> {
    const { signal, timeoutMs = this.#context.timeoutMs, ...request } = options
    const call = { signal, timeoutMs: timeoutMs + (options.waitMs ?? 0) }
    return this.#call('take', call, (link, within) =>
      takeBatches(this.#context, link, topic, { ...request, group }, within),
    )
  }

  /** Settles messages by their leases, whoever took them. Doing so again is no error. @returns a result for each: see `SettleResult` */
  settle(
    topic: string,
    group: string,
    settlements: readonly Settlement[],
    options: MemberCallOptions = {},
  ): Promise<readonly SettleResult[]> {
    return this.#read('settle', options, (link) =>
      link.settle(topic, { group, member: options.member, settlements }),
    )
  }

  /** A sign of life of a member that polls. @throws RTK_LEASE_LOST when there is none of that name any more */
  heartbeat(topic: string, group: string, member: string, options?: ClientCallOptions): Promise<void> {
    return this.#read('heartbeat', options, (link) => link.heartbeat(topic, group, member))
  }

  /** A member that polls leaves: what it holds comes again at once. */
  leaveQueue(topic: string, group: string, member: string, options?: ClientCallOptions): Promise<void> {
    return this.#read('leaveQueue', options, (link) => link.leaveQueue(topic, group, member))
  }

  /** Creates a queue group; again with equal settings is no error. @throws RTK_GROUP_MISMATCH, RTK_INVALID_ARGUMENT */
  createQueue(
    topic: string,
    group: string,
    config: Partial<QueueConfig> = {},
    options: CreateQueueOptions = {},
  ): Promise<QueueDescription> {
    return this.#read('createQueue', options, (link) => link.createQueue(topic, group, config, options.from))
  }

  /** Changes settings; `sharing` only while the group has no members. @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH */
  alterQueue(
    topic: string,
    group: string,
    changes: Partial<QueueConfig>,
    options?: ClientCallOptions,
  ): Promise<QueueDescription> {
    return this.#call('alterQueue', options, (link) => link.alterQueue(topic, group, changes))
  }

  /** @throws RTK_GROUP_NOT_FOUND, RTK_GROUP_MISMATCH for a stream group: see `describeGroup` */
  describeQueue(topic: string, group: string, options?: ClientCallOptions): Promise<QueueDescription> {
    return this.#read('describeQueue', options, (link) => link.describeQueue(topic, group))
  }

  /** Stops delivery of a queue group, or of some of its partitions, until `resumeQueue`. Leases go on. @throws RTK_GROUP_NOT_FOUND */
  pauseQueue(topic: string, group: string, options: SeekOptions = {}): Promise<void> {
    return this.#read('pauseQueue', options, (link) =>
      link.pauseQueue(topic, group, true, options.partitions),
    )
  }

  /** @throws RTK_GROUP_NOT_FOUND */
  resumeQueue(topic: string, group: string, options: SeekOptions = {}): Promise<void> {
    return this.#read('resumeQueue', options, (link) =>
      link.pauseQueue(topic, group, false, options.partitions),
    )
  }

  /** Offsets for a start position, one a partition. */
  offsets(
    topic: string,
    position: StartPosition,
    options?: ClientCallOptions,
  ): Promise<readonly PartitionOffset[]> {
    return this.#read('offsets', options, (link) => {
      checkPosition(position)
      return link.offsets(topic, position)
    })
  }

  topicStats(topic: string, options?: ClientCallOptions): Promise<TopicStats> {
    return this.#read('topicStats', options, (link) => link.topicStats(topic))
  }

  brokerStats(options?: ClientCallOptions): Promise<BrokerStats> {
    return this.#read('brokerStats', options, (link) => link.brokerStats())
  }

  /**
   * Closes producers and subscriptions, which send and commit what they hold, then the connection. At the deadline
   * whatever is left is cut, also while a dead broker is being called. Idempotent.
   */
  close(options: ClientCallOptions = {}): Promise<void> {
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(options: ClientCallOptions): Promise<void> {
    const { platform, connection, timeoutMs } = this.#context
    try {
      await withDeadline(platform.clock, 'close', options, timeoutMs, async (signal) => {
        const call = { signal, timeoutMs: Number.POSITIVE_INFINITY }
        // Handlers that are running may still publish: producers go after them.
        await Promise.allSettled([...this.#subscriptions].map((one) => one.close(call)))
        await Promise.allSettled([...this.#producers].map((one) => one.close(call)))
      })
    } catch {
      // The deadline has passed: closing the connection fails what is left.
    } finally {
      await connection.close()
    }
  }

  get #ownProducer(): Producer {
    this.#producer ??= this.producer({ lingerMs: 0 })
    return this.#producer
  }

  /** Opens something that the client closes with itself. */
  async #opened<T extends Closable>(
    what: string,
    options: ClientCallOptions,
    open: (signal: AbortSignal, removed: (closable: Closable) => void) => Promise<T>,
  ): Promise<T> {
    const { platform, timeoutMs } = this.#context
    const removed = (closable: Closable): unknown => this.#subscriptions.delete(closable)
    const opened = await withDeadline(platform.clock, what, options, timeoutMs, (signal) =>
      open(signal, removed),
    )
    this.#subscriptions.add(opened)
    return opened
  }

  /** A call that must not be made twice: it rejects with RTK_DISCONNECTED when its answer is lost. */
  #call<T>(
    what: string,
    options: ClientCallOptions | undefined,
    run: (link: Link, signal: AbortSignal) => MaybePromise<T>,
  ): Promise<T> {
    const { platform, connection, timeoutMs } = this.#context
    return withDeadline(platform.clock, what, options, timeoutMs, (signal) =>
      connection.use((link) => run(link, signal), signal),
    )
  }

  /** A call that may be made again on the next link, within its deadline. */
  #read<T>(
    what: string,
    options: ClientCallOptions | undefined,
    run: (link: Link, signal: AbortSignal) => MaybePromise<T>,
  ): Promise<T> {
    const { platform, connection, timeoutMs } = this.#context
    return withDeadline(platform.clock, what, options, timeoutMs, (signal) =>
      connection.use((link) => run(link, signal), signal, true),
    )
  }
}
