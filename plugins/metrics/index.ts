/**
 * Counts what the broker does into the Metrics port. Uses the public plugin face alone, as anyone's plugin would.
 *
 * Labels are bounded: error codes come from a table, and topics, when asked for, are the first few that have traffic,
 * with `other` for the rest.
 */
import type { Counter, Histogram, Metrics, Plugin, PluginContext } from 'ratatoskr/ports'

/** Where to count, and how finely. */
export interface MetricsPluginOptions {
  /** Where to count; the broker's own metrics by default. */
  readonly metrics?: Metrics | undefined
  /**
   * Topics that get series of their own, labelled `topic`: the first so many to have traffic. The rest is counted as
   * `topic="other"`. 0 by default: then no series has a topic.
   */
  readonly topicsMax?: number | undefined
}

/** The names of all series: a dashboard can be held against this list. */
export const metricNames = {
  publishedMessages: 'ratatoskr.published.messages',
  publishedBytes: 'ratatoskr.published.bytes',
  publishedBatches: 'ratatoskr.published.batches',
  publishDuration: 'ratatoskr.publish.duration_ms',
  publishFailures: 'ratatoskr.publish.failures',
  deliveredMessages: 'ratatoskr.delivered.messages',
  deliveredBytes: 'ratatoskr.delivered.bytes',
  commits: 'ratatoskr.group.commits',
  ackedMessages: 'ratatoskr.acked.messages',
  retriedMessages: 'ratatoskr.retried.messages',
  lostLeases: 'ratatoskr.lease_lost.messages',
  deadLetters: 'ratatoskr.dead_letters',
  subscribersJoined: 'ratatoskr.subscribers.joined',
  subscribersLeft: 'ratatoskr.subscribers.left',
  subscribersFailed: 'ratatoskr.subscribers.failed',
  subscriberOverflows: 'ratatoskr.subscribers.overflows',
  topicsCreated: 'ratatoskr.topics.created',
  topicsAltered: 'ratatoskr.topics.altered',
  topicsDeleted: 'ratatoskr.topics.deleted',
  sessionsOpened: 'ratatoskr.sessions.opened',
  sessionsClosed: 'ratatoskr.sessions.closed',
  denied: 'ratatoskr.denied.operations',
  topics: 'ratatoskr.topics',
  partitions: 'ratatoskr.partitions',
  sessions: 'ratatoskr.sessions',
  subscriptions: 'ratatoskr.subscriptions',
  uptime: 'ratatoskr.uptime_ms',
  ready: 'ratatoskr.ready',
  skippedMessages: 'ratatoskr.skipped.messages',
  droppedMessages: 'ratatoskr.dropped.messages',
  storageAppends: 'ratatoskr.storage.appends',
  storageAppendedBytes: 'ratatoskr.storage.appended_bytes',
  storageSyncs: 'ratatoskr.storage.syncs',
  storageHotReads: 'ratatoskr.storage.hot_reads',
  storageColdReads: 'ratatoskr.storage.cold_reads',
  storageHotBytes: 'ratatoskr.storage.hot_bytes',
} as const

/** Makes the plugin. @throws TypeError when `topicsMax` is no whole number of at least 0 */
export function metricsPlugin(options: MetricsPluginOptions = {}): Plugin {
  const topicsMax = options.topicsMax ?? 0
  if (!Number.isSafeInteger(topicsMax) || topicsMax < 0) {
    throw new TypeError(`topicsMax must be a whole number of at least 0, got ${String(topicsMax)}`)
  }
  let gauges: readonly Disposable[] = []
  return {
    name: 'metrics',
    setup: (context) => {
      const metrics = options.metrics ?? context.metrics
      observeTraffic(context, metrics, topicsMax)
      observeEvents(context, metrics)
      gauges = readStats(context, metrics)
    },
    close: () => {
      for (const gauge of gauges) gauge[Symbol.dispose]()
      gauges = []
    },
  }
}

interface TrafficCounters {
  readonly publishedMessages: Counter
  readonly publishedBytes: Counter
  readonly publishedBatches: Counter
  readonly publishDuration: Histogram
  readonly deliveredMessages: Counter
  readonly deliveredBytes: Counter
}

/** The data plane: one look-up a batch finds all that is counted of its topic. */
function observeTraffic(context: PluginContext, metrics: Metrics, topicsMax: number): void {
  const countersOf = topicCounters(metrics, topicsMax)
  context.on(
    'messagePublished',
    ({ topic, recordCount, sizeBytes, durationMs }) => {
      const counters = countersOf(topic)
      counters.publishedMessages.add(recordCount)
      counters.publishedBytes.add(sizeBytes)
      counters.publishedBatches.add(1)
      counters.publishDuration.record(durationMs)
    },
    { batches: false },
  )
  context.on('messageDelivered', ({ topic, recordCount, sizeBytes }) => {
    const counters = countersOf(topic)
    counters.deliveredMessages.add(recordCount)
    counters.deliveredBytes.add(sizeBytes)
  })
}

