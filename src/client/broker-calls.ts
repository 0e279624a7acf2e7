/** The calls of a client to its broker that stand for themselves: topics, what is scheduled, dead letters, offsets. */
import {
  type BatchBytes,
  type BatchReceipt,
  type BrokerStats,
  type DeadLetterPage,
  type DeadLetterRequest,
  type MaybePromise,
  type Message,
  messagesOf,
  type PartitionOffset,
  type PurgeRequest,
  type PurgeResult,
  quoteForMessage,
  RatatoskrError,
  type RedriveRequest,
  type RedriveResult,
  type ScheduledPage,
  type ScheduledRequest,
  type StartPosition,
  type TopicChanges,
  type TopicConfig,
  type TopicCreated,
  type TopicDescription,
  type TopicStats,
} from '../ports/index.ts'
import { type ClientCallOptions, withDeadline } from './call.ts'
import { durabilityOf, leaseProofOf, letterRequest, topicSettings, wholeNumbers } from './checks.ts'
import type { ClientContext } from './context.ts'
import { purgeAll, redriveAll } from './dead-letters.ts'
import {
  fetchOptions,
  knownOptions,
  letterOptions,
  publishBatchOptions,
  redriveOptions,
  scheduledOptions,
} from './known-options.ts'
import type { Link } from './link.ts'
import type { PublishCall } from './outgoing.ts'
import { checkPosition } from './start-position.ts'
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

/** What may be said of a publish of record batches. */
export interface PublishBatchOptions extends PublishCall, ClientCallOptions {}

/** What every client can ask of its broker. */
export abstract class BrokerCalls {
  protected readonly context: ClientContext

  constructor(context: ClientContext) {
    this.context = context
  }

