/** Consumer groups over HTTP: take the next messages, acknowledge them, seek, look. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type CommittedOffset,
  type GroupDescription,
  isRatatoskrError,
  type PartitionOffset,
  type PayloadEncoding,
  type QueueDescription,
  RatatoskrError,
  type Session,
  startPositionFromJson,
} from 'ratatoskr/ports'
import { jsonReader } from '../fetched-json.ts'
import { heldProperties, queueSchema } from '../queue-schemas.ts'
import { abortWaiting, type RouteContext, sessionOf } from '../route-context.ts'
import {
  committedOffsetsSchema,
  done,
  encodingSchema,
  groupParams,
  integer,
  messageSchema,
  object,
  offsetSchema,
  offsetsSchema,
  positionSchema,
  text,
  topicParams,
} from '../schemas.ts'
import { type HeldBody, settleNamed } from '../settling.ts'

interface GroupRoute {
  Params: { topic: string; group: string }
}
interface FetchBody {
  readonly member?: string
  readonly positions?: readonly PartitionOffset[]
  readonly from?: unknown
  readonly limit?: number
  readonly bytesMax?: number
  readonly waitMs?: number
  readonly encoding: PayloadEncoding
}
interface CommitBody {
  readonly member?: string | undefined
  readonly offsets: readonly CommittedOffset[]
}

const groupSchema = object({
  topic: text,
  group: text,
  state: { enum: ['empty', 'stable'] },
  members: { type: 'array', items: object({ member: text, partitions: { type: 'array', items: integer } }) },
  partitions: {
    type: 'array',
    items: object({
      partition: integer,
      committedOffset: integer,
      metadata: text,
      stableOffset: integer,
      lag: integer,
      member: text,
    }),
  },
  lag: integer,
})

const base = '/v1/topics/:topic/groups'
const one = `${base}/:group`
const tags = ['groups']

const fetchSchema = {
  tags,
  summary: 'Take the next messages of the group as one of its members',
  params: groupParams,
  body: {
    ...object({
      member: text,
      positions: offsetsSchema,
      from: positionSchema,
      limit: { ...integer, minimum: 1, maximum: 10_000 },
      bytesMax: { ...integer, minimum: 1 },
      waitMs: { ...integer, minimum: 0 },
      encoding: encodingSchema,
    }),
    examples: [{ member: 'worker-1', from: 'earliest', limit: 100, encoding: 'utf8' }],
  },
  response: { 200: object({ messages: { type: 'array', items: messageSchema }, next: offsetsSchema }) },
} as const

const ackSchema = {
  tags,
  summary:
    'Acknowledge everything up to and including these messages; of a queue group, these messages or ranges',
  params: groupParams,
  body: {
    ...object({ member: text, upTo: committedOffsetsSchema, ...heldProperties }),
    examples: [{ member: 'worker-1', upTo: [{ partition: 0, offset: 0 }] }],
  },
  response: done,
} as const

const commitSchema = {
  tags,
  summary: 'Commit the next offsets to read',
  params: groupParams,
  body: {
    ...object({ member: text, offsets: committedOffsetsSchema }, ['offsets']),
    examples: [{ member: 'worker-1', offsets: [{ partition: 0, offset: 1, metadata: 'anything' }] }],
  },
  response: done,
} as const

const seekSchema = {
  tags,
  summary: 'Set where the group goes on, also while members run',
  params: groupParams,
  body: {
    ...object({ position: positionSchema, partitions: { type: 'array', items: offsetSchema } }, ['position']),
    examples: [{ position: 'earliest' }, { position: { timestampMs: 0 }, partitions: [0] }],
  },
  response: { 200: object({ offsets: offsetsSchema }) },
} as const

export function groupRoutes(routes: FastifyInstance, context: RouteContext): void {
  describeRoutes(routes, context)
  consumeRoutes(routes, context)
  commitRoutes(routes, context)
}

function describeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.get<{ Params: { topic: string } }>(
    base,
    {
      schema: {
        tags,
        summary: 'List the groups of a topic',
        params: topicParams,
        response: { 200: object({ groups: { type: 'array', items: text } }) },
      },
    },
    async (request) => ({
      groups: await (await sessionOf(context, request)).listGroups(request.params.topic),
    }),
  )
  routes.get<GroupRoute & { Querystring: { kind?: 'stream' | 'queue' } }>(
    one,
    {
      schema: {
        tags,
        summary: 'Members, offsets and lag of a group, of either kind',
        params: groupParams,
        querystring: object({
          kind: { enum: ['stream', 'queue'], description: 'only a group of this kind' },
        }),
        response: { 200: { anyOf: [groupSchema, queueSchema] } },
      },
    },
    async (request, reply) => {
      const described = await describe(await sessionOf(context, request), request.params, request.query.kind)
      return reply.type('application/json').send(JSON.stringify(described))
    },
  )
  routes.delete<GroupRoute>(
    one,
    { schema: { tags, summary: 'Forget a group without members', params: groupParams, response: done } },
    async (request, reply) => {
      await (await sessionOf(context, request)).deleteGroup(request.params.topic, request.params.group)
      return reply.code(204).send()
    },
  )
}

/** A group of the kind that is asked for, or of whichever it is. */
async function describe(
  session: Session,
  { topic, group }: GroupRoute['Params'],
  kind: 'stream' | 'queue' | undefined,
): Promise<GroupDescription | QueueDescription> {
  if (kind === 'stream') return session.describeGroup(topic, group)
  try {
    return await session.describeQueue(topic, group)
  } catch (error) {
    const other =
      isRatatoskrError(error, 'RTK_GROUP_NOT_FOUND') || isRatatoskrError(error, 'RTK_GROUP_MISMATCH')
    if (kind === 'queue' || !other) throw error
    return session.describeGroup(topic, group)
  }
}

function consumeRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.post<GroupRoute & { Body: FetchBody }>(
    `${one}/fetch`,
    { schema: fetchSchema },
    async (request, reply) => {
      const { topic, group } = request.params
      const { from, encoding, limit: messagesMax, ...rest } = request.body
      const session = await sessionOf(context, request)
      const fetched = await session.fetchGroup(
        topic,
        {
          ...rest,
          group,
          messagesMax,
          ...(from !== undefined && { from: startPositionFromJson(from, 'from') }),
        },
        { signal: abortWaiting(context, reply) },
      )
      const read = jsonReader(context, session, topic, encoding)
      const messages = fetched.flatMap((batch) => read(batch).messages)
      const next = fetched.map(({ partition, nextOffset }) => ({ partition, offset: nextOffset }))
      return reply.type('application/json').send(JSON.stringify({ messages, next }))
    },
  )
}

function commitRoutes(routes: FastifyInstance, context: RouteContext): void {
  const commit = async (
    request: FastifyRequest<GroupRoute>,
    reply: FastifyReply,
    { member, offsets }: CommitBody,
  ): Promise<FastifyReply> => {
    const { topic, group } = request.params
    const session = await sessionOf(context, request)
    await session.commit(topic, { group, member, offsets })
    return reply.code(204).send()
  }

  routes.post<GroupRoute & { Body: HeldBody & { upTo?: readonly CommittedOffset[] } }>(
    `${one}/ack`,
    { schema: ackSchema },
    async (request, reply) => {
      const { member, upTo, messages, ranges } = request.body
      if (upTo === undefined) {
        return settleNamed(await sessionOf(context, request), request.params, 'ack', request.body, reply)
      }
      if (messages !== undefined || ranges !== undefined) {
        throw new RatatoskrError(
          'RTK_INVALID_ARGUMENT',
          'upTo commits offsets of a stream group, messages and ranges settle leases of a queue group: give one of the two',
        )
      }
      const offsets = upTo.map((entry) => ({ ...entry, offset: nextOf(entry.offset) }))
      try {
        return await commit(request, reply, { member, offsets })
      } catch (error) {
        throw asAcked(error)
      }
    },
  )
  routes.post<GroupRoute & { Body: CommitBody }>(
    `${one}/commit`,
    { schema: commitSchema },
    async (request, reply) => commit(request, reply, request.body),
  )
  routes.post<GroupRoute & { Body: { position: unknown; partitions?: number[] } }>(
    `${one}/seek`,
    { schema: seekSchema },
    async (request) => {
      const { topic, group } = request.params
      const { position, partitions } = request.body
      const session = await sessionOf(context, request)
      const seek = { position: startPositionFromJson(position, 'position'), partitions }
      return { offsets: await session.seekGroup(topic, group, seek) }
    },
  )
}

/** The offset after an acknowledged one. @throws RTK_OFFSET_OUT_OF_RANGE when numbers end there */
function nextOf(offset: number): number {
  if (offset < Number.MAX_SAFE_INTEGER) return offset + 1
  throw new RatatoskrError(
    'RTK_OFFSET_OUT_OF_RANGE',
    'upTo takes offsets below 2^53-1; no message has a higher one',
  )
}

/** An acknowledgement beyond the end, in the caller's number: what was committed for it is one more. */
function asAcked(error: unknown): unknown {
  if (!isRatatoskrError(error, 'RTK_OFFSET_OUT_OF_RANGE') || typeof error.details.requested !== 'number')
    return error
  const { partition, requested, startOffset, stableOffset } = error.details
  const message = `partition ${partition} holds messages from offset ${startOffset} to before ${stableOffset}; ${requested - 1} cannot be acknowledged`
  return new RatatoskrError(error.code, message, {
    cause: error,
    details: { ...error.details, requested: requested - 1 },
  })
}
