/**
 * A broker for the client's tests: keeps batches in memory, hands out links that can be cut, and lets a test refuse, hold
 * or lose answers. Everything happens at once or when the test says so; nothing takes time.
 */
import {
  type BatchReceipt,
  type BatchSink,
  baseSequenceOf,
  type CommittedOffset,
  type Credit,
  defaultLimits,
  type MaybePromise,
  messagesOf,
  nextOffsetOf,
  type PartitionOffset,
  type Platform,
  ProducerTable,
  portableCrc32c,
  producerEpochOf,
  producerIdOf,
  type QueueConfig,
  type QueueDescription,
  RatatoskrError,
  type RedriveRequest,
  type RedriveResult,
  recordCountOf,
  type StartPosition,
  type SubscribeOptions,
  type Subscription,
  stampBatch,
  type TopicDescription,
  utf8Text,
} from '../../ports/index.ts'
import type { Client } from '../client.ts'
import { type ConnectOptions, clientOver } from '../connect-with.ts'
import type { Link } from '../link.ts'
import { FakeMember, fakeQueueConfig } from './fake-queue.ts'

interface StoredBatch {
  readonly offset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

class FakePartition {
  readonly batches: StoredBatch[] = []
  start = 0
  #producers = new ProducerTable({ producersMax: 100, expiryMs: Number.MAX_SAFE_INTEGER })

  get end(): number {
    return this.batches.at(-1)?.nextOffset ?? this.start
  }

  append(bytes: Uint8Array): BatchReceipt {
    const baseOffset = this.end
    const recordCount = recordCountOf(bytes)
    const receipt = { partition: 0, recordCount, durability: 'memory' } as const
    if (producerIdOf(bytes) !== -1) {
      const known = this.#sequenced(bytes, baseOffset)
      if (known !== undefined) return { ...receipt, baseOffset: known, duplicate: true }
    }
    const stored = bytes.slice()
    stampBatch(stored, baseOffset, 0)
    this.batches.push({ offset: baseOffset, nextOffset: nextOffsetOf(stored), bytes: stored })
    return { ...receipt, baseOffset }
  }

  /** Forgets every producer, as a broker does after a long silence. */
  forgetProducers(): void {
    this.#producers = new ProducerTable({ producersMax: 100, expiryMs: Number.MAX_SAFE_INTEGER })
  }

  /** Where the batch is already; undefined when it is the next one. */
  #sequenced(bytes: Uint8Array, baseOffset: number): number | undefined {
    const batch = {
      producerId: producerIdOf(bytes),
      epoch: producerEpochOf(bytes),
      baseSequence: baseSequenceOf(bytes),
      recordCount: recordCountOf(bytes),
      baseOffset,
      durability: undefined,
      settled: undefined,
    }
    const known = this.#producers.check(batch, 0)
    if (known === undefined) this.#producers.add(batch, 0)
    return known?.baseOffset
  }

  read(offset: number): StoredBatch | undefined {
    return this.batches.find((batch) => batch.nextOffset > offset)
  }
}

interface FakeTopic {
  readonly name: string
  readonly id: string
  readonly partitions: FakePartition[]
  readonly committed: Map<string, number>
}

const lost = (): RatatoskrError => new RatatoskrError('RTK_DISCONNECTED', 'the test cut the link')

