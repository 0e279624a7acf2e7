/**
 * The record header that says when a message expires, as bytes. Its place in the record is fixed (see
 * `expiryHeaderName`), so that whoever delivers messages can tell by a byte or two that one does not expire.
 */
import { expiryHeaderName, timestampMsMax } from '../message.ts'
import { readInt64, utf8Size, writeInt64, writeUtf8, writeVarint } from './bytes.ts'
import type { RecordCursor } from './cursor.ts'
import { idHeaderPrefix, idHeaderSize } from './id-header.ts'

const valueBytes = 8
const nameBytes = utf8Size(expiryHeaderName)

/** All of the header but the time: length of the name, the name, length of the time. */
const prefix = makePrefix()
const nameOnly = prefix.subarray(1, 1 + nameBytes)

/** What the header begins with: the length of its name. */
export const expiryHeaderFirstByte = prefix[0]

/** Bytes that the header takes in a record. */
export const expiryHeaderSize = prefix.length + valueBytes

/** Writes the header. @returns the place after it */
export function writeExpiryHeader(bytes: Uint8Array, at: number, expiresAtMs: number): number {
  bytes.set(prefix, at)
  writeInt64(bytes, at + prefix.length, expiresAtMs)
  return at + expiryHeaderSize
}

/** Where the header begins in a record whose headers go from `headersStart` to `end`; -1 when it has none. */
export function expiryHeaderStart(
  bytes: Uint8Array,
  headersStart: number,
  headerCount: number,
  end: number,
): number {
  if (headerCount === 0) return -1
  const secondAt = headersStart + idHeaderSize
  const at = headerCount > 1 && startsWith(bytes, headersStart, idHeaderPrefix) ? secondAt : headersStart
  if (at + expiryHeaderSize > end || !startsWith(bytes, at, prefix)) return -1
  const expiresAtMs = readInt64(bytes, at + prefix.length)
  return expiresAtMs >= 0 && expiresAtMs <= timestampMsMax ? at : -1
}

/** The time in the header that begins at `start`; undefined at -1. */
export const expiryAt = (bytes: Uint8Array, start: number): number | undefined =>
  start === -1 ? undefined : readInt64(bytes, start + prefix.length)

/** True when the header that the cursor is at is the one that says when its record expires. */
export const isExpiryHeader = (cursor: RecordCursor): boolean =>
  cursor.headerNameEnd - cursor.headerNameStart === nameBytes &&
  startsWith(cursor.bytes, cursor.headerNameStart, nameOnly)

function startsWith(bytes: Uint8Array, at: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false
  return true
}

function makePrefix(): Uint8Array {
  const made = new Uint8Array(nameBytes + 2)
  const nameEnd = writeUtf8(made, writeVarint(made, 0, nameBytes), expiryHeaderName)
  writeVarint(made, nameEnd, valueBytes)
  return made
}
