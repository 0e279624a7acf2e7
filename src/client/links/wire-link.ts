/**
 * A link over the subprotocol `ratatoskr.v1+binary`, on any socket that carries its frames: the operations of a session
 * as requests, record batches as binary frames. The protocol is described in domain/wire.
 */
import type {
  BatchBytes,
  BatchReceipt,
  BatchSink,
  BrokerStats,
  CallOptions,
  CommitRequest,
  DeliverFrame,
  DroppedMessages,
  FetchRequest,
  GroupDescription,
  LeasedFrame,
  MaybePromise,
  OutgoingMessage,
  PartitionOffset,
  Platform,
  ProducerIdentity,
  PublishOptions,
  PublishResult,
  RatatoskrError,
  ScheduledPage,
  ScheduledRequest,
  SeekRequest,
  StartPosition,
  SubscribeOptions,
  Subscription,
  TopicChanges,
  TopicConfig,
  TopicCreated,
  TopicDescription,
  TopicStats,
} from '../../ports/index.ts'
import { errorFromJson, outgoingToJson, publishResultFromJson, toRatatoskrError } from '../../ports/index.ts'
import { abortError, unlessAborted } from '../call.ts'
import type { Link, LinkFetched, LinkOptions, OpenLink } from '../link.ts'
import { OutgoingBatch } from '../outgoing-batch.ts'
import { LinkWithQueues } from './link-with-queues.ts'
import { WireChannel, type WireChannelEvents } from './wire-channel.ts'
import { WireDeadLetters } from './wire-dead-letters.ts'
import { WireQueues } from './wire-queues.ts'
import type { OpenWireSocket } from './wire-socket.ts'
import { type SubscribedReply, WireSubscription } from './wire-subscription.ts'

/** Makes the opener of links over a kind of socket. */
export const wireLinkOpener =
  (openSocket: OpenWireSocket): OpenLink =>
  async (url: URL, { platform, credentials, frameBytesMax, signal }: LinkOptions): Promise<Link> => {
    const link = new WireLink(platform)
    try {
      const events = link.channel
      const socket = await openSocket(url, { events, frameBytesMax, signal })
      await unlessAborted(link.channel.begin(socket, credentials), signal, 'connecting')
      return link
    } catch (error) {
      void link.close()
      throw toRatatoskrError(error)
    }
  }

class WireLink extends LinkWithQueues implements Link, WireChannelEvents {
  /** What is acknowledged has left the socket. */
  readonly returnsBatches = true
  readonly channel: WireChannel
  /** Platforms without codecs, such as browsers, ask for batches without compression. */
  readonly #expand: true | undefined
  readonly #subscriptions = new Map<number, WireSubscription>()
  protected readonly queues: WireQueues
  readonly #deadLetters: WireDeadLetters
  readonly #closed = Promise.withResolvers<RatatoskrError | undefined>()

