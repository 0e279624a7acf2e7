/**
 * The binary stream of a member of a queue group: leased frames and JSON events (`subscribed`, `assigned`, `lost`, `ended`),
 * each after its length as uint32. Credit, settlements and signs of life come by requests that name the subscription.
 *
 * The answer to a settlement goes by another connection than the losses that it caused, and may be there before them: it says
 * how many `lost` events the stream holds, so that the member can read as many first.
 */
import type { FastifyReply } from 'fastify'
import {
  type ConsumeOptions,
  encodeLeasedHeader,
  errorToJson,
  type LeasedSubscription,
  type RatatoskrError,
  type Session,
} from 'ratatoskr/ports'
import { emptyFrame, eventFrame, frameContentType, lengthPrefixed } from './frame-stream.ts'
import { PushResponse } from './push-response.ts'
import type { RouteContext } from './route-context.ts'

/** Pushes what is leased until the reader leaves, the membership ends, or the transport stops. */
export async function streamLeases(
  context: RouteContext,
  session: Session,
  { topic, options }: { readonly topic: string; readonly options: ConsumeOptions },
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { clock } = context.broker.platform
  const stream = new PushResponse(reply.raw, { clock, intervalMs: context.heartbeatMs, sign: emptyFrame })
  const end = (reason: RatatoskrError | undefined): void =>
    stream.end(eventFrame({ event: 'ended', ...(reason !== undefined && { error: errorToJson(reason) }) }))
  let losses = 0
  const member = await session.consume(topic, options, {
    deliver: (batch) =>
      stream.send(lengthPrefixed(encodeLeasedHeader(0, batch), batch.bytes.length), batch.bytes),
    lost(ranges, reason) {
      losses++
      stream.send(eventFrame({ event: 'lost', ranges, reason }))
    },
    assigned(partitions) {
      stream.send(eventFrame({ event: 'assigned', partitions }))
    },
    ended: end,
  })
  const grant: LeasedSubscription['grant'] = (credit) => member.grant(credit)
  context.streams.add(session, member, reply.raw, { end, grant, losses: () => losses })
  reply.hijack()
  const { id, topic: named, group, member: name, config, memberTimeoutMs, beginsFrom } = member
  const names = { subscription: id, topic: named, group, member: name }
  const subscribed = { ...names, config, memberTimeoutMs, beginsFrom }
  stream.begin({ 'content-type': frameContentType }, eventFrame({ event: 'subscribed', ...subscribed }))
  return reply
}
