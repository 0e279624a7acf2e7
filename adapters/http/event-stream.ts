/**
 * A subscription as server-sent events, for people and browsers.
 *
 * A message carries `id: partition:offset`. With several partitions the positions of the others follow, so that
 * `Last-Event-ID` alone resumes all of them: `1:17,0:41`.
 */
import type { FastifyReply } from 'fastify'
import {
  messageToJson,
  type PayloadEncoding,
  type RatatoskrError,
  type Session,
  type SubscribeOptions,
  type Subscription,
} from 'ratatoskr/ports'
import { problemOf } from './problem.ts'
import { PushResponse } from './push-response.ts'
import type { RouteContext } from './route-context.ts'

/** Content type of the stream. */
export const eventContentType = 'text/event-stream'

// What the broker may have ready beside the one message that waits for a slow reader.
const creditMessages = 1_000

// How long a browser waits before it connects again.
const retryMs = 1_000

export interface EventStreamRequest {
  readonly topic: string
  readonly options: SubscribeOptions
  readonly encoding: PayloadEncoding
}

/** Pushes messages until the reader leaves, the subscription ends, or the transport stops. */
export async function streamEvents(
  context: RouteContext,
  session: Session,
  { topic, options, encoding }: EventStreamRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { clock } = context.broker.platform
  const stream = new PushResponse(reply.raw, { clock, intervalMs: context.heartbeatMs, sign: ':\n\n' })
  const end = (reason: RatatoskrError | undefined): void =>
    stream.end(reason === undefined ? '' : eventText('error', problemOf(reason)))
  const positions = new Map<number, number>()
  let subscription: Subscription | undefined
  let owed = 0
  const repay = (): void => {
    if (subscription === undefined) return
    subscription.grant({ messages: owed })
    owed = 0
  }
  subscription = await session.subscribeMessages(
    topic,
    { ...options, credit: { messages: creditMessages } },
    {
      assigned(partitions) {
        positions.clear()
        for (const { partition, offset } of partitions) if (offset > 0) positions.set(partition, offset - 1)
        stream.send(eventText('assigned', { partitions }))
      },
      dropped({ partition, fromOffset, toOffset }) {
        positions.delete(partition)
        positions.set(partition, toOffset - 1)
        stream.send(eventText('dropped', { partition, fromOffset, toOffset }, eventId(positions)))
      },
      deliver(message) {
        positions.delete(message.partition)
        positions.set(message.partition, message.offset)
        owed++
        repay()
        return stream.send(eventText('message', messageToJson(message, encoding), eventId(positions)))
      },
      ended: end,
    },
  )
  repay()
  context.streams.add(session, subscription, reply.raw, { end })
  reply.hijack()
  stream.begin(
    {
      'content-type': eventContentType,
      'x-accel-buffering': 'no',
      'ratatoskr-member': subscription.member,
      'ratatoskr-subscription': subscription.id,
    },
    `retry: ${retryMs}\n\n`,
  )
  return reply
}

const eventText = (event: string, data: unknown, id?: string): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`

/** The last message's own position first, then where the other partitions stand. */
const eventId = (positions: ReadonlyMap<number, number>): string =>
  [...positions]
    .reverse()
    .map(([partition, offset]) => `${partition}:${offset}`)
    .join(',')
