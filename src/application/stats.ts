/** Counts of topics and of the whole broker, gathered when someone asks. */
import type { TopicStats } from '../domain/topic.ts'
import type { BrokerStats, LogStoreCounters } from '../ports/index.ts'
import type { PublishTraffic } from './publish/traffic.ts'
import type { Delivery } from './seams.ts'
import type { Topic } from './topics/topic.ts'

export function topicStats(topic: Topic, subscriberCount: number, messagesDelivered: number): TopicStats {
  const partitions = topic.partitions.map((partition) => partition.describe())
  return {
    topic: topic.text,
    messageCount: partitions.reduce((sum, one) => sum + one.stableOffset - one.startOffset, 0),
    subscriberCount,
    messagesDelivered,
    sizeBytes: partitions.reduce((sum, one) => sum + one.sizeBytes, 0),
    partitions,
  }
}

export interface BrokerCounts {
  readonly topics: readonly Topic[]
  readonly sessions: number
  readonly traffic: PublishTraffic
  readonly delivery: Delivery
  readonly uptimeMs: number
  readonly storage: LogStoreCounters
}

export const brokerStats = ({
  topics,
  sessions,
  traffic,
  delivery,
  uptimeMs,
  storage,
}: BrokerCounts): BrokerStats => ({
  topics: topics.length,
  partitions: topics.reduce((sum, topic) => sum + topic.partitions.length, 0),
  sessions,
  subscriptions: delivery.totals.subscriptions,
  messagesPublished: traffic.messagesPublished,
  bytesPublished: traffic.bytesPublished,
  messagesDelivered: delivery.totals.messagesDelivered,
  bytesDelivered: delivery.totals.bytesDelivered,
  messagesSkipped: delivery.totals.messagesSkipped,
  messagesDropped: delivery.totals.messagesDropped,
  uptimeMs,
  // A copy, field by field: a store's counters go on counting, and may be an object with more than these.
  storage: {
    appends: storage.appends,
    appendedBytes: storage.appendedBytes,
    syncs: storage.syncs,
    hotReads: storage.hotReads,
    coldReads: storage.coldReads,
    hotBytes: storage.hotBytes,
  },
})
