/** What the topic registry does at start: reads the stored topics, and finds logs that belong to none of them. */
import type { TopicRef } from '../../domain/names.ts'
import type { Logger, LogId, LogStore, StateStore } from '../../ports/index.ts'
import { decodeTopicRecord, type TopicRecord, topicKeyPrefix } from './topic-record.ts'

/** Nothing is written to an orphan: any size does. */
const orphanSegmentBytes = 1024 * 1024

export interface StoredTopic {
  readonly ref: TopicRef
  readonly record: TopicRecord
  readonly version: number
}

/** @throws RTK_STORE_CORRUPT when an entry cannot be read */
export async function* readTopicRecords(state: StateStore): AsyncGenerator<StoredTopic, void, undefined> {
  for await (const { key, value, version } of state.list(topicKeyPrefix)) {
    yield { ...decodeTopicRecord(key, value), version }
  }
}

/**
 * Finds logs whose topic does not exist, or has fewer partitions, and deletes those that are empty: a crash came between
 * opening them and recording them. One that holds records is kept and reported: where logs have acknowledged records but
 * no topic, it is the topics that were lost, and the records may be all that is left.
 * @param partitionsOf number of partitions by topic id
 * @returns topic ids of the logs that were kept
 */
export async function sweepOrphanLogs(
  store: LogStore,
  partitionsOf: ReadonlyMap<string, number>,
  logger: Logger,
): Promise<ReadonlySet<string>> {
  const orphans: LogId[] = []
  for await (const id of store.listLogs()) {
    if (id.partition >= (partitionsOf.get(id.topicId) ?? 0)) orphans.push(id)
  }
  const kept = new Set<string>()
  for (const id of orphans) {
    try {
      if (await isEmpty(store, id)) {
        await store.deleteLog(id)
        continue
      }
      logger.warn(
        'a log holds records and belongs to no topic: it is kept; restore the state of the data directory, or remove the log',
        { ...id },
      )
    } catch (error) {
      logger.warn('a log without a topic could not be removed; the next start tries again', { ...id, error })
    }
    kept.add(id.topicId)
  }
  return kept
}

/** True when nothing was ever stored in the log. */
async function isEmpty(store: LogStore, id: LogId): Promise<boolean> {
  const log = await store.openLog(id, { segmentBytes: orphanSegmentBytes })
  try {
    return log.endOffset === 0 && log.damaged.length === 0
  } finally {
    await log.close()
  }
}
