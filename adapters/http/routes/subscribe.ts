/**
 * Subscribing over HTTP: server-sent events for people and browsers, or the binary frames of the WebSocket protocol for
 * clients that want batches. The connection's own flow control is the credit: while the reader does not read, the
 * subscription stands still. Who reads frames may count bytes instead, and grants them by requests beside.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  type Overflow,
  type OverflowPolicy,
  overflowPolicies,
  type PayloadEncoding,
  RatatoskrError,
  type SubscribeOptions,
} from 'ratatoskr/ports'
import { eventContentType, streamEvents } from '../event-stream.ts'
import { frameContentType, streamFrames } from '../frame-stream.ts'
import { partitionsFromText, positionAfterEvent, positionFromText } from '../position-text.ts'
import { accepts, type RouteContext, sessionOf } from '../route-context.ts'
import { done, encodingSchema, object, text, topicParams } from '../schemas.ts'

interface SubscribeQuery {
  readonly group?: string
  readonly member?: string
  readonly from?: string
  readonly otherwise?: 'earliest' | 'latest'
  readonly partitions?: string
  readonly encoding: PayloadEncoding
  readonly overflow?: OverflowPolicy
  readonly overflowMessagesMax?: number
  readonly overflowBytesMax?: number
  readonly creditBytes?: number
}
interface SubscribeRoute {
  Params: { topic: string }
  Querystring: SubscribeQuery
}

const tags = ['messages']
const bound = { type: 'integer', minimum: 1 } as const

const subscribeSchema = {
  tags,
  summary: 'Subscribe: server-sent events, or binary frames when Accept asks for them',
  description:
    'Events are assigned, message, dropped and error; the id of a message resumes after it when it comes back as Last-Event-ID.',
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
    overflow: {
      enum: overflowPolicies,
      description:
        'what happens when the reader falls behind further than a bound while its connection is full',
    },
    overflowMessagesMax: { ...bound, description: 'messages of a partition that it may be behind' },
    overflowBytesMax: { ...bound, description: 'the same in bytes, by the mean size of a message' },
    creditBytes: {
      type: 'integer',
      minimum: 0,
      description:
        'for frames: bytes of batches that may come until more are granted; else as the connection takes them',
    },
  }),
  response: {
    200: {
      description: 'A stream that goes on until either side ends it',
      content: { [eventContentType]: { schema: text }, [frameContentType]: { schema: {} } },
    },
  },
} as const

export function subscribeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get<SubscribeRoute>(
    '/v1/topics/:topic/subscribe',
    // A HEAD request would subscribe, too, and never end.
    { schema: subscribeSchema, exposeHeadRoute: false },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const { topic } = request.params
      const options = subscribeOptionsOf(request)
      const { creditBytes } = request.query
      if (accepts(request, frameContentType)) {
        const credit = creditBytes === undefined ? undefined : { bytes: creditBytes }
        return streamFrames(context, session, { topic, options: { ...options, credit } }, reply)
      }
      return streamEvents(context, session, { topic, options, encoding: request.query.encoding }, reply)
    },
  )

  routes.delete<{ Params: { topic: string; subscription: string } }>(
    '/v1/topics/:topic/subscriptions/:subscription',
    {
      schema: {
        tags,
        summary: 'End a subscription of your own; its id came with its stream',
        params: object({ topic: text, subscription: text }, ['topic', 'subscription']),
        response: done,
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

function subscribeOptionsOf({ query, headers }: FastifyRequest<SubscribeRoute>): SubscribeOptions {
  const { group, member, from, otherwise, partitions } = query
  const last = headers['last-event-id']
  const begin = from === undefined ? undefined : positionFromText(from, otherwise)
  return {
    group,
    member,
    from: typeof last === 'string' && last !== '' ? positionAfterEvent(last) : begin,
    partitions: partitions === undefined ? undefined : partitionsFromText(partitions),
    overflow: overflowOf(query),
  }
}

/** @throws RTK_INVALID_ARGUMENT for bounds without a policy */
function overflowOf(query: SubscribeQuery): Overflow | undefined {
  const { overflow: policy, overflowMessagesMax: messagesMax, overflowBytesMax: bytesMax } = query
  if (policy !== undefined) return { policy, messagesMax, bytesMax }
  if (messagesMax === undefined && bytesMax === undefined) return undefined
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `bounds need a policy: overflow must be one of ${overflowPolicies.join(', ')}`,
  )
}
