/** JSON schemas of the routes of queue groups. */
import {
  encodingSchema,
  integer,
  messageSchema,
  object,
  offsetSchema,
  positionSchema,
  queueConfigSchema,
  text,
} from './schemas.ts'

/** A queue group as it stands. */
export const queueSchema = object({
  topic: text,
  group: text,
  state: { enum: ['empty', 'stable'] },
  paused: { type: 'boolean' },
  config: queueConfigSchema,
  members: {
    type: 'array',
    items: object({ member: text, partitions: { type: 'array', items: integer }, inFlight: integer }),
  },
  partitions: {
    type: 'array',
    items: object({
      partition: integer,
      paused: { type: 'boolean' },
      ackedOffset: integer,
      stableOffset: integer,
      lag: integer,
      inFlight: integer,
      delayed: integer,
      member: text,
    }),
  },
  lag: integer,
})

/** How a member joins. */
const memberProperties = {
  member: text,
  from: positionSchema,
  config: { type: 'object', additionalProperties: true, description: 'settings, for a group that is new' },
  autoAck: { type: 'boolean', description: 'messages count as acknowledged when they are sent' },
} as const

/** A body that may be left out. */
const orNone = <S extends object>(schema: S) => ({ anyOf: [schema, { type: 'null' }] }) as const

export const takeBodySchema = {
  ...orNone(
    object({
      ...memberProperties,
      member: {
        ...text,
        description:
          'without it, in shared and keyShared groups each call is a member of its own as long as it holds leases; in partitioned groups all such calls of a principal are one member',
      },
      limit: { ...integer, minimum: 1 },
      bytesMax: { ...integer, minimum: 1 },
      waitMs: { ...integer, minimum: 0 },
      encoding: { enum: encodingSchema.enum, description: 'of payloads; base64 by default' },
    }),
  ),
  examples: [{ member: 'worker-1', limit: 10, encoding: 'utf8' }],
} as const

export const creditSchema = object({ messages: offsetSchema, bytes: offsetSchema })

export const consumeBodySchema = {
  ...orNone(
    object({
      ...memberProperties,
      begins: {
        type: 'boolean',
        description:
          'this member says `begin` before it works on a message, as `beginsFrom` of the answer asks it to: what it had not begun comes again uncounted when it is lost',
      },
      credit: creditSchema,
    }),
  ),
  examples: [{ member: 'worker-1', credit: { messages: 100 } }],
} as const

export const createBodySchema = {
  ...orNone({
    ...queueConfigSchema,
    properties: { ...queueConfigSchema.properties, from: positionSchema },
  }),
  examples: [{ sharing: 'shared', ackTimeoutMs: 60_000, from: 'earliest' }],
} as const

export const pauseBodySchema = {
  ...orNone(object({ partitions: { type: 'array', items: offsetSchema } })),
  examples: [{ partitions: [0] }, {}],
} as const

/** Leased messages, with what it takes to settle them. */
export const takenSchema = object({
  member: text,
  memberTimeoutMs: {
    ...integer,
    description: 'how long a member with a name may be silent before it is evicted',
  },
  messages: {
    type: 'array',
    items: object({
      ...messageSchema.properties,
      lease: integer,
      attempt: integer,
      redelivered: { type: 'boolean' },
      leaseMs: integer,
    }),
  },
})

const rangeProperties = {
  partition: offsetSchema,
  lease: offsetSchema,
  from: offsetSchema,
  to: { ...offsetSchema, description: 'not including it' },
} as const

const settlement = object(
  {
    action: { enum: ['ack', 'nack', 'extend', 'terminate', 'release', 'ackUpTo', 'begin'] },
    ...rangeProperties,
    delayMs: { ...integer, minimum: 0, description: 'for nack: in how many milliseconds they come again' },
    extendMs: { ...integer, minimum: 0, description: 'for extend' },
    reason: { ...text, description: 'for nack and terminate: why, for the dead letter' },
  },
  ['action', 'partition', 'lease', 'from', 'to'],
)

export const settlementsSchema = { type: 'array', items: settlement } as const

/** What became of each settlement: empty when all of it was done. */
export const settledSchema = object({
  results: {
    type: 'array',
    items: object({
      error: object({
        code: text,
        message: text,
        retryable: { type: 'boolean' },
        details: { type: 'object', additionalProperties: true },
      }),
    }),
  },
})

/** The same on a subscription, whose stream may still bring losses that the settlement caused. */
export const memberSettledSchema = object({
  ...settledSchema.properties,
  losses: {
    ...integer,
    minimum: 0,
    description:
      'how many `lost` events the stream of the subscription holds by now; read as many before acting on the results',
  },
})

/** Messages to settle, one by one or in ranges. */
export const heldProperties = {
  messages: {
    type: 'array',
    items: object({ partition: offsetSchema, offset: offsetSchema, lease: offsetSchema }, [
      'partition',
      'offset',
      'lease',
    ]),
  },
  ranges: {
    type: 'array',
    items: object(rangeProperties, ['partition', 'lease', 'from', 'to']),
  },
} as const
