/**
 * Dead letters as JSON: the arguments of their operations, and the letters. A letter is a message with what is known of it:
 *
 *     { partition, offset, buriedAtMs, group, reason, error, attempts, firstAtMs, lastAtMs, redrives,
 *       source: { topic, partition, offset }, id, timestamp, key, headers, payload }
 *
 * `firstAtMs` and `lastAtMs` are absent when they are not known.
 */
import { deadLetterReasons } from '../dead-letters/dead-letter-headers.ts'
import type { Header } from '../message.ts'
import {
  jsonBoolean,
  jsonInteger,
  jsonList,
  jsonObject,
  jsonOneOf,
  jsonString,
  optional,
  optionalInteger,
} from './json.ts'
import {
  bytesFromJson,
  bytesToJson,
  headersFromJson,
  headersToJson,
  type JsonMessage,
  messageFromJson,
  type PayloadEncoding,
  payloadToJson,
} from './message-json.ts'

const whole = jsonInteger(0)

const filterShape = {
  group: optional(jsonString),
  reason: optional(jsonOneOf(deadLetterReasons)),
  match: optional(jsonString),
  sinceMs: optionalInteger(0),
  untilMs: optionalInteger(0),
  key: optional(bytesFromJson),
  ids: optional(jsonList(jsonString)),
  offsets: optional(jsonList(whole)),
  deadLetterTopic: optional(jsonString),
}

/** The members of `DeadLetterRequest`, and of `PurgeRequest`, for `readFields`. */
export const deadLetterShape = { ...filterShape, max: optionalInteger(1), after: optionalInteger(0) }

/** The members of `RedriveRequest`. */
export const redriveShape = {
  ...deadLetterShape,
  target: optional(jsonString),
  rate: optionalInteger(1),
  dryRun: optional(jsonBoolean),
  force: optional(jsonBoolean),
  everyGroup: optional(jsonBoolean),
}

/** A request as JSON: its key may be no text. */
export const deadLetterRequestToJson = <Request extends { readonly key?: Uint8Array | undefined }>({
  key,
  ...request
}: Request): object => ({ ...request, ...(key !== undefined && { key: bytesToJson(key) }) })

/** The bytes of a letter. */
interface LetterBytes {
  readonly id: string
  readonly key?: Uint8Array | undefined
  readonly headers: readonly Header[]
  readonly payload: Uint8Array
  readonly timestampMs: number
}

type JsonLetter<Letter> = Omit<Letter, 'key' | 'headers' | 'payload' | 'timestampMs'> &
  Pick<JsonMessage, 'key' | 'headers' | 'payload' | 'timestamp'>

/** A page of letters as JSON, their payloads by `encoding`. */
export const deadLetterPageToJson = <
  Letter extends LetterBytes,
  Page extends { readonly letters: readonly Letter[] },
>(
  { letters, ...page }: Page,
  encoding: PayloadEncoding = 'base64',
): object => ({ ...page, letters: letters.map((letter) => letterToJson(letter, encoding)) })

function letterToJson<Letter extends LetterBytes>(
  { key, headers, payload, timestampMs, ...rest }: Letter,
  encoding: PayloadEncoding,
): JsonLetter<Letter> {
  return {
    ...rest,
    timestamp: timestampMs,
    key: key === undefined ? null : bytesToJson(key),
    headers: headersToJson(headers),
    payload: payloadToJson(payload, encoding),
  } as JsonLetter<Letter>
}

/** The letter that a broker sent, its payload in base64. @throws RTK_INVALID_ARGUMENT */
export function letterFromJson<Letter extends LetterBytes>(value: unknown): Letter {
  const { key, headers, payload, timestamp, ...rest } = jsonObject(value, 'letter')
  return {
    ...rest,
    ...(key !== null && { key: bytesFromJson(key, 'letter.key') }),
    headers: headersFromJson(headers, 'letter.headers'),
    payload: messageFromJson({ payload }).payload,
    timestampMs: timestamp,
  } as unknown as Letter
}
