/**
 * Publishing and reading. One route publishes in three ways, told apart by the content type: JSON is a message or a
 * batch of them, `application/vnd.ratatoskr.batch` is one record batch as it is, anything else is one message's payload.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import {
  type Durability,
  errorToJson,
  type FetchedBatch,
  type Header,
  jsonLease,
  type LeaseProof,
  messageFromJson,
  type OutgoingMessage,
  type PayloadEncoding,
  type PublishResult,
  parseJson,
  quoteForMessage,
  RatatoskrError,
  type Session,
  suggestion,
} from 'ratatoskr/ports'
import { jsonReader } from '../fetched-json.ts'
import { offsetFromText, wholeNumber } from '../position-text.ts'
import {
  abortOnClose,
  abortWaiting,
  accepts,
  mediaType,
  type RouteContext,
  sessionOf,
} from '../route-context.ts'
import {
  batchReceiptSchema,
  durabilitySchema,
  encodingSchema,
  integer,
  messageSchema,
  object,
  offsetSchema,
  outgoingMessageSchema,
  publishResultSchema,
  receiptSchema,
  topicParams,
} from '../schemas.ts'

/** Content type of one or more record batches, back to back. */
const batchContentType = 'application/vnd.ratatoskr.batch'

interface PublishQuery {
  readonly encoding: PayloadEncoding
  readonly partition?: number
  readonly durability?: Durability
}
interface PublishRoute {
  Params: { topic: string }
  Querystring: PublishQuery
  Body: unknown
}
interface FetchQuery {
  readonly partition: number
  readonly offset: string
  readonly limit: number
  readonly waitMs: number
  readonly bytesMax?: number
  readonly encoding: PayloadEncoding
}
interface FetchRoute {
  Params: { topic: string }
  Querystring: FetchQuery
}

const tags = ['messages']
const path = '/v1/topics/:topic/messages'

const publishSchema = {
  tags,
  summary: 'Publish: one message (raw body or JSON), many (JSON with "messages"), or record batches',
  description:
    'A raw body is one message; its key, id and headers travel as ratatoskr-key, ratatoskr-id and ratatoskr-header-*, and when it expires as ratatoskr-ttl-ms or ratatoskr-expires-at (Unix ms), when it is to be delivered as ratatoskr-delay-ms or ratatoskr-deliver-at (Unix ms). The lease of a message that this is the work of goes as JSON in ratatoskr-lease: { topic, group, partition, offset, lease }; what has lost it is refused.',
  params: topicParams,
  querystring: object({ encoding: encodingSchema, partition: offsetSchema, durability: durabilitySchema }),
  body: {
    content: {
      'application/json': {
        schema: {
          anyOf: [
            outgoingMessageSchema,
            object({ messages: { type: 'array', items: outgoingMessageSchema } }, ['messages']),
          ],
          examples: [
            { payload: 'aGVsbG8=', key: 'customer-7', headers: { source: 'web' } },
            { messages: [{ payload: 'aGVsbG8=' }, { payload: 'd29ybGQ=', partition: 0 }] },
          ],
        },
      },
      [batchContentType]: { schema: {} },
      '*/*': { schema: {} },
    },
  },
  response: {
    200: {
      anyOf: [
        receiptSchema,
        object({ results: { type: 'array', items: publishResultSchema } }),
        batchReceiptSchema,
      ],
    },
  },
} as const

const producerSchema = {
  tags,
  summary: 'Allocate an id for an idempotent producer, which numbers the record batches that it publishes',
  response: { 200: object({ producerId: integer, epoch: integer }) },
} as const

const fetchSchema = {
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
} as const

export function messageRoutes(routes: FastifyInstance, context: RouteContext): void {
  routes.post<PublishRoute>(
    path,
    { schema: publishSchema, config: { bytes: true } },
    async (request, reply) => {
      const session = await sessionOf(context, request)
      const receipt = await publish(session, request, abortOnClose(reply))
      return reply.type('application/json').send(JSON.stringify(receipt))
    },
  )

  routes.post('/v1/producers', { schema: producerSchema }, async (request) =>
    (await sessionOf(context, request)).initProducer(),
  )

  routes.get<FetchRoute>(path, { schema: fetchSchema }, async (request, reply) => {
    const { topic } = request.params
    const { partition, waitMs, bytesMax, limit, encoding, offset } = request.query
    const session = await sessionOf(context, request)
    const fetched = await session.fetch(
      topic,
      { partition, offset: offsetFromText(offset), bytesMax, waitMs },
      { signal: abortWaiting(context, reply) },
    )
    if (accepts(request, batchContentType)) return replyWithBatches(reply, fetched)
    const { startOffset, stableOffset } = fetched
    const found = jsonReader(context, session, topic, encoding)(fetched, limit)
    return reply.type('application/json').send(JSON.stringify({ ...found, startOffset, stableOffset }))
  })
}

