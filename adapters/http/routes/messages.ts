/**
 * Publishing and reading. One route publishes in three ways, told apart by the content type: JSON is a message or a
 * batch of them, `application/vnd.ratatoskr.batch` is one record batch as it is, anything else is one message's payload.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type BatchSource,
  type Durability,
  errorToJson,
  type FetchedBatch,
  formatTopicRef,
  type Header,
  messageFromJson,
  messagesOf,
  messageToJson,
  type OutgoingMessage,
  type PayloadEncoding,
  type PublishResult,
  parseTopicRef,
  RatatoskrError,
  type Session,
  utf8,
} from 'ratatoskr/ports'
import { abortOnClose } from '../abort.ts'
import { type RouteContext, sessionOf } from '../http-transport.ts'
import {
  durabilitySchema,
  encodingSchema,
  integer,
  messageSchema,
  object,
  offsetSchema,
  outgoingMessageSchema,
  topicParams,
} from '../schemas.ts'

/** Content type of one or more record batches, back to back. */
export const batchContentType = 'application/vnd.ratatoskr.batch'

interface PublishQuery {
  readonly encoding: PayloadEncoding
  readonly partition?: number
  readonly durability?: Durability
}
type PublishRequest = FastifyRequest<{ Params: { topic: string }; Querystring: PublishQuery; Body: unknown }>

interface FetchQuery {
  readonly partition: number
  readonly offset: string
  readonly limit: number
  readonly waitMs: number
  readonly bytesMax?: number
  readonly encoding: PayloadEncoding
}
type FetchRequest = FastifyRequest<{ Params: { topic: string }; Querystring: FetchQuery }>

export function messageRoutes(routes: FastifyInstance, context: RouteContext): void {
  const tags = ['messages']
  routes.post<{ Params: { topic: string }; Querystring: PublishQuery; Body: unknown }>(
    '/v1/topics/:topic/messages',
    {
      schema: {
        tags,
        summary: 'Publish: one message (raw body or JSON), many (JSON with "messages"), or a record batch',
        description:
          'A raw body is one message; its key, id and headers travel as ratatoskr-key, ratatoskr-id and ratatoskr-header-*.',
        params: topicParams,
        querystring: object({
          encoding: encodingSchema,
          partition: offsetSchema,
          durability: durabilitySchema,
        }),
        body: {
          content: {
            'application/json': {
              schema: {
                anyOf: [
                  outgoingMessageSchema,
                  object({ messages: { type: 'array', items: outgoingMessageSchema } }, ['messages']),
                ],
              },
            },
            [batchContentType]: { schema: {} },
            '*/*': { schema: {} },
          },
        },
      },
    },
    async (request, reply) => publish(await sessionOf(context, request), request, reply),
  )

  routes.get<{ Params: { topic: string }; Querystring: FetchQuery }>(
    '/v1/topics/:topic/messages',
    {
      schema: {
        tags,
        summary: 'Read messages at an offset, waiting for the first if asked to',
        params: topicParams,
        querystring: object({
          partition: { ...offsetSchema, default: 0 },
          offset: { type: 'string', default: 'earliest', description: 'earliest, latest, or a number' },
          limit: { ...integer, minimum: 1, maximum: 10_000, default: 100 },
          waitMs: { ...integer, minimum: 0, default: 0 },
          bytesMax: { ...integer, minimum: 1 },
          encoding: encodingSchema,
        }),
        response: {
          200: {
            content: {
              'application/json': {
                schema: object({
                  messages: { type: 'array', items: messageSchema },
                  nextOffset: integer,
                  startOffset: integer,
                  stableOffset: integer,
                }),
              },
              [batchContentType]: { schema: {} },
            },
          },
        },
      },
    },
    async (request, reply) => fetch(context, request, reply),
  )
}

