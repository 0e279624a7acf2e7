/**
 * Reading and writing integers at a place in a byte array, big-endian, without a DataView for each array.
 *
 * 64-bit fields are `number`s: exact to 2^53 - 1, which Ratatoskr never passes. A stored value beyond it is refused
 * where it enters (see verify.ts).
 */

const TWO_32 = 4_294_967_296

export const readInt16 = (bytes: Uint8Array, at: number): number => ((bytes[at] << 24) >> 16) | bytes[at + 1]

export const readInt32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]

export const readUint32 = (bytes: Uint8Array, at: number): number => readInt32(bytes, at) >>> 0

export const readInt64 = (bytes: Uint8Array, at: number): number =>
  readInt32(bytes, at) * TWO_32 + readUint32(bytes, at + 4)

export function writeInt16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8
  bytes[at + 1] = value
}

export function writeInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

export function writeInt64(bytes: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / TWO_32)
  writeInt32(bytes, at, high)
  writeInt32(bytes, at + 4, value - high * TWO_32)
}

/** Bytes that the zigzag varint of a signed 32-bit number takes: 1 to 5. */
export function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag < 0x80) return 1
  if (zigzag < 0x4000) return 2
  if (zigzag < 0x200000) return 3
  return zigzag < 0x10000000 ? 4 : 5
}

/** Writes a zigzag varint of a signed 32-bit number. @returns the place after it */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag >= 0x80) return writeLongVarint(bytes, at, zigzag)
  bytes[at] = zigzag
  return at + 1
}

/** A function of its own, so that the short case above is small enough for compilers to inline it. */
function writeLongVarint(bytes: Uint8Array, at: number, zigzag: number): number {
  let rest = zigzag
  do {
    bytes[at++] = rest | 0x80
    rest >>>= 7
  } while (rest >= 0x80)
  bytes[at++] = rest
  return at
}

const isInt32 = (value: number): boolean => (value | 0) === value

/** Bytes that the zigzag varint of a signed number below 2^52 in size takes: 1 to 8. */
export function varlongSize(value: number): number {
  if (isInt32(value)) return varintSize(value)
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  let size = 1
  while (rest >= 0x80) {
    rest = Math.floor(rest / 0x80)
    size++
  }
  return size
}

/** Writes a zigzag varint of a signed number below 2^52 in size. @returns the place after it */
export function writeVarlong(bytes: Uint8Array, at: number, value: number): number {
  if (isInt32(value)) return writeVarint(bytes, at, value)
  let rest = value < 0 ? -2 * value - 1 : 2 * value
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  bytes[at++] = rest
  return at
}

/** The place after the varint that was read last: a second result, without an object to carry it. */
export let varintEnd = 0

/** The number that a varint stands for, of its bits as they are written. */
export const unzigzag = (raw: number): number => (raw >>> 1) ^ -(raw & 1)

/**
 * Reads the bits of a varint of 32 bits, zigzag and all. May look up to five bytes beyond the end: compare `varintEnd`,
 * which is infinite after more than five bytes.
 */
export function readRawVarint(bytes: Uint8Array, at: number): number {
  let raw = 0
  for (let i = 0; i < 5; i++) {
    const byte = bytes[at + i]
    raw |= (byte & 0x7f) << (7 * i)
    if (!(byte >= 0x80)) {
      varintEnd = at + i + 1
      return raw >>> 0
    }
  }
  varintEnd = Number.POSITIVE_INFINITY
  return 0
}

/**
 * Reads a zigzag varint of a signed 64-bit number: exact below 2^53 in size. May look up to ten bytes beyond the end:
 * compare `varintEnd`, which is infinite after more than ten.
 */
export function readVarlong(bytes: Uint8Array, at: number): number {
  const parts = [0, 0, 0] // of at most 28 bits, since no single number holds 64 of them
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i]
    parts[i >> 2] |= (byte & 0x7f) << (7 * (i & 3))
    if (!(byte >= 0x80)) {
      varintEnd = at + i + 1
      const size = (parts[0] >>> 1) + parts[1] * 2 ** 27 + parts[2] * 2 ** 55
      return parts[0] & 1 ? -size - 1 : size
    }
  }
  varintEnd = Number.POSITIVE_INFINITY
  return 0
}

const encoder = new TextEncoder()
// Keeps a leading U+FEFF, which is a character of the text like any other.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** UTF-8 of a text. */
export const utf8 = (text: string): Uint8Array => encoder.encode(text)

/** Text of UTF-8 bytes; what is not UTF-8 becomes U+FFFD. */
export const utf8Text = (bytes: Uint8Array): string => decoder.decode(bytes)

/** Bytes that a text takes as UTF-8; a lone surrogate counts as the replacement character that it becomes. */
export function utf8Size(text: string): number {
  let size = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x80) continue
    if (code < 0x800) size += 1
    else {
      const pairs = code >= 0xd800 && code < 0xdc00 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00
      size += 2
      if (pairs) i++
    }
  }
  return size
}

/** Writes a text as UTF-8 where there is room for it. @returns the place after it */
export function writeUtf8(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 0x80) return at + encoder.encodeInto(text.slice(i), bytes.subarray(at)).written
    bytes[at++] = code
  }
  return at
}
