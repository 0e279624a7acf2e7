/**
 * What a batch from outside must satisfy before it may enter the log: checked once, at the edge that admits it.
 *
 * With `records`, each record's lengths are walked as well (about 25 ns a record, no objects), so that no batch that
 * cannot be decoded is ever stored and handed to consumers.
 */
import { RatatoskrError } from '../errors.ts'
import { type HeaderLimits, validateHeaderNameBytes } from '../headers.ts'
import { expiryHeaderName, idHeaderName, reservedHeaderPrefix, timestampMsMax } from '../message.ts'
import { RecordCursor } from './cursor.ts'
import { type Expansion, expandedRecords } from './expand.ts'
import { expiryHeaderStart, isExpiryHeader } from './expiry-header.ts'
import {
  baseTimestampOf,
  batchHeaderBytes,
  batchMagic,
  batchSizeOf,
  crcOf,
  crcStart,
  isControlBatch,
  lastOffsetDeltaOf,
  magicOf,
  maxTimestampOf,
  recordCountOf,
} from './header.ts'
import { idHeaderSize, isIdHeader, isIdHeaderAt } from './id-header.ts'

/** Bounds that a batch is held to, and what checking it needs. */
export interface BatchRules extends HeaderLimits {
  readonly checksum: (bytes: Uint8Array) => number
  readonly batchBytesMax: number
  readonly messagesPerBatchMax: number
  /** One record's key, headers and value together. */
  readonly messageBytesMax: number
  /** Walk the records; needs the codecs. Without it only header and CRC are checked. */
  readonly records: Expansion | undefined
}

/**
 * Checks that `batch` is exactly one whole, valid record batch. @returns its number of records
 * @param ownMade true for bytes that this process has built and nobody else has had: their CRC is not computed a second time
 * @throws RTK_BATCH_MALFORMED, RTK_BATCH_CRC_MISMATCH, RTK_BATCH_TOO_LARGE, RTK_MESSAGE_TOO_LARGE, RTK_HEADER_INVALID,
 *   RTK_COMPRESSION_UNAVAILABLE
 */
export function verifyBatch(batch: Uint8Array, rules: BatchRules, ownMade = false): number {
  if (batch.length > rules.batchBytesMax) {
    throw new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      `a batch is at most ${rules.batchBytesMax} bytes (batchBytesMax), got ${batch.length}`,
    )
  }
  verifyHeader(batch)
  const count = recordCountOf(batch)
  if (count > rules.messagesPerBatchMax) {
    throw new RatatoskrError(
      'RTK_BATCH_TOO_LARGE',
      `a batch holds at most ${rules.messagesPerBatchMax} messages (messagesPerBatchMax), got ${count}`,
    )
  }
  if (!ownMade) verifyChecksum(batch, rules)
  if (rules.records !== undefined) {
    try {
      verifyRecords(batch, count, rules, rules.records)
    } finally {
      cursor.bytes = noBytes // of a batch nothing is held beyond its time
    }
  }
  return count
}

function verifyChecksum(batch: Uint8Array, { checksum }: BatchRules): void {
  const crc = checksum(batch.subarray(crcStart))
  if (crc === crcOf(batch)) return
  throw new RatatoskrError(
    'RTK_BATCH_CRC_MISMATCH',
    `the batch says CRC-32C ${hex(crcOf(batch))}, its bytes give ${hex(crc)}`,
  )
}

function verifyHeader(batch: Uint8Array): void {
  if (batch.length < batchHeaderBytes)
    throw malformed(`at least ${batchHeaderBytes} bytes expected, got ${batch.length}`)
  if (magicOf(batch) !== batchMagic) throw malformed(`magic ${batchMagic} expected, got ${magicOf(batch)}`)
  if (batchSizeOf(batch) !== batch.length) {
    throw malformed(
      `its length field says ${batchSizeOf(batch)} bytes, got ${batch.length}; send one whole batch`,
    )
  }
  if (isControlBatch(batch)) throw malformed("control batches are the broker's own")
  const count = recordCountOf(batch)
  if (count < 1 || lastOffsetDeltaOf(batch) !== count - 1) {
    throw malformed(`last offset delta ${lastOffsetDeltaOf(batch)} does not fit ${count} records`)
  }
  const timestampMs = maxTimestampOf(batch)
  if (!(timestampMs >= 0 && timestampMs <= timestampMsMax && baseTimestampOf(batch) >= 0)) {
    throw malformed('timestamps must be Unix milliseconds')
  }
}

// Verifying is done in one go: one cursor serves all batches in turn.
const cursor = new RecordCursor()
const noBytes = new Uint8Array(0)

function verifyRecords(batch: Uint8Array, count: number, rules: BatchRules, expansion: Expansion): void {
  cursor.open(batch, 0, expandedRecords(batch, 0, expansion))
  const { bytes, limit } = cursor
  const { messageBytesMax } = rules
  const maxTimestampMs = maxTimestampOf(batch)
  const timestampDeltaMax = maxTimestampMs - baseTimestampOf(batch)
  let at = cursor.end
  for (let delta = 0; delta < count; delta++) {
    const end = plainRecordEnd(bytes, at, limit, delta, timestampDeltaMax, messageBytesMax)
    if (end !== -1) {
      at = end
      continue
    }
    cursor.moveTo(at, 1)
    verifyRecord(cursor, delta, maxTimestampMs, rules)
    at = cursor.end
  }
  if (at !== limit) throw malformed('bytes are left after the last record')
}

