/**
 * Walks the records of one batch without making an object for each: fields are places in `bytes`.
 *
 * A record, all integers zigzag varints (source as in header.ts):
 *
 *     length, attributes (int8), timestamp delta, offset delta,
 *     key length (-1: none), key, value length (-1: none), value,
 *     number of headers, then for each: name length, name, value length (-1: none), value
 */
import { RatatoskrError } from '../errors.ts'
import { readRawVarint, readVarlong, unzigzag, varintEnd } from './bytes.ts'
import { expiryAt, expiryHeaderFirstByte, expiryHeaderStart } from './expiry-header.ts'
import { baseOffsetOf, baseTimestampOf, batchEndOf, batchHeaderBytes, recordCountOf } from './header.ts'

const recordBytesMin = 6 // each of its fields takes a byte at least

/** Stands at one record of a batch at a time; `next` moves it on. Made once and used for many batches. */
export class RecordCursor {
  /** What the places below point into: the batch, or its expanded records. */
  bytes: Uint8Array = new Uint8Array(0)
  offsetDelta = 0
  timestampDeltaMs = 0
  /** -1 when the record has no key. */
  keyStart = -1
  keyEnd = -1
  /** -1 when the record has no value. */
  valueStart = -1
  valueEnd = -1
  headerCount = 0
  /** Where the first header begins. */
  headersStart = 0
  /** The place after the record. */
  end = 0

  /** The header that `nextHeader` moved to. */
  headerNameStart = 0
  headerNameEnd = 0
  /** -1 when the header has no value. */
  headerValueStart = -1
  headerValueEnd = -1

  #left = 0
  #headersLeft = 0
  #limit = 0
  #baseOffset = 0
  #baseTimestampMs = 0
  #at = 0

  /**
   * Begins with the batch at `at`.
   * @param expanded the records of a compressed batch, already expanded
   * @throws RTK_BATCH_MALFORMED when no whole batch is there
   */
  open(batch: Uint8Array, at = 0, expanded?: Uint8Array): this {
    const batchEnd = batchEndOf(batch, at)
    this.#baseOffset = baseOffsetOf(batch, at)
    this.#baseTimestampMs = baseTimestampOf(batch, at)
    this.#left = recordCountOf(batch, at)
    this.bytes = expanded ?? batch
    this.end = expanded === undefined ? at + batchHeaderBytes : 0
    this.#limit = expanded === undefined ? batchEnd : expanded.length
    return this
  }

  get offset(): number {
    return this.#baseOffset + this.offsetDelta
  }

  get timestampMs(): number {
    return this.#baseTimestampMs + this.timestampDeltaMs
  }

  /** False when a look at one byte is enough to tell that the record never expires: that of nearly all records. */
  get mayExpire(): boolean {
    const count = this.headerCount
    return count > 1 || (count === 1 && this.bytes[this.headersStart] === expiryHeaderFirstByte)
  }

  /** When the record expires, in Unix milliseconds; undefined when it never does. Costs no walk over the headers. */
  get expiresAtMs(): number | undefined {
    return expiryAt(this.bytes, expiryHeaderStart(this.bytes, this.headersStart, this.headerCount, this.end))
  }

  /** The place after the last record. */
  get limit(): number {
    return this.#limit
  }

  /** Stands before the record at `at`, with so many left. */
  moveTo(at: number, left: number): void {
    this.end = at
    this.#left = left
  }