/** Publishes what the content type says the body is. @returns the receipt as JSON has it */
async function publish(
  session: Session,
  { params: { topic }, query, headers, body }: FastifyRequest<PublishRoute>,
  signal: AbortSignal,
): Promise<object> {
  const { encoding, partition, durability } = query
  const type = mediaType(headers['content-type'])
  assertHeaders(headers, type !== batchContentType && type !== 'application/json')
  const options = { durability, lease: leaseOf(headers), signal }
  if (type === batchContentType) {
    if (partition === undefined)
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        'record batches are for one partition; give ?partition=',
      )
    return session.publishBatch(topic, partition, bytesOf(body), options)
  }
  if (type !== 'application/json')
    return session.publish(topic, { ...rawMessage(headers, bytesOf(body)), partition }, options)
  const messages = (body as { messages?: unknown } | null)?.messages
  if (!Array.isArray(messages))
    return session.publish(topic, onPartition(messageFromJson(body, encoding), partition), options)
  const results = await session.publishMany(
    topic,
    messages.map((message, i) =>
      onPartition(messageFromJson(message, encoding, `messages[${i}]`), partition),
    ),
    options,
  )
  return { results: results.map(resultToJson) }
}

/** The lease that a publish carries, whatever its body is. */
function leaseOf({ 'ratatoskr-lease': lease }: FastifyRequest['headers']): LeaseProof | undefined {
  return lease === undefined
    ? undefined
    : jsonLease(parseJson(String(lease), { depthMax: 2 }), 'ratatoskr-lease')
}

/** The body, which is null when there is none. */
const bytesOf = (body: unknown): Uint8Array => (body instanceof Uint8Array ? body : new Uint8Array(0))

/** A message's own partition goes before that of the query. */
const onPartition = (message: OutgoingMessage, partition: number | undefined): OutgoingMessage =>
  partition === undefined || message.partition !== undefined ? message : { ...message, partition }

const resultToJson = (result: PublishResult): unknown =>
  'error' in result ? { error: errorToJson(result.error) } : result

const headerPrefix = 'ratatoskr-header-'
/** Request headers that say something of a raw body. */
const rawHeaders = [
  'ratatoskr-key',
  'ratatoskr-id',
  'ratatoskr-ttl-ms',
  'ratatoskr-expires-at',
  'ratatoskr-delay-ms',
  'ratatoskr-deliver-at',
]
const publishHeaders = ['ratatoskr-lease', ...rawHeaders]

/**
 * What a header says that nobody reads would be lost without a word.
 * @param isRaw true when the body is one message's payload
 * @throws RTK_INVALID_ARGUMENT for headers of ours that do not exist, or do not go with the body
 */
function assertHeaders(sent: FastifyRequest['headers'], isRaw: boolean): void {
  for (const name in sent) {
    if (!name.startsWith('ratatoskr-') || name === 'ratatoskr-lease') continue
    const isOfRaw = rawHeaders.includes(name) || name.startsWith(headerPrefix)
    if (isRaw && isOfRaw) continue
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      isOfRaw
        ? `${name} goes with a raw body: in JSON, and in record batches, each message says so itself`
        : `${quoteForMessage(name)} is no request header of a publish; ${suggestion(name, publishHeaders)}`,
    )
  }
}

/** A raw body as a message. HTTP gives header values as Latin-1: as bytes they are what the sender wrote. */
function rawMessage(sent: FastifyRequest['headers'], payload: Uint8Array): OutgoingMessage {
  const headers: Header[] = []
  for (const [name, value] of Object.entries(sent)) {
    if (!name.startsWith(headerPrefix)) continue
    headers.push([name.slice(headerPrefix.length), Buffer.from(String(value), 'latin1')])
  }
  const { 'ratatoskr-key': key, 'ratatoskr-id': id } = sent
  const { 'ratatoskr-ttl-ms': ttl, 'ratatoskr-expires-at': expiresAt } = sent
  const { 'ratatoskr-delay-ms': delay, 'ratatoskr-deliver-at': deliverAt } = sent
  return {
    payload,
    headers,
    ...(key !== undefined && { key: Buffer.from(String(key), 'latin1') }),
    ...(id !== undefined && { id: String(id) }),
    ...(ttl !== undefined && { ttlMs: wholeNumber(String(ttl), 'ratatoskr-ttl-ms') }),
    ...(expiresAt !== undefined && { expiresAtMs: wholeNumber(String(expiresAt), 'ratatoskr-expires-at') }),
    ...(delay !== undefined && { delayMs: wholeNumber(String(delay), 'ratatoskr-delay-ms') }),
    ...(deliverAt !== undefined && { deliverAtMs: wholeNumber(String(deliverAt), 'ratatoskr-deliver-at') }),
  }
}

const replyWithBatches = (reply: FastifyReply, fetched: FetchedBatch): FastifyReply =>
  reply
    .type(batchContentType)
    .header('ratatoskr-from-offset', fetched.fromOffset)
    .header('ratatoskr-next-offset', fetched.nextOffset)
    .header('ratatoskr-start-offset', fetched.startOffset)
    .header('ratatoskr-stable-offset', fetched.stableOffset)
    .send(fetched.bytes)
