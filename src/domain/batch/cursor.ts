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
import { baseOffsetOf, baseTimestampOf, batchHeaderBytes, batchSizeOf, recordCountOf } from './header.ts'

export class RecordCursor {
  /** What the places below point into: the batch, or its expanded records. */
  bytes: Uint8Array = new Uint8Array(0)
  offset = 0
  offsetDelta = 0
  timestampMs = 0
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

  #left = 0
  #limit = 0
  #baseOffset = 0
  #baseTimestampMs = 0
  #at = 0

  /**
   * Begins with the batch at `at`.
   * @param expanded the records of a compressed batch, already expanded
   */
  open(batch: Uint8Array, at = 0, expanded?: Uint8Array): this {
    this.#baseOffset = baseOffsetOf(batch, at)
    this.#baseTimestampMs = baseTimestampOf(batch, at)
    this.#left = recordCountOf(batch, at)
    this.bytes = expanded ?? batch
    this.#at = expanded === undefined ? at + batchHeaderBytes : 0
    this.#limit = expanded === undefined ? at + batchSizeOf(batch, at) : expanded.length
    return this
  }

  /** True when the bytes of all records were used up exactly. */
  get exhausted(): boolean {
    return this.#left === 0 && this.#at === this.#limit
  }

  /**
   * Moves to the next record. @returns false after the last
   * @throws RTK_BATCH_MALFORMED when a length leads out of the record or the batch
   */
  next(): boolean {
    if (this.#left === 0) return false
    this.#left--
    const length = this.#varint()
    const end = this.#at + length
    if (length < 6 || end > this.#limit) throw malformed('a record is longer than its batch')
    this.#at++ // attributes: unused in magic 2
    this.timestampMs = this.#baseTimestampMs + this.#varlong()
    this.offsetDelta = this.#varint()
    this.offset = this.#baseOffset + this.offsetDelta
    this.keyStart = this.#field(end)
    this.keyEnd = this.#at
    this.valueStart = this.#field(end)
    this.valueEnd = this.#at
    this.headerCount = this.#varint()
    this.headersStart = this.#at
    if (this.#at > end || this.headerCount < 0) throw malformed('a record ends within a field')
    this.end = end
    this.#at = end
    return true
  }

  /** Calls `visit` with the places of each header: name and value (-1 when it has none). */
  eachHeader(
    visit: (nameStart: number, nameEnd: number, valueStart: number, valueEnd: number) => void,
  ): void {
    const resume = this.#at
    this.#at = this.headersStart
    for (let i = 0; i < this.headerCount; i++) {
      const nameStart = this.#field(this.end)
      const nameEnd = this.#at
      if (nameStart === -1) throw malformed('a header has no name')
      const valueStart = this.#field(this.end)
      visit(nameStart, nameEnd, valueStart, this.#at)
    }
    const exact = this.#at === this.end
    this.#at = resume
    if (!exact) throw malformed('a record is longer than its fields')
  }

  /** The same for a record walked before: its bytes, and what `headersStart`, `end` and `headerCount` were then. */
  visitHeaders(
    bytes: Uint8Array,
    headersStart: number,
    end: number,
    headerCount: number,
    visit: (nameStart: number, nameEnd: number, valueStart: number, valueEnd: number) => void,
  ): void {
    this.bytes = bytes
    this.#limit = end
    this.headersStart = headersStart
    this.end = end
    this.headerCount = headerCount
    this.eachHeader(visit)
  }

  /** Steps over a length and that many bytes. @returns where they begin, -1 for none */
  #field(end: number): number {
    const length = this.#varint()
    if (length < 0) return -1
    const start = this.#at
    if (start + length > end) throw malformed('a field is longer than its record')
    this.#at = start + length
    return start
  }

  #varint(): number {
    const bytes = this.bytes
    let at = this.#at
    let byte = bytes[at++]
    let value = byte & 0x7f
    for (let shift = 7; byte >= 0x80; shift += 7) {
      if (shift > 28) throw malformed('a varint is longer than 5 bytes')
      byte = bytes[at++]
      value |= (byte & 0x7f) << shift
    }
    if (at > this.#limit) throw malformed('a varint runs out of the batch')
    this.#at = at
    return (value >>> 1) ^ -(value & 1)
  }

  #varlong(): number {
    const bytes = this.bytes
    const start = this.#at
    let at = start
    while (bytes[at] >= 0x80) at++
    const size = at + 1 - start
    if (size <= 4) return this.#varint()
    if (size > 10 || at >= this.#limit) throw malformed('a varint is longer than 10 bytes')
    let value = 0n
    for (let i = size - 1; i >= 0; i--) value = (value << 7n) | BigInt(bytes[start + i] & 0x7f)
    this.#at = at + 1
    return Number(BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n)))
  }
}

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_BATCH_MALFORMED', `the record batch is malformed: ${what}`)
}
