/** What views of messages need to know of their topic. */
import { formatTopicRef, isRatatoskrError } from '../ports/index.ts'
import type { Link } from './link.ts'

export interface TopicFacts {
  readonly id: string
  /** The topic's name as messages show it. */
  readonly text: string
  /** The worker of each partition, of a broker that has several. */
  readonly workers?: readonly (number | undefined)[]
}

/** Stands for a topic that the principal may read but not describe: only ids that are derived from the topic's differ. */
const undescribedId = '00000000-0000-0000-0000-000000000000'

/** Asks the broker; undefined when the topic is not there. */
export async function topicFacts(link: Link, topic: string): Promise<TopicFacts | undefined> {
  try {
    const described = await link.describeTopic(topic)
    return {
      id: described.id,
      text: formatTopicRef(described),
      workers: described.partitions.map(({ worker }) => worker),
    }
  } catch (error) {
    if (isRatatoskrError(error, 'RTK_PERMISSION_DENIED')) return { id: undescribedId, text: topic }
    if (isRatatoskrError(error, 'RTK_TOPIC_NOT_FOUND')) return undefined
    throw error
  }
}

/** The worker that owns all of these partitions, all there are when none are named; undefined when no single one does. */
export function workerOfAll(
  { workers = [] }: TopicFacts,
  partitions: Iterable<number> = workers.keys(),
): number | undefined {
  const all = new Set(Array.from(partitions, (partition) => workers[partition]))
  return all.size === 1 ? all.values().next().value : undefined
}
