/**
 * Stores messages that queue groups gave up in their dead letter topics: the message as it was, and in headers why, when and
 * from where.
 */
import { BatchBuilder } from '../../domain/batch/builder.ts'
import { utf8 } from '../../domain/batch/bytes.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import { messagesOf } from '../../domain/batch/messages.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { parseUuid } from '../../domain/message-id.ts'
import { parseTopicRef, type TopicRef } from '../../domain/names.ts'
import type { Header, Message, Platform, Principal } from '../../ports/index.ts'
import type { DeadLetter, DeadLetters } from '../seams.ts'
import type { Topic } from '../topics/topic.ts'
import type { TopicRegistry } from '../topics/topic-registry.ts'

export interface DeadLetterParts {
  readonly topics: TopicRegistry
  readonly platform: Platform
  readonly expansion: Expansion
}

/** In whose name dead letter topics are made. */
const broker: Principal = { name: 'ratatoskr', namespace: 'default' }

export class TopicDeadLetters implements DeadLetters {
  readonly #parts: DeadLetterParts

  constructor(parts: DeadLetterParts) {
    this.#parts = parts
  }

  async bury(letter: DeadLetter): Promise<string | undefined> {
    if (letter.config.deadLetterTopic === 'none') return undefined
    const topic = await this.#topicFor(letter)
    const { clock, checksum } = this.#parts.platform
    const message = this.#messageOf(letter)
    const builder = new BatchBuilder({ checksum })
    builder.add({
      payload: message.payload,
      key: message.key,
      headers: [...message.headers, ...headersOf(letter)],
      id: parseUuid(message.id),
      timestampMs: message.timestampMs,
    })
    await topic.partition(0).append(builder.build(), 1, topic.config.durability, clock.monotonic())
    return topic.text
  }

  /** @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE when its batch cannot be decoded */
  #messageOf({ topic, partition, offset, bytes }: DeadLetter): Message {
    const source = { topic: topic.text, topicId: topic.id, partition, expansion: this.#parts.expansion }
    for (const message of messagesOf(bytes, source, offset)) {
      if (message.offset === offset) return message
      break
    }
    throw new RatatoskrError('RTK_INTERNAL', `${topic.text} has no message at ${partition}:${offset}`)
  }

  async #topicFor(letter: DeadLetter): Promise<Topic> {
    const ref = deadLetterRef(letter)
    const { topics } = this.#parts
    const existing = topics.get(ref)
    if (existing !== undefined) return existing
    const config = {
      partitions: 1,
      retentionMs: letter.config.deadLetterRetentionMs,
      retentionMessages: -1,
      durability: letter.topic.config.durability,
    }
    try {
      return (await topics.create(ref, config, broker)).topic
    } catch (error) {
      const other = topics.get(ref) // somebody was faster, with settings of his own
      if (other !== undefined) return other
      throw error
    }
  }
}

function deadLetterRef({ topic, config }: DeadLetter): TopicRef {
  const { namespace, name } = topic.ref
  if (config.deadLetterTopic === '') return { namespace, name: `${name}.dlq` }
  return parseTopicRef(config.deadLetterTopic, namespace)
}

function headersOf(letter: DeadLetter): Header[] {
  const fields: Record<string, string | number | undefined> = {
    reason: letter.reason,
    error: letter.error,
    attempts: letter.attempts,
    'first-at': letter.firstAtMs,
    'last-at': letter.lastAtMs,
    topic: letter.topic.text,
    partition: letter.partition,
    offset: letter.offset,
    group: letter.group,
  }
  const headers: Header[] = []
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== '') headers.push([`rtk-dead-letter-${name}`, utf8(String(value))])
  }
  return headers
}
