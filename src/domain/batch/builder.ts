/**
 * Makes record batches: records are written one after the other into one growing buffer, and `build` completes the
 * header and the CRC. The layout is in header.ts and cursor.ts.
 */
import type { Header } from '../message.ts'
import { idHeaderName } from '../message.ts'
import {
  utf8Size,
  varintSize,
  varlongSize,
  writeInt16,
  writeInt32,
  writeInt64,
  writeUtf8,
  writeVarint,
  writeVarlong,
} from './bytes.ts'
import { batchHeaderBytes, batchMagic, crcStart, lengthPrefixBytes } from './header.ts'

/** One record as it is added. `id` are the 16 bytes of its UUID and become the record header `rtk-id`. */
export interface RecordFields {
  readonly payload: Uint8Array
  readonly key?: Uint8Array | undefined
  readonly headers?: readonly Header[] | undefined
  readonly id?: Uint8Array | undefined
  readonly timestampMs: number
}

export interface BatchBuilderOptions {
  readonly checksum: (bytes: Uint8Array) => number
  /** Bytes to begin with; grows as needed. */
  readonly initialBytes?: number
  /** Compresses the records of each batch as a whole. */
  readonly compression?: { readonly id: number; compress(bytes: Uint8Array): Uint8Array } | undefined
}

/** Who made the batch, for idempotent producing. */
export interface ProducerFields {
  readonly producerId: number
  readonly epoch: number
  readonly baseSequence: number
}

const noHeaders: readonly Header[] = []
const idNameBytes = utf8Size(idHeaderName)
const idHeaderSize = 1 + idNameBytes + 1 + 16

export class BatchBuilder {
  readonly #options: BatchBuilderOptions
  #buffer: Uint8Array
  #end = batchHeaderBytes
  #count = 0
  #baseTimestampMs = 0
  #maxTimestampMs = 0

  constructor(options: BatchBuilderOptions) {
    this.#options = options
    this.#buffer = new Uint8Array(options.initialBytes ?? 4096)
  }

  /** Records added since the last `build`. */
  get recordCount(): number {
    return this.#count
  }

  /** Bytes that the batch would have now, before compression. */
  get sizeBytes(): number {
    return this.#end
  }

  /** Adds a record. @returns its place in the batch, from 0 */
  add(record: RecordFields): number {
    if (this.#count === 0) this.#baseTimestampMs = this.#maxTimestampMs = record.timestampMs
    else if (record.timestampMs > this.#maxTimestampMs) this.#maxTimestampMs = record.timestampMs
    const delta = record.timestampMs - this.#baseTimestampMs
    const headers = record.headers ?? noHeaders
    const length = recordLength(record, headers, delta, this.#count)
    this.#reserve(length + 5)
    this.#write(record, headers, delta, length)
    return this.#count++
  }

  /**
   * Completes the batch and begins a new one.
   * @returns a buffer of its own, base offset 0 and leader epoch -1: the broker stamps them
   */
  build(producer?: ProducerFields): Uint8Array {
    const { compression, checksum } = this.#options
    const records = this.#buffer.subarray(batchHeaderBytes, this.#end)
    const body = compression === undefined ? records : compression.compress(records)
    const batch = new Uint8Array(batchHeaderBytes + body.length)
    batch.set(body, batchHeaderBytes)
    writeInt64(batch, 0, 0)
    writeInt32(batch, 8, batch.length - lengthPrefixBytes)
    writeInt32(batch, 12, -1)
    batch[16] = batchMagic
    writeInt16(batch, 21, compression?.id ?? 0)
    writeInt32(batch, 23, this.#count - 1)
    writeInt64(batch, 27, this.#baseTimestampMs)
    writeInt64(batch, 35, this.#maxTimestampMs)
    writeInt64(batch, 43, producer?.producerId ?? -1)
    writeInt16(batch, 51, producer?.epoch ?? -1)
    writeInt32(batch, 53, producer?.baseSequence ?? -1)
    writeInt32(batch, 57, this.#count)
    writeInt32(batch, 17, checksum(batch.subarray(crcStart)))
    this.#end = batchHeaderBytes
    this.#count = 0
    return batch
  }

  #reserve(bytes: number): void {
    const needed = this.#end + bytes
    if (needed <= this.#buffer.length) return
    const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#end))
    this.#buffer = larger
  }

  #write(record: RecordFields, headers: readonly Header[], delta: number, length: number): void {
    const buffer = this.#buffer
    let at = writeVarint(buffer, this.#end, length)
    buffer[at++] = 0
    at = writeVarlong(buffer, at, delta)
    at = writeVarint(buffer, at, this.#count)
    at = writeBytes(buffer, at, record.key)
    at = writeBytes(buffer, at, record.payload)
    at = writeVarint(buffer, at, headers.length + (record.id === undefined ? 0 : 1))
    if (record.id !== undefined) {
      at = writeVarint(buffer, at, idNameBytes)
      at = writeUtf8(buffer, at, idHeaderName)
      at = writeBytes(buffer, at, record.id)
    }
    for (const [name, value] of headers) {
      at = writeVarint(buffer, at, utf8Size(name))
      at = writeUtf8(buffer, at, name)
      at = writeBytes(buffer, at, value)
    }
    this.#end = at
  }
}

/** Bytes of a record after its length field. */
function recordLength(
  record: RecordFields,
  headers: readonly Header[],
  delta: number,
  place: number,
): number {
  let length =
    1 + varlongSize(delta) + varintSize(place) + sizeWithLength(record.key) + sizeWithLength(record.payload)
  length += varintSize(headers.length + (record.id === undefined ? 0 : 1))
  if (record.id !== undefined) length += idHeaderSize
  for (const [name, value] of headers) {
    const nameBytes = utf8Size(name)
    length += varintSize(nameBytes) + nameBytes + sizeWithLength(value)
  }
  return length
}

const sizeWithLength = (bytes: Uint8Array | undefined): number =>
  bytes === undefined ? 1 : varintSize(bytes.length) + bytes.length

function writeBytes(buffer: Uint8Array, at: number, bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return writeVarint(buffer, at, -1)
  const start = writeVarint(buffer, at, bytes.length)
  buffer.set(bytes, start)
  return start + bytes.length
}