/**
 * The place after a record that is as nearly all are: without headers but the id, of short fields, and right. Half of what a
 * cursor takes, for nothing is written down. @returns -1 for any other, which is then to be looked at in full
 */
function plainRecordEnd(
  bytes: Uint8Array,
  start: number,
  limit: number,
  delta: number,
  timestampDeltaMax: number,
  sizeMax: number,
): number {
  let at = start
  let raw = bytes[at++]
  if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
  const end = at + (raw >>> 1)
  if (raw >= 0x4000 || (raw & 1) !== 0 || end > limit) return -1
  at++ // the attributes
  raw = bytes[at++]
  if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
  if (raw >= 0x4000 || (raw & 1) !== 0 || raw >>> 1 > timestampDeltaMax) return -1
  raw = bytes[at++]
  if (raw >= 0x80) {
    raw = (raw & 0x7f) | (bytes[at++] << 7)
    if (raw >= 0x4000) raw = (raw & 0x3fff) | (bytes[at++] << 14)
  }
  if (raw !== delta << 1) return -1
  raw = bytes[at++]
  let size = 0
  if (raw !== 1) {
    if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
    if (raw >= 0x4000 || (raw & 1) !== 0) return -1
    size = raw >>> 1
    at += size
  }
  raw = bytes[at++]
  if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
  if (raw >= 0x4000 || (raw & 1) !== 0) return -1
  size += raw >>> 1
  at += raw >>> 1
  if (size > sizeMax) return -1
  if (at === end - 1 && bytes[at] === 0) return end
  return bytes[at] === oneHeader && at + 1 + idHeaderSize === end && isIdHeaderAt(bytes, at + 1) ? end : -1
}

/** The varint of 1. */
const oneHeader = 2

function verifyRecord(cursor: RecordCursor, delta: number, maxTimestampMs: number, rules: BatchRules): void {
  cursor.next()
  if (cursor.offsetDelta !== delta) throw malformed(`record ${delta} has offset delta ${cursor.offsetDelta}`)
  const { timestampMs } = cursor
  if (!(timestampMs >= 0 && timestampMs <= maxTimestampMs)) {
    throw malformed(`record ${delta} has a timestamp outside 0 to the batch's maximum, ${maxTimestampMs}`)
  }
  let sizeBytes = cursor.valueEnd - cursor.valueStart
  if (cursor.valueStart === -1) sizeBytes = 0
  if (cursor.keyStart !== -1) sizeBytes += cursor.keyEnd - cursor.keyStart
  if (cursor.headersStart !== cursor.end || cursor.headerCount > 0) sizeBytes += verifyHeaders(cursor, rules)
  if (sizeBytes > rules.messageBytesMax) {
    throw new RatatoskrError(
      'RTK_MESSAGE_TOO_LARGE',
      `a message is at most ${rules.messageBytesMax} bytes of key, headers and payload (messageBytesMax); record ${delta} has ${sizeBytes}`,
    )
  }
}

/**
 * Checks the headers of a record. Those of the id and the expiry are not the producer's own: they count against no limit.
 * @returns the bytes of their names and values
 */
function verifyHeaders(cursor: RecordCursor, rules: BatchRules): number {
  const { headersPerMessageMax, headersBytesMax } = rules
  let count = 0
  let ids = 0
  let expiries = 0
  let bytes = 0
  while (count <= headersPerMessageMax && cursor.nextHeader()) {
    const { headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = cursor
    // One byte tells nearly always that a header is the producer's.
    const reserved = cursor.bytes[headerNameStart] === reservedFirstByte
    if (reserved && isIdHeader(cursor)) {
      if (++ids > 1) throw refused('a message has one id')
      continue
    }
    if (reserved && isExpiry(cursor)) {
      expiries++
      continue
    }
    count++
    validateHeaderNameBytes(cursor.bytes, headerNameStart, headerNameEnd, rules)
    bytes += headerNameEnd - headerNameStart
    if (headerValueStart !== -1) bytes += headerValueEnd - headerValueStart
  }
  if (count > headersPerMessageMax) {
    throw refused(
      `a message has at most ${headersPerMessageMax} headers (headersPerMessageMax), got ${cursor.headerCount - ids - expiries}`,
    )
  }
  if (bytes > headersBytesMax) {
    throw refused(
      `the headers of a message are at most ${headersBytesMax} bytes together (headersBytesMax), got ${bytes}`,
    )
  }
  return bytes
}

/**
 * True for the header of the expiry. Out of its place, or with anything but a time in it, it would say nothing: the
 * producer is told instead.
 */
function isExpiry(cursor: RecordCursor): boolean {
  if (!isExpiryHeader(cursor)) return false
  const { bytes, headersStart, headerCount, end, headerNameStart } = cursor
  // A header that may count begins with its name's length, one byte before its name.
  if (headerNameStart === expiryHeaderStart(bytes, headersStart, headerCount, end) + 1) return true
  throw refused(
    `the header ${expiryHeaderName} holds 8 bytes, Unix milliseconds as int64, and stands first or right after a first ${idHeaderName}`,
  )
}

const reservedFirstByte = reservedHeaderPrefix.charCodeAt(0)

const hex = (crc: number): string => `0x${crc.toString(16).padStart(8, '0')}`

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_BATCH_MALFORMED', `the record batch is malformed: ${what}`)
}

const refused = (message: string): RatatoskrError => new RatatoskrError('RTK_HEADER_INVALID', message)
