/**
 * The arguments of the broker's operations as JSON, so that every text protocol accepts the same and refuses the same.
 * Only types are checked here: ranges that depend on the broker's limits, and names, are checked by the broker.
 */
import { type Durability, durabilityLevels } from '../durability.ts'
import { overflowPolicies } from '../overflow.ts'
import {
  type FieldsOf,
  type JsonCheck,
  jsonFields,
  jsonInteger,
  jsonList,
  jsonOneOf,
  jsonString,
  optional,
  optionalInteger,
  readFields,
  unexpected,
} from './json.ts'
import { type PayloadEncoding, payloadEncodings } from './message-json.ts'

const whole = jsonInteger(0)
const edges = ['earliest', 'latest'] as const

/** `{ partition, offset }` */
export const jsonPartitionOffset = jsonFields({ partition: whole, offset: whole })
/** `{ partition, offset, metadata? }` */
export const jsonCommittedOffset = jsonFields({
  partition: whole,
  offset: whole,
  metadata: optional(jsonString),
})

/** The name of a durability level. */
export const jsonDurability: JsonCheck<Durability> = jsonOneOf(durabilityLevels)
/** The name of a payload encoding. */
export const jsonEncoding: JsonCheck<PayloadEncoding> = jsonOneOf(payloadEncodings)

/** Where to begin reading: the union of the facade's `StartPosition`. */
export type JsonStartPosition =
  | (typeof edges)[number]
  | { readonly offset: number }
  | { readonly timestampMs: number }
  | { readonly offsets: readonly FieldsOf<typeof offsetShape>[]; readonly otherwise?: (typeof edges)[number] }

const offsetShape = { partition: whole, offset: whole }
const expectedPosition =
  '"earliest", "latest", { "offset": … }, { "timestampMs": … } or { "offsets": [{ "partition", "offset" }, …] }'

/**
 * Reads a start position.
 * @throws RTK_INVALID_ARGUMENT
 */
export const startPositionFromJson: JsonCheck<JsonStartPosition> = (value, path) => {
  if (value === 'earliest' || value === 'latest') return value
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected(path, expectedPosition, value)
  }
  if (Object.hasOwn(value, 'offset')) return readFields(value, { offset: whole }, path)
  if (Object.hasOwn(value, 'timestampMs')) return readFields(value, { timestampMs: whole }, path)
  const shape = { offsets: jsonList(jsonFields(offsetShape)), otherwise: optional(jsonOneOf(edges)) }
  const { offsets, otherwise } = readFields(value, shape, path)
  return otherwise === undefined ? { offsets } : { offsets, otherwise }
}

/** A lease on one message, which a publish may carry. */
export const jsonLease = jsonFields({
  topic: jsonString,
  group: jsonString,
  partition: whole,
  offset: whole,
  lease: whole,
})

const jsonOverflow = jsonFields({
  policy: jsonOneOf(overflowPolicies),
  messagesMax: optionalInteger(1),
  bytesMax: optionalInteger(1),
})

/** The members of `SubscribeOptions`, for `readFields`. */
export const subscribeShape = {
  group: optional(jsonString),
  member: optional(jsonString),
  from: optional(startPositionFromJson),
  partitions: optional(jsonList(whole)),
  credit: optional(jsonFields({ bytes: optionalInteger(0), messages: optionalInteger(0) })),
  overflow: optional(jsonOverflow),
}

/** The members of `FetchRequest`. */
export const fetchShape = {
  partition: whole,
  offset: ((value, path) =>
    value === 'earliest' || value === 'latest' ? value : whole(value, path)) satisfies JsonCheck<
    number | 'earliest' | 'latest'
  >,
  bytesMax: optionalInteger(1),
  waitMs: optionalInteger(0),
}

/** The members of `ScheduledRequest`. */
export const scheduledShape = { limit: optionalInteger(1), after: optional(jsonString) }

/** The members of `GroupFetchRequest`. */
export const groupFetchShape = {
  group: jsonString,
  member: optional(jsonString),
  positions: optional(jsonList(jsonPartitionOffset)),
  from: optional(startPositionFromJson),
  bytesMax: optionalInteger(1),
  messagesMax: optionalInteger(1),
  waitMs: optionalInteger(0),
}

/** The members of `CommitRequest`. */
export const commitShape = {
  group: jsonString,
  member: optional(jsonString),
  offsets: jsonList(jsonCommittedOffset),
}

/** The members of `SeekRequest`. */
export const seekShape = {
  position: startPositionFromJson,
  partitions: optional(jsonList(whole)),
}
