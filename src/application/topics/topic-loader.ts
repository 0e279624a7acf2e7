/** What the topic registry does at start: reads the stored topics, and removes logs that belong to none of them. */
import type { TopicRef } from '../../domain/names.ts'
import type { Logger, LogId, LogStore, StateStore } from '../../ports/index.ts'
import { decodeTopicRecord, type TopicRecord, topicKeyPrefix } from './topic-record.ts'

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
 * Deletes logs whose topic does not exist, or has fewer partitions: a crash came between opening them and recording
 * them. They hold nothing that was ever acknowledged.
 * @param partitionsOf number of partitions by topic id
 */
export async function deleteOrphanLogs(
  store: LogStore,
  partitionsOf: ReadonlyMap<string, number>,
  logger: Logger,
): Promise<void> {
  const orphans: LogId[] = []
  for await (const id of store.listLogs()) {
    if (id.partition >= (partitionsOf.get(id.topicId) ?? 0)) orphans.push(id)
  }
  for (const id of orphans) {
    try {
      await store.deleteLog(id)
    } catch (error) {
      logger.warn('a log without a topic could not be removed; the next start tries again', { ...id, error })
    }
  }
}
