/**
 * A message, an error and their parts as JSON: the one form that all text protocols share.
 *
 *     { id, topic, partition, offset, timestamp, expiresAtMs, key, headers, payload }
 *
 * `expiresAtMs` is there only when the message expires. Keys and header values are strings when their bytes are UTF-8 and
 * `{ "base64": "…" }` otherwise; no key is `null`. Headers are an object; a name that occurs more than once has the list of
 * its values. The payload is base64, or by `encoding`: `utf8` makes it a string where its bytes are UTF-8, `json` the value
 * where they are a JSON text, and `{ "base64": "…" }` where they are not, so that a consumer never gets other bytes than
 * were published.
 */
import { utf8 } from '../batch/bytes.ts'
import { type ErrorDetails, isErrorCode, RatatoskrError } from '../errors.ts'
import type { Header, Message, OutgoingMessage } from '../message.ts'
import { fromBase64, toBase64 } from './base64.ts'
import {
  type JsonCheck,
  jsonObject,
  jsonString,
  optional,
  optionalInteger,
  parseJson,
  readFields,
  strictUtf8Text,
  unexpected,
} from './json.ts'

/** How payloads stand in JSON. */
export type PayloadEncoding = 'base64' | 'utf8' | 'json'
/** The names of the encodings. */
export const payloadEncodings: readonly PayloadEncoding[] = ['base64', 'utf8', 'json']

/** Bytes that are no text. */
export interface Base64Bytes {
  readonly base64: string
}
/** Bytes that are mostly text. */
export type JsonBytes = string | Base64Bytes

/** A message as JSON. */
export interface JsonMessage {
  readonly id: string
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Unix milliseconds. */
  readonly timestamp: number
  /** Unix milliseconds; absent when the message never expires. */
  readonly expiresAtMs?: number
  readonly key: JsonBytes | null
  /** Without a prototype, so that a header may be called `__proto__`. */
  readonly headers: Readonly<Record<string, JsonBytes | readonly JsonBytes[]>>
  readonly payload: unknown
}

// A payload that nests deeper than this is given as bytes: writing it as JSON could run out of stack.
const payloadDepthMax = 64

/** The JSON form of a message, its payload by `encoding`. */
export function messageToJson(message: Message, encoding: PayloadEncoding = 'base64'): JsonMessage {
  const { id, topic, partition, offset, timestampMs, expiresAtMs, key, headers, payload } = message
  return {
    id,
    topic,
    partition,
    offset,
    timestamp: timestampMs,
    ...(expiresAtMs !== undefined && { expiresAtMs }),
    key: key === undefined ? null : bytesToJson(key),
    headers: headersToJson(headers),
    payload: payloadToJson(payload, encoding),
  }
}

/** Bytes as a string when they are UTF-8, as base64 when they are not. */
export function bytesToJson(bytes: Uint8Array): JsonBytes {
  return strictUtf8Text(bytes) ?? { base64: toBase64(bytes) }
}

/**
 * The bytes of a string or of `{ "base64": "…" }`.
 * @throws RTK_INVALID_ARGUMENT
 */
export function bytesFromJson(value: unknown, path: string): Uint8Array {
  if (typeof value === 'string') return wellFormed(value, path)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw unexpected(path, 'a string or { "base64": "…" }', value)
  }
  return readFields(value, { base64: base64Check }, path).base64
}

/** Headers as an object; a name that occurs more than once has the list of its values. */
export function headersToJson(headers: readonly Header[]): JsonMessage['headers'] {
  const object: Record<string, JsonBytes | JsonBytes[]> = Object.create(null)
  for (const [name, bytes] of headers) {
    const value = bytesToJson(bytes)
    const before = object[name]
    if (before === undefined) object[name] = value
    else if (Array.isArray(before)) before.push(value)
    else object[name] = [before, value]
  }
  return object
}

/**
 * Headers of an object: names to values, or to lists of values.
 * @throws RTK_INVALID_ARGUMENT
 */
export function headersFromJson(value: unknown, path: string): readonly Header[] {
  const headers: Header[] = []
  for (const [name, values] of Object.entries(jsonObject(value, path))) {
    const at = `${path}.${name}`
    if (!Array.isArray(values)) headers.push([name, bytesFromJson(values, at)])
    else for (const [i, entry] of values.entries()) headers.push([name, bytesFromJson(entry, `${at}[${i}]`)])
  }
  return headers
}

