/** A link to the fake broker, which can be cut: the calls that a client makes. */
import {
  type BatchReceipt,
  type BrokerPlace,
  defaultLimits,
  type MaybePromise,
  type PublishResult,
  type QueueConfig,
  type QueueDescription,
  RatatoskrError,
  recordCountOf,
  type StartPosition,
  type TopicDescription,
} from '../../ports/index.ts'
import type { Link } from '../link.ts'
import type { FakeBroker } from './fake-broker.ts'
import { FakeMember, fakeQueueConfig } from './fake-queue.ts'
import { FakeSubscription, lost } from './fake-subscription.ts'
import { FakePartition } from './fake-topic.ts'

export class FakeLink implements Link {
  readonly #broker: FakeBroker
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #members = new Set<FakeMember>()
  readonly place: BrokerPlace | undefined
  isClosed = false

  constructor(broker: FakeBroker) {
    this.#broker = broker
    this.place = broker.nextPlace()
  }

  get closed(): Promise<RatatoskrError | undefined> {
    return this.#ended.promise
  }

  brokerNow(): number {
    return this.#broker.nowMs
  }

  cut(): void {
    this.#end(lost())
  }

  async close(): Promise<void> {
    this.#end(undefined)
  }

  createTopic: Link['createTopic'] = async (topic, config) => {
    this.#check()
    this.#broker.topic(topic, config?.partitions ?? 1)
    return { created: true, topic: await this.describeTopic(topic) }
  }

  deleteTopic: Link['deleteTopic'] = async (topic) => {
    this.#check()
    this.#broker.deleteTopic(topic)
  }

