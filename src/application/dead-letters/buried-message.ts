/** The message that a letter is about, read out of the batches that came with it. */
import type { Expansion } from '../../domain/batch/expand.ts'
import { messagesOf } from '../../domain/batch/messages.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import type { Message } from '../../ports/index.ts'
import type { DeadLetter } from '../seams.ts'

/** @throws RTK_BATCH_MALFORMED, RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE when its batch cannot be decoded */
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