async function publish(session: Session, request: PublishRequest, reply: FastifyReply): Promise<unknown> {
  const { topic } = request.params
  const { encoding, partition, durability } = request.query
  const options = { durability, signal: abortOnClose(reply) }
  const type = (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase()
  if (type === batchContentType) {
    if (partition === undefined)
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'a record batch is for one partition; give ?partition=',
      )
    return session.publishBatch(topic, partition, request.body as Uint8Array, options)
  }
  if (type !== 'application/json') return session.publish(topic, rawMessage(request, partition), options)
  const body = request.body as { messages?: readonly unknown[] }
  if (!Array.isArray(body?.messages))
    return session.publish(
      topic,
      { ...messageFromJson(body, encoding), ...(partition !== undefined && { partition }) },
      options,
    )
  const results = await session.publishMany(
    topic,
    outgoingMessages(body.messages, encoding, partition),
    options,
  )
  return { results: results.map(resultToJson) }
}

const outgoingMessages = (
  values: readonly unknown[],
  encoding: PayloadEncoding,
  partition: number | undefined,
): OutgoingMessage[] =>
  values.map((value) => {
    const message = messageFromJson(value, encoding)
    return partition === undefined || message.partition !== undefined ? message : { ...message, partition }
  })

const resultToJson = (result: PublishResult): unknown =>
  'error' in result ? { error: errorToJson(result.error) } : result

const headerPrefix = 'ratatoskr-header-'

/** A raw body as a message. HTTP gives header values as Latin-1: as bytes they are what the sender wrote. */
function rawMessage(request: PublishRequest, partition: number | undefined): OutgoingMessage {
  const headers: Header[] = []
  for (const [name, value] of Object.entries(request.headers)) {
    if (!name.startsWith(headerPrefix)) continue
    headers.push([name.slice(headerPrefix.length), Buffer.from(String(value), 'latin1')])
  }
  const key = request.headers['ratatoskr-key']
  const id = request.headers['ratatoskr-id']
  return {
    payload: request.body instanceof Uint8Array ? request.body : utf8(''),
    key: key === undefined ? undefined : Buffer.from(String(key), 'latin1'),
    headers,
    id: id === undefined ? undefined : String(id),
    partition,
  }
}

async function fetch(context: RouteContext, request: FetchRequest, reply: FastifyReply): Promise<unknown> {
  const { topic } = request.params
  const { partition, waitMs, bytesMax, limit, encoding } = request.query
  const session = await sessionOf(context, request)
  const signal = abortOnClose(reply)
  const fetched = await session.fetch(
    topic,
    { partition, offset: offsetOf(request.query.offset), bytesMax, waitMs },
    { signal },
  )
  if (request.headers.accept === batchContentType) return replyWithBatches(reply, fetched)
  const messages = []
  let { nextOffset } = fetched
  for (const message of messagesOf(
    fetched.bytes,
    batchSource(context, session, topic, fetched),
    fetched.fromOffset,
  )) {
    if (messages.length === limit) {
      nextOffset = message.offset
      break
    }
    messages.push(messageToJson(message, encoding))
  }
  return reply.type('application/json').send(
    JSON.stringify({
      messages,
      nextOffset,
      startOffset: fetched.startOffset,
      stableOffset: fetched.stableOffset,
    }),
  )
}

function replyWithBatches(reply: FastifyReply, fetched: FetchedBatch): FastifyReply {
  return reply
    .type(batchContentType)
    .header('ratatoskr-from-offset', fetched.fromOffset)
    .header('ratatoskr-next-offset', fetched.nextOffset)
    .header('ratatoskr-start-offset', fetched.startOffset)
    .header('ratatoskr-stable-offset', fetched.stableOffset)
    .send(fetched.bytes)
}

/** How the batches of a fetch are read as messages. */
export const batchSource = (
  context: RouteContext,
  session: Session,
  topic: string,
  fetched: FetchedBatch,
): BatchSource => ({
  topic: formatTopicRef(parseTopicRef(topic, session.principal.namespace)),
  topicId: fetched.topicId,
  partition: fetched.partition,
  expansion: {
    codecs: context.broker.platform.compression,
    bytesMax: context.broker.limits.expandedBatchBytesMax,
  },
})

function offsetOf(text: string): number | 'earliest' | 'latest' {
  if (text === 'earliest' || text === 'latest') return text
  if (/^\d{1,16}$/.test(text)) return Number(text)
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `offset must be earliest, latest or a number, got ${JSON.stringify(text.slice(0, 40))}`,
  )
}
