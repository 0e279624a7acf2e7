/** Health for load balancers (`/livez`, `/readyz`), for people (`/healthz`), and counts of the whole broker. */
import type { FastifyInstance } from 'fastify'
import { type RouteContext, sessionOf } from '../route-context.ts'
import { integer, object, text } from '../schemas.ts'

const healthSchema = object({
  status: { enum: ['starting', 'ok', 'degraded', 'stopping', 'stopped'] },
  ready: { type: 'boolean' },
  uptimeMs: integer,
  components: {
    type: 'array',
    items: object({
      name: text,
      status: { enum: ['ok', 'restarting', 'failed', 'degraded'] },
      restarts: integer,
      lastError: text,
    }),
  },
})

const statsSchema = object({
  topics: integer,
  partitions: integer,
  sessions: integer,
  subscriptions: integer,
  messagesPublished: integer,
  bytesPublished: integer,
  messagesDelivered: integer,
  bytesDelivered: integer,
  messagesSkipped: integer,
  messagesDropped: integer,
  uptimeMs: integer,
  storage: object({
    appends: integer,
    appendedBytes: integer,
    syncs: integer,
    hotReads: integer,
    coldReads: integer,
    hotBytes: integer,
  }),
  process: object({
    residentBytes: integer,
    heapBytes: integer,
    bufferBytes: integer,
    cpuMs: integer,
    loopDelayMs: { type: 'number' },
  }),
})

const sessionSchema = object({
  principal: text,
  namespace: text,
  timeMs: integer,
  limits: { type: 'object', additionalProperties: { type: 'integer' } },
})

export function healthRoutes(routes: FastifyInstance, context: RouteContext): void {
  const tags = ['health']
  const status = object({ status: text })

  // Liveness touches nothing but the event loop: a slow disk must not get the process killed.
  routes.get(
    '/livez',
    { schema: { tags, summary: 'The process answers', response: { 200: status } } },
    async () => ({ status: 'ok' }),
  )

  routes.get(
    '/readyz',
    { schema: { tags, summary: 'The broker takes work', response: { 200: status, 503: status } } },
    async (_request, reply) => {
      const health = context.broker.health()
      return reply.code(health.ready ? 200 : 503).send({ status: health.status })
    },
  )

  // Component names tell of topics, so whoever asks must be someone.
  routes.get(
    '/healthz',
    {
      schema: {
        tags,
        summary: 'Status of every component',
        response: { 200: healthSchema, 503: healthSchema },
      },
    },
    async (request, reply) => {
      await (await sessionOf(context, request)).brokerStats()
      const health = context.broker.health()
      return reply.code(health.ready ? 200 : 503).send(health)
    },
  )

  routes.get(
    '/v1/stats',
    { schema: { tags, summary: 'Counts of the broker', response: { 200: statsSchema } } },
    async (request) => (await sessionOf(context, request)).brokerStats(),
  )

  // What a client asks first: whether it is let in, as whom, and within which bounds.
  routes.get(
    '/v1/session',
    {
      schema: {
        tags,
        summary: 'Who the caller is, the clock and the limits of the broker',
        response: { 200: sessionSchema },
      },
    },
    async (request) => {
      const { principal } = await sessionOf(context, request)
      const { limits, platform } = context.broker
      const timeMs = Math.floor(platform.clock.now())
      return { principal: principal.name, namespace: principal.namespace, timeMs, limits }
    },
  )
}
