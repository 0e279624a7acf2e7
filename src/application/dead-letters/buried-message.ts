/** What a letter is about, read out of the batches that came with it: the message, or the batch when that cannot be decoded. */
import type { Expansion } from '../../domain/batch/expand.ts'
import {
  baseOffsetOf,
  batchEndOf,
  batchStarts,
  maxTimestampOf,
  nextOffsetOf,
} from '../../domain/batch/header.ts'
import { messagesOf } from '../../domain/batch/messages.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { derivedMessageId } from '../../domain/message-id.ts'
import type { Header, Message } from '../../ports/index.ts'
import type { DeadLetter } from '../seams.ts'

/** Of a batch that cannot be decoded so much is kept: as much as a message may have by default. */
const undecodedBytesMax = 8 * 1024 * 1024

/** What of a message goes into its letter. */
export interface BuriedContent extends Pick<Message, 'payload' | 'key' | 'id' | 'timestampMs'> {
  readonly headers: readonly Header[]
}

/** A message of which only its batch is known. */
export interface UndecodedMessage {
  readonly content: BuriedContent
  /** First offset of the batch. */
  readonly batchOffset: number
}

/** @throws when its batch cannot be decoded, or does not hold it */
export function buriedMessage(
  { topic, partition, offset, bytes }: DeadLetter,
  expansion: Expansion,
): Message {
  const source = { topic: topic.text, topicId: topic.id, partition, expansion }
  for (const message of messagesOf(bytes, source, offset)) {
    if (message.offset === offset) return message
    break
  }
  throw new RatatoskrError('RTK_INTERNAL', `${topic.text} has no message at ${partition}:${offset}`)
}

/** The batch that holds the message, as it is stored, in place of the message. */
export function undecodedMessage({ topic, partition, offset, bytes }: DeadLetter): UndecodedMessage {
  let at = 0
  for (const start of batchStarts(bytes)) {
    at = start
    if (nextOffsetOf(bytes, start) > offset) break
  }
  return {
    content: {
      payload: bytes.subarray(at, Math.min(batchEndOf(bytes, at), at + undecodedBytesMax)),
      key: undefined,
      headers: [],
      id: derivedMessageId(topic.id, partition, offset),
      timestampMs: maxTimestampOf(bytes, at),
    },
    batchOffset: baseOffsetOf(bytes, at),
  }
}