  constructor(platform: Platform) {
    super()
    this.channel = new WireChannel(platform, this)
    this.queues = new WireQueues(this.channel, platform, () => this.#freeId())
    this.#deadLetters = new WireDeadLetters(this.channel)
    this.#expand = platform.compression.size === 0 ? true : undefined
  }

  get closed(): Promise<RatatoskrError | undefined> {
    return this.#closed.promise
  }

  get place(): Link['place'] {
    return this.channel.place
  }

  brokerNow(): number {
    return this.channel.brokerNow()
  }

  async createTopic(topic: string, config?: Partial<TopicConfig>): Promise<TopicCreated> {
    return (await this.channel.request('createTopic', { topic, config })) as TopicCreated
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.channel.request('deleteTopic', { topic })
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    const { topics } = (await this.channel.request('listTopics', {})) as { topics: TopicDescription[] }
    return topics
  }

  async topicExists(topic: string): Promise<boolean> {
    const { exists } = (await this.channel.request('topicExists', { topic })) as { exists: boolean }
    return exists
  }

  async describeTopic(topic: string): Promise<TopicDescription> {
    return (await this.channel.request('describeTopic', { topic })) as TopicDescription
  }

  async alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription> {
    return (await this.channel.request('alterTopic', { topic, changes })) as TopicDescription
  }

  async resolveTopic(topic: string): Promise<TopicDescription> {
    return (await this.channel.request('resolveTopic', { topic })) as TopicDescription
  }

  async initProducer(): Promise<ProducerIdentity> {
    return (await this.channel.request('initProducer', {})) as ProducerIdentity
  }

  publishBatch(
    topic: string,
    partition: number,
    batch: BatchBytes,
    options?: PublishOptions,
  ): MaybePromise<BatchReceipt> {
    // A producer lets go of a batch itself when its time is over. Asked for, its signal would be made: more than a small batch costs.
    if (options instanceof OutgoingBatch) return this.channel.produce(topic, partition, batch, options)
    const signal = options?.signal
    if (signal?.aborted) throw abortError(signal, 'publish')
    return unlessAborted(this.channel.produce(topic, partition, batch, options), signal, 'publish')
  }

  async publishMany(
    topic: string,
    messages: readonly OutgoingMessage[],
    { durability, lease, signal }: PublishOptions = {},
  ): Promise<readonly PublishResult[]> {
    if (signal?.aborted) throw abortError(signal, 'publishMany')
    const request = { topic, messages: messages.map(outgoingToJson), durability, lease }
    const reply = this.channel.request('publishMany', request) as Promise<{ results: PublishResult[] }>
    return (await unlessAborted(reply, signal, 'publishMany')).results.map(publishResultFromJson)
  }

  async cancelScheduled(topic: string, id: string): Promise<boolean> {
    const reply = await this.channel.request('cancelScheduled', { topic, messageId: id })
    return (reply as { cancelled: boolean }).cancelled
  }

  async listScheduled(topic: string, request?: ScheduledRequest): Promise<ScheduledPage> {
    return (await this.channel.request('listScheduled', { ...request, topic })) as ScheduledPage
  }

  deadLetters(...asked: Parameters<Link['deadLetters']>): ReturnType<Link['deadLetters']> {
    return this.#deadLetters.list(...asked)
  }

  redriveDeadLetters(
    ...asked: Parameters<Link['redriveDeadLetters']>
  ): ReturnType<Link['redriveDeadLetters']> {
    return this.#deadLetters.redrive(...asked)
  }

  purgeDeadLetters(...asked: Parameters<Link['purgeDeadLetters']>): ReturnType<Link['purgeDeadLetters']> {
    return this.#deadLetters.purge(...asked)
  }

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    const id = this.#freeId()
    const forget = (): void => void this.#subscriptions.delete(id)
    const subscription = new WireSubscription(id, sink, this.channel, forget)
    this.#subscriptions.set(id, subscription)
    try {
      const reply = await this.channel.request('subscribe', { ...options, topic, expand: this.#expand }, id)
      subscription.begun(reply as SubscribedReply)
      return subscription
    } catch (error) {
      forget()
      throw error
    }
  }

  async fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<LinkFetched> {
    const signal = call?.signal
    if (signal?.aborted) throw abortError(signal, 'fetch')
    const id = this.channel.takeId()
    const fetched = this.channel.request('fetch', { ...request, topic }, id) as Promise<LinkFetched>
    const cancel = (): void => this.channel.notify('cancel', { request: id })
    signal?.addEventListener('abort', cancel, { once: true })
    try {
      return await unlessAborted(fetched, signal, 'fetch')
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
  }

  async commit(topic: string, request: CommitRequest): Promise<void> {
    await this.channel.request('commit', { ...request, topic })
  }

  async seekGroup(topic: string, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]> {
    const reply = await this.channel.request('seekGroup', { ...request, topic, group })
    return (reply as { offsets: PartitionOffset[] }).offsets
  }

  async listGroups(topic: string): Promise<readonly string[]> {
    const { groups } = (await this.channel.request('listGroups', { topic })) as { groups: string[] }
    return groups
  }

  async describeGroup(topic: string, group: string): Promise<GroupDescription> {
    return (await this.channel.request('describeGroup', { topic, group })) as GroupDescription
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    await this.channel.request('deleteGroup', { topic, group })
  }

  async offsets(topic: string, position: StartPosition): Promise<readonly PartitionOffset[]> {
    const reply = await this.channel.request('offsets', { topic, position })
    return (reply as { offsets: PartitionOffset[] }).offsets
  }

  async topicStats(topic: string): Promise<TopicStats> {
    return (await this.channel.request('topicStats', { topic })) as TopicStats
  }

  async brokerStats(): Promise<BrokerStats> {
    return (await this.channel.request('brokerStats', {})) as BrokerStats
  }

  async close(): Promise<void> {
    await this.channel.close()
  }

  deliver({ id, partition, fromOffset, nextOffset, bytes }: DeliverFrame): void {
    this.#subscriptions.get(id)?.deliver({ partition, bytes, fromOffset, nextOffset })
  }

  leased(frame: LeasedFrame): void {
    this.queues.leased(frame)
  }

  event(event: Readonly<Record<string, unknown>>): void {
    if (this.queues.event(event.subscription as number, event)) return
    const subscription = this.#subscriptions.get(event.subscription as number)
    if (event.event === 'assigned') subscription?.assigned(event.partitions as readonly PartitionOffset[])
    if (event.event === 'dropped') subscription?.dropped(event as unknown as DroppedMessages)
    if (event.event === 'ended') {
      subscription?.ended(event.error === undefined ? undefined : errorFromJson(event.error))
    }
  }

  over(reason: RatatoskrError | undefined): void {
    for (const subscription of this.#subscriptions.values()) subscription.lost(reason)
    this.#subscriptions.clear()
    this.queues.over(reason)
    this.#closed.resolve(reason)
  }

  /** An id that no subscription has: they live longer than requests. */
  #freeId(): number {
    let id = this.channel.takeId()
    while (this.#subscriptions.has(id) || this.queues.has(id)) id = this.channel.takeId()
    return id
  }
}
