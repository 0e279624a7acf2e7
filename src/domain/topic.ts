/** A topic's configuration and description: what may be set, what is fixed, and what the defaults are. */
import type { Durability } from './durability.ts'
import type { QueueConfig } from './queue/queue-config.ts'

/** Offsets from `from` up to, not including, `to`. */
export interface OffsetRange {
  readonly from: number
  readonly to: number
}

/** What may end a message's stay in its topic. Key compaction will be a third. */
export const retentionPolicies = ['limits', 'workqueue'] as const

/**
 * - `limits`: what is above `retentionMs`, `retentionBytes` or `retentionMessages`, whichever is reached first
 * - `workqueue`: what every group has committed, and nothing else: no limit deletes what a group still owes, and a topic
 *   without a group owes everything
 */
export type RetentionPolicy = (typeof retentionPolicies)[number]

/** Codecs of record batches, by the names of Kafka's format. */
export const compressions = ['none', 'gzip', 'snappy', 'zstd'] as const

/** How the records of a batch are compressed. */
export type Compression = (typeof compressions)[number]

/** What a topic is configured with. Every key may be left out at creation; the broker's defaults fill in. */
export interface TopicConfig {
  /** Number of partitions, at least 1. May grow by altering the topic, never shrink. */
  readonly partitions: number
  /** Messages older than this may be deleted, whole segments at a time. `-1`: never by age. */
  readonly retentionMs: number
  /** Bytes of one partition above which its oldest segments may be deleted. `-1`: never by size. */
  readonly retentionBytes: number
  /** Messages of one partition above which its oldest segments may be deleted. `-1`: never by count. */
  readonly retentionMessages: number
  /** What decides when messages are deleted. */
  readonly retention: RetentionPolicy
  /** Bytes after which a log starts a new segment. */
  readonly segmentBytes: number
  /** The least an acknowledgement may mean on this topic; publishes may ask for more. */
  readonly durability: Durability
  /** One message's key, headers and payload together. At most the broker's limit of the same name. */
  readonly messageBytesMax: number
  /**
   * How long the topic remembers the ids of its messages: what comes again under the same id within it is answered with the
   * place of the first, and not stored. 0: not at all. At most 7 days.
   */
  readonly dedupWindowMs: number
  /**
   * How producers compress that say nothing of it themselves and have the codec. What is stored stays as it came: a topic may
   * hold batches of several codecs, and readers need not know which.
   */
  readonly compression: Compression
  /**
   * Settings of the topic's queue groups, for those that have none of their own; left out: the general defaults. Altering a topic
   * changes those that are given, for groups in use too, but for `sharing`, which a group keeps from its beginning.
   */
  readonly queue?: Partial<QueueConfig> | undefined
}

/** What `alterTopic` may change while the topic is in use. */
export type TopicChanges = Partial<TopicConfig>

/** Where one partition's log stands. */
export interface PartitionDescription {
  readonly partition: number
  /** First offset that can still be read. */
  readonly startOffset: number
  /** One past the last offset that consumers may read: everything below is as durable as its acks said. */
  readonly stableOffset: number
  /** One past the last offset given out; more than `stableOffset` while appends are in flight. */
  readonly endOffset: number
  readonly sizeBytes: number
  /** `recovering` while the supervisor reopens it: publishes are refused with RTK_UNAVAILABLE until it is `online`. */
  readonly state: 'online' | 'recovering' | 'failed'
  /** Records that are known to be lost to damage, in order and without overlaps: those before and after are served. */
  readonly damaged: readonly OffsetRange[]
  /** Of a broker of several workers, the one that a connection should have reached for this partition; see `BrokerPlace`. */
  readonly worker?: number | undefined
}

/** A topic as the broker describes it. */
export interface TopicDescription {
  readonly namespace: string
  readonly name: string
  /** Random UUID made at creation; a topic created again under the same name has another. */
  readonly id: string
  readonly createdAtMs: number
  readonly config: TopicConfig
  readonly partitions: readonly PartitionDescription[]
}

/** Counts of one topic. */
export interface TopicStats {
  readonly topic: string
  /** Messages that can be read now, all partitions together. */
  readonly messageCount: number
  readonly subscriberCount: number
  /** Messages that were given out since the broker's start; each subscriber counts. */
  readonly messagesDelivered: number
  readonly sizeBytes: number
  readonly partitions: readonly PartitionDescription[]
}
