/**
 * Makes record batches: records are written one after the other into one growing buffer, and `build` completes the
 * header and the CRC. The layout is in header.ts and cursor.ts.
 */
import type { Header } from '../message.ts'
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
import { expiryHeaderSize, writeExpiryHeader } from './expiry-header.ts'
import { batchHeaderBytes, batchMagic, crcStart, lengthPrefixBytes, type ProducerStamp } from './header.ts'
import { idHeaderSize, writeIdHeader } from './id-header.ts'

/**
 * One record as it is added. The 16 bytes of its UUID, in `id` from `idStart` on, or from its beginning, become the record
 * header `rtk-id`; `expiresAtMs`, Unix milliseconds, becomes `rtk-expires-at`.
 */
export interface RecordFields {
  readonly payload: Uint8Array
  readonly key?: Uint8Array | undefined
  readonly headers?: readonly Header[] | undefined
  readonly id?: Uint8Array | undefined
  readonly idStart?: number
  readonly expiresAtMs?: number | undefined
  readonly timestampMs: number
}

/** What a builder needs: a checksum, and a codec when batches are to be compressed. */
export interface BatchBuilderOptions {
  readonly checksum: (bytes: Uint8Array) => number
  /** Bytes to begin with; grows as needed. */
  readonly initialBytes?: number
  /**
   * Gives so many bytes to go on with: then a large batch that fills its buffer is given away with it, instead of being copied.
   * They may hold anything.
   */
  readonly room?: (bytes: number) => Uint8Array
  /** Compresses the records of each batch as a whole. */
  readonly compression?: { readonly id: number; compress(bytes: Uint8Array): Uint8Array } | undefined
}

const noBytes = new Uint8Array(0)
const lengthFieldBytesMax = 5
/** A smaller batch is cheaper to copy than to replace its buffer. */
const givenAwayBytesMin = 64 * 1024
/** So small a batch costs less than an array of its own: several share one, each bytes that no other has. */
const sharingBytesMax = 1024
const sharedBytes = 16 * 1024
const noValue = 1 // the varint of -1

/** Builds one batch after the other in the same buffer. */
export class BatchBuilder {
  readonly #options: BatchBuilderOptions
  #buffer: Uint8Array
  /** On the buffer, for what is written several bytes at a time. */
  #view: DataView
  #end = batchHeaderBytes
  #shared: Uint8Array = noBytes
  #sharedEnd = 0
  #count = 0
  #baseTimestampMs = 0
  #maxTimestampMs = 0

