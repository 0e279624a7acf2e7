/** Messages that wait for their time, over HTTP: list them, take one back. They are published like any other. */
import type { FastifyInstance } from 'fastify'
import { type RouteContext, sessionOf } from '../route-context.ts'
import { integer, object, text, topicParams } from '../schemas.ts'

interface ListRoute {
  Params: { topic: string }
  Querystring: { limit?: number; after?: string }
}
interface CancelRoute {
  Params: { topic: string; id: string }
}

const tags = ['messages']

const listSchema = {
  tags,
  summary: 'List the messages that wait for their time, those that are due first at first',
  params: topicParams,
  querystring: object({
    limit: { ...integer, minimum: 1, maximum: 1_000, default: 100 },
    after: { ...text, description: 'next of the page before' },
  }),
  response: {
    200: object({
      messages: { type: 'array', items: object({ id: text, deliverAtMs: integer, sizeBytes: integer }) },
      next: { ...text, description: 'Where the next page begins; absent when this is the last' },
    }),
  },
} as const

const cancelSchema = {
  tags,
  summary: 'Take back a message that waits for its time',
  params: object({ topic: text, id: text }, ['topic', 'id']),
  response: {
    200: object({
      cancelled: { type: 'boolean', description: 'False when no message of this id waits (any more)' },
    }),
  },
} as const

export function scheduledRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get<ListRoute>('/v1/topics/:topic/scheduled', { schema: listSchema }, async (request) => {
    const session = await sessionOf(context, request)
    return session.listScheduled(request.params.topic, request.query)
  })
  routes.delete<CancelRoute>('/v1/topics/:topic/scheduled/:id', { schema: cancelSchema }, async (request) => {
    const session = await sessionOf(context, request)
    const { topic, id } = request.params
    return { cancelled: await session.cancelScheduled(topic, id) }
  })
}
