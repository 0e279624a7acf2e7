/** The record header that carries a message's id, as bytes: it is read and written with nearly every message. */
import { idHeaderName } from '../message.ts'
import { readInt32, utf8Size, writeUtf8, writeVarint } from './bytes.ts'
import type { RecordCursor } from './cursor.ts'

const idBytes = 16
const nameBytes = utf8Size(idHeaderName)

/** All of the header but the id: length of the name, the name, length of the id. */
export const idHeaderPrefix = makePrefix()

// Its eight bytes as two numbers: told apart in two comparisons.
const prefixBegin = readInt32(idHeaderPrefix, 0)
const prefixRest = readInt32(idHeaderPrefix, 4)

/** Bytes that the header takes in a record. */
export const idHeaderSize = idHeaderPrefix.length + idBytes

/**
 * Writes the header with the 16 bytes of `id` from `start` on, four at a time: byte by byte costs three times as much, and
 * copying so few by a call more than that.
 * @returns the place after it
 */
export function writeIdHeader(view: DataView, at: number, id: Uint8Array, start: number): number {
  view.setInt32(at, prefixBegin)
  view.setInt32(at + 4, prefixRest)
  view.setInt32(at + 8, readInt32(id, start))
  view.setInt32(at + 12, readInt32(id, start + 4))
  view.setInt32(at + 16, readInt32(id, start + 8))
  view.setInt32(at + 20, readInt32(id, start + 12))
  return at + idHeaderSize
}

/** True when the header that the cursor is at is an id. */
export function isIdHeader(cursor: RecordCursor): boolean {
  const { bytes, headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = cursor
  if (headerNameEnd - headerNameStart !== nameBytes) return false
  if (headerValueEnd - headerValueStart !== idBytes || headerValueStart === -1) return false
  for (let i = 0; i < nameBytes; i++) {
    if (bytes[headerNameStart + i] !== idHeaderPrefix[i + 1]) return false
  }
  return true
}

/** True when a header that begins at `at` is an id. The bytes of a whole one must be there. */
export function isIdHeaderAt(bytes: Uint8Array, at: number): boolean {
  return readInt32(bytes, at) === prefixBegin && readInt32(bytes, at + 4) === prefixRest
}

function makePrefix(): Uint8Array {
  const prefix = new Uint8Array(nameBytes + 2)
  const nameEnd = writeUtf8(prefix, writeVarint(prefix, 0, nameBytes), idHeaderName)
  writeVarint(prefix, nameEnd, idBytes)
  return prefix
}
