/** A subscription to the fake broker: pushes batches while it has credit, at once. */
import {
  type BatchSink,
  type CommittedOffset,
  type Credit,
  type PartitionOffset,
  RatatoskrError,
  type SubscribeOptions,
  type Subscription,
} from '../../ports/index.ts'
import type { FakeBroker } from './fake-broker.ts'
import type { FakeLink } from './fake-link.ts'

export const lost = (): RatatoskrError => new RatatoskrError('RTK_DISCONNECTED', 'the test cut the link')

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