/** A payload by its encoding. */
export function payloadToJson(payload: Uint8Array, encoding: PayloadEncoding): unknown {
  if (encoding === 'base64') return toBase64(payload)
  const text = strictUtf8Text(payload)
  if (text === undefined) return { base64: toBase64(payload) }
  if (encoding === 'utf8') return text
  try {
    const value = parseJson(text, { depthMax: payloadDepthMax })
    return isBase64Form(value) ? { base64: toBase64(payload) } : value
  } catch {
    return { base64: toBase64(payload) }
  }
}

/** @throws RTK_INVALID_ARGUMENT */
function payloadFromJson(value: unknown, encoding: PayloadEncoding, path: string): Uint8Array {
  if (isBase64Form(value)) return base64Check(value.base64, `${path}.base64`)
  if (encoding === 'base64') return base64Check(value, path)
  if (encoding === 'utf8') return wellFormed(jsonString(value, path), path)
  if (value === undefined) throw unexpected(path, 'a JSON value', value)
  return utf8(JSON.stringify(value))
}

/** True for an object whose one member is `base64`: that form stands for bytes in every encoding. */
function isBase64Form(value: unknown): value is Base64Bytes {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.hasOwn(value, 'base64') && Object.keys(value).length === 1
}

/**
 * A message to publish: `payload`, and as they are needed `key`, `headers`, `id`, `timestamp`, `ttlMs` or `expiresAtMs`,
 * `deliverAtMs` or `delayMs`, and `partition`.
 * @throws RTK_INVALID_ARGUMENT
 */
export function messageFromJson(
  value: unknown,
  encoding: PayloadEncoding = 'base64',
  path = 'message',
): OutgoingMessage {
  const { timestamp, ...message } = readFields(
    value,
    {
      payload: (payload, at) => payloadFromJson(payload, encoding, at),
      key: optional(bytesFromJson),
      headers: optional(headersFromJson),
      id: optional(jsonString),
      timestamp: optionalInteger(0),
      ttlMs: optionalInteger(1),
      expiresAtMs: optionalInteger(0),
      partition: optionalInteger(0),
      deliverAtMs: optionalInteger(0),
      delayMs: optionalInteger(0),
    },
    path,
  )
  return timestamp === undefined ? message : { ...message, timestampMs: timestamp }
}

const base64Check: JsonCheck<Uint8Array> = (value, path) => {
  const bytes = fromBase64(jsonString(value, path))
  if (bytes === undefined) throw unexpected(path, 'padded base64 (RFC 4648 section 4)', value)
  return bytes
}

/** UTF-8 of a string; half of a surrogate pair has none. */
function wellFormed(text: string, path: string): Uint8Array {
  if (!text.isWellFormed()) throw unexpected(path, 'text without halves of surrogate pairs', text)
  return utf8(text)
}

/** An error as JSON: what may leave the process. */
export interface JsonError {
  readonly code: string
  readonly message: string
  readonly retryable: boolean
  readonly details: ErrorDetails
}

/** The JSON form of an error, without its cause and stack. */
export const errorToJson = (error: RatatoskrError): JsonError => ({
  code: error.code,
  message: error.message,
  retryable: error.retryable,
  details: error.details,
})

/** The error that a peer reported. A code that this version does not know becomes RTK_INTERNAL and stays in `details`. */
export function errorFromJson(value: unknown): RatatoskrError {
  const { code, message, details } = jsonObject(value, 'error')
  const text = typeof message === 'string' ? message : 'the peer reported an error without a message'
  const facts = detailsFromJson(details)
  if (isErrorCode(code)) return new RatatoskrError(code, text, { details: facts })
  return new RatatoskrError('RTK_INTERNAL', text, { details: { ...facts, code: String(code) } })
}

function detailsFromJson(value: unknown): ErrorDetails {
  const details: Record<string, string | number | boolean | null> = {}
  if (typeof value !== 'object' || value === null) return details
  for (const [name, fact] of Object.entries(value)) {
    if (name === '__proto__') continue
    if (fact === null || ['string', 'number', 'boolean'].includes(typeof fact)) details[name] = fact
  }
  return details
}
