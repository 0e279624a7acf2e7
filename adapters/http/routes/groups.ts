/** Consumer groups over HTTP: take the next messages, acknowledge them, seek, look. */
import type { FastifyInstance } from 'fastify'
import {
  type CommittedOffset,
  messagesOf,
  messageToJson,
  type PartitionOffset,
  type PayloadEncoding,
  startPositionFromJson,
} from 'ratatoskr/ports'
import { abortOnClose } from '../abort.ts'
import { type RouteContext, sessionOf } from '../http-transport.ts'
import {
  committedOffsetsSchema,
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
import { batchSource } from './messages.ts'

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
  readonly member?: string
  readonly offsets: readonly CommittedOffset[]
}

const done = { 204: { type: 'null' } }

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

export function groupRoutes(routes: FastifyInstance, context: RouteContext): void {
  describeRoutes(routes, context)
  consumeRoutes(routes, context)
}

function describeRoutes(routes: FastifyInstance, context: RouteContext): void {
  const tags = ['groups']
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
  routes.get<GroupRoute>(
    one,
    {
      schema: {
        tags,
        summary: 'Members, committed offsets and lag of a group',
        params: groupParams,
        response: { 200: groupSchema },
      },
    },
    async (request) =>
      (await sessionOf(context, request)).describeGroup(request.params.topic, request.params.group),
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

function consumeRoutes(routes: FastifyInstance, context: RouteContext): void {
  const tags = ['groups']
  routes.post<GroupRoute & { Body: FetchBody }>(
    `${one}/fetch`,
    {
      schema: {
        tags,
        summary: 'Take the next messages of the group as one of its members',
        params: groupParams,
        body: object({
          member: text,
          positions: offsetsSchema,
          from: positionSchema,
          limit: { ...integer, minimum: 1, maximum: 10_000 },
          bytesMax: { ...integer, minimum: 1 },
          waitMs: { ...integer, minimum: 0 },
          encoding: encodingSchema,
        }),
        response: { 200: object({ messages: { type: 'array', items: messageSchema }, next: offsetsSchema }) },
      },
    },
    async (request, reply) => {
      const { topic, group } = request.params
      const { from, encoding, limit, ...rest } = request.body
      const session = await sessionOf(context, request)
      const signal = abortOnClose(reply)
      const position = from === undefined ? undefined : startPositionFromJson(from, 'from')
      const fetched = await session.fetchGroup(
        topic,
        { group, ...rest, messagesMax: limit, from: position },
        { signal },
      )
      const messages = fetched.flatMap((batch) =>
        messagesOf(batch.bytes, batchSource(context, session, topic, batch), batch.fromOffset)
          .filter(({ offset }) => offset < batch.nextOffset)
          .map((message) => messageToJson(message, encoding))
          .toArray(),
      )
      const next = fetched.map(({ partition, nextOffset }) => ({ partition, offset: nextOffset }))
      return reply.type('application/json').send(JSON.stringify({ messages, next }))
    },
  )
  commitRoutes(routes, context, tags)
}

function commitRoutes(routes: FastifyInstance, context: RouteContext, tags: string[]): void {
  const commit = async (
    params: GroupRoute['Params'],
    request: Parameters<typeof sessionOf>[1],
    body: CommitBody,
    step: number,
  ) => {
    const session = await sessionOf(context, request)
    const offsets = body.offsets.map((entry) => ({ ...entry, offset: entry.offset + step }))
    await session.commit(params.topic, { group: params.group, member: body.member, offsets })
  }

  routes.post<GroupRoute & { Body: { member?: string; upTo: readonly CommittedOffset[] } }>(
    `${one}/ack`,
    {
      schema: {
        tags,
        summary: 'Acknowledge everything up to and including these messages',
        params: groupParams,
        body: object({ member: text, upTo: committedOffsetsSchema }, ['upTo']),
        response: done,
      },
    },
    async (request, reply) => {
      await commit(request.params, request, { member: request.body.member, offsets: request.body.upTo }, 1)
      return reply.code(204).send()
    },
  )
  routes.post<GroupRoute & { Body: CommitBody }>(
    `${one}/commit`,
    {
      schema: {
        tags,
        summary: 'Commit the next offsets to read',
        params: groupParams,
        body: object({ member: text, offsets: committedOffsetsSchema }, ['offsets']),
        response: done,
      },
    },
    async (request, reply) => {
      await commit(request.params, request, request.body, 0)
      return reply.code(204).send()
    },
  )
  routes.post<GroupRoute & { Body: { position: unknown; partitions?: number[] } }>(
    `${one}/seek`,
    {
      schema: {
        tags,
        summary: 'Set where the group goes on, also while members run',
        params: groupParams,
        body: object({ position: positionSchema, partitions: { type: 'array', items: offsetSchema } }, [
          'position',
        ]),
        response: { 200: object({ offsets: offsetsSchema }) },
      },
    },
    async (request) => {
      const { topic, group } = request.params
      const { position, partitions } = request.body
      const session = await sessionOf(context, request)
      return {
        offsets: await session.seekGroup(topic, group, {
          position: startPositionFromJson(position, 'position'),
          partitions,
        }),
      }
    },
  )
}
