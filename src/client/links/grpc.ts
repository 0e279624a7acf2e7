/** The link over gRPC: `grpc://host:port`, or `grpcs://` with TLS and the certificates that the platform trusts. */
import * as proto from '../../../proto/index.ts'
import type {
  BatchReceipt,
  BatchSink,
  BrokerStats,
  CallOptions,
  CommitRequest,
  FetchRequest,
  GroupDescription,
  OutgoingMessage,
  PartitionOffset,
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
import { type BrokerNow, brokerClock } from '../broker-clock.ts'
import type { Link, LinkFetched, LinkOptions, OpenLink } from '../link.ts'
import { GrpcChannel } from './grpc-channel.ts'
import {
  committedToProto,
  configToProto,
  durabilityToProto,
  fetchedFromProto,
  groupFromProto,
  offsetOrEdge,
  offsetsFromProto,
  partitionFromProto,
  positionToProto,
  statsFromProto,
  topicFromProto,
} from './grpc-convert.ts'
import { listOverGrpc, purgeOverGrpc, redriveOverGrpc } from './grpc-dead-letters.ts'
import { GrpcProducer } from './grpc-producer.ts'
import { outgoingToProto, publishResultFromProto } from './grpc-publish.ts'
import { GrpcQueues } from './grpc-queues.ts'
import { GrpcSubscription } from './grpc-subscription.ts'
import { LinkWithQueues } from './link-with-queues.ts'

const topics = proto.TopicServiceService
const messages = proto.MessageServiceService
const groups = proto.GroupServiceService
const brokers = proto.BrokerServiceService

/** Opens a link over gRPC: one HTTP/2 connection, whose credentials are checked before it is handed out. */
export const openGrpcLink: OpenLink = async (url: URL, options: LinkOptions): Promise<Link> => {
  const channel = await GrpcChannel.open(url, options)
  try {
    const { clock } = options.platform
    const askedAtMs = clock.monotonic()
    const { batchBytesMax, timeMs } = await channel.unary(brokers.getSession, {}, options.signal)
    const brokerNow = brokerClock(clock, askedAtMs, timeMs)
    return new GrpcLink(
      channel,
      new GrpcProducer(channel, batchBytesMax),
      new GrpcQueues(channel, clock),
      brokerNow,
    )
  } catch (error) {
    await channel.close()
    throw error
  }
}

class GrpcLink extends LinkWithQueues implements Link {
  readonly brokerNow: BrokerNow
  readonly #channel: GrpcChannel
  readonly #producer: GrpcProducer
  protected readonly queues: GrpcQueues

  constructor(channel: GrpcChannel, producer: GrpcProducer, queues: GrpcQueues, brokerNow: BrokerNow) {
    super()
    this.#channel = channel
    this.#producer = producer
    this.queues = queues
    this.brokerNow = brokerNow
  }

  get closed(): Promise<RatatoskrError | undefined> {
    return this.#channel.closed
  }

  async createTopic(topic: string, config: Partial<TopicConfig> = {}): Promise<TopicCreated> {
    const response = await this.#call(topics.createTopic, { topic, config: configToProto(config) })
    return { created: response.created, topic: topicFromProto(response.topic) }
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.#call(topics.deleteTopic, { topic })
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    return (await this.#call(topics.listTopics, {})).topics.map(topicFromProto)
  }

  async topicExists(topic: string): Promise<boolean> {
    return (await this.#call(topics.topicExists, { topic })).exists
  }

  async describeTopic(topic: string): Promise<TopicDescription> {
    return topicFromProto((await this.#call(topics.getTopic, { topic })).topic)
  }

  async alterTopic(topic: string, changes: TopicChanges): Promise<TopicDescription> {
    const response = await this.#call(topics.alterTopic, { topic, changes: configToProto(changes) })
    return topicFromProto(response.topic)
  }

  async resolveTopic(topic: string): Promise<TopicDescription> {
    return topicFromProto((await this.#call(topics.resolveTopic, { topic })).topic)
  }

  initProducer(): Promise<ProducerIdentity> {
    return this.#call(messages.initProducer, {})
  }

  publishBatch(
    topic: string,
    partition: number,
    batch: Uint8Array,
    options?: PublishOptions,
  ): Promise<BatchReceipt> {
    return this.#producer.publish(topic, partition, batch, options)
  }

  async publishMany(
    topic: string,
    list: readonly OutgoingMessage[],
    { durability, lease, signal }: PublishOptions = {},
  ): Promise<readonly PublishResult[]> {
    const request = {
      topic,
      messages: list.map(outgoingToProto),
      durability: durabilityToProto(durability),
      lease,
    }
    return (await this.#call(messages.publishBatch, request, signal)).results.map(publishResultFromProto)
  }

  async cancelScheduled(topic: string, id: string): Promise<boolean> {
    return (await this.#call(messages.cancelScheduled, { topic, id })).cancelled
  }

  listScheduled(topic: string, request?: ScheduledRequest): Promise<ScheduledPage> {
    return this.#call(messages.listScheduled, { ...request, topic })
  }

  deadLetters(...asked: Parameters<Link['deadLetters']>): ReturnType<Link['deadLetters']> {
    return listOverGrpc(this.#channel, ...asked)
  }

  redriveDeadLetters(
    ...asked: Parameters<Link['redriveDeadLetters']>
  ): ReturnType<Link['redriveDeadLetters']> {
    return redriveOverGrpc(this.#channel, ...asked)
  }

  purgeDeadLetters(...asked: Parameters<Link['purgeDeadLetters']>): ReturnType<Link['purgeDeadLetters']> {
    return purgeOverGrpc(this.#channel, ...asked)
  }

  async subscribe(topic: string, options: SubscribeOptions, sink: BatchSink): Promise<Subscription> {
    return GrpcSubscription.open(this.#channel, topic, options, sink)
  }

  async fetch(topic: string, request: FetchRequest, call?: CallOptions): Promise<LinkFetched> {
    const { partition, offset, bytesMax, waitMs } = request
    const format = proto.DeliveryFormat.DELIVERY_FORMAT_BATCHES
    const message = { topic, partition, bytesMax, waitMs, format, ...offsetOrEdge(offset) }
    return fetchedFromProto((await this.#call(messages.fetch, message, call?.signal)).batches)
  }

  async commit(topic: string, { group, member = '', offsets }: CommitRequest): Promise<void> {
    await this.#call(groups.commitOffsets, { topic, group, member, offsets: committedToProto(offsets) })
  }

  async seekGroup(topic: string, group: string, request: SeekRequest): Promise<readonly PartitionOffset[]> {
    const position = positionToProto(request.position)
    const partitions = [...(request.partitions ?? [])]
    return offsetsFromProto(
      (await this.#call(groups.seekGroup, { topic, group, position, partitions })).offsets,
    )
  }

  async listGroups(topic: string): Promise<readonly string[]> {
    return (await this.#call(groups.listGroups, { topic })).groups
  }

  async describeGroup(topic: string, group: string): Promise<GroupDescription> {
    return groupFromProto(await this.#call(groups.getGroup, { topic, group }))
  }

  async deleteGroup(topic: string, group: string): Promise<void> {
    await this.#call(groups.deleteGroup, { topic, group })
  }

  async offsets(topic: string, position: StartPosition): Promise<readonly PartitionOffset[]> {
    const response = await this.#call(topics.listOffsets, { topic, position: positionToProto(position) })
    return offsetsFromProto(response.offsets)
  }

  async topicStats(topic: string): Promise<TopicStats> {
    const stats = await this.#call(topics.getTopicStats, { topic })
    return { ...stats, partitions: stats.partitions.map(partitionFromProto) }
  }

  async brokerStats(): Promise<BrokerStats> {
    return statsFromProto(await this.#call(brokers.getBrokerStats, {}))
  }

  close(): Promise<void> {
    return this.#channel.close()
  }

  #call<Request, Response>(
    method: proto.Method<Request, Response>,
    request: Request,
    signal?: AbortSignal,
  ): Promise<Response> {
    return this.#channel.unary(method, request, signal)
  }
}
