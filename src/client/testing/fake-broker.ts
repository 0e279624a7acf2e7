/**
 * A broker for the client's tests: keeps batches in memory, hands out links that can be cut, and lets a test refuse, hold
 * or lose answers. Everything happens at once or when the test says so; nothing takes time.
 */
import {
  type BrokerPlace,
  type CommittedOffset,
  messagesOf,
  type Platform,
  RatatoskrError,
  type RedriveRequest,
  type RedriveResult,
  utf8Text,
} from '../../ports/index.ts'
import type { Client } from '../client.ts'
import { type ConnectOptions, clientOver } from '../connect-with.ts'
import type { Link } from '../link.ts'
import { FakeLink } from './fake-link.ts'
import type { FakeMember } from './fake-queue.ts'
import { type FakeSubscription, lost } from './fake-subscription.ts'
import { FakePartition, type FakeTopic } from './fake-topic.ts'

export class FakeBroker {
  readonly topics = new Map<string, FakeTopic>()
  readonly links = new Set<FakeLink>()
  readonly subscriptions = new Set<FakeSubscription>()
  /** Members of queue groups, those that have left as well. */
  readonly members: FakeMember[] = []
  /** Called before a member joins. */
  refuseJoin: () => RatatoskrError | undefined = () => undefined
  /** Called with each member that was let in: what it returns comes in the place of the answer. */
  loseJoin: (member: FakeMember) => RatatoskrError | undefined = () => undefined
  /** Attempts to open a link, and how many of the next ones fail. */
  opened = 0
  lastProducerId = 0
  openFailures = 0
  openError: () => RatatoskrError = lost
  /** Which worker the next link reaches, and which one owns a partition; undefined for a broker that has one only. */
  nextPlace: () => BrokerPlace | undefined = () => undefined
  workerOf: (partition: number) => number | undefined = () => undefined
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
  readonly publishes: {
    readonly partition: number
    readonly recordCount: number
    /** The worker that it came to. */
    readonly worker: number | undefined
  }[] = []
  readonly commits: CommittedOffset[][] = []
  /** Says what goes wrong with a publish: an error is thrown and nothing stored. */
  refuse: (partition: number, bytes: Uint8Array) => RatatoskrError | undefined = () => undefined
  /** Says why messages for later are refused, each by itself. */
  refuseLater: () => RatatoskrError | undefined = () => undefined
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
