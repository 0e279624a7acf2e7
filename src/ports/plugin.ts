/**
 * Plugins: code that watches the broker, or has a say in it, without being able to hurt it.
 *
 * `before*` guards may refuse an operation by throwing, and fail closed. `on*` observers may only watch: they run after
 * the fact, once per batch on the data plane, and what they throw is counted, logged and contained. Both are synchronous
 * and typed to return `undefined`, so that an `async` function does not compile: slow work goes to a `BackgroundQueue`.
 * The specification of this port is `pluginContract` in `ratatoskr/contract-tests`.
 */
import type { Durability } from '../domain/durability.ts'
import type { RatatoskrError } from '../domain/errors.ts'
import type { Message } from '../domain/message.ts'
import type { OverflowPolicy } from '../domain/overflow.ts'
import type { TopicChanges, TopicConfig } from '../domain/topic.ts'
import type { Clock } from './clock.ts'
import type { MaybePromise } from './component.ts'
import type { ProfileKind } from './diagnostics.ts'
import type { BrokerStats, Health } from './health.ts'
import type { BatchBytes } from './log-store.ts'
import type { Metrics } from './metrics.ts'
import type { Logger, Random } from './platform.ts'
import type { DeadLetterReason, LeaseLossReason } from './queue.ts'
import type { Peer, Principal } from './security.ts'
import type { DroppedMessages } from './subscribing.ts'

/** What an application gives in `createBroker({ plugins })`. */
export interface Plugin {
  readonly name: string
  /** Plugins that must stand before this one in the list. */
  readonly requires?: readonly string[] | undefined
  /**
   * Registers hooks. Runs before the transports start. A throw keeps the broker from starting.
   * Runs again, with a new context, when the broker is started again after a stop.
   */
  setup(context: PluginContext): MaybePromise<void>
  /**
   * Runs at stop, in reverse order, after the transports are gone, and at run-time removal: the plugin's hooks, timers
   * and gauges are gone by then, and its queues drained. Given up after `limits.pluginCloseTimeoutMs`.
   */
  close?(): MaybePromise<void>
}

/** What a plugin gets at its set-up. Everything that is made with it ends with the plugin. */
export interface PluginContext {
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  readonly metrics: Metrics
  /** Registers an observer; disposing unhooks it. */
  on<Name extends keyof ObserverEvents>(
    name: Name,
    observer: (event: ObserverEvents[Name]) => undefined,
    options?: ObserverOptions,
  ): Disposable
  /** Registers a guard; a throw refuses the operation. Guards run in the order of the plugin list. */
  before<Name extends keyof GuardEvents>(
    name: Name,
    guard: (event: GuardEvents[Name]) => undefined,
  ): Disposable
  /** Makes a bounded queue whose items are handled outside the broker's own work. */
  backgroundQueue<Item>(options: BackgroundQueueOptions<Item>): BackgroundQueue<Item>
  /**
   * The messages of a batch, decoded one by one as they are asked for: costs nothing to those who do not ask. In a guard
   * they have no offsets yet. @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE
   */
  messages(event: PublishedBatch): Iterable<Message>
  /** Counts of the whole broker, as of now. */
  stats(): BrokerStats
  health(): Health
}

/** What an observer says of itself. */
export interface ObserverOptions {
  /**
   * False for an observer that never looks at the bytes of batches, neither when it is told nor later: when none does, their
   * memory is used again. Default true.
   */
  readonly batches?: boolean
}

/** Events that observers see. Field names are the same as on the wire and in logs. */
export interface ObserverEvents {
  /** A batch was stored and acknowledged. */
  messagePublished: MessagePublishedEvent
  /** A publish was refused or failed; nothing of it is stored unless the code says that it may be. */
  publishFailed: PublishFailedEvent
  /** A batch was handed to a subscriber. */
  messageDelivered: MessageDeliveredEvent
  /** A stream group committed, or members of a queue group acknowledged: messages of the partition are done. */
  messageAcked: MessageAckedEvent
  /** Members gave messages of a queue group back as failed; they come again. */
  messageRetried: MessageRetriedEvent
  /** Leases on messages of a queue group were lost: the messages come again elsewhere. */
  messageLeaseLost: MessageLeaseLostEvent
  /** A message of a queue group was given up, and is stored as a dead letter, or dropped where there is no topic for them. */
  deadLettered: DeadLetteredEvent
  subscriberJoined: SubscriberEvent
  subscriberLeft: SubscriberLeftEvent
  /** A subscriber's sink failed, or its batch could not be decoded; the subscription is over. */
  subscriberFailed: SubscriberLeftEvent
  /** A subscriber was further behind than its `overflow` bound allows: messages were dropped, or it is disconnected. */
  subscriberOverflowed: SubscriberOverflowedEvent
  topicCreated: TopicEvent
  topicAltered: TopicEvent
  topicDeleted: TopicEvent
  connected: ConnectEvent
  disconnected: ConnectEvent
  /** A peer was not let in: wrong credentials, a guard, or no room. */
  connectRefused: ConnectRefusedEvent
  /** An operation was refused because of who asked. */
  denied: DeniedEvent
  /** Somebody has begun to take a profile of the broker. */
  profileStarted: ProfileStartedEvent
}

