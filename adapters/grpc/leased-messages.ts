/** Leased batches in the format MESSAGES, for clients that cannot read record batches. */
import { type BatchSource, type BrokerFacade, type LeasedBatch, messagesOf } from 'ratatoskr/ports'
import type * as proto from 'ratatoskr/proto'
import { messageToProto, packedBytesMax, sizeOf } from './messages.ts'
import { leasedToProto } from './queue-convert.ts'

/**
 * The messages of a leased batch, in as many parts as it takes for none to be large: each is a leased batch of its own, of
 * the same lease. Messages that have expired are among them, for whoever holds them settles them.
 */
export function* leasedMessages(
  { platform, limits }: BrokerFacade,
  source: Pick<BatchSource, 'topic' | 'topicId'>,
  batch: LeasedBatch,
): Generator<proto.LeasedBatch, void, undefined> {
  const expansion = { codecs: platform.compression, bytesMax: limits.expandedBatchBytesMax }
  const { partition, bytes } = batch
  let messages: proto.Message[] = []
  let size = 0
  for (const message of messagesOf(bytes, { ...source, partition, expansion })) {
    const packed = messageToProto(message)
    const added = sizeOf(packed)
    if (messages.length > 0 && size + added > packedBytesMax) {
      yield partOf(batch, messages)
      messages = []
      size = 0
    }
    messages.push(packed)
    size += added
  }
  if (messages.length > 0) yield partOf(batch, messages)
}

const noBytes = new Uint8Array(0)

const partOf = (batch: LeasedBatch, messages: proto.Message[]): proto.LeasedBatch => ({
  ...leasedToProto(batch),
  recordCount: messages.length,
  firstOffset: messages[0].offset,
  lastOffset: messages[messages.length - 1].offset,
  batches: noBytes,
  messages,
})