  listTopics: Link['listTopics'] = async () => {
    this.#check()
    return [...this.#broker.topics.keys()].map((name) => this.#describe(name))
  }

  topicExists: Link['topicExists'] = async (topic) => {
    this.#check()
    return this.#broker.topics.has(topic)
  }

  describeTopic: Link['describeTopic'] = async (topic) => {
    this.#check()
    return this.#describe(topic)
  }

  alterTopic: Link['alterTopic'] = async (topic, changes) => {
    this.#check()
    const { partitions } = this.#broker.find(topic)
    while (partitions.length < (changes.partitions ?? 0)) partitions.push(new FakePartition())
    return this.#describe(topic)
  }

  resolveTopic: Link['resolveTopic'] = async (topic) => {
    await Promise.resolve()
    this.#check()
    return this.#describe(topic)
  }

  initProducer: Link['initProducer'] = async () => {
    this.#check()
    return { producerId: ++this.#broker.lastProducerId, epoch: 0 }
  }

  publishBatch: Link['publishBatch'] = (topic, partition, batch): MaybePromise<BatchReceipt> => {
    this.#check()
    const error = this.#broker.refuse(partition, batch)
    if (error !== undefined) return Promise.reject(error)
    const worker = this.place?.worker
    this.#broker.publishes.push({ partition, recordCount: recordCountOf(batch), worker })
    let receipt: BatchReceipt
    try {
      receipt = { ...this.#broker.find(topic).partitions[partition].append(batch), partition }
    } catch (error) {
      return Promise.reject(error)
    }
    this.#broker.pump()
    return this.#broker.holding ? this.#broker.hold(this, () => receipt) : receipt
  }

  publishMany: Link['publishMany'] = async (_topic, messages) => {
    this.#check()
    const results = messages.map(({ id = '', deliverAtMs = this.#broker.nowMs }): PublishResult => {
      const error = this.#broker.refuseLater()
      if (error !== undefined) return { error }
      this.#broker.scheduled.set(id, deliverAtMs)
      return { id, partition: -1, offset: -1, durability: 'memory', deliverAtMs }
    })
    return this.#broker.holding ? this.#broker.hold(this, () => results) : results
  }

  cancelScheduled: Link['cancelScheduled'] = async (_topic, id) => {
    this.#check()
    return this.#broker.scheduled.delete(id)
  }

  listScheduled: Link['listScheduled'] = async () => {
    this.#check()
    const messages = [...this.#broker.scheduled].map(([id, deliverAtMs]) => ({
      id,
      deliverAtMs,
      sizeBytes: 0,
    }))
    return { messages, next: undefined }
  }

  deadLetters: Link['deadLetters'] = async () => {
    this.#check()
    return { deadLetterTopic: '', letters: [] }
  }

  redriveDeadLetters: Link['redriveDeadLetters'] = async (_topic, request = {}) => {
    this.#check()
    return this.#broker.redrive(request)
  }

  purgeDeadLetters: Link['purgeDeadLetters'] = async () => {
    this.#check()
    return { deadLetterTopic: '', purged: 0, skipped: 0 }
  }

  subscribe: Link['subscribe'] = async (topic, options, sink) => {
    await Promise.resolve()
    this.#check()
    const { partitions, committed } = this.#broker.find(topic)
    const subscription = new FakeSubscription(this.#broker, this, topic, options, sink)
    const { group } = options
    if (group === undefined) {
      const wanted = options.partitions ?? partitions.map((_, index) => index)
      const starts = wanted.map((partition) => ({
        partition,
        offset: this.#start(topic, partition, options.from),
      }))
      this.#broker.subscriptions.add(subscription)
      subscription.assign(starts)
    } else {
      for (const other of [...this.#broker.subscriptions]) {
        const same = other.topic === topic && other.group === group && other.member === subscription.member
        if (same) other.end(new RatatoskrError('RTK_LEASE_LOST', 'another consumer took the name'))
      }
      for (const [partition] of partitions.entries()) {
        const key = `${group}/${partition}`
        if (!committed.has(key)) committed.set(key, this.#start(topic, partition, options.from ?? 'earliest'))
      }
      this.#broker.subscriptions.add(subscription)
      this.#broker.rebalance(topic, group)
    }
    queueMicrotask(() => subscription.pump())
    return subscription
  }

  consume: Link['consume'] = async (topic, options, sink) => {
    await Promise.resolve()
    this.#check()
    this.#broker.find(topic)
    const refused = this.#broker.refuseJoin()
    if (refused !== undefined) throw refused
    const member = new FakeMember(topic, options, sink, this.#broker.members.length + 1)
    this.#broker.members.push(member)
    this.#members.add(member)
    const lost = this.#broker.loseJoin(member)
    if (lost !== undefined) throw lost
    return member
  }

  /** Settles by the leases alone: what was settled before is no error. */
  settle: Link['settle'] = async (_topic, { settlements }) => {
    await Promise.resolve()
    this.#check()
    return settlements.map((one) => FakeMember.settleAnywhere(this.#broker.members, one))
  }

  take: Link['take'] = async () => {
    this.#check()
    return { topicId: '', member: 'm', memberTimeoutMs: 5_000, batches: [] }
  }

  heartbeat: Link['heartbeat'] = () => this.#check()

  leaveQueue: Link['leaveQueue'] = () => this.#check()

  createQueue: Link['createQueue'] = async (topic, group, config) => {
    this.#check()
    return this.#queue(topic, group, config)
  }

  alterQueue: Link['alterQueue'] = async (topic, group, changes) => {
    this.#check()
    const set = Object.entries(changes).filter(([, value]) => value !== null)
    return this.#queue(topic, group, Object.fromEntries(set))
  }

  describeQueue: Link['describeQueue'] = async (topic, group) => {
    this.#check()
    return this.#queue(topic, group)
  }

  pauseQueue: Link['pauseQueue'] = async (topic) => {
    this.#check()
    this.#broker.find(topic)
  }

  fetch: Link['fetch'] = async (topic, { partition, offset }) => {
    this.#check()
    const log = this.#broker.find(topic).partitions[partition]
    const at = typeof offset === 'number' ? offset : offset === 'earliest' ? log.start : log.end
    const batch = log.read(at)
    return {
      partition,
      bytes: batch?.bytes ?? new Uint8Array(0),
      fromOffset: at,
      nextOffset: batch?.nextOffset ?? at,
      startOffset: log.start,
      stableOffset: log.end,
    }
  }

  commit: Link['commit'] = async (topic, { group, offsets }) => {
    this.#check()
    for (const { partition, offset } of offsets) {
      this.#broker.find(topic).committed.set(`${group}/${partition}`, offset)
    }
  }

  seekGroup: Link['seekGroup'] = async (topic, group, { position }) => {
    this.#check()
    const { partitions, committed } = this.#broker.find(topic)
    const offsets = partitions.map((_, partition) => ({
      partition,
      offset: this.#start(topic, partition, position),
    }))
    for (const { partition, offset } of offsets) committed.set(`${group}/${partition}`, offset)
    return offsets
  }

  listGroups: Link['listGroups'] = async (topic) => {
    this.#check()
    return [...new Set([...this.#broker.find(topic).committed.keys()].map((key) => key.split('/')[0]))]
  }

  describeGroup: Link['describeGroup'] = async (topic, group) => {
    this.#check()
    return { topic, group, state: 'empty', members: [], partitions: [], lag: 0 }
  }

  deleteGroup: Link['deleteGroup'] = async (topic, group) => {
    this.#check()
    const { committed } = this.#broker.find(topic)
    for (const key of [...committed.keys()]) if (key.startsWith(`${group}/`)) committed.delete(key)
  }

  offsets: Link['offsets'] = async (topic, position) => {
    this.#check()
    const { partitions } = this.#broker.find(topic)
    return partitions.map((_, partition) => ({ partition, offset: this.#start(topic, partition, position) }))
  }

  topicStats: Link['topicStats'] = async (topic) => {
    this.#check()
    const { partitions } = this.#describe(topic)
    return { topic, messageCount: 0, subscriberCount: 0, messagesDelivered: 0, sizeBytes: 0, partitions }
  }

  brokerStats: Link['brokerStats'] = async () => {
    this.#check()
    return {
      topics: this.#broker.topics.size,
      partitions: 0,
      sessions: this.#broker.links.size,
      subscriptions: this.#broker.subscriptions.size,
      messagesPublished: 0,
      bytesPublished: 0,
      messagesDelivered: 0,
      bytesDelivered: 0,
      messagesSkipped: 0,
      messagesDropped: 0,
      uptimeMs: 0,
      storage: { appends: 0, appendedBytes: 0, syncs: 0, hotReads: 0, coldReads: 0, hotBytes: 0 },
    }
  }

  #check(): void {
    if (this.isClosed) throw lost()
  }

  #queue(topic: string, group: string, config: Partial<QueueConfig> = {}): QueueDescription {
    this.#broker.find(topic)
    return {
      topic,
      group,
      state: 'empty',
      paused: false,
      config: { ...fakeQueueConfig, ...config },
      members: [],
      partitions: [],
      lag: 0,
    }
  }

  #start(topicName: string, partition: number, from: StartPosition = 'latest'): number {
    const log = this.#broker.find(topicName).partitions[partition]
    if (from === 'earliest') return log.start
    if (from === 'latest') return log.end
    let offset = log.start
    if ('offset' in from) offset = from.offset
    if ('offsets' in from) {
      const given = from.offsets.find((one) => one.partition === partition)
      if (given === undefined) return from.otherwise === 'latest' ? log.end : log.start
      offset = given.offset
    }
    if (offset < log.start || offset > log.end) {
      throw new RatatoskrError('RTK_OFFSET_OUT_OF_RANGE', `offsets ${log.start} to ${log.end}, got ${offset}`)
    }
    return offset
  }

  #describe(name: string): TopicDescription {
    const { id, partitions } = this.#broker.find(name)
    return {
      namespace: 'default',
      name,
      id,
      createdAtMs: 0,
      config: {
        partitions: partitions.length,
        retentionMs: -1,
        retentionBytes: -1,
        retentionMessages: -1,
        retention: 'limits',
        segmentBytes: 1 << 20,
        durability: 'memory',
        messageBytesMax: defaultLimits.messageBytesMax,
        dedupWindowMs: 0,
        compression: 'none',
      },
      partitions: partitions.map(({ start, end }, partition) => ({
        partition,
        startOffset: start,
        stableOffset: end,
        endOffset: end,
        sizeBytes: 0,
        state: 'online',
        damaged: [],
        worker: this.#broker.workerOf(partition),
      })),
    }
  }

  #end(reason: RatatoskrError | undefined): void {
    if (this.isClosed) return
    this.isClosed = true
    this.#broker.links.delete(this)
    this.#broker.dropHeld(this)
    for (const subscription of [...this.#broker.subscriptions]) {
      if (subscription.link === this) subscription.end(reason)
    }
    for (const member of this.#members) member.end(reason)
    this.#ended.resolve(reason)
  }
}
