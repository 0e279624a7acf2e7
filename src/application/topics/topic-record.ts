/** What the state store keeps of a topic: one JSON value under `topics/<namespace>/<name>`. */
import { utf8, utf8Text } from '../../domain/batch/bytes.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { isUuid } from '../../domain/message-id.ts'
import { parseTopicRef, quoteForMessage, type TopicRef } from '../../domain/names.ts'
import type { TopicConfig } from '../../domain/topic.ts'
import { defaultTopicConfig, parseTopicConfig } from '../../domain/topic-config.ts'

export const topicKeyPrefix = 'topics/'

export interface TopicRecord {
  readonly id: string
  readonly createdAtMs: number
  readonly config: TopicConfig
  /** A topic that is being deleted: what is left of it goes when the broker starts. */
  readonly deleting: boolean
}

/** Version of the value's layout; a broker refuses what a later one wrote. */
const layoutVersion = 1

// A topic that was lawful when it was created stays readable when a limit is lowered.
const unlimited = { partitionsPerTopicMax: Number.MAX_SAFE_INTEGER, messageBytesMax: Number.MAX_SAFE_INTEGER }

export const topicKey = (ref: TopicRef): string => `${topicKeyPrefix}${ref.namespace}/${ref.name}`

export const encodeTopicRecord = (record: TopicRecord): Uint8Array =>
  utf8(JSON.stringify({ version: layoutVersion, ...record }))

/**
 * Reads one entry back. A damaged one stops the broker: skipping it would make its logs look like nobody's, and those
 * are deleted.
 * @throws RTK_STORE_CORRUPT
 */
export function decodeTopicRecord(key: string, value: Uint8Array): { ref: TopicRef; record: TopicRecord } {
  try {
    const ref = parseTopicRef(key.slice(topicKeyPrefix.length))
    const { version, id, createdAtMs, config, deleting } = JSON.parse(utf8Text(value))
    if (version !== layoutVersion)
      throw new TypeError(`layout ${layoutVersion} expected, got ${quoteForMessage(version)}`)
    if (!isUuid(id) || !Number.isSafeInteger(createdAtMs) || typeof deleting !== 'boolean') {
      throw new TypeError('a field is missing or of the wrong type')
    }
    return { ref, record: { id, createdAtMs, deleting, config: readConfig(config) } }
  } catch (error) {
    throw new RatatoskrError(
      'RTK_STORE_CORRUPT',
      `the stored description of topic ${quoteForMessage(key.slice(topicKeyPrefix.length))} cannot be read; restore it from a backup`,
      { cause: error },
    )
  }
}

/**
 * Fields that a topic was stored without, for there was no such field then, have the defaults. But a topic that was to
 * keep everything keeps everything: its owner did not ask for a limit that came later.
 */
function readConfig(stored: unknown): TopicConfig {
  const defaults = defaultTopicConfig('memory', unlimited)
  const config = parseTopicConfig(stored, { ...defaults, retentionMessages: -1 }, unlimited)
  const { retentionMs, retentionBytes, retentionMessages } = config
  const silent = (stored as Partial<TopicConfig>).retentionMessages === undefined
  const unbounded = retentionMs === -1 && retentionBytes === -1
  return {
    ...config,
    retentionMessages: silent && !unbounded ? defaults.retentionMessages : retentionMessages,
  }
}