  /**
   * Moves to the next record. @returns false after the last
   * @throws RTK_BATCH_MALFORMED when a length leads out of the record or the batch
   */
  next(): boolean {
    if (this.#left <= 0) return false
    this.#left--
    if (!this.#shortRecord()) this.#anyRecord()
    return true
  }

  /**
   * Moves to a record of short fields, as nearly all are: their places are kept in registers meanwhile, which
   * takes half as long. @returns false for any other, and for what is malformed; then nothing has changed
   */
  #shortRecord(): boolean {
    const { bytes } = this
    let at = this.end
    let raw = bytes[at++]
    if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
    const length = raw >>> 1
    const end = at + length
    if (raw >= 0x4000 || (raw & 1) !== 0 || length < recordBytesMin || end > this.#limit) return false
    at++ // the attributes, unused in magic 2
    let rawTime = bytes[at++]
    if (rawTime >= 0x80) rawTime = (rawTime & 0x7f) | (bytes[at++] << 7)
    let rawOffset = bytes[at++]
    if (rawOffset >= 0x80) {
      rawOffset = (rawOffset & 0x7f) | (bytes[at++] << 7)
      if (rawOffset >= 0x4000) rawOffset = (rawOffset & 0x3fff) | (bytes[at++] << 14)
    }
    if (rawTime >= 0x4000 || rawOffset >= 0x200000) return false
    raw = bytes[at++]
    if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
    if (raw >= 0x4000) return false
    const keyStart = isNegative(raw) ? -1 : at
    if (keyStart !== -1) at += raw >>> 1
    const keyEnd = at
    raw = bytes[at++]
    if (raw >= 0x80) raw = (raw & 0x7f) | (bytes[at++] << 7)
    if (raw >= 0x4000) return false
    const valueStart = isNegative(raw) ? -1 : at
    if (valueStart !== -1) at += raw >>> 1
    const valueEnd = at
    raw = bytes[at++]
    if (!(raw < 0x80) || isNegative(raw) || at > end) return false
    this.timestampDeltaMs = unzigzag(rawTime)
    this.offsetDelta = unzigzag(rawOffset)
    this.keyStart = keyStart
    this.keyEnd = keyEnd
    this.valueStart = valueStart
    this.valueEnd = valueEnd
    this.headerCount = this.#headersLeft = raw >>> 1
    this.headersStart = this.#at = at
    this.end = end
    return true
  }

  /** @throws as `next` */
  #anyRecord(): void {
    this.#at = this.end
    const length = unzigzag(this.#rawVarint())
    const end = this.#at + length
    if (length < recordBytesMin || end > this.#limit) throw malformed('a record is longer than its batch')
    this.#at++ // the attributes, unused in magic 2
    this.timestampDeltaMs = this.#varlong()
    this.offsetDelta = unzigzag(this.#rawVarint())
    const rawKey = this.#rawVarint()
    this.keyStart = isNegative(rawKey) ? -1 : this.#at
    if (!isNegative(rawKey)) this.#skip(rawKey, end)
    this.keyEnd = this.#at
    const rawValue = this.#rawVarint()
    this.valueStart = isNegative(rawValue) ? -1 : this.#at
    if (!isNegative(rawValue)) this.#skip(rawValue, end)
    this.valueEnd = this.#at
    this.headerCount = unzigzag(this.#rawVarint())
    this.headersStart = this.#at
    if (this.#at > end || this.headerCount < 0) throw malformed('a record ends within a field')
    this.#headersLeft = this.headerCount
    this.end = end
  }

  /**
   * Moves to the next header of this record. @returns false after the last
   * @throws RTK_BATCH_MALFORMED when a length leads out of the record, or the headers do not fill the record exactly
   */
  nextHeader(): boolean {
    if (this.#headersLeft === 0) {
      if (this.#at !== this.end) throw malformed('a record is longer than its fields')
      return false
    }
    this.#headersLeft--
    const rawName = this.#rawVarint()
    if (isNegative(rawName)) throw malformed('a header has no name')
    this.headerNameStart = this.#at
    this.#skip(rawName, this.end)
    this.headerNameEnd = this.#at
    const rawValue = this.#rawVarint()
    this.headerValueStart = isNegative(rawValue) ? -1 : this.#at
    this.#skip(isNegative(rawValue) ? 0 : rawValue, this.end)
    this.headerValueEnd = this.#at
    return true
  }

  /** Calls `visit` with the places of each header; `valueStart` is -1 when it has no value. Throws as `nextHeader`. */
  eachHeader(
    visit: (nameStart: number, nameEnd: number, valueStart: number, valueEnd: number) => void,
  ): void {
    this.reopenHeaders(this.bytes, this.headersStart, this.end, this.headerCount)
    while (this.nextHeader()) {
      visit(this.headerNameStart, this.headerNameEnd, this.headerValueStart, this.headerValueEnd)
    }
  }

  /** Goes back to the headers of a record walked before: what `bytes` and the three others were then. */
  reopenHeaders(bytes: Uint8Array, headersStart: number, end: number, headerCount: number): this {
    this.bytes = bytes
    this.#at = headersStart
    this.end = end
    this.#headersLeft = headerCount
    return this
  }

  /** The varint here, one or two bytes of it without a call: nearly all are that short. */
  #rawVarint(): number {
    const bytes = this.bytes
    let at = this.#at
    let raw = bytes[at++]
    if (raw >= 0x80) {
      raw = (raw & 0x7f) | (bytes[at++] << 7)
      if (raw >= 0x4000) {
        raw = readRawVarint(bytes, at - 2)
        at = varintEnd
      }
    }
    this.#at = at
    return raw
  }

  #varlong(): number {
    const first = this.bytes[this.#at]
    if (first < 0x80) {
      this.#at++
      return unzigzag(first)
    }
    const value = readVarlong(this.bytes, this.#at)
    this.#at = varintEnd
    return value
  }

  #skip(rawLength: number, end: number): void {
    this.#at += rawLength >>> 1
    if (this.#at > end) throw malformed('a field is longer than its record')
  }
}

/** Of a varint as written: odd ones stand for negative numbers, and a negative length for "none". */
const isNegative = (raw: number): boolean => (raw & 1) === 1

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_BATCH_MALFORMED', `the record batch is malformed: ${what}`)
}
