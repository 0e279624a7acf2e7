/**
 * Queue groups as JSON: the arguments of their operations, messages that are leased, and what became of settlements. All
 * text protocols share it. Settings of groups are checked by the broker, field by field, as they are for every other way in.
 *
 * A leased message is a message with what it takes to settle it:
 *
 *     { id, topic, partition, offset, …, payload, lease, attempt, redelivered, leaseMs }
 */
import { type BatchSource, messagesOf } from '../batch/messages.ts'
import { RatatoskrError } from '../errors.ts'
import { settlementActions } from '../queue/settlement.ts'
import {
  jsonBoolean,
  jsonFields,
  jsonInteger,
  jsonList,
  jsonObject,
  jsonOneOf,
  jsonString,
  optional,
  optionalInteger,
} from './json.ts'
import {
  errorFromJson,
  errorToJson,
  type JsonError,
  type JsonMessage,
  messageToJson,
  type PayloadEncoding,
} from './message-json.ts'
import { startPositionFromJson } from './requests-json.ts'

const whole = jsonInteger(0)

const memberShape = {
  group: jsonString,
  member: optional(jsonString),
  from: optional(startPositionFromJson),
  config: optional(jsonObject),
  autoAck: optional(jsonBoolean),
}

/** The members of `ConsumeOptions`, for `readFields`. */
export const consumeShape = {
  ...memberShape,
  begins: optional(jsonBoolean),
  credit: optional(jsonFields({ bytes: optionalInteger(0), messages: optionalInteger(0) })),
}

/** The members of `TakeRequest`. */
export const takeShape = {
  ...memberShape,
  messagesMax: optionalInteger(1),
  bytesMax: optionalInteger(1),
  waitMs: optionalInteger(0),
}

/** One `Settlement`. */
const jsonSettlement = jsonFields({
  action: jsonOneOf(settlementActions),
  partition: whole,
  lease: whole,
  from: whole,
  to: whole,
  delayMs: optionalInteger(0),
  extendMs: optionalInteger(0),
  reason: optional(jsonString),
})

/** A list of settlements. */
export const jsonSettlements = jsonList(jsonSettlement)

/** The members of `SettleRequest`. */
export const settleShape = { group: jsonString, member: optional(jsonString), settlements: jsonSettlements }

/** What creating a queue group takes. */
export const createQueueShape = {
  group: jsonString,
  config: optional(jsonObject),
  from: optional(startPositionFromJson),
}

/** What pausing and resuming take. */
export const pauseQueueShape = {
  group: jsonString,
  paused: jsonBoolean,
  partitions: optional(jsonList(whole)),
}

/** A leased message as JSON. */
export interface JsonLeasedMessage extends JsonMessage {
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly leaseMs: number
}

/** Of a `LeasedBatch`, what its messages are made of. */
interface LeasedBytes {
  readonly bytes: Uint8Array
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly leaseMs: number
}

/**
 * The messages of a leased batch. Those that have expired since it was leased are among them: whoever holds them settles them.
 * @throws as `messagesOf`
 */
export function leasedToJson(
  { bytes, lease, attempt, redelivered, leaseMs }: LeasedBytes,
  source: BatchSource,
  encoding?: PayloadEncoding,
): JsonLeasedMessage[] {
  const leased = { lease, attempt, redelivered, leaseMs: Math.floor(leaseMs) }
  return Array.from(messagesOf(bytes, source), (message) => ({
    ...messageToJson(message, encoding),
    ...leased,
  }))
}

/** What became of one settlement: empty when all of it was done. */
export interface JsonSettleResult {
  readonly error?: JsonError
}

/** The results of settlements, in their order. */
export const settleResultsToJson = (results: readonly (RatatoskrError | undefined)[]): JsonSettleResult[] =>
  results.map((error) => (error === undefined ? {} : { error: errorToJson(error) }))

/**
 * The results of `count` settlements, as a broker told them.
 * @throws RTK_FRAME_MALFORMED when they are not so many
 */
export function settleResultsFromJson(value: unknown, count: number): (RatatoskrError | undefined)[] {
  if (Array.isArray(value) && value.length === count) {
    return value.map((result: JsonSettleResult) =>
      result.error === undefined ? undefined : errorFromJson(result.error),
    )
  }
  throw new RatatoskrError('RTK_FRAME_MALFORMED', `the broker did not answer each of ${count} settlements`)
}