function topicCounters(metrics: Metrics, topicsMax: number): (topic: string) => TrafficCounters {
  if (topicsMax === 0) {
    const all = trafficCounters(metrics, {})
    return () => all
  }
  const known = new Map<string, TrafficCounters>()
  const other = trafficCounters(metrics, { topic: 'other' })
  return (topic) => {
    let counters = known.get(topic)
    if (counters === undefined) {
      if (known.size >= topicsMax) return other
      known.set(topic, (counters = trafficCounters(metrics, { topic })))
    }
    return counters
  }
}

const trafficCounters = (metrics: Metrics, labels: Readonly<Record<string, string>>): TrafficCounters => ({
  publishedMessages: metrics.counter(metricNames.publishedMessages, labels),
  publishedBytes: metrics.counter(metricNames.publishedBytes, labels),
  publishedBatches: metrics.counter(metricNames.publishedBatches, labels),
  publishDuration: metrics.histogram(metricNames.publishDuration, labels),
  deliveredMessages: metrics.counter(metricNames.deliveredMessages, labels),
  deliveredBytes: metrics.counter(metricNames.deliveredBytes, labels),
})

/** What happens seldom enough to look its series up each time. */
function observeEvents(context: PluginContext, metrics: Metrics): void {
  context.on('publishFailed', ({ error }) => {
    metrics.counter(metricNames.publishFailures, { code: error.code }).add(1)
  })
  context.on('denied', ({ action }) => {
    metrics.counter(metricNames.denied, { action }).add(1)
  })
  const commits = metrics.counter(metricNames.commits)
  const acked = metrics.counter(metricNames.ackedMessages)
  context.on('messageAcked', ({ fromOffset, offset }) => {
    if (fromOffset === undefined) commits.add(1)
    else acked.add(offset - fromOffset)
  })
  const retried = metrics.counter(metricNames.retriedMessages)
  context.on('messageRetried', ({ fromOffset, toOffset }) => {
    retried.add(toOffset - fromOffset)
  })
  context.on('messageLeaseLost', ({ fromOffset, toOffset, reason }) => {
    metrics.counter(metricNames.lostLeases, { reason }).add(toOffset - fromOffset)
  })
  context.on('subscriberOverflowed', ({ policy }) => {
    metrics.counter(metricNames.subscriberOverflows, { policy }).add(1)
  })
  context.on('deadLettered', ({ reason }) => {
    metrics.counter(metricNames.deadLetters, { reason }).add(1)
  })
  const counted = {
    subscriberJoined: metricNames.subscribersJoined,
    subscriberLeft: metricNames.subscribersLeft,
    subscriberFailed: metricNames.subscribersFailed,
    topicCreated: metricNames.topicsCreated,
    topicAltered: metricNames.topicsAltered,
    topicDeleted: metricNames.topicsDeleted,
    connected: metricNames.sessionsOpened,
    disconnected: metricNames.sessionsClosed,
  } as const
  for (const [hook, name] of Object.entries(counted)) {
    const counter = metrics.counter(name)
    context.on(hook as keyof typeof counted, () => {
      counter.add(1)
    })
  }
}

/** What the broker knows anyway is read when someone looks. */
function readStats(context: PluginContext, metrics: Metrics): readonly Disposable[] {
  return [
    metrics.gauge(metricNames.topics, () => context.stats().topics),
    metrics.gauge(metricNames.partitions, () => context.stats().partitions),
    metrics.gauge(metricNames.sessions, () => context.stats().sessions),
    metrics.gauge(metricNames.subscriptions, () => context.stats().subscriptions),
    metrics.gauge(metricNames.uptime, () => context.stats().uptimeMs),
    metrics.gauge(metricNames.ready, () => (context.health().ready ? 1 : 0)),
    // Running totals that the broker keeps: they only rise, but for the bytes in memory.
    metrics.gauge(metricNames.skippedMessages, () => context.stats().messagesSkipped),
    metrics.gauge(metricNames.droppedMessages, () => context.stats().messagesDropped),
    metrics.gauge(metricNames.storageAppends, () => context.stats().storage.appends),
    metrics.gauge(metricNames.storageAppendedBytes, () => context.stats().storage.appendedBytes),
    metrics.gauge(metricNames.storageSyncs, () => context.stats().storage.syncs),
    metrics.gauge(metricNames.storageHotReads, () => context.stats().storage.hotReads),
    metrics.gauge(metricNames.storageColdReads, () => context.stats().storage.coldReads),
    metrics.gauge(metricNames.storageHotBytes, () => context.stats().storage.hotBytes),
  ]
}
