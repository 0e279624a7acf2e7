/**
 * A subscription that outlives its link: when the link is lost it subscribes again on the next one and goes on without a
 * gap and without a duplicate.
 *
 * Without a group it resumes at the next offset of each partition. In a group it joins again under the same name: the
 * broker says where each partition begins, which may be behind what was received already; records below the own
 * position are dropped while the partition is still its own, and a partition that comes back from elsewhere begins where
 * the broker says.
 *
 * Without a group, what belongs to one worker of the broker is read from that worker once it is much.
 */
import {
  type BatchDelivery,
  type CommittedOffset,
  type DroppedMessages,
  isRatatoskrError,
  type MaybePromise,
  type PartitionOffset,
  RatatoskrError,
  type SubscribeOptions,
  type Subscription,
  toRatatoskrError,
} from '../ports/index.ts'
import type { SubscriptionGap } from './consume-options.ts'
import type { ClientContext } from './context.ts'
import type { DirectLink } from './direct-links.ts'
import type { Link } from './link.ts'
import { LinkedLife } from './linked-life.ts'
import { StreamCredit } from './stream-credit.ts'
import { type TopicFacts, topicFacts, workerOfAll } from './topic-facts.ts'

/** What the holder of a live subscription is told. Calls come one after the other, never after `ended`. */
export interface LiveSink {
  /** Deliveries of the partition begin at this offset; whatever of it was received before is void. */
  begin(partition: number, offset: number): void
  /** The partition is another member's now. */
  revoked(partition: number): void
  deliver(delivery: BatchDelivery): void
  /** Messages are missing. */
  gap(gap: SubscriptionGap): void
  disconnected(reason: RatatoskrError): void
  reconnected(): void
  ended(reason: RatatoskrError | undefined): void
}

export interface LiveOptions extends Omit<SubscribeOptions, 'credit'> {
  /** Bytes of batches that may be on their way or waiting here. */
  readonly creditBytes: number
}

interface Position {
  /** Next offset to be delivered. */
  nextOffset: number
  /** What the broker has confirmed as committed by this member; -1 while nothing. */
  committedOffset: number
  /** Records below are old: set when the subscription was resumed, until the first delivery. */
  floor: number
}

const LOST = new RatatoskrError(
  'RTK_DISCONNECTED',
  'the connection is lost; the subscription resumes by itself',
)

export class LiveSubscription {
  readonly topic: string
  readonly #context: ClientContext
  readonly #options: LiveOptions
  readonly #sink: LiveSink
  readonly #life: LinkedLife
  readonly #positions = new Map<number, Position>()
  #facts: TopicFacts | undefined
  /** Why a subscription ended before it was even answered. */
  #early: RatatoskrError | undefined
  #member: string | undefined
  #current: Subscription | undefined
  #link: Link | undefined
  /** The worker that owns all that is read; undefined when no single one does, and in a group. */
  #worker: number | undefined
  /** Lets go of the link to that worker; undefined while everything comes over the connection. */
  #leaveDirect: (() => void) | undefined
  /** A link over which it could not go on. */
  #refusedBy: DirectLink | undefined
  #resuming = false
  readonly #credit: StreamCredit