/** What guards are asked about. */
export interface GuardEvents {
  connect: ConnectEvent
  publish: BeforePublishEvent
  subscribe: SubscriberEvent
  topicCreate: TopicEvent
  topicAlter: TopicEvent & { readonly changes: TopicChanges }
  topicDelete: TopicEvent
}

/** A batch that was stored; single messages of one turn come as one batch. */
/** What `PluginContext.messages` reads: the events of both hooks that see batches have it. */
export type PublishedBatch = Pick<MessagePublishedEvent, 'topic' | 'topicId' | 'partition' | 'batch'>

export interface MessagePublishedEvent {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly baseOffset: number
  readonly recordCount: number
  readonly sizeBytes: number
  readonly durability: Durability
  /** From entering the broker to the acknowledgement. */
  readonly durationMs: number
  /** The stored bytes; `PluginContext.messages` gives lazy views of them. Must not be changed. */
  readonly batch: BatchBytes
}

/** A publish that was refused or failed, and why. */
export interface PublishFailedEvent {
  readonly topic: string
  readonly partition: number | undefined
  readonly recordCount: number
  readonly sizeBytes: number
  readonly error: RatatoskrError
  readonly durationMs: number
}

/** A delivery to one subscriber. */
export interface MessageDeliveredEvent {
  readonly topic: string
  readonly partition: number
  readonly group: string | undefined
  readonly subscriptionId: string
  readonly fromOffset: number
  readonly recordCount: number
  readonly sizeBytes: number
}

/** Messages of one partition that a group is done with. */
export interface MessageAckedEvent {
  readonly topic: string
  readonly partition: number
  readonly group: string
  /** The offset after them. */
  readonly offset: number
  /** For queue groups: the first of them. Stream groups are done with everything below `offset`. */
  readonly fromOffset?: number | undefined
}

/** Messages of one partition whose handling failed, and that come again. */
export interface MessageRetriedEvent {
  readonly topic: string
  readonly partition: number
  readonly group: string
  /** Offsets from this one up to, without, `toOffset`. */
  readonly fromOffset: number
  readonly toOffset: number
  /** The delivery that failed, from 1. */
  readonly attempt: number
  /** What the member gave as the reason. */
  readonly reason: string | undefined
}

/** Leases that ended before their messages were settled. */
export interface MessageLeaseLostEvent {
  readonly topic: string
  readonly partition: number
  readonly group: string
  /** Offsets from this one up to, without, `toOffset`. */
  readonly fromOffset: number
  readonly toOffset: number
  readonly reason: LeaseLossReason
  /** Who held them. */
  readonly member: string
}

/** A message that was given up. */
export interface DeadLetteredEvent {
  readonly topic: string
  readonly partition: number
  readonly group: string
  readonly offset: number
  readonly reason: DeadLetterReason
  readonly attempts: number
  /** Where it is stored; undefined when it was dropped. */
  readonly deadLetterTopic: string | undefined
}

/** A subscription, and whose it is. */
export interface SubscriberEvent {
  readonly topic: string
  readonly group: string | undefined
  /** Its name within a queue group. */
  readonly member?: string | undefined
  readonly subscriptionId: string
  readonly principal: Principal
}

/** A subscription that is over, with the reason unless its holder closed it. */
export interface SubscriberLeftEvent extends SubscriberEvent {
  readonly error: RatatoskrError | undefined
}

/** Messages that a subscriber is not given: dropped, or what it was behind when it was disconnected. */
export interface SubscriberOverflowedEvent extends SubscriberEvent, DroppedMessages {
  readonly policy: OverflowPolicy
}

/** A topic, and who asked for what happens to it. */
export interface TopicEvent {
  readonly topic: string
  readonly topicId: string
  readonly config: TopicConfig
  readonly principal: Principal
}

/** Batches that are about to be stored. */
export interface BeforePublishEvent {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly recordCount: number
  readonly batch: BatchBytes
  readonly principal: Principal
}

/** A connection whose peer is known. */
export interface ConnectEvent {
  readonly sessionId: string
  readonly peer: Peer
  readonly principal: Principal
}

/** A connection that was refused, and why. */
export interface ConnectRefusedEvent {
  readonly peer: Peer
  readonly error: RatatoskrError
}

/** An operation that a principal may not do. */
export interface DeniedEvent {
  readonly principal: Principal
  readonly action: string
  readonly resource: string
}

/** A profile of the broker, and who asked for it. */
export interface ProfileStartedEvent {
  readonly principal: Principal
  readonly kind: ProfileKind
  readonly durationMs: number
}

/** What a background queue is called, how much may wait in it, and what handles it. */
export interface BackgroundQueueOptions<Item> {
  readonly name: string
  /** Items that may wait; `offer` answers false above it. */
  readonly itemsMax: number
  /** Items given to one call of `handle`; 256 by default. */
  readonly batchMax?: number | undefined
  /** Handles items in order, one call at a time. A rejection is counted and logged; its items are not tried again. */
  handle(items: readonly Item[]): Promise<void>
}

/** Work that waits its turn beside the broker's own. */
export interface BackgroundQueue<Item> {
  /** False when the queue is full or closed: the item was not taken, and `dropped` counts it. */
  offer(item: Item): boolean
  /** Items that wait, without those in hand. */
  readonly size: number
  readonly dropped: number
  /** Resolves when everything offered so far was handled, or given up because the plugin was closed. */
  drained(): Promise<void>
}
