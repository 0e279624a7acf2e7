/** What `ratatoskr top` asks the broker for at each turn, and the counts of which rates are made. */
import type { Client } from '../../client/client.ts'
import {
  type BrokerStats,
  formatTopicRef,
  isRatatoskrError,
  type TopicDescription,
} from '../../ports/index.ts'

/** How far a group is. */
export interface GroupSample {
  readonly topic: string
  readonly group: string
  readonly kind: 'queue' | 'stream'
  readonly state: string
  readonly members: number
  readonly lag: number
  readonly inFlight: number
  /** Messages that it is done with, from the beginnings of its partitions on. */
  readonly done: number
}

/** One look at a broker. */
export interface Sample {
  readonly atMs: number
  readonly broker: BrokerStats
  readonly topics: readonly TopicDescription[]
  readonly groups: readonly GroupSample[]
  /** Messages that were given out of each topic that was asked about, by its id. */
  readonly delivered: ReadonlyMap<string, number>
}

/** Groups that are asked for at the same time. */
const asksAtOnce = 16

/**
 * Looks once. What goes away meanwhile, or may not be seen, is left out.
 * @param shown chooses the topics that more is asked of: each is a call, and one for each of its groups
 */
export async function takeSample(
  client: Client,
  shown: (topics: readonly TopicDescription[]) => readonly TopicDescription[],
): Promise<Sample> {
  const [broker, topics] = await Promise.all([client.brokerStats(), client.listTopics()])
  const atMs = performance.now()
  const asked = shown(topics).map((topic) => ({ id: topic.id, topic: formatTopicRef(topic) }))
  const delivered = await each(asked, async ({ id, topic }) => {
    return [id, (await client.topicStats(topic)).messagesDelivered] as const
  })
  const listed = await each(asked, async ({ topic }) =>
    (await client.listGroups(topic)).map((group) => ({ topic, group })),
  )
  const groups = await each(listed.flat(), ({ topic, group }) => sampleOf(client, topic, group))
  return { atMs, broker, topics, groups, delivered: new Map(delivered) }
}

/** The work on each, some at a time, without those that are gone or hidden. */
async function each<Item, Result>(
  items: readonly Item[],
  work: (item: Item) => Promise<Result>,
): Promise<readonly Result[]> {
  const results: (Result | undefined)[] = []
  for (let from = 0; from < items.length; from += asksAtOnce) {
    const some = items.slice(from, from + asksAtOnce)
    results.push(...(await Promise.all(some.map((item) => work(item).catch(undefinedWhenMissing)))))
  }
  return results.filter((result) => result !== undefined)
}

function undefinedWhenMissing(error: unknown): undefined {
  const missing = ['RTK_TOPIC_NOT_FOUND', 'RTK_TOPIC_DELETED', 'RTK_GROUP_NOT_FOUND', 'RTK_PERMISSION_DENIED']
  if (!isRatatoskrError(error) || !missing.includes(error.code)) throw error
}

async function sampleOf(client: Client, topic: string, group: string): Promise<GroupSample> {
  try {
    const { state, paused, members, partitions, lag } = await client.describeQueue(topic, group)
    return {
      topic,
      group,
      kind: 'queue',
      state: paused ? 'paused' : state,
      members: members.length,
      lag,
      inFlight: sum(partitions, ({ inFlight }) => inFlight),
      done: sum(partitions, ({ ackedOffset }) => ackedOffset),
    }
  } catch (error) {
    if (!isRatatoskrError(error, 'RTK_GROUP_MISMATCH')) throw error
  }
  const { state, members, partitions, lag } = await client.describeGroup(topic, group)
  const done = sum(partitions, ({ committedOffset = 0 }) => committedOffset)
  return { topic, group, kind: 'stream', state, members: members.length, lag, inFlight: 0, done }
}

export const sum = <T>(all: readonly T[], of: (one: T) => number): number =>
  all.reduce((total, one) => total + of(one), 0)
