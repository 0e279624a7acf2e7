/** Queue groups over HTTP: take leased messages and settle them, be pushed to, and look after the group. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import {
  type ConsumeOptions,
  encodeLeasedHeader,
  formatTopicRef,
  leasedToJson,
  type MaybePromise,
  type PayloadEncoding,
  parseTopicRef,
  type QueueChanges,
  type QueueConfig,
  type QueueCredit,
  type Session,
  type Settlement,
  settleResultsToJson,
  startPositionFromJson,
  type Taken,
  takeOrRelease,
} from 'ratatoskr/ports'
import { eventFrame, frameContentType, lengthPrefixed } from '../frame-stream.ts'
import { streamLeases } from '../lease-stream.ts'
import {
  consumeBodySchema,
  createBodySchema,
  creditSchema,
  heldProperties,
  memberSettledSchema,
  pauseBodySchema,
  queueSchema,
  settledSchema,
  settlementsSchema,
  takeBodySchema,
  takenSchema,
} from '../queue-schemas.ts'
import { abortWaiting, accepts, type RouteContext, sessionOf } from '../route-context.ts'
import { done, groupParams, integer, object, queueConfigSchema, text } from '../schemas.ts'
import { type HeldBody, settleNamed } from '../settling.ts'

interface GroupRoute {
  Params: { topic: string; group: string }
}
interface SubscriptionRoute {
  Params: { topic: string; subscription: string }
}
interface MemberBody {
  readonly member?: string
  readonly from?: unknown
  readonly config?: object
  readonly autoAck?: boolean
}
interface TakeBody extends MemberBody {
  readonly limit?: number
  readonly bytesMax?: number
  readonly waitMs?: number
  readonly encoding?: PayloadEncoding
}

const one = '/v1/topics/:topic/groups/:group'
const subscription = '/v1/topics/:topic/subscriptions/:subscription'
const tags = ['queues']
const subscriptionParams = object({ topic: text, subscription: text }, ['topic', 'subscription'])
const exampleMessage = { partition: 0, offset: 0, lease: 250482810650625 }
const exampleRange = { partition: 0, lease: 250482810650625, from: 0, to: 1 }

export function queueRoutes(routes: FastifyInstance, context: RouteContext): void {
  settingRoutes(routes, context)
  takeRoutes(routes, context)
  settleRoutes(routes, context)
  presenceRoutes(routes, context)
  consumeRoutes(routes, context)
}

function settingRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.put<GroupRoute & { Body: { from?: unknown } | null }>(
    one,
    {
      schema: {
        tags,
        summary: 'Create a queue group; again with equal settings is no error',
        params: groupParams,
        body: createBodySchema,
        response: { 200: queueSchema },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const { from, ...config } = request.body ?? {}
      const session = await sessionOf(context, request)
      const begin = from === undefined ? undefined : startPositionFromJson(from, 'from')
      return sendJson(reply, await session.createQueue(topic, group, config as Partial<QueueConfig>, begin))
    },
  )
  routes.patch<GroupRoute & { Body: QueueChanges }>(
    one,
    {
      schema: {
        tags,
        summary: 'Change settings of a queue group; null is that of the topic again',
        params: groupParams,
        body: { ...queueConfigSchema, examples: [{ retriesMax: 5, ackTimeoutMs: null }] },
        response: { 200: queueSchema },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const session = await sessionOf(context, request)
      return sendJson(reply, await session.alterQueue(topic, group, request.body))
    },
  )
}

function takeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.post<GroupRoute & { Body: TakeBody | null }>(
    `${one}/take`,
    {
      schema: {
        tags,
        summary: 'Take the next messages of a queue group, leased to this member, as JSON or as frames',
        params: groupParams,
        body: takeBodySchema,
        response: {
          200: {
            description: 'Messages to settle before their leases end',
            content: { 'application/json': { schema: takenSchema }, [frameContentType]: { schema: {} } },
          },
        },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const { limit: messagesMax, encoding, ...rest } = request.body ?? {}
      const session = await sessionOf(context, request)
      const asked = { ...memberOf(group, rest), messagesMax, bytesMax: rest.bytesMax, waitMs: rest.waitMs }
      const taken = await takeOrRelease(session, topic, asked, abortWaiting(context, reply))
      if (accepts(request, frameContentType)) {
        return reply.type(frameContentType).send(takenFrames(taken))
      }
      return sendJson(reply, takenToJson(context, session, topic, taken, encoding))
    },
  )
}

function settleRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.post<GroupRoute & { Body: { member?: string; settlements: readonly Settlement[] } }>(
    `${one}/settle`,
    {
      schema: {
        tags,
        summary: 'Settle leased messages, each range in its way',
        params: groupParams,
        body: {
          ...object({ member: text, settlements: settlementsSchema }, ['settlements']),
          examples: [{ member: 'worker-1', settlements: [{ action: 'ack', ...exampleRange }] }],
        },
        response: { 200: settledSchema },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const session = await sessionOf(context, request)
      const results = await session.settle(topic, { group, ...request.body })
      return sendJson(reply, { results: settleResultsToJson(results) })
    },
  )
  const own = {
    nack: {
      summary: 'Give messages back that failed: they come again, or become dead letters',
      properties: { delayMs: { ...integer, minimum: 0 }, reason: text },
    },
    extend: {
      summary: 'Keep messages for longer',
      properties: { extendMs: { ...integer, minimum: 0 } },
    },
    terminate: { summary: 'Make messages dead letters at once', properties: { reason: text } },
    release: { summary: 'Give messages back that were not handled: they come again at once', properties: {} },
  } as const
  for (const action of ['nack', 'extend', 'terminate', 'release'] as const) {
    const { summary, properties } = own[action]
    routes.post<GroupRoute & { Body: HeldBody }>(
      `${one}/${action}`,
      {
        schema: {
          tags,
          summary,
          params: groupParams,
          body: {
            ...object({ member: text, ...heldProperties, ...properties }),
            examples: [{ member: 'worker-1', messages: [exampleMessage] }],
          },
          response: done,
        },
      },
      async (request, reply) =>
        settleNamed(await sessionOf(context, request), request.params, action, request.body, reply),
    )
  }
}

function presenceRoutes(routes: FastifyInstance, context: RouteContext): void {
  const memberBody = { ...object({ member: text }, ['member']), examples: [{ member: 'worker-1' }] } as const
  type Run = (session: Session, topic: string, group: string, member: string) => MaybePromise<void>
  const presence = (action: string, summary: string, run: Run): void => {
    routes.post<GroupRoute & { Body: { member: string } }>(
      `${one}/${action}`,
      { schema: { tags, summary, params: groupParams, body: memberBody, response: done } },
      async (request, reply) => {
        const { topic, group } = request.params
        await run(await sessionOf(context, request), topic, group, request.body.member)
        return reply.code(204).send()
      },
    )
  }
  presence('heartbeat', 'A sign of life of a member that takes', (session, ...named) =>
    session.heartbeat(...named),
  )
  presence('leave', 'Leave the group: what the member holds comes again at once', (session, ...named) =>
    session.leaveQueue(...named),
  )
  for (const action of ['pause', 'resume'] as const) {
    routes.post<GroupRoute & { Body: { partitions?: readonly number[] } | null }>(
      `${one}/${action}`,
      {
        schema: {
          tags,
          summary: `${action === 'pause' ? 'Stop' : 'Start'} delivery of the group, or of some partitions`,
          params: groupParams,
          body: pauseBodySchema,
          response: done,
        },
      },
      async (request, reply) => {
        const { topic, group } = request.params
        const session = await sessionOf(context, request)
        await session.pauseQueue(topic, group, action === 'pause', request.body?.partitions)
        return reply.code(204).send()
      },
    )
  }
}

/** Being pushed to: one response that goes on, and requests that name its subscription. */
function consumeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.post<GroupRoute & { Body: (MemberBody & { credit?: QueueCredit; begins?: boolean }) | null }>(
    `${one}/consume`,
    {
      schema: {
        tags,
        summary: 'Be pushed leased messages as binary frames, while there is credit',
        params: groupParams,
        body: consumeBodySchema,
        response: {
          200: {
            description: 'A stream that goes on until either side ends it',
            content: { [frameContentType]: { schema: {} } },
          },
        },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const { credit, begins, ...body } = request.body ?? {}
      const options = { ...memberOf(group, body), credit, begins }
      return streamLeases(context, await sessionOf(context, request), { topic, options }, reply)
    },
  )
  routes.post<SubscriptionRoute & { Body: QueueCredit }>(
    `${subscription}/credit`,
    {
      schema: {
        tags,
        summary:
          'Grant credit to a subscription of your own; nothing at all is a sign of life of a member of a queue group',
        params: subscriptionParams,
        body: { ...creditSchema, examples: [{ messages: 100 }] },
        response: done,
      },
    },
    async (request, reply) => {
      const { topic, subscription } = request.params
      context.streams.grant(await sessionOf(context, request), topic, subscription, request.body)
      return reply.code(204).send()
    },
  )
  routes.post<SubscriptionRoute & { Body: { settlements: readonly Settlement[] } }>(
    `${subscription}/settle`,
    {
      schema: {
        tags,
        summary: 'Settle leased messages as a subscription of your own',
        params: subscriptionParams,
        body: {
          ...object({ settlements: settlementsSchema }, ['settlements']),
          examples: [{ settlements: [{ action: 'ack', ...exampleRange }] }],
        },
        response: { 200: memberSettledSchema },
      },
    },
    async (request, reply) => {
      const { topic, subscription } = request.params
      const session = await sessionOf(context, request)
      const { member, losses } = context.streams.member(session, topic, subscription)
      const results = await member.settle(request.body.settlements)
      return sendJson(reply, { results: settleResultsToJson(results), losses: losses() })
    },
  )
}

