/** What a message must satisfy to be published: its headers, its size, and the types of its fields. */
import { utf8Size } from './batch/bytes.ts'
import { RatatoskrError } from './errors.ts'
import type { Limits } from './limits.ts'
import { type OutgoingMessage, reservedHeaderPrefix, timestampMsMax } from './message.ts'
import { isUuid } from './message-id.ts'
import { quoteForMessage } from './names.ts'

/** The limits that bound a message's headers. */
export type HeaderLimits = Pick<Limits, 'headersPerMessageMax' | 'headerNameBytesMax' | 'headersBytesMax'>

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const controlCharacters = /[\u0000-\u001f\u007f-\u009f]/

/**
 * Checks a message before it is published.
 * @param messageBytesMax the topic's bound on key, headers and payload together
 * @returns that sum
 * @throws RTK_INVALID_ARGUMENT, RTK_HEADER_INVALID, RTK_MESSAGE_TOO_LARGE
 */
export function validateOutgoingMessage(
  message: OutgoingMessage,
  limits: HeaderLimits,
  messageBytesMax: number,
): number {
  if (typeof message !== 'object' || message === null) {
    throw invalid(`a message is an object with a payload, got ${quoteForMessage(message)}`)
  }
  const { payload, key, headers, id, timestampMs, ttlMs, expiresAtMs, partition } = message
  const { deliverAtMs, delayMs } = message
  if (!(payload instanceof Uint8Array))
    throw invalid(`payload must be bytes, got ${quoteForMessage(payload)}`)
  if (key !== undefined && !(key instanceof Uint8Array)) {
    throw invalid(`key must be bytes, got ${quoteForMessage(key)}`)
  }
  if (id !== undefined && !isUuid(id)) {
    throw invalid(`id must be a UUID such as 3f0c…-…, got ${quoteForMessage(id)}`)
  }
  if (timestampMs !== undefined && !isWholeNumber(timestampMs, timestampMsMax)) {
    throw invalid(`timestampMs must be whole Unix milliseconds, got ${quoteForMessage(timestampMs)}`)
  }
  if (ttlMs !== undefined || expiresAtMs !== undefined) validateExpiry(ttlMs, expiresAtMs)
  if (deliverAtMs !== undefined || delayMs !== undefined) validateDelivery(deliverAtMs, delayMs)
  if (partition !== undefined && !isWholeNumber(partition, Number.MAX_SAFE_INTEGER)) {
    throw invalid(`partition must be a whole number of at least 0, got ${quoteForMessage(partition)}`)
  }
  const headersBytes = headers === undefined ? 0 : validateHeaders(headers, limits)
  const sizeBytes = payload.length + (key?.length ?? 0) + headersBytes
  if (sizeBytes > messageBytesMax) {
    throw new RatatoskrError(
      'RTK_MESSAGE_TOO_LARGE',
      `a message is at most ${messageBytesMax} bytes of key, headers and payload (messageBytesMax), got ${sizeBytes}`,
    )
  }
  return sizeBytes
}

function validateExpiry(ttlMs: unknown, expiresAtMs: unknown): void {
  if (ttlMs !== undefined && expiresAtMs !== undefined) {
    throw invalid('a message takes ttlMs or expiresAtMs, not both; leave out one of the two')
  }
  if (ttlMs !== undefined && (ttlMs === 0 || !isWholeNumber(ttlMs, timestampMsMax))) {
    throw invalid(`ttlMs must be whole milliseconds, at least 1, got ${quoteForMessage(ttlMs)}`)
  }
  if (expiresAtMs !== undefined && !isWholeNumber(expiresAtMs, timestampMsMax)) {
    throw invalid(`expiresAtMs must be whole Unix milliseconds, got ${quoteForMessage(expiresAtMs)}`)
  }
}

