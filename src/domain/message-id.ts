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
const hexOf: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

/** True for a UUID's text, of any version, in either case. */
export const isUuid = (text: unknown): text is string => typeof text === 'string' && uuidPattern.test(text)

/** Where a derived id points. */
export interface MessageAddress {
  /** First 48 bits of the topic's id, as 12 hexadecimal digits. */
  readonly topicIdPrefix: string
  readonly partition: number
  readonly offset: number
}

/** The canonical text of 16 bytes. */
export function formatUuid(bytes: Uint8Array, at = 0): string {
  let text = ''
  for (let i = 0; i < 16; i++) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += '-'
    text += hexOf[bytes[at + i]]
  }
  return text
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
