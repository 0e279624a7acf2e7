/**
 * The binary stream of a subscription: the frames of the WebSocket protocol, each after its length as uint32. A frame
 * that begins with `{` is a JSON event (`subscribed`, `assigned`, `dropped`, `ended`), an empty one says only that the
 * broker is there; the others carry batches as they are stored.
 */
import type { FastifyReply } from 'fastify'
import {
  type Credit,
  encodeDeliverHeader,
  errorToJson,
  type RatatoskrError,
  type Session,
  type SubscribeOptions,
  type Subscription,
  utf8,
} from 'ratatoskr/ports'
import { PushResponse } from './push-response.ts'
import type { RouteContext } from './route-context.ts'

/** Content type of the stream. */
export const frameContentType = 'application/vnd.ratatoskr.frames'

// For readers that grant none: what may be on its way in the broker beside the one write that is in the socket.
const creditBytesDefault = 4 * 1024 * 1024

/** Says only that the broker is there. */
export const emptyFrame = new Uint8Array(4)

/**
 * Pushes batches until the reader leaves, the subscription ends, or the transport stops: while there is credit, when some is
 * given, or as fast as the connection takes them.
 */
export async function streamFrames(
  context: RouteContext,
  session: Session,
  { topic, options }: { readonly topic: string; readonly options: SubscribeOptions },
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { clock } = context.broker.platform
  const stream = new PushResponse(reply.raw, { clock, intervalMs: context.heartbeatMs, sign: emptyFrame })
  const end = (reason: RatatoskrError | undefined): void =>
    stream.end(eventFrame({ event: 'ended', ...(reason !== undefined && { error: errorToJson(reason) }) }))
  const { credit } = options
  let subscription: Subscription | undefined
  let owed = 0
  const repay = (): void => {
    if (subscription === undefined || credit !== undefined) return
    subscription.grant({ bytes: owed })
    owed = 0
  }
  subscription = await session.subscribe(
    topic,
    { ...options, credit: credit ?? { bytes: creditBytesDefault } },
    {
      assigned(partitions) {
        stream.send(eventFrame({ event: 'assigned', partitions }))
      },
      dropped({ partition, fromOffset, toOffset }) {
        stream.send(eventFrame({ event: 'dropped', partition, fromOffset, toOffset }))
      },
      deliver({ bytes, partition, fromOffset, nextOffset }) {
        owed += bytes.length
        repay()
        const header = encodeDeliverHeader(0, partition, fromOffset, nextOffset)
        return stream.send(lengthPrefixed(header, bytes.length), bytes)
      },
      ended: end,
    },
  )
  repay()
  const standing = subscription
  const grant = credit === undefined ? undefined : (more: Credit) => standing.grant(more)
  context.streams.add(session, subscription, reply.raw, { end, grant })
  reply.hijack()
  const { id, member } = subscription
  stream.begin(
    { 'content-type': frameContentType },
    eventFrame({ event: 'subscribed', subscription: id, member }),
  )
  return reply
}

/** A JSON event as a frame. */
export const eventFrame = (event: object): Uint8Array => lengthPrefixed(utf8(JSON.stringify(event)), 0)

/** The length of a frame and its first bytes; `followingBytes` more come in a write of their own. */
export function lengthPrefixed(bytes: Uint8Array, followingBytes: number): Uint8Array {
  const framed = new Uint8Array(4 + bytes.length)
  new DataView(framed.buffer).setUint32(0, bytes.length + followingBytes)
  framed.set(bytes, 4)
  return framed
}
