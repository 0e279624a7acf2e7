/**
 * The format MESSAGES, for clients that cannot read record batches: fetched batches decoded, and messages of a
 * subscription packed so that a stream carries many in one response.
 */
import {
  type BrokerFacade,
  type FetchedBatch,
  formatTopicRef,
  type MaybePromise,
  type Message,
  messagesOf,
  parseTopicRef,
  RatatoskrError,
  type Session,
} from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { fetchedToProto } from './convert.ts'

/** @throws RTK_INVALID_ARGUMENT for a number that is no format */
export function wantsMessages(format: proto.DeliveryFormat): boolean {
  if (format === proto.DeliveryFormat.DELIVERY_FORMAT_MESSAGES) return true
  if (
    format === proto.DeliveryFormat.DELIVERY_FORMAT_UNSPECIFIED ||
    format === proto.DeliveryFormat.DELIVERY_FORMAT_BATCHES
  ) {
    return false
  }
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `format must be BATCHES (1) or MESSAGES (2), got ${String(format)}`,
  )
}

/**
 * How what is fetched of a topic is answered in the format that was asked for.
 * @throws RTK_INVALID_ARGUMENT
 */
export function fetchedWriter(
  broker: BrokerFacade,
  session: Session,
  topicText: string,
  format: proto.DeliveryFormat,
): (fetched: FetchedBatch) => proto.FetchedBatches {
  if (!wantsMessages(format)) return fetchedToProto
  const topic = formatTopicRef(parseTopicRef(topicText, session.principal.namespace))
  const expansion = { codecs: broker.platform.compression, bytesMax: broker.limits.expandedBatchBytesMax }
  const expiry = broker.platform.clock
  return (fetched) => {
    const { topicId, partition, fromOffset, nextOffset, bytes } = fetched
    const messages = messagesOf(bytes, { topic, topicId, partition, expansion, expiry }, fromOffset)
      .filter(({ offset }) => offset < nextOffset)
      .map(messageToProto)
      .toArray()
    return { ...fetchedToProto(fetched), batches: noBytes, messages }
  }
}

const noBytes = new Uint8Array(0)

/** Bytes of messages that go out in one response, unless a single one is larger: far below what gRPC clients take by default. */
export const packedBytesMax = 64 * 1024
/** What a message takes beside its payload, key and headers, about. */
const messageOverheadBytes = 128

/**
 * Packs messages into responses. What comes while a write is under way goes out with the next one, so that a lone message
 * leaves at once and many share the cost of a write.
 */
export class MessagePacker {
  readonly #write: (messages: proto.Message[]) => MaybePromise<void>
  #packed: proto.Message[] = []
  #bytes = 0
  #flushing: Promise<void> | undefined

  /** @param write writes one response; a promise when no other may be written before it settles */
  constructor(write: (messages: proto.Message[]) => MaybePromise<void>) {
    this.#write = write
  }

  /** Takes a message. @returns a promise when it takes no more before that settles */
  add(message: Message): MaybePromise<void> {
    const packed = messageToProto(message)
    this.#packed.push(packed)
    this.#bytes += sizeOf(packed)
    if (this.#flushing === undefined) {
      this.#flushing = this.#flushAll()
      // A failed write ends the stream, which ends the subscription: nobody need hear it from here as well.
      this.#flushing.catch(() => undefined)
    }
    return this.#bytes < packedBytesMax ? undefined : this.#flushing
  }

  /** Writes what is packed, now. */
  flush(): MaybePromise<void> {
    if (this.#packed.length === 0) return undefined
    const messages = this.#packed
    this.#packed = []
    this.#bytes = 0
    return this.#write(messages)
  }

  async #flushAll(): Promise<void> {
    await undefined // the rest of this turn's messages
    try {
      while (this.#packed.length > 0) await this.flush()
    } finally {
      this.#flushing = undefined
    }
  }
}

export function messageToProto(message: Message): proto.Message {
  const { id, topic, partition, offset, timestampMs, expiresAtMs, key, payload } = message
  const headers = message.headers.map(([name, value]) => ({ name, value }))
  return { id, topic, partition, offset, timestampMs, expiresAtMs, key, headers, payload }
}

/** About how many bytes a message takes. */
export function sizeOf({ key, headers, payload }: proto.Message): number {
  let size = messageOverheadBytes + payload.length + (key?.length ?? 0)
  for (const { name, value } of headers) size += name.length + value.length
  return size
}