export class FakeBroker {
  readonly topics = new Map<string, FakeTopic>()
  readonly links = new Set<FakeLink>()
  readonly subscriptions = new Set<FakeSubscription>()
  /** Members of queue groups, those that have left as well. */
  readonly members: FakeMember[] = []
  /** Called before a member joins. */
  refuseJoin: () => RatatoskrError | undefined = () => undefined
  /** Attempts to open a link, and how many of the next ones fail. */
  opened = 0
  lastProducerId = 0
  openFailures = 0
  openError: () => RatatoskrError = lost
  /** What links say is the time of the broker. */
  nowMs = 0
  /** When the messages are due that wait for their time, by id. */
  readonly scheduled = new Map<string, number>()
  /** What a redrive answers. */
  redrive: (request: RedriveRequest) => RedriveResult = () => ({
    deadLetterTopic: '',
    matched: 0,
    redriven: 0,
    refused: 0,
    skipped: 0,
  })
  /** Batches as they came, with what became of them. */
  readonly publishes: { readonly partition: number; readonly recordCount: number }[] = []
  readonly commits: CommittedOffset[][] = []
  /** Says what goes wrong with a publish: an error is thrown and nothing stored. */
  refuse: (partition: number, bytes: Uint8Array) => RatatoskrError | undefined = () => undefined
  refuseCommit: () => RatatoskrError | undefined = () => undefined
  /** While true, publishes are stored but their answers wait for `release`. */
  holding = false
  readonly #held: {
    readonly link: FakeLink
    readonly run: () => void
    readonly reject: (e: unknown) => void
  }[] = []

  topic(
    name: string,
    partitions = 1,
    id = `00000000-0000-4000-8000-${name.padStart(12, '0').slice(-12)}`,
  ): FakeTopic {
    const topic = {
      name,
      id,
      partitions: Array.from({ length: partitions }, () => new FakePartition()),
      committed: new Map<string, number>(),
    }
    this.topics.set(name, topic)
    return topic
  }

  /** A client of this broker. */
  client(platform: Platform, options: ConnectOptions = {}): Promise<Client> {
    return clientOver(async () => this.open(), 1, options, platform)
  }

  open(): Link {
    this.opened++
    if (this.openFailures > 0) {
      this.openFailures--
      throw this.openError()
    }
    const link = new FakeLink(this)
    this.links.add(link)
    return link
  }

  /** Cuts every link, as a broken network does. */
  cut(): void {
    for (const link of [...this.links]) link.cut()
  }

  /** Publishes from elsewhere. */
  store(topicName: string, partition: number, bytes: Uint8Array): void {
    this.find(topicName).partitions[partition].append(bytes)
    this.pump()
  }

  /** Lets held answers go, the first ones first. */
  release(count = Number.POSITIVE_INFINITY): void {
    for (const held of this.#held.splice(0, count)) held.run()
  }

  hold<T>(link: FakeLink, run: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#held.push({ link, reject, run: () => (link.isClosed ? reject(lost()) : resolve(run())) })
    })
  }

  dropHeld(link: FakeLink): void {
    for (const held of this.#held) if (held.link === link) held.reject(lost())
  }

  find(name: string): FakeTopic {
    const topic = this.topics.get(name)
    if (topic === undefined) throw new RatatoskrError('RTK_TOPIC_NOT_FOUND', `no topic ${name}`)
    return topic
  }

  deleteTopic(name: string): void {
    this.topics.delete(name)
    for (const subscription of [...this.subscriptions]) {
      if (subscription.topic === name) {
        subscription.end(new RatatoskrError('RTK_TOPIC_DELETED', 'the topic was deleted'))
      }
    }
  }

  pump(): void {
    for (const subscription of this.subscriptions) subscription.pump()
  }

  /** Texts of everything stored in a partition. */
  texts(name: string, partition = 0): string[] {
    const source = {
      topic: name,
      topicId: '',
      partition,
      expansion: { codecs: new Map(), bytesMax: 1 << 20 },
    }
    return this.find(name).partitions[partition].batches.flatMap(({ bytes }) =>
      [...messagesOf(bytes, source)].map((message) => utf8Text(message.payload)),
    )
  }

  /** Shares partitions among a group's members, in order of their names. */
  rebalance(topicName: string, group: string): void {
    const members = [...this.subscriptions]
      .filter((one) => one.topic === topicName && one.group === group)
      .sort((a, b) => (a.member < b.member ? -1 : 1))
    const { partitions, committed } = this.find(topicName)
    for (const [turn, subscription] of members.entries()) {
      const own = partitions.map((_, index) => index).filter((index) => index % members.length === turn)
      subscription.assign(
        own.map((partition) => ({ partition, offset: committed.get(`${group}/${partition}`) ?? 0 })),
      )
    }
  }
}

export class FakeSubscription implements Subscription {
  readonly id: string
  readonly topic: string
  readonly group: string | undefined
  readonly member: string
  readonly positions = new Map<number, number>()
  creditBytes = 0
  readonly #broker: FakeBroker
  readonly #sink: BatchSink
  readonly #link: FakeLink
  #over = false

