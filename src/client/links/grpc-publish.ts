/** Messages to publish, and what became of them, between a link and `ratatoskr.v1`. */
import type * as proto from '../../../proto/index.ts'
import { type OutgoingMessage, type PublishResult, RatatoskrError } from '../../ports/index.ts'
import { durabilityFromProto } from './grpc-convert.ts'
import { errorFromProto } from './grpc-errors.ts'

export const outgoingToProto = ({ headers = [], ...message }: OutgoingMessage): proto.OutgoingMessage => ({
  ...message,
  headers: headers.map(([name, value]) => ({ name, value })),
})

/** @throws RTK_FRAME_MALFORMED */
export function publishResultFromProto({ receipt, error }: proto.PublishResult): PublishResult {
  if (error !== undefined) return { error: errorFromProto(error) }
  if (receipt === undefined) {
    throw new RatatoskrError('RTK_FRAME_MALFORMED', 'the broker answered a publish with nothing')
  }
  const { id, partition, offset, duplicate, deliverAtMs } = receipt
  const durability = durabilityFromProto(receipt.durability)
  const place = deliverAtMs === undefined ? { partition, offset } : { partition: -1, offset: -1 }
  return {
    id,
    ...place,
    durability,
    ...(duplicate && { duplicate }),
    ...(deliverAtMs !== undefined && { deliverAtMs }),
  }
}
