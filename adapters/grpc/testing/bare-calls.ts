/** Parts of requests that bare gRPC calls send, and what a call that fails ends with. */
import type { ServiceError, status } from '@grpc/grpc-js'
import { utf8 } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { expect } from 'vitest'

/** The batches that a client which knows no formats gets. */
export const format = proto.DeliveryFormat.DELIVERY_FORMAT_UNSPECIFIED
export const noConfig: proto.TopicConfig = { durability: 0, retention: 0, compression: 0 }
export const message = (
  payload: string,
  more: Partial<proto.OutgoingMessage> = {},
): proto.OutgoingMessage => ({
  payload: utf8(payload),
  headers: [],
  ...more,
})

/** What a failed call ends with. */
export async function failureOf(
  answer: Promise<unknown>,
): Promise<{ status: status; code: unknown; error: proto.Error }> {
  const error = await answer.then(
    () => expect.unreachable('the call succeeded'),
    (thrown: ServiceError) => thrown,
  )
  const [code] = error.metadata.get('ratatoskr-code')
  const [wire] = error.metadata.get('ratatoskr-error-bin')
  return { status: error.code, code, error: proto.Error.decode(wire as Buffer) }
}