  constructor(broker: FakeBroker, link: FakeLink, topic: string, options: SubscribeOptions, sink: BatchSink) {
    this.#broker = broker
    this.#link = link
    this.#sink = sink
    this.id = `subscription-${broker.subscriptions.size}`
    this.topic = topic
    this.group = options.group
    this.member = options.group === undefined ? '' : (options.member ?? `member-${broker.opened}`)
    this.creditBytes = options.credit?.bytes ?? 0
  }

  get link(): FakeLink {
    return this.#link
  }

  /** Tells where each partition begins; those that it had go on. */
  assign(partitions: readonly PartitionOffset[]): void {
    const now = partitions.map(({ partition, offset }) => ({
      partition,
      offset: this.positions.get(partition) ?? offset,
    }))
    this.positions.clear()
    for (const { partition, offset } of now) this.positions.set(partition, offset)
    this.#sink.assigned?.(now)
  }

  /** Moves a partition, as a seek of the group does. */
  seek(partition: number, offset: number): void {
    this.positions.set(partition, offset)
    this.#sink.assigned?.([...this.positions].map(([each, at]) => ({ partition: each, offset: at })))
    this.pump()
  }

  pump(): void {
    if (this.#over) return
    const { partitions } = this.#broker.find(this.topic)
    for (const [partition, offset] of this.positions) {
      for (let at = offset; this.creditBytes > 0 && !this.#over; ) {
        const batch = partitions[partition].read(at)
        if (batch === undefined) break
        this.positions.set(partition, batch.nextOffset)
        this.creditBytes -= batch.bytes.length
        const { bytes, nextOffset } = batch
        void this.#sink.deliver({ partition, bytes, fromOffset: Math.max(at, batch.offset), nextOffset })
        at = batch.nextOffset
      }
    }
  }

  grant(credit: Credit): void {
    this.creditBytes += credit.bytes ?? 0
    queueMicrotask(() => this.pump())
  }

  async commit(offsets: readonly CommittedOffset[]): Promise<void> {
    await Promise.resolve()
    if (this.#link.isClosed) throw lost()
    const refused = this.#broker.refuseCommit()
    if (refused !== undefined) throw refused
    if (offsets.some(({ partition }) => !this.positions.has(partition))) {
      throw new RatatoskrError('RTK_LEASE_LOST', 'the partition is not owned')
    }
    this.#broker.commits.push([...offsets])
    const { committed } = this.#broker.find(this.topic)
    for (const { partition, offset } of offsets) committed.set(`${this.group}/${partition}`, offset)
  }

  async close(): Promise<void> {
    this.end(undefined)
  }

  end(reason: RatatoskrError | undefined): void {
    if (this.#over) return
    this.#over = true
    this.#broker.subscriptions.delete(this)
    this.#sink.ended(reason)
    if (this.group !== undefined && this.#broker.topics.has(this.topic)) {
      this.#broker.rebalance(this.topic, this.group)
    }
  }
}

export class FakeLink implements Link {
  readonly #broker: FakeBroker
  readonly #ended = Promise.withResolvers<RatatoskrError | undefined>()
  readonly #members = new Set<FakeMember>()
  isClosed = false

  constructor(broker: FakeBroker) {
    this.#broker = broker
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
    this.#broker.publishes.push({ partition, recordCount: recordCountOf(batch) })
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
    return messages.map(({ id = '', deliverAtMs = this.#broker.nowMs }) => {
      this.#broker.scheduled.set(id, deliverAtMs)
      return { id, partition: -1, offset: -1, durability: 'memory', deliverAtMs }
    })
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
    return this.#queue(topic, group, changes)
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
    return { topic, messageCount: 0, subscriberCount: 0, sizeBytes: 0, partitions }
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
      },
      partitions: [],
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

/** A platform without any waiting of its own: the test's clock, repeatable randomness, and no log. */
export function testPlatform(clock: Platform['clock']): Platform {
  let state = 1
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 4_294_967_296
  }
  const silent: Platform['logger'] = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
  return {
    clock,
    random: {
      fill(bytes) {
        for (let i = 0; i < bytes.length; i++) bytes[i] = next() * 256
        return bytes
      },
      uuid: () => '00000000-0000-4000-8000-000000000000',
      next,
    },
    checksum: portableCrc32c,
    compression: new Map(),
    logger: silent,
  }
}