  constructor(options: BatchBuilderOptions) {
    this.#options = options
    this.#buffer = new Uint8Array(options.initialBytes ?? 4096)
    this.#view = viewOf(this.#buffer)
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
    const { timestampMs, key, payload, headers, id, expiresAtMs } = record
    const place = this.#count
    if (place === 0) this.#baseTimestampMs = this.#maxTimestampMs = timestampMs
    else if (timestampMs > this.#maxTimestampMs) this.#maxTimestampMs = timestampMs
    const delta = timestampMs - this.#baseTimestampMs
    const bare = headers === undefined && id === undefined && expiresAtMs === undefined
    const length =
      1 +
      varlongSize(delta) +
      varintSize(place) +
      sizeWithLength(key) +
      sizeWithLength(payload) +
      (bare ? 1 : headersSize(headers, id, expiresAtMs))
    if (this.#end + length + lengthFieldBytesMax > this.#buffer.length)
      this.#grow(length + lengthFieldBytesMax)

    const buffer = this.#buffer
    let at = writeVarint(buffer, this.#end, length)
    buffer[at++] = 0
    at = writeVarlong(buffer, at, delta)
    at = writeVarint(buffer, at, place)
    if (key === undefined) buffer[at++] = noValue
    else at = writeBytes(buffer, at, key)
    // Not through writeBytes: as a call of its own it costs a fifth of the whole record.
    at = writeVarint(buffer, at, payload.length)
    buffer.set(payload, at)
    at += payload.length
    if (bare) buffer[at++] = 0
    else at = writeHeaders(buffer, this.#view, at, record)
    this.#end = at
    this.#count = place + 1
    return place
  }

  /**
   * Completes the batch and begins a new one.
   * @returns bytes that are nobody else's, base offset 0 and leader epoch -1: the broker stamps them
   */
  build(producer?: ProducerStamp): Uint8Array {
    if (this.#count === 0) throw new TypeError('a batch has at least one record: add one before build')
    const { compression, checksum } = this.#options
    const batch =
      compression === undefined
        ? this.#cut()
        : withHeaderRoom(compression.compress(this.#buffer.subarray(batchHeaderBytes, this.#end)))
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

  /** The batch, in bytes of its own. */
  #cut(): Uint8Array {
    const { room } = this.#options
    const buffer = this.#buffer
    if (this.#end <= sharingBytesMax) return this.#cutSmall()
    const unused = buffer.length - this.#end
    if (room === undefined || this.#end < givenAwayBytesMin || unused > buffer.length >>> 4)
      return buffer.slice(0, this.#end)
    this.#buffer = room(buffer.length)
    this.#view = viewOf(this.#buffer)
    return buffer.subarray(0, this.#end)
  }

  #cutSmall(): Uint8Array {
    if (this.#sharedEnd + this.#end > this.#shared.length) {
      this.#shared = new Uint8Array(sharedBytes)
      this.#sharedEnd = 0
    }
    const batch = this.#shared.subarray(this.#sharedEnd, this.#sharedEnd + this.#end)
    batch.set(this.#buffer.subarray(0, this.#end))
    this.#sharedEnd += this.#end
    return batch
  }

  #grow(bytes: number): void {
    const larger = new Uint8Array(Math.max(this.#end + bytes, this.#buffer.length * 2))
    larger.set(this.#buffer.subarray(0, this.#end))
    this.#buffer = larger
    this.#view = viewOf(larger)
  }
}

const viewOf = ({ buffer, byteOffset, length }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, length)

function withHeaderRoom(records: Uint8Array): Uint8Array {
  const batch = new Uint8Array(batchHeaderBytes + records.length)
  batch.set(records, batchHeaderBytes)
  return batch
}

const countOf = (
  headers: readonly Header[] | undefined,
  id: Uint8Array | undefined,
  expiresAtMs: number | undefined,
): number =>
  (headers === undefined ? 0 : headers.length) +
  (id === undefined ? 0 : 1) +
  (expiresAtMs === undefined ? 0 : 1)

function headersSize(
  headers: readonly Header[] | undefined,
  id: Uint8Array | undefined,
  expiresAtMs: number | undefined,
): number {
  let size = varintSize(countOf(headers, id, expiresAtMs))
  if (id !== undefined) size += idHeaderSize
  if (expiresAtMs !== undefined) size += expiryHeaderSize
  if (headers === undefined) return size
  for (const [name, value] of headers) {
    const nameBytes = utf8Size(name)
    size += varintSize(nameBytes) + nameBytes + sizeWithLength(value)
  }
  return size
}

function writeHeaders(
  buffer: Uint8Array,
  view: DataView,
  start: number,
  { headers, id, idStart = 0, expiresAtMs }: RecordFields,
): number {
  let at = writeVarint(buffer, start, countOf(headers, id, expiresAtMs))
  if (id !== undefined) at = writeIdHeader(view, at, id, idStart)
  if (expiresAtMs !== undefined) at = writeExpiryHeader(buffer, at, expiresAtMs)
  if (headers === undefined) return at
  for (const [name, value] of headers) {
    at = writeVarint(buffer, at, utf8Size(name))
    at = writeUtf8(buffer, at, name)
    at = writeBytes(buffer, at, value)
  }
  return at
}

const sizeWithLength = (bytes: Uint8Array | undefined): number =>
  bytes === undefined ? 1 : varintSize(bytes.length) + bytes.length

function writeBytes(buffer: Uint8Array, at: number, bytes: Uint8Array): number {
  const start = writeVarint(buffer, at, bytes.length)
  buffer.set(bytes, start)
  return start + bytes.length
}
