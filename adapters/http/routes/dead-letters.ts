/** Dead letters over HTTP: list them, publish them again, let go of them. */
import type { FastifyInstance } from 'fastify'
import {
  bytesFromJson,
  type DeadLetterRequest,
  deadLetterPageToJson,
  deadLetterShape,
  type PayloadEncoding,
  RatatoskrError,
  readFields,
  redriveShape,
} from 'ratatoskr/ports'
import { abortWaiting, type RouteContext, sessionOf } from '../route-context.ts'
import { encodingSchema, integer, object, offsetSchema, text, topicParams } from '../schemas.ts'

interface ListRoute {
  Params: { topic: string }
  Querystring: Omit<DeadLetterRequest, 'key' | 'ids' | 'offsets'> & {
    readonly key?: string
    readonly keyBase64?: string
    readonly ids?: string
    readonly offsets?: string
    readonly encoding: PayloadEncoding
  }
}
interface BodyRoute {
  Params: { topic: string }
  Body: object | null
}

const tags = ['dead letters']

const filter = {
  group: { ...text, description: 'given up by this group' },
  reason: { enum: ['retries', 'terminated', 'expired'] },
  match: { ...text, description: 'text that the error contains' },
  sinceMs: { ...offsetSchema, description: 'buried then or later, Unix ms' },
  untilMs: { ...offsetSchema, description: 'buried before, Unix ms' },
  deadLetterTopic: {
    ...text,
    description: 'by default the one that the settings of the group name, and <topic>.dlq without a group',
  },
} as const

const bodyFilter = {
  ...filter,
  key: { description: 'a string, or { "base64": … }' },
  ids: { type: 'array', items: text },
  offsets: { type: 'array', items: offsetSchema },
} as const

const nextSchema = {
  ...integer,
  description: 'Where to go on; absent when there is nothing more to do',
} as const
const counts = { deadLetterTopic: text, skipped: { ...integer, description: 'looked at, and not meant' } }

const letterSchema = object({
  partition: integer,
  offset: integer,
  buriedAtMs: integer,
  group: text,
  reason: filter.reason,
  error: text,
  attempts: integer,
  firstAtMs: integer,
  lastAtMs: integer,
  redrives: { ...integer, description: 'how often it was published again before' },
  source: object({ topic: text, partition: integer, offset: integer }),
  id: text,
  timestamp: integer,
  key: {},
  headers: { type: 'object', additionalProperties: true },
  payload: {},
})

const listSchema = {
  tags,
  summary: 'List the dead letters of a topic that were neither redriven nor purged',
  params: topicParams,
  querystring: object({
    ...filter,
    key: text,
    keyBase64: { ...text, description: 'a key that is no text' },
    ids: { ...text, description: 'message ids, with commas between' },
    offsets: { ...text, description: 'offsets of the dead letter topic, with commas between' },
    max: { ...integer, minimum: 1, maximum: 1_000, default: 100 },
    after: { ...offsetSchema, description: 'next of the page before' },
    encoding: encodingSchema,
  }),
  response: {
    200: object({ deadLetterTopic: text, letters: { type: 'array', items: letterSchema }, next: nextSchema }),
  },
} as const

const redriveSchema = {
  tags,
  summary: 'Publish dead letters again, each once; a call does a bounded amount of work',
  params: topicParams,
  body: {
    ...object({
      ...bodyFilter,
      max: { ...integer, minimum: 1, maximum: 10_000, default: 1_000 },
      after: { ...offsetSchema, description: 'next of the answer before' },
      target: { ...text, description: 'the topic to publish to; its own by default' },
      rate: { ...integer, minimum: 1, description: 'messages a second' },
      dryRun: { type: 'boolean', description: 'publish nothing, only count' },
      force: { type: 'boolean', description: 'also what was redriven three times already' },
      everyGroup: {
        type: 'boolean',
        description: 'for all groups of the topic, not only for the one that had given the message up',
      },
    }),
    type: ['object', 'null'],
    examples: [{ group: 'billing', match: 'timeout', dryRun: true }],
  },
  response: {
    200: object({
      ...counts,
      matched: integer,
      redriven: integer,
      refused: { ...integer, description: 'redriven too often already, or not to be decoded' },
      next: nextSchema,
    }),
  },
} as const

const purgeSchema = {
  tags,
  summary: 'Let go of dead letters: they are neither listed nor redriven any more',
  params: topicParams,
  body: {
    ...object({
      ...bodyFilter,
      max: { ...integer, minimum: 1, maximum: 10_000, default: 10_000 },
      after: { ...offsetSchema, description: 'next of the answer before' },
    }),
    type: ['object', 'null'],
    examples: [{ group: 'billing', untilMs: 1_800_000_000_000 }],
  },
  response: { 200: object({ ...counts, purged: integer, next: nextSchema }) },
} as const

export function deadLetterRoutes(routes: FastifyInstance, context: RouteContext): void {
  const path = '/v1/topics/:topic/dead-letters'
  routes.get<ListRoute>(path, { schema: listSchema }, async (request, reply) => {
    const session = await sessionOf(context, request)
    const call = { signal: abortWaiting(context, reply) }
    const page = await session.deadLetters(request.params.topic, listRequest(request.query), call)
    return deadLetterPageToJson(page, request.query.encoding)
  })
  routes.post<BodyRoute>(`${path}/redrive`, { schema: redriveSchema }, async (request, reply) => {
    const session = await sessionOf(context, request)
    const asked = readFields(request.body ?? {}, redriveShape, 'body')
    return session.redriveDeadLetters(request.params.topic, asked, { signal: abortWaiting(context, reply) })
  })
  routes.post<BodyRoute>(`${path}/purge`, { schema: purgeSchema }, async (request, reply) => {
    const session = await sessionOf(context, request)
    const asked = readFields(request.body ?? {}, deadLetterShape, 'body')
    return session.purgeDeadLetters(request.params.topic, asked, { signal: abortWaiting(context, reply) })
  })
}

/** @throws RTK_INVALID_ARGUMENT */
function listRequest(query: ListRoute['Querystring']): DeadLetterRequest {
  const { key, keyBase64, ids, offsets, encoding: _, ...request } = query
  if (key !== undefined && keyBase64 !== undefined) {
    throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'give key or keyBase64, not both')
  }
  const asked = key ?? (keyBase64 === undefined ? undefined : { base64: keyBase64 })
  return {
    ...request,
    ...(asked !== undefined && { key: bytesFromJson(asked, 'key') }),
    ...(ids !== undefined && { ids: ids.split(',') }),
    ...(offsets !== undefined && { offsets: offsets.split(',').map(numberOf) }),
  }
}

const numberOf = (digits: string): number => (/^\d{1,15}$/.test(digits) ? Number(digits) : Number.NaN)
