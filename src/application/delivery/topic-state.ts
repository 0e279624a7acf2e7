/** What delivery knows of one topic while the topic lives: who reads it, in which groups, and who waits for it. */
import type { RatatoskrError } from '../../ports/index.ts'
import { Group, type GroupHost } from '../groups/group.ts'
import type { StoredGroups } from '../groups/offset-store.ts'
import type { PollingMember } from '../groups/polling-member.ts'
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
  readonly waits: Waits
  /** Why no more may come in, once the topic is deleted or the broker stops. */
  closeReason: RatatoskrError | undefined
  readonly #host: TopicHost
  readonly #feeds: PartitionFeed[] = []
  readonly #feedHost: FeedHost
  readonly #registration: Disposable

  /** @param stored what the topic's groups had committed before the broker started */
  constructor(topic: LiveTopic, host: TopicHost, stored: StoredGroups = new Map()) {
    this.topic = topic
    this.#host = host
    this.waits = new Waits(host.clock)
    this.#feedHost = this.#makeFeedHost()
    for (const [name, positions] of stored)
      this.groups.set(name, new Group(name, this.#groupHost(), positions))
    this.#registration = topic.onPartitionsAdded(() => this.#partitionsAdded())
  }

  get subscriberCount(): number {
    return this.subscriptions.size + this.pollers.size
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

  /** Ends everyone with `reason` and lets nobody in any more. */
  close(reason: RatatoskrError): void {
    this.closeReason = reason
    this.#registration[Symbol.dispose]()
    // Nobody is left to take over what an ended member leaves behind.
    for (const group of this.groups.values()) group.disband()
    for (const subscription of [...this.subscriptions]) subscription.end(reason)
    for (const poller of [...this.pollers]) poller.end(reason)
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