function validateDelivery(deliverAtMs: unknown, delayMs: unknown): void {
  if (deliverAtMs !== undefined && delayMs !== undefined) {
    throw invalid('a message takes deliverAtMs or delayMs, not both; leave out one of the two')
  }
  if (deliverAtMs !== undefined && !isWholeNumber(deliverAtMs, timestampMsMax)) {
    throw invalid(`deliverAtMs must be whole Unix milliseconds, got ${quoteForMessage(deliverAtMs)}`)
  }
  if (delayMs !== undefined && !isWholeNumber(delayMs, timestampMsMax)) {
    throw invalid(`delayMs must be whole milliseconds, at least 0, got ${quoteForMessage(delayMs)}`)
  }
}

/**
 * Checks the headers of an outgoing message. @returns the bytes of all names and values
 * @throws RTK_HEADER_INVALID
 */
export function validateHeaders(headers: unknown, limits: HeaderLimits): number {
  if (!Array.isArray(headers)) {
    throw refused(`headers are a list of [name, value], got ${quoteForMessage(headers)}`)
  }
  if (headers.length > limits.headersPerMessageMax) {
    throw refused(
      `a message has at most ${limits.headersPerMessageMax} headers (headersPerMessageMax), got ${headers.length}`,
    )
  }
  let bytes = 0
  for (const header of headers) {
    if (!Array.isArray(header) || header.length !== 2) throw refused('a header is a pair of name and value')
    const [name, value] = header as [unknown, unknown]
    bytes += headerNameSize(name, limits)
    if (!(value instanceof Uint8Array)) {
      throw refused(
        `the value of header ${quoteForMessage(name)} must be bytes, got ${quoteForMessage(value)}`,
      )
    }
    bytes += value.length
  }
  if (bytes > limits.headersBytesMax) {
    throw refused(
      `the headers of a message are at most ${limits.headersBytesMax} bytes together (headersBytesMax), got ${bytes}`,
    )
  }
  return bytes
}

/**
 * Checks a header's name as the bytes of a record.
 * @throws RTK_HEADER_INVALID
 */
export function validateHeaderNameBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  limits: Pick<HeaderLimits, 'headerNameBytesMax'>,
): void {
  let plain = end > start && end - start <= limits.headerNameBytesMax
  for (let at = start; plain && at < end; at++) plain = bytes[at] > 0x20 && bytes[at] < 0x7f
  if (plain && !beginsReserved(bytes, start, end)) return
  // Everything out of the ordinary is looked at as text, by the one rule there is.
  headerNameSize(textOrRefused(bytes.subarray(start, end)), limits)
}

function beginsReserved(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < reservedHeaderPrefix.length) return false
  for (let i = 0; i < reservedHeaderPrefix.length; i++) {
    if (bytes[start + i] !== reservedHeaderPrefix.charCodeAt(i)) return false
  }
  return true
}

const strictDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function textOrRefused(name: Uint8Array): string {
  try {
    return strictDecoder.decode(name)
  } catch {
    throw refused('a header name is UTF-8, got bytes that are not')
  }
}

/** Checks a header's name. @returns its size as UTF-8 */
function headerNameSize(name: unknown, limits: Pick<HeaderLimits, 'headerNameBytesMax'>): number {
  if (typeof name !== 'string') throw refused(`a header name is a string, got ${quoteForMessage(name)}`)
  const size = utf8Size(name)
  if (size < 1 || size > limits.headerNameBytesMax) {
    throw refused(
      `a header name is 1 to ${limits.headerNameBytesMax} bytes of UTF-8 (headerNameBytesMax), got ${size}`,
    )
  }
  if (controlCharacters.test(name) || !name.isWellFormed()) {
    throw refused(
      `a header name has no control characters and no half of a surrogate pair, got ${quoteForMessage(name)}`,
    )
  }
  if (name.startsWith(reservedHeaderPrefix)) {
    throw refused(
      `header names that begin with ${reservedHeaderPrefix} are the broker's own, got ${quoteForMessage(name)}`,
    )
  }
  return size
}

const isWholeNumber = (value: unknown, max: number): boolean =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max

const invalid = (message: string): RatatoskrError => new RatatoskrError('RTK_INVALID_ARGUMENT', message)
const refused = (message: string): RatatoskrError => new RatatoskrError('RTK_HEADER_INVALID', message)