const memberOf = (
  group: string,
  { member, from, config, autoAck }: MemberBody,
): Omit<ConsumeOptions, 'credit'> => ({
  group,
  member,
  from: from === undefined ? undefined : startPositionFromJson(from, 'from'),
  config,
  autoAck,
})

const sendJson = (reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type('application/json').send(JSON.stringify(value))

/** What was taken as frames: an event that says who took it, then the batches. */
function takenFrames({ batches, ...taken }: Taken): Uint8Array {
  const frames = [eventFrame({ event: 'taken', ...taken })]
  for (const batch of batches) {
    frames.push(lengthPrefixed(encodeLeasedHeader(0, batch), batch.bytes.length), batch.bytes)
  }
  return Buffer.concat(frames)
}

function takenToJson(
  { broker }: RouteContext,
  session: Session,
  topicText: string,
  { topicId, member, memberTimeoutMs, batches }: Taken,
  encoding: PayloadEncoding | undefined,
): object {
  const topic = formatTopicRef(parseTopicRef(topicText, session.principal.namespace))
  const expansion = { codecs: broker.platform.compression, bytesMax: broker.limits.expandedBatchBytesMax }
  const messages = batches.flatMap((batch) =>
    leasedToJson(batch, { topic, topicId, partition: batch.partition, expansion }, encoding),
  )
  return { member, memberTimeoutMs, messages }
}