  private constructor(context: ClientContext, topic: string, options: LiveOptions, sink: LiveSink) {
    this.#context = context
    this.topic = topic
    this.#options = options
    this.#sink = sink
    this.#member = options.member
    this.#credit = new StreamCredit(options.creditBytes)
    this.#life = new LinkedLife(context, {
      joiningAgain: 'resubscribing',
      join: (link) => this.#subscribe(link),
      leave: () => this.#leave(),
      mayPass: ({ retryable }) => retryable,
      disconnected: (reason) => sink.disconnected(reason),
      reconnected: () => sink.reconnected(),
      over: (reason) => sink.ended(reason),
    })
  }

  /** Subscribes. @throws as `Session.subscribe` does */
  static async open(
    context: ClientContext,
    topic: string,
    options: LiveOptions,
    sink: LiveSink,
    signal: AbortSignal,
  ): Promise<LiveSubscription> {
    const live = new LiveSubscription(context, topic, options, sink)
    await live.#life.begin(signal)
    return live
  }

  /** The topic's id and name as messages show them. */
  get facts(): TopicFacts {
    return this.#facts ?? { id: '', text: this.topic }
  }

  /** Name of the member within its group; empty without a group. */
  get member(): string {
    return this.#member ?? ''
  }

  /** Lets that many more bytes come. */
  grant(bytes: number): void {
    const granted = this.#credit.giveBack(bytes)
    if (granted > 0) this.#current?.grant({ bytes: granted })
  }

  /**
   * Commits as this member. @throws RTK_DISCONNECTED while there is no link; RTK_LEASE_LOST for partitions that are gone
   */
  async commit(offsets: readonly CommittedOffset[]): Promise<void> {
    const subscription = this.#current
    if (subscription === undefined) throw this.#life.isOver ? closedError() : LOST
    try {
      await subscription.commit(offsets)
    } catch (error) {
      if (subscription !== this.#current && !this.#life.isOver) throw LOST
      throw toRatatoskrError(error)
    }
    for (const { partition, offset } of offsets) {
      const position = this.#positions.get(partition)
      if (position !== undefined) position.committedOffset = Math.max(position.committedOffset, offset)
    }
  }

  /** Leaves; no call of the sink comes after it resolves. Idempotent. */
  close(): Promise<void> {
    const subscription = this.#current
    return this.#life.close(() => subscription?.close().catch(() => {}))
  }

  /** Subscribes on a link, from the start or from where the last one ended. */
  async #subscribe(link: Link): Promise<void> {
    const generation = this.#life.joins()
    this.#early = undefined
    this.#resuming = this.#positions.size > 0
    if (this.#resuming) await this.#checkTopic(link)
    const subscription = await this.#subscribeWithin(link, generation)
    try {
      if (this.#facts === undefined) await this.#checkTopic(link)
      if (this.#early !== undefined) throw this.#early
      if (this.#life.isEnding) throw LOST
    } catch (error) {
      await subscription.close().catch(() => {})
      throw error
    }
    this.#current = subscription
    const untold = this.#credit.begun()
    if (untold > 0) subscription.grant({ bytes: untold })
    this.#link = link
    if (this.#options.group !== undefined) this.#member = subscription.member
  }

  async #subscribeWithin(link: Link, generation: number): Promise<Subscription> {
    try {
      return await this.#subscribeAt(link, generation)
    } catch (error) {
      // What was next may be deleted by now: go on with what there is, and say so.
      if (!this.#resuming || !isRatatoskrError(error, 'RTK_OFFSET_OUT_OF_RANGE')) throw error
      await this.#clampPositions(link)
      return this.#subscribeAt(link, generation)
    }
  }

  #subscribeAt(link: Link, generation: number): Promise<Subscription> {
    const { group, from, partitions, overflow } = this.#options
    const bytes = this.#credit.begin()
    const resumed = group === undefined && this.#resuming && this.#positions.size > 0
    const offsets = [...this.#positions].map(([partition, { nextOffset: offset }]) => ({ partition, offset }))
    return link.subscribe(
      this.topic,
      {
        group,
        member: this.#member,
        partitions,
        overflow,
        from: resumed ? { offsets, otherwise: 'earliest' } : from,
        credit: { bytes },
      },
      {
        assigned: (list) => this.#life.isCurrent(generation) && this.#assigned(list),
        dropped: (messages) => this.#life.isCurrent(generation) && this.#dropped(messages),
        deliver: (delivery): MaybePromise<void> => {
          if (this.#life.isCurrent(generation)) this.#deliver(delivery)
        },
        ended: (reason) => {
          if (!this.#life.isCurrent(generation)) return
          // Before `subscribe` has answered, its caller is the one to try again.
          if (this.#current === undefined) this.#early = reason ?? LOST
          else this.#life.linkEnded(this.#link, reason ?? LOST)
        },
      },
    )
  }

  #assigned(list: readonly PartitionOffset[]): void {
    const resuming = this.#resuming
    this.#resuming = false
    const now = new Set(list.map(({ partition }) => partition))
    for (const partition of this.#positions.keys()) {
      if (now.has(partition)) continue
      this.#positions.delete(partition)
      this.#sink.revoked(partition)
    }
    for (const { partition, offset } of list) {
      const position = this.#positions.get(partition)
      if (position !== undefined && this.#goesOn(position, offset, resuming)) {
        if (resuming) position.floor = position.nextOffset
      } else this.#begin(partition, offset)
    }
  }

  /**
   * True when the offset the broker names is one that this member's own past explains. Otherwise the partition was
   * elsewhere, or the group was set to another offset: then the broker is right.
   */
  #goesOn(position: Position, offset: number, resuming: boolean): boolean {
    if (this.#options.group === undefined) return offset <= position.nextOffset || resuming
    return offset <= position.nextOffset && offset >= position.committedOffset
  }

  #begin(partition: number, offset: number): void {
    this.#positions.set(partition, { nextOffset: offset, committedOffset: -1, floor: 0 })
    this.#sink.begin(partition, offset)
  }

  #gone(partition: number, expectedOffset: number, offset: number): void {
    this.#sink.gap({ partition, expectedOffset, offset, reason: 'gone' })
  }

  #deliver(delivery: BatchDelivery): void {
    const { partition, bytes, nextOffset } = delivery
    this.#credit.delivered(bytes.length)
    let position = this.#positions.get(partition)
    if (position === undefined) {
      this.#begin(partition, delivery.fromOffset)
      position = this.#positions.get(partition) as Position
    }
    const { floor } = position
    if (nextOffset <= floor) {
      this.grant(bytes.length)
      return
    }
    const fromOffset = Math.max(delivery.fromOffset, floor)
    position.floor = 0
    // What came before a gap is as good as ever; only a delivery from further back makes it void.
    if (fromOffset > position.nextOffset) this.#gone(partition, position.nextOffset, fromOffset)
    if (fromOffset < position.nextOffset) {
      this.#begin(partition, fromOffset)
      position = this.#positions.get(partition) as Position
    }
    position.nextOffset = nextOffset
    const whole = fromOffset === delivery.fromOffset
    this.#sink.deliver(whole ? delivery : { partition, bytes, fromOffset, nextOffset })
    if (this.#worker !== undefined && this.#leaveDirect === undefined) this.#seekOwner(bytes.length)
  }

  #seekOwner(deliveredBytes: number): void {
    const { direct } = this.#context.connection
    const link = direct.to(this.#worker)
    if (link === undefined) direct.passed(this.#worker, deliveredBytes)
    else if (this.#current !== undefined && link !== this.#refusedBy) void this.#moveTo(link)
  }

  /** Goes on over the link to the owner, as after a loss. */
  async #moveTo(direct: DirectLink): Promise<void> {
    const before = this.#current
    this.#leaveDirect = direct.hold()
    this.#leaveCurrent()
    this.#life.leaves()
    try {
      await direct.use((link) => this.#subscribe(link))
    } catch {
      this.#refusedBy = direct
      this.#leave()
      void this.#life.joinAgain(false)
    } finally {
      await before?.close().catch(() => {})
    }
  }

  /** What is still to come from the subscription there counts no more. */
  #leaveCurrent(): void {
    this.#current = undefined
    this.#credit.ended()
  }

  #leave(): void {
    this.#leaveCurrent()
    this.#leaveDirect?.()
    this.#leaveDirect = undefined
  }

  /** Left out by the overflow policy: what comes next is behind it. */
  #dropped({ partition, fromOffset, toOffset }: DroppedMessages): void {
    const position = this.#positions.get(partition)
    const expectedOffset = position?.nextOffset ?? fromOffset
    if (toOffset <= expectedOffset) return
    if (position !== undefined) position.nextOffset = toOffset
    this.#sink.gap({ partition, expectedOffset, offset: toOffset, reason: 'overflow' })
  }

  /** Learns the topic's id, and begins anew when a topic of the same name has replaced the one that was read. */
  async #checkTopic(link: Link): Promise<void> {
    const facts = await topicFacts(link, this.topic)
    if (facts === undefined) return
    if (this.#facts !== undefined && facts.id !== this.#facts.id) {
      for (const [partition, position] of this.#positions) {
        this.#gone(partition, position.nextOffset, 0)
        this.#begin(partition, 0)
      }
    }
    this.#facts = facts
    const { group, partitions } = this.#options
    if (group === undefined) this.#worker = workerOfAll(facts, partitions)
  }

  async #clampPositions(link: Link): Promise<void> {
    const [starts, ends] = await Promise.all([
      link.offsets(this.topic, 'earliest'),
      link.offsets(this.topic, 'latest'),
    ])
    for (const [partition, position] of this.#positions) {
      const start = starts.find((one) => one.partition === partition)?.offset ?? 0
      const end = ends.find((one) => one.partition === partition)?.offset ?? start
      const offset = Math.min(Math.max(position.nextOffset, start), end)
      if (offset === position.nextOffset) continue
      this.#gone(partition, position.nextOffset, offset)
      this.#begin(partition, offset)
    }
  }
}

const closedError = (): RatatoskrError => new RatatoskrError('RTK_CLOSED', 'the subscription is closed')