  /** Creates a topic; again with an equal configuration is no error. @throws RTK_TOPIC_EXISTS, RTK_TOPIC_NAME_INVALID, … */
  createTopic(
    topic: string,
    config: Partial<TopicConfig> = {},
    options?: ClientCallOptions,
  ): Promise<TopicCreated> {
    return this.read('createTopic', options, (link) => link.createTopic(topic, topicSettings(config)))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  deleteTopic(topic: string, options?: ClientCallOptions): Promise<void> {
    return this.call('deleteTopic', options, (link) => link.deleteTopic(topic))
  }

  /** The topics that this client may see, by name. */
  listTopics(options?: ClientCallOptions): Promise<readonly TopicDescription[]> {
    return this.read('listTopics', options, (link) => link.listTopics())
  }

  topicExists(topic: string, options?: ClientCallOptions): Promise<boolean> {
    return this.read('topicExists', options, (link) => link.topicExists(topic))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  describeTopic(topic: string, options?: ClientCallOptions): Promise<TopicDescription> {
    return this.read('describeTopic', options, (link) => link.describeTopic(topic))
  }

  /** Changes what is given and leaves the rest. @throws RTK_INVALID_ARGUMENT when partitions would shrink */
  alterTopic(topic: string, changes: TopicChanges, options?: ClientCallOptions): Promise<TopicDescription> {
    return this.call('alterTopic', options, (link) => link.alterTopic(topic, topicSettings(changes)))
  }

  /**
   * Publishes record batches as they are, whole and back to back. The bytes belong to the broker from here on.
   * @throws RTK_BATCH_MALFORMED, RTK_BATCH_CRC_MISMATCH, RTK_BATCH_TOO_LARGE, RTK_PARTITION_NOT_FOUND, …
   */
  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options: PublishBatchOptions = {},
  ): Promise<BatchReceipt> {
    const run = (link: Link, signal: AbortSignal): MaybePromise<BatchReceipt> => {
      if (!(batch instanceof Uint8Array)) {
        throw new RatatoskrError(
          'RTK_INVALID_ARGUMENT',
          `a batch is the bytes of whole record batches, a Uint8Array, got ${quoteForMessage(batch)}`,
        )
      }
      return link.publishBatch(topic, partition, batch, {
        durability: durabilityOf(options.durability),
        lease: leaseProofOf(options.lease),
        signal,
      })
    }
    return this.call('publishBatch', options, run, publishBatchOptions)
  }

  /**
   * Takes back a message that waits for its time (`deliverAtMs`, `delayMs`).
   * @returns false when there is none of this id: it never was, or is delivered, or is being delivered at this moment
   */
  cancelScheduled(topic: string, id: string, options?: ClientCallOptions): Promise<boolean> {
    return this.call('cancelScheduled', options, (link) => link.cancelScheduled(topic, id))
  }

  /** The messages of a topic that wait for their time, page by page, those that are due first at first. */
  listScheduled(topic: string, options: ScheduledRequest & ClientCallOptions = {}): Promise<ScheduledPage> {
    const { limit, after } = options
    return this.read(
      'listScheduled',
      options,
      (link) => link.listScheduled(topic, wholeNumbers({ limit, after }, { limit: 1 })),
      scheduledOptions,
    )
  }

  /**
   * The dead letters of a topic, page by page in the order of their burial: messages that its queue groups gave up, and that
   * were neither redriven nor purged.
   */
  deadLetters(topic: string, options: DeadLetterRequest & ClientCallOptions = {}): Promise<DeadLetterPage> {
    const { signal, timeoutMs, ...request } = options
    return this.read(
      'deadLetters',
      options,
      (link, aborted) => link.deadLetters(topic, letterRequest(request), { signal: aborted }),
      letterOptions,
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
        this.call(
          'redriveDeadLetters',
          { ...step, signal, timeoutMs },
          (link, aborted) => link.redriveDeadLetters(topic, letterRequest(step), { signal: aborted }),
          redriveOptions,
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
        this.call(
          'purgeDeadLetters',
          { ...step, signal, timeoutMs },
          (link, aborted) => link.purgeDeadLetters(topic, letterRequest(step), { signal: aborted }),
          letterOptions,
        ),
      request,
    )
  }

  /**
   * Reads messages at an offset, without a subscription; those that have expired are left out. @throws RTK_OFFSET_OUT_OF_RANGE, RTK_PARTITION_NOT_FOUND, …
   */
  async fetch(topic: string, options: FetchOptions = {}): Promise<readonly Message[]> {
    const { partition = 0, offset = 'earliest', max = 100, bytesMax, waitMs } = options
    const { connection, platform, limits, timeoutMs } = this.context
    knownOptions('fetch', options, fetchOptions)
    const call = { signal: options.signal, timeoutMs: (options.timeoutMs ?? timeoutMs) + (waitMs ?? 0) }
    return this.read('fetch', call, async (link, signal) => {
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

  /** Offsets for a start position, one a partition. */
  offsets(
    topic: string,
    position: StartPosition,
    options?: ClientCallOptions,
  ): Promise<readonly PartitionOffset[]> {
    return this.read('offsets', options, (link) => {
      checkPosition(position)
      return link.offsets(topic, position)
    })
  }

  topicStats(topic: string, options?: ClientCallOptions): Promise<TopicStats> {
    return this.read('topicStats', options, (link) => link.topicStats(topic))
  }

  brokerStats(options?: ClientCallOptions): Promise<BrokerStats> {
    return this.read('brokerStats', options, (link) => link.brokerStats())
  }

  /**
   * A call that must not be made twice: it rejects with RTK_DISCONNECTED when its answer is lost.
   * @param names those of its options, when it has others than all calls have
   */
  protected call<T>(
    what: string,
    options: ClientCallOptions | undefined,
    run: (link: Link, signal: AbortSignal) => MaybePromise<T>,
    names?: Readonly<Record<string, true>>,
  ): Promise<T> {
    const { platform, connection, timeoutMs } = this.context
    return withDeadline(platform.clock, what, options, timeoutMs, (signal) => {
      if (options !== undefined) knownOptions(what, options, names)
      return connection.use((link) => run(link, signal), signal)
    })
  }

  /** A call that may be made again on the next link, within its deadline. */
  protected read<T>(
    what: string,
    options: ClientCallOptions | undefined,
    run: (link: Link, signal: AbortSignal) => MaybePromise<T>,
    names?: Readonly<Record<string, true>>,
  ): Promise<T> {
    const { platform, connection, timeoutMs } = this.context
    return withDeadline(platform.clock, what, options, timeoutMs, (signal) => {
      if (options !== undefined) knownOptions(what, options, names)
      return connection.use((link) => run(link, signal), signal, true)
    })
  }
}
