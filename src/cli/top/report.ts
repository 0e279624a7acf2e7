/** Two looks at a broker as what happened between them: rates of the broker, its topics and its groups. */
import { formatTopicRef, type TopicDescription } from '../../ports/index.ts'
import { type GroupSample, type Sample, sum } from './sample.ts'

/** The broker between two looks. Rates are a second's; sizes are in bytes. */
export interface BrokerRow {
  readonly uptimeMs: number
  readonly topics: number
  readonly partitions: number
  readonly connections: number
  readonly subscriptions: number
  readonly inPerSecond: number
  readonly inBytesPerSecond: number
  readonly outPerSecond: number
  readonly outBytesPerSecond: number
  /** Of one processor; above 100 where several threads work. Undefined when the broker does not tell. */
  readonly cpuPercent: number | undefined
  readonly loopDelayMs: number | undefined
  readonly residentBytes: number | undefined
  readonly heapBytes: number | undefined
  readonly bufferBytes: number | undefined
}

/** A topic between two looks. */
interface TopicRow {
  readonly topic: string
  readonly partitions: number
  readonly messages: number
  readonly bytes: number
  readonly inPerSecond: number
  /** What its subscribers were given, all together. */
  readonly outPerSecond: number
  /** Of the group that is furthest behind. */
  readonly lagMax: number
  readonly groups: number
}

/** A group between two looks. */
interface GroupRow extends Omit<GroupSample, 'done'> {
  /** What it got done with. */
  readonly outPerSecond: number
}

/** All that `top` shows at a time. */
export interface TopReport {
  /** When, by this machine's clock. */
  readonly time: string
  readonly broker: BrokerRow
  /** Those with the most messages coming in first. */
  readonly topics: readonly TopicRow[]
  /** Those that are furthest behind first. */
  readonly groups: readonly GroupRow[]
}

/** What happened between two samples. @param topicsMax topics that are shown at most */
export function reportOf(before: Sample, now: Sample, topicsMax: number): TopReport {
  const seconds = Math.max((now.atMs - before.atMs) / 1_000, 1e-3)
  const rate = (from: number, to: number): number => Math.round(Math.max(0, to - from) / seconds)
  const known = new Map(before.groups.map((group) => [keyOf(group), group.done]))
  const groups = now.groups.map(({ done, ...group }) => ({
    ...group,
    outPerSecond: rate(known.get(keyOf(group)) ?? done, done),
  }))
  const ends = new Map(before.topics.map((topic) => [topic.id, endOf(topic)]))
  const topics = now.topics.map((topic): TopicRow => {
    const name = formatTopicRef(topic)
    const own = groups.filter((group) => group.topic === name)
    return {
      topic: name,
      partitions: topic.partitions.length,
      messages: sum(topic.partitions, ({ stableOffset, startOffset }) => stableOffset - startOffset),
      bytes: sum(topic.partitions, ({ sizeBytes }) => sizeBytes),
      // One that is new began with nothing.
      inPerSecond: rate(ends.get(topic.id) ?? 0, endOf(topic)),
      outPerSecond: rate(
        before.delivered.get(topic.id) ?? now.delivered.get(topic.id) ?? 0,
        now.delivered.get(topic.id) ?? 0,
      ),
      lagMax: Math.max(0, ...own.map(({ lag }) => lag)),
      groups: own.length,
    }
  })
  return {
    time: new Date().toISOString(),
    broker: brokerRow(before, now, seconds, rate),
    topics: topics
      .sort(
        (a, b) =>
          b.inPerSecond - a.inPerSecond || b.outPerSecond - a.outPerSecond || byName(a.topic, b.topic),
      )
      .slice(0, topicsMax),
    groups: groups.sort((a, b) => b.lag - a.lag || byName(keyOf(a), keyOf(b))),
  }
}

/** The topics whose groups are asked for: those that had the most come in since the last look, if there was one. */
export function busiest(
  topics: readonly TopicDescription[],
  before: Sample | undefined,
  topicsMax: number,
): readonly TopicDescription[] {
  const ends = new Map(before?.topics.map((topic) => [topic.id, endOf(topic)]))
  const came = (topic: TopicDescription): number => endOf(topic) - (ends.get(topic.id) ?? 0)
  return [...topics].sort((a, b) => came(b) - came(a)).slice(0, topicsMax)
}

function brokerRow(
  before: Sample,
  now: Sample,
  seconds: number,
  rate: (from: number, to: number) => number,
): BrokerRow {
  const [was, is] = [before.broker, now.broker]
  const cpuMs = is.process === undefined ? undefined : is.process.cpuMs - (was.process?.cpuMs ?? 0)
  return {
    uptimeMs: is.uptimeMs,
    topics: is.topics,
    partitions: is.partitions,
    connections: is.sessions,
    subscriptions: is.subscriptions,
    inPerSecond: rate(was.messagesPublished, is.messagesPublished),
    inBytesPerSecond: rate(was.bytesPublished, is.bytesPublished),
    outPerSecond: rate(was.messagesDelivered, is.messagesDelivered),
    outBytesPerSecond: rate(was.bytesDelivered, is.bytesDelivered),
    cpuPercent: cpuMs === undefined ? undefined : Math.round(Math.max(0, cpuMs) / seconds / 10),
    loopDelayMs: is.process?.loopDelayMs,
    residentBytes: is.process?.residentBytes,
    heapBytes: is.process?.heapBytes,
    bufferBytes: is.process?.bufferBytes,
  }
}

const endOf = ({ partitions }: TopicDescription): number =>
  sum(partitions, ({ stableOffset }) => stableOffset)
const keyOf = ({ topic, group }: Pick<GroupSample, 'topic' | 'group'>): string => `${topic} ${group}`
const byName = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
