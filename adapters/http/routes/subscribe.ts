/**
 * Subscribing over HTTP: server-sent events for people and browsers, or the binary frames of the WebSocket protocol for
 * clients that want batches. The connection's own flow control is the credit: while the reader does not read, the
 * subscription stands still.
 *
 * Server-sent events carry `id: partition:offset`. With several partitions the positions of the others follow, so that
 * `Last-Event-ID` alone resumes all of them: `1:17,0:41`.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  messageToJson,
  type PartitionOffset,
  type PayloadEncoding,
  RatatoskrError,
  type Session,
  type StartPosition,
  type SubscribeOptions,
  type Subscription,
} from 'ratatoskr/ports'
import { EventStream } from '../event-stream.ts'
import { frameContentType, streamFrames } from '../frame-stream.ts'
import { type RouteContext, sessionOf } from '../http-transport.ts'
import { encodingSchema, object, text, topicParams } from '../schemas.ts'

const creditMessages = 1_000

interface SubscribeQuery {
  readonly group?: string
  readonly member?: string
  readonly from?: string
  readonly otherwise?: 'earliest' | 'latest'
  readonly partitions?: string
  readonly encoding: PayloadEncoding
}
type SubscribeRequest = FastifyRequest<{ Params: { topic: string }; Querystring: SubscribeQuery }>

export function subscribeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get<{ Params: { topic: string }; Querystring: SubscribeQuery }>(
    '/v1/topics/:topic/subscribe',
    {
      schema: {
        tags: ['messages'],
        summary: 'Subscribe: server-sent events, or binary frames when Accept asks for them',
        params: topicParams,
        querystring: object({
          group: text,
          member: text,
          from: {
            ...text,
            description: 'earliest, latest, an offset, @ and Unix milliseconds, or partition:offset,…',
          },
          otherwise: {
            enum: ['earliest', 'latest'],
            description: 'where partitions begin that from does not name',
          },
          partitions: { ...text, description: 'such as 0,2' },
          encoding: encodingSchema,
        }),
      },
    },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const options = subscribeOptionsOf(request)
      if (request.headers.accept === frameContentType)
        return streamFrames(context, session, request.params.topic, options, reply)
      return streamEvents(context, session, request, options, reply)
    },
  )

  routes.delete<{ Params: { topic: string; subscription: string } }>(
    '/v1/topics/:topic/subscriptions/:subscription',
    {
      schema: {
        tags: ['messages'],
        summary: 'End a subscription of your own; its id came with its stream',
        params: object({ topic: text, subscription: text }, ['topic', 'subscription']),
        response: { 204: { type: 'null' } },
      },
    },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const { topic, subscription } = request.params
      if (!(await context.streams.close(session, topic, subscription))) {
        throw new RatatoskrError(
          'RTK_SUBSCRIPTION_NOT_FOUND',
          'no subscription of yours has this id; it may have ended',
        )
      }
      return reply.code(204).send()
    },
  )
}

/** Pushes messages as events until the reader leaves, the subscription ends, or the transport stops. */
async function streamEvents(
  context: RouteContext,
  session: Session,
  request: SubscribeRequest,
  options: SubscribeOptions,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const positions = new Map<number, number>()
  const events = new EventStream(reply.raw, context.broker.platform.clock, context.heartbeatMs)
  let subscription: Subscription | undefined
  let owed = 0
  const repay = () => {
    if (subscription === undefined) return
    subscription.grant({ messages: owed })
    owed = 0
  }
  subscription = await session.subscribeMessages(
    request.params.topic,
    { ...options, credit: { messages: creditMessages } },
    {
      assigned(partitions) {
        positions.clear()
        for (const { partition, offset } of partitions) if (offset > 0) positions.set(partition, offset - 1)
        events.send('assigned', { partitions })
      },
      deliver(message) {
        positions.delete(message.partition)
        positions.set(message.partition, message.offset)
        owed++
        repay()
        return events.send('message', messageToJson(message, request.query.encoding), eventId(positions))
      },
      ended: (reason) => events.end(reason),
    },
  )
  repay()
  context.streams.add(session, subscription, reply.raw, (reason) => events.end(reason))
  reply.hijack()
  events.begin({ 'ratatoskr-member': subscription.member, 'ratatoskr-subscription': subscription.id })
  return reply
}

/** The last message's own position first, then where the other partitions stand. */
function eventId(positions: ReadonlyMap<number, number>): string {
  return [...positions]
    .reverse()
    .map(([partition, offset]) => `${partition}:${offset}`)
    .join(',')
}

function subscribeOptionsOf(request: SubscribeRequest): SubscribeOptions {
  const { group, member, from, otherwise, partitions } = request.query
  const last = request.headers['last-event-id']
  return {
    group,
    member,
    from:
      typeof last === 'string' && last !== ''
        ? { offsets: afterLastEvent(last), otherwise: 'earliest' }
        : positionOf(from, otherwise),
    partitions: partitions?.split(',').map((number) => wholeNumber(number, 'partitions')),
  }
}

const afterLastEvent = (id: string): PartitionOffset[] =>
  partitionOffsets(id, 'Last-Event-ID').map(({ partition, offset }) => ({ partition, offset: offset + 1 }))

function positionOf(
  from: string | undefined,
  otherwise: 'earliest' | 'latest' | undefined,
): StartPosition | undefined {
  if (from === undefined || from === 'earliest' || from === 'latest') return from
  if (from.startsWith('@')) return { timestampMs: wholeNumber(from.slice(1), 'from') }
  if (from.includes(':'))
    return { offsets: partitionOffsets(from, 'from'), ...(otherwise !== undefined && { otherwise }) }
  return { offset: wholeNumber(from, 'from') }
}

function partitionOffsets(list: string, field: string): PartitionOffset[] {
  return list.split(',').map((pair) => {
    const [partition, offset, rest] = pair.split(':')
    if (offset === undefined || rest !== undefined)
      throw fieldError(field, 'partition:offset pairs such as 0:41,1:17', pair)
    return { partition: wholeNumber(partition, field), offset: wholeNumber(offset, field) }
  })
}

function wholeNumber(digits: string, field: string): number {
  if (!/^\d{1,15}$/.test(digits)) throw fieldError(field, 'whole numbers', digits)
  return Number(digits)
}

const fieldError = (field: string, expected: string, got: string): RatatoskrError =>
  new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${field}: expected ${expected}, got ${JSON.stringify(got.slice(0, 40))}`,
  )
