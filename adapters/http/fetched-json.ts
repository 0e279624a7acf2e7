/** What a fetch found, as JSON messages; without those that have expired. */
import {
  type BatchSource,
  type FetchedBatch,
  formatTopicRef,
  type JsonMessage,
  messagesOf,
  messageToJson,
  type PayloadEncoding,
  parseTopicRef,
  type Session,
} from 'ratatoskr/ports'
import type { RouteContext } from './route-context.ts'

export interface FetchedJson {
  readonly messages: readonly JsonMessage[]
  /** Where the next fetch goes on. */
  readonly nextOffset: number
}

/** Makes a reader of the batches of one topic. */
export function jsonReader(
  { broker }: RouteContext,
  session: Session,
  topicText: string,
  encoding: PayloadEncoding,
): (fetched: FetchedBatch, limit?: number) => FetchedJson {
  const topic = formatTopicRef(parseTopicRef(topicText, session.principal.namespace))
  const expansion = { codecs: broker.platform.compression, bytesMax: broker.limits.expandedBatchBytesMax }
  return ({ bytes, partition, topicId, fromOffset, nextOffset }, limit = Number.POSITIVE_INFINITY) => {
    const source: BatchSource = { topic, topicId, partition, expansion, expiry: broker.platform.clock }
    const messages: JsonMessage[] = []
    for (const message of messagesOf(bytes, source, fromOffset)) {
      if (message.offset >= nextOffset) break
      if (messages.length === limit) return { messages, nextOffset: message.offset }
      messages.push(messageToJson(message, encoding))
    }
    return { messages, nextOffset }
  }
}
