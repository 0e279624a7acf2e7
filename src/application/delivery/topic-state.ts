/** What delivery knows of one topic while the topic lives: who reads it, in which groups, and who waits for it. */
import { RatatoskrError } from '../../ports/index.ts'
import { Group, type GroupHost } from '../groups/group.ts'
import type { StoredGroups } from '../groups/offset-store.ts'
import type { PollingMember } from '../groups/polling-member.ts'
import type { QueueGroup } from '../queues/queue-group.ts'
import type { LiveTopic } from '../seams.ts'
import { Cursor } from './cursor.ts'
import { type FeedHost, PartitionFeed } from './feed.ts'
import type { PushSubscription } from './subscription.ts'
import { Waits } from './wait.ts'

export interface TopicHost extends Pick<GroupHost, 'clock' | 'logger' | 'hooks' | 'offsets'> {
  onRead(feed: PartitionFeed): void
  onSkipped(records: number): void
}

export class TopicState {
  readonly topic: LiveTopic
  readonly subscriptions = new Set<PushSubscription>()
  /** Subscriptions that take in partitions which the topic gets. */
  readonly growing = new Set<PushSubscription>()
  readonly pollers = new Set<PollingMember>()
  readonly groups = new Map<string, Group>()
  readonly queues = new Map<string, QueueGroup>()
  /** Names of queue groups that are being made. */
  readonly making = new Set<string>()
  readonly waits: Waits
  /** Messages that were given out; each taker counts. */
  messagesDelivered = 0
  /** Why no more may come in, once the topic is deleted or the broker stops. */
  closeReason: RatatoskrError | undefined
  readonly #host: TopicHost
  readonly #feeds: PartitionFeed[] = []
  readonly #feedHost: FeedHost
  readonly #registrations: readonly Disposable[]

  /** @param stored what the topic's groups had committed before the broker started */
  constructor(topic: LiveTopic, host: TopicHost, stored: StoredGroups = new Map()) {
    this.topic = topic
    this.#host = host
    this.waits = new Waits(host.clock)
    this.#feedHost = this.#makeFeedHost()
    for (const [name, positions] of stored)
      this.groups.set(name, new Group(name, this.#groupHost(), positions))
    this.#registrations = [
      topic.onPartitionsAdded(() => this.#partitionsAdded()),
      topic.onConfigChanged(() => {
        for (const queue of this.queues.values()) queue.topicChanged()
      }),
    ]
  }

  get subscriberCount(): number {
    let count = this.subscriptions.size + this.pollers.size
    for (const queue of this.queues.values()) count += queue.memberCount
    return count
  }

  /** Groups of both kinds. */
  get groupCount(): number {
    return this.groups.size + this.queues.size + this.making.size
  }

  /** @throws RTK_GROUP_MISMATCH when there is a group of this name that is of the other kind */
  assertGroupIs(kind: 'stream' | 'queue', name: string): void {
    const other = kind === 'queue' ? this.groups.has(name) : this.queues.has(name) || this.making.has(name)
    if (!other) return
    const { text } = this.topic
    throw new RatatoskrError(
      'RTK_GROUP_MISMATCH',
      kind === 'queue'
        ? `${name} is a stream group of ${text}, not a queue group; it becomes one when somebody joins who takes messages one by one, while it has no other members`
        : `${name} is a queue group of ${text}, not a stream group; take its messages one by one, use another name, or delete the group first`,
    )
  }

  feed(index: number): PartitionFeed {
    let feed = this.#feeds[index]
    if (feed === undefined) {
      feed = new PartitionFeed(this.topic.partitions[index], this.#feedHost)
      this.#feeds[index] = feed
    }
    return feed
  }

  addGroup(name: string): Group {
    const group = new Group(name, this.#groupHost())
    this.groups.set(name, group)
    return group
  }

  /** The log of a partition was opened and ends at `end`: whoever had come further goes on there. @returns the writes */
  putBack(partition: number, end: number): Promise<void>[] {
    const writes = [...this.groups.values()].flatMap((group) => group.putBack(partition, end))
    const beyond = (cursor: Cursor): boolean => cursor.partition === partition && cursor.offset > end
    for (const subscription of [...this.subscriptions]) {
      const { group, cursors } = subscription
      if (group !== undefined || !cursors.some(beyond)) continue
      subscription.assign(cursors.map((cursor) => (beyond(cursor) ? new Cursor(cursor.feed, end) : cursor)))
    }
    return writes
  }

  /** Ends everyone with `reason` and lets nobody in any more. */
  close(reason: RatatoskrError): void {
    this.closeReason = reason
    for (const registration of this.#registrations) registration[Symbol.dispose]()
    // Nobody is left to take over what an ended member leaves behind.
    for (const group of this.groups.values()) group.disband()
    for (const subscription of [...this.subscriptions]) subscription.end(reason)
    for (const poller of [...this.pollers]) poller.end(reason)
    for (const queue of this.queues.values()) queue.close()
    for (const queue of this.queues.values()) for (const member of [...queue.members]) member.end(reason)
    this.waits.fail(reason)
  }

  #makeFeedHost(): FeedHost {
    const { clock, logger, onRead, onSkipped } = this.#host
    const topic = this.topic.text
    return {
      clock,
      onRead,
      onSkipped,
      onGap: (partition, { from, to }) =>
        logger.error('records are lost to damage; subscribers go on after them', {
          topic,
          partition,
          from,
          to,
        }),
      onUnreadable: (partition, offset, error) =>
        logger.error('the medium fails to read stored records; subscribers wait and try again', {
          topic,
          partition,
          offset,
          error,
        }),
    }
  }

  #groupHost(): GroupHost {
    const { clock, logger, hooks, offsets } = this.#host
    return { topic: this.topic, clock, logger, hooks, offsets, feed: (index) => this.feed(index) }
  }

  #partitionsAdded(): void {
    for (const group of this.groups.values()) group.partitionsAdded()
    for (const queue of this.queues.values()) queue.partitionsAdded()
    for (const subscription of [...this.growing]) {
      const cursors = [...subscription.cursors]
      for (let index = cursors.length; index < this.topic.partitions.length; index++) {
        const feed = this.feed(index)
        cursors.push(new Cursor(feed, feed.partition.startOffset))
      }
      subscription.assign(cursors)
    }
  }
}
