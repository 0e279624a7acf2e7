/**
 * Message ids: UUIDs of version 4 that travel as a record header, and, for records without one, UUIDs of version 8
 * (RFC 9562 section 5.8) that say where the message is:
 *
 *     bits   0-47   the first 48 bits of the topic's id
 *     bits  48-51   version, 8
 *     bits  52-63   partition, low 12 of its 16 bits
 *     bits  64-65   variant, binary 10
 *     bits  66-69   partition, high 4 bits
 *     bits  70-74   zero
 *     bits  75-127  offset, 53 bits
 */
import { RatatoskrError } from './errors.ts'
import { quoteForMessage } from './names.ts'

const TWO_32 = 4_294_967_296
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const hyphenCode = 45
/** Character codes of the two hexadecimal digits of a byte: in tables, for ids are written by the million. */
const high = Uint8Array.from({ length: 256 }, (_, byte) => (byte >> 4).toString(16).charCodeAt(0))
const low = Uint8Array.from({ length: 256 }, (_, byte) => (byte & 0x0f).toString(16).charCodeAt(0))

/** True for a UUID's text, of any version, in either case. */
export const isUuid = (text: unknown): text is string => typeof text === 'string' && uuidPattern.test(text)

/** Where a derived id points. */
export interface MessageAddress {
  /** First 48 bits of the topic's id, as 12 hexadecimal digits. */
  readonly topicIdPrefix: string
  readonly partition: number
  readonly offset: number
}

/**
 * The canonical text of 16 bytes. All of it is made at once: a text put together piece by piece keeps its pieces until somebody
 * reads it, twenty times as much to collect where ids are kept by the thousand.
 */
export function formatUuid(bytes: Uint8Array, at = 0): string {
  // biome-ignore format: the groups of the text line by line
  return String.fromCharCode(
    high[bytes[at]], low[bytes[at]], high[bytes[at + 1]], low[bytes[at + 1]], high[bytes[at + 2]], low[bytes[at + 2]], high[bytes[at + 3]], low[bytes[at + 3]], hyphenCode,
    high[bytes[at + 4]], low[bytes[at + 4]], high[bytes[at + 5]], low[bytes[at + 5]], hyphenCode,
    high[bytes[at + 6]], low[bytes[at + 6]], high[bytes[at + 7]], low[bytes[at + 7]], hyphenCode,
    high[bytes[at + 8]], low[bytes[at + 8]], high[bytes[at + 9]], low[bytes[at + 9]], hyphenCode,
    high[bytes[at + 10]], low[bytes[at + 10]], high[bytes[at + 11]], low[bytes[at + 11]], high[bytes[at + 12]], low[bytes[at + 12]],
    high[bytes[at + 13]], low[bytes[at + 13]], high[bytes[at + 14]], low[bytes[at + 14]], high[bytes[at + 15]], low[bytes[at + 15]],
  )
}

/**
 * The 16 bytes of a UUID's text, of any version.
 * @throws RTK_INVALID_ARGUMENT
 */
export function parseUuid(text: unknown): Uint8Array {
  if (!isUuid(text)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a message id is a UUID such as 3f0c…-…, got ${quoteForMessage(text)}`,
    )
  }
  const digits = text.replaceAll('-', '')
  const bytes = new Uint8Array(16)
  for (let i = 0; i < 16; i++) bytes[i] = Number.parseInt(digits.slice(i * 2, i * 2 + 2), 16)
  return bytes
}

/** The first 48 bits of a topic id, as derived ids carry them. */
export const topicIdPrefix = (topicId: string): string =>
  topicId.replaceAll('-', '').slice(0, 12).toLowerCase()

/** The id of the message at an address, for records that carry none. */
export function derivedMessageId(topicId: string, partition: number, offset: number): string {
  const prefix = topicIdPrefix(topicId)
  const low = (0x8000 | (partition & 0xfff)).toString(16)
  const high = Math.floor(offset / TWO_32)
  const word = ((0x80000000 | ((partition >>> 12) << 26)) >>> 0) + high
  const tail = word.toString(16).padStart(8, '0') + (offset % TWO_32).toString(16).padStart(8, '0')
  return `${prefix.slice(0, 8)}-${prefix.slice(8, 12)}-${low}-${tail.slice(0, 4)}-${tail.slice(4)}`
}

/** Where a derived id points; undefined for ids of other versions. */
export function addressOfDerivedId(id: string): MessageAddress | undefined {
  if (!isUuid(id) || id[14] !== '8' || !'89ab'.includes(id[19].toLowerCase())) return undefined
  const word = Number.parseInt(id.slice(19, 23) + id.slice(24, 28), 16)
  const partition = Number.parseInt(id.slice(15, 18), 16) | (((word >>> 26) & 0xf) << 12)
  const offset = (word & 0x1fffff) * TWO_32 + Number.parseInt(id.slice(28), 16)
  return { topicIdPrefix: (id.slice(0, 8) + id.slice(9, 13)).toLowerCase(), partition, offset }
}
