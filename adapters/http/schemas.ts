/** JSON schemas of requests and replies: they validate, and they are the OpenAPI document. */
import { compressions } from 'ratatoskr/ports'

const integer = { type: 'integer' } as const
const text = { type: 'string' } as const
const offsetSchema = { type: 'integer', minimum: 0 } as const

/** A closed object: unknown fields are refused. */
const object = <P extends object>(properties: P, required: readonly (keyof P & string)[] = []) =>
  ({ type: 'object', properties, required, additionalProperties: false }) as const

/** `{topic}` and `{group}` of the path. Names are checked by the broker, which says what is wrong with them. */
export const topicParams = object(
  { topic: { ...text, description: 'topic, or namespace/topic with the slash as %2F' } },
  ['topic'],
)
export const groupParams = object({ topic: text, group: text }, ['topic', 'group'])

export const durabilitySchema = { enum: ['memory', 'os', 'interval', 'fsync', 'quorum'] } as const
export const encodingSchema = {
  enum: ['base64', 'utf8', 'json'],
  default: 'base64',
  description: 'of payloads',
} as const

/** Settings of queue groups as they are answered. In a request each may be left out, and the broker says what is wrong with one. */
export const queueConfigSchema = {
  type: 'object',
  additionalProperties: true,
  properties: {
    sharing: { description: 'partitioned, shared or keyShared' },
    ackTimeoutMs: { description: 'how long a member may take to settle a message' },
    retriesMax: { description: 'how often a message comes again before it has failed; -1: without end' },
    retry: {
      description:
        '{"kind":"fixed","delayMs"}, {"kind":"linear","delayMs","maxMs"}, {"kind":"exponential","delayMs","maxMs","jitter"} or {"kind":"list","delaysMs"}',
    },
    deadLetterTopic: { description: 'empty: <topic>.dlq; none: nowhere' },
    deadLetterRetentionMs: { description: '-1: for ever' },
    deadLetterExpired: { description: 'whether expired messages become dead letters' },
    inFlightMax: { description: 'messages that may be leased at once' },
    checkpointIntervalMs: { description: 'how often what was settled is stored at most' },
    groupExpiryMs: { description: 'a group without members is forgotten after so long; -1: never' },
  },
} as const

export const topicConfigSchema = object({
  partitions: integer,
  retentionMs: integer,
  retentionBytes: integer,
  retentionMessages: integer,
  retention: { enum: ['limits', 'workqueue'] },
  segmentBytes: integer,
  durability: durabilitySchema,
  messageBytesMax: integer,
  dedupWindowMs: integer,
  compression: { enum: [...compressions] },
  queue: queueConfigSchema,
})

const partitionSchema = object({
  partition: integer,
  startOffset: integer,
  stableOffset: integer,
  endOffset: integer,
  sizeBytes: integer,
  state: { enum: ['online', 'recovering', 'failed'] },
  damaged: { type: 'array', items: object({ from: integer, to: integer }), description: 'lost to damage' },
  worker: { type: 'integer', description: 'whom to turn to for it, of the workers of one broker' },
})

export const topicSchema = object({
  namespace: text,
  name: text,
  id: text,
  createdAtMs: integer,
  config: topicConfigSchema,
  partitions: { type: 'array', items: partitionSchema },
})

export const topicStatsSchema = object({
  topic: text,
  messageCount: integer,
  subscriberCount: integer,
  messagesDelivered: integer,
  sizeBytes: integer,
  partitions: { type: 'array', items: partitionSchema },
})

const bytesSchema = {
  anyOf: [text, object({ base64: text }, ['base64'])],
  description: 'text, or {"base64": …} for bytes that are not UTF-8',
} as const

/** A field may be missing or null: a message goes back as it came. */
const nullable = <S extends object>(schema: S) => ({ anyOf: [schema, { type: 'null' }] }) as const

/** A message as it is published; what its payload may be depends on `encoding`. */
export const outgoingMessageSchema = object({
  payload: { description: 'base64 text, text, or any JSON value, as encoding says' },
  key: nullable(bytesSchema),
  headers: nullable({ type: 'object', additionalProperties: true }),
  id: nullable(text),
  timestamp: integer,
  ttlMs: {
    ...integer,
    description: 'it expires so many ms after the broker took it; or expiresAtMs',
  },
  expiresAtMs: { ...integer, description: 'it expires then, Unix ms; or ttlMs' },
  partition: integer,
  deliverAtMs: { ...integer, description: 'it is kept until then, Unix ms; or delayMs' },
  delayMs: { ...integer, description: 'it is kept for so many ms; or deliverAtMs' },
})

/** A message as it is read. */
export const messageSchema = object({
  id: text,
  topic: text,
  partition: integer,
  offset: integer,
  timestamp: integer,
  expiresAtMs: { ...integer, description: 'Unix ms; absent when it never expires' },
  key: {},
  headers: { type: 'object', additionalProperties: true },
  payload: {},
})

export const receiptSchema = object({
  id: text,
  partition: integer,
  offset: integer,
  durability: durabilitySchema,
  duplicate: {
    type: 'boolean',
    description: 'True when the id was stored before: this is where. Absent otherwise',
  },
  deliverAtMs: {
    ...integer,
    description: 'Unix ms, when it waits for that: then partition and offset are -1. Absent otherwise',
  },
})

/** One entry of the results of many: a receipt, or why there is none. */
export const publishResultSchema = {
  anyOf: [
    receiptSchema,
    object({
      error: object({
        code: text,
        message: text,
        retryable: { type: 'boolean' },
        details: { type: 'object' },
      }),
    }),
  ],
} as const

export const batchReceiptSchema = object({
  partition: integer,
  baseOffset: integer,
  recordCount: integer,
  durability: durabilitySchema,
  duplicate: { type: 'boolean', description: 'True when all of it was stored before. Absent otherwise' },
  duplicates: {
    type: 'array',
    items: object({ index: integer, partition: integer, offset: integer }),
    description: 'Records whose ids were stored before, and where. Absent when there are none',
  },
})

/** The response of whatever has nothing to say but that it is done. */
export const done = { 204: { type: 'null', description: 'Done' } } as const

/** What every route may answer. */
export const problemResponse = {
  description: 'A problem document (RFC 9457); branch on its code',
  content: {
    'application/problem+json': {
      schema: object(
        {
          type: text,
          title: text,
          status: integer,
          detail: text,
          code: text,
          retryable: { type: 'boolean' },
          details: { type: 'object', additionalProperties: true },
          results: { type: 'array', items: { type: 'object', additionalProperties: true } },
        },
        ['type', 'title', 'status', 'detail', 'code', 'retryable'],
      ),
    },
  },
} as const

const partitionOffset = object({ partition: offsetSchema, offset: offsetSchema }, ['partition', 'offset'])

/** Where to begin: a word, or one of the object forms. */
export const positionSchema = {
  anyOf: [
    { enum: ['earliest', 'latest'] },
    object({ offset: offsetSchema }, ['offset']),
    object({ timestampMs: offsetSchema }, ['timestampMs']),
    object(
      { offsets: { type: 'array', items: partitionOffset }, otherwise: { enum: ['earliest', 'latest'] } },
      ['offsets'],
    ),
  ],
} as const

export const offsetsSchema = { type: 'array', items: partitionOffset } as const

export const committedOffsetsSchema = {
  type: 'array',
  minItems: 1,
  items: object({ partition: offsetSchema, offset: offsetSchema, metadata: text }, ['partition', 'offset']),
} as const

export { integer, object, offsetSchema, text }
