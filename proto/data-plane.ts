/**
 * Codecs of the messages that carry record batches: `ProduceRequest`, and what is pushed in the streams of `Consume`.
 *
 * The generated code would copy a batch up to three times and grow its buffer on the way; these copy none. What is written
 * comes in parts, the last of which is the batch itself, and what is read is a view on the bytes that came. On the wire they
 * are what the generated code writes and reads, which a test holds them to, but that the batches come last:
 *
 *     ProduceRequest    1 correlation_id   2 topic        3 partition    4 durability   5 batches   6 lease
 *     Delivery          1 partition        2 from_offset  3 next_offset  4 batches
 *     ConsumeResponse   3 delivery
 *     LeasedBatch       1 partition        2 lease        3 record_count 4 first_offset 5 last_offset 6 attempt
 *                       7 redelivered      8 lease_ms     9 batches
 *     QueueServiceConsumeResponse          3 leased
 */
import {
  ConsumeResponse,
  type Delivery,
  LeaseProof,
  type ProduceRequest,
} from './generated/ratatoskr/v1/message_service.ts'
import { type LeasedBatch, QueueServiceConsumeResponse } from './generated/ratatoskr/v1/queue_service.ts'
import type { Durability } from './generated/ratatoskr/v1/types.ts'
import { framePrefixBytes, frameWithBody, type MessageFrame } from './message-frames.ts'

const VARINT = 0
const LENGTH_DELIMITED = 2
const deliveryTag = (3 << 3) | LENGTH_DELIMITED
const leasedTag = (3 << 3) | LENGTH_DELIMITED
const TWO_32 = 4_294_967_296

/** Writes a `ProduceRequest`, its batches by reference. Numbers must be whole and not negative. */
export function frameProduceRequest(request: ProduceRequest): MessageFrame {
  const topicBytes = Buffer.byteLength(request.topic)
  const lease = request.lease === undefined ? undefined : LeaseProof.encode(request.lease).finish()
  const size =
    numberFieldSize(request.correlationId) +
    bytesFieldSize(topicBytes) +
    numberFieldSize(request.partition) +
    numberFieldSize(request.durability) +
    (lease === undefined ? 0 : messageFieldSize(lease.length)) +
    lengthFieldSize(request.batches.length)
  const head = Buffer.allocUnsafe(framePrefixBytes + size)
  let at = writeNumberField(head, framePrefixBytes, 1, request.correlationId)
  if (topicBytes > 0) {
    at = writeLength(head, at, 2, topicBytes)
    at += head.write(request.topic, at)
  }
  at = writeNumberField(head, at, 3, request.partition)
  at = writeNumberField(head, at, 4, request.durability)
  if (lease !== undefined) {
    at = writeLength(head, at, 6, lease.length)
    head.set(lease, at)
    at += lease.length
  }
  writeLengthField(head, at, 5, request.batches.length)
  return frameWithBody(head, request.batches)
}

/**
 * Reads a `ProduceRequest`; `batches` is a view on `bytes`.
 * @throws Error when the bytes are no such message
 */
export function decodeProduceRequest(bytes: Uint8Array): ProduceRequest {
  const reader = new FieldReader(bytes, 0, bytes.length)
  const request: ProduceRequest = {
    correlationId: 0,
    topic: '',
    partition: 0,
    durability: 0,
    batches: noBytes,
    lease: undefined,
  }
  while (reader.next()) {
    if (reader.is(1, VARINT)) request.correlationId = unsigned(reader.number())
    else if (reader.is(2, LENGTH_DELIMITED)) request.topic = reader.text()
    else if (reader.is(3, VARINT)) request.partition = reader.number() >>> 0
    else if (reader.is(4, VARINT)) request.durability = (reader.number() | 0) as Durability
    else if (reader.is(5, LENGTH_DELIMITED)) request.batches = reader.view()
    else if (reader.is(6, LENGTH_DELIMITED)) request.lease = LeaseProof.decode(reader.view())
    else reader.skip()
  }
  return request
}

/** Writes a `ConsumeResponse` with a delivery, its batches by reference. Numbers must be whole and not negative. */
export function frameDelivery(delivery: Delivery): MessageFrame {
  const size =
    numberFieldSize(delivery.partition) +
    numberFieldSize(delivery.fromOffset) +
    numberFieldSize(delivery.nextOffset) +
    lengthFieldSize(delivery.batches.length)
  const whole = size + delivery.batches.length
  const head = Buffer.allocUnsafe(framePrefixBytes + 1 + varintSize(whole) + size)
  let at = writeLength(head, framePrefixBytes, 3, whole)
  at = writeNumberField(head, at, 1, delivery.partition)
  at = writeNumberField(head, at, 2, delivery.fromOffset)
  at = writeNumberField(head, at, 3, delivery.nextOffset)
  writeLengthField(head, at, 4, delivery.batches.length)
  return frameWithBody(head, delivery.batches)
}

/**
 * Reads a `ConsumeResponse`; the batches of a delivery are a view on `bytes`.
 * @throws Error when the bytes are no such message
 */
export function decodeConsumeResponse(bytes: Uint8Array): ConsumeResponse {
  if (bytes[0] !== deliveryTag) return ConsumeResponse.decode(bytes)
  const outer = new FieldReader(bytes, 0, bytes.length)
  outer.next()
  const start = outer.enter()
  // Anything beside the one delivery is not what a broker of today writes: the generated code knows how to merge it.
  if (outer.at !== bytes.length) return ConsumeResponse.decode(bytes)
  const reader = new FieldReader(bytes, start, bytes.length)
  const delivery: Delivery = { partition: 0, fromOffset: 0, nextOffset: 0, batches: noBytes }
  while (reader.next()) {
    if (reader.is(1, VARINT)) delivery.partition = reader.number() >>> 0
    else if (reader.is(2, VARINT)) delivery.fromOffset = reader.number()
    else if (reader.is(3, VARINT)) delivery.nextOffset = reader.number()
    else if (reader.is(4, LENGTH_DELIMITED)) delivery.batches = reader.view()
    else reader.skip()
  }
  return { delivery }
}

/** Writes a `QueueServiceConsumeResponse` with leased batches, by reference and without messages. Numbers must be whole and not negative. */
export function frameLeased(leased: Omit<LeasedBatch, 'messages'>): MessageFrame {
  const size =
    numberFieldSize(leased.partition) +
    numberFieldSize(leased.lease) +
    numberFieldSize(leased.recordCount) +
    numberFieldSize(leased.firstOffset) +
    numberFieldSize(leased.lastOffset) +
    numberFieldSize(leased.attempt) +
    numberFieldSize(leased.redelivered ? 1 : 0) +
    numberFieldSize(leased.leaseMs) +
    lengthFieldSize(leased.batches.length)
  const whole = size + leased.batches.length
  const head = Buffer.allocUnsafe(framePrefixBytes + 1 + varintSize(whole) + size)
  let at = writeLength(head, framePrefixBytes, 3, whole)
  at = writeNumberField(head, at, 1, leased.partition)
  at = writeNumberField(head, at, 2, leased.lease)
  at = writeNumberField(head, at, 3, leased.recordCount)
  at = writeNumberField(head, at, 4, leased.firstOffset)
  at = writeNumberField(head, at, 5, leased.lastOffset)
  at = writeNumberField(head, at, 6, leased.attempt)
  at = writeNumberField(head, at, 7, leased.redelivered ? 1 : 0)
  at = writeNumberField(head, at, 8, leased.leaseMs)
  writeLengthField(head, at, 9, leased.batches.length)
  return frameWithBody(head, leased.batches)
}

/**
 * Reads a `QueueServiceConsumeResponse`; leased batches are a view on `bytes`.
 * @throws Error when the bytes are no such message
 */
export function decodeQueueConsumeResponse(bytes: Uint8Array): QueueServiceConsumeResponse {
  if (bytes[0] !== leasedTag) return QueueServiceConsumeResponse.decode(bytes)
  const outer = new FieldReader(bytes, 0, bytes.length)
  outer.next()
  const start = outer.enter()
  if (outer.at !== bytes.length) return QueueServiceConsumeResponse.decode(bytes)
  const reader = new FieldReader(bytes, start, bytes.length)
  const leased: LeasedBatch = {
    partition: 0,
    lease: 0,
    recordCount: 0,
    firstOffset: 0,
    lastOffset: 0,
    attempt: 0,
    redelivered: false,
    leaseMs: 0,
    batches: noBytes,
    messages: [],
  }
  while (reader.next()) {
    if (reader.is(1, VARINT)) leased.partition = reader.number() >>> 0
    else if (reader.is(2, VARINT)) leased.lease = reader.number()
    else if (reader.is(3, VARINT)) leased.recordCount = reader.number() >>> 0
    else if (reader.is(4, VARINT)) leased.firstOffset = reader.number()
    else if (reader.is(5, VARINT)) leased.lastOffset = reader.number()
    else if (reader.is(6, VARINT)) leased.attempt = reader.number() >>> 0
    else if (reader.is(7, VARINT)) leased.redelivered = reader.number() !== 0
    else if (reader.is(8, VARINT)) leased.leaseMs = reader.number()
    else if (reader.is(9, LENGTH_DELIMITED)) leased.batches = reader.view()
    // Messages come to whoever asked for them, and who did reads them as they are generated.
    else if (reader.is(10, LENGTH_DELIMITED)) return QueueServiceConsumeResponse.decode(bytes)
    else reader.skip()
  }
  return { leased }
}

const noBytes = new Uint8Array(0)

/** Bytes of a whole number that is not negative, seven bits each. */
function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++
  return size
}

function writeVarint(buffer: Buffer, start: number, value: number): number {
  let at = start
  let rest = value
  while (rest >= 0x80) {
    buffer[at++] = (rest % 0x80) | 0x80
    rest = Math.floor(rest / 0x80)
  }
  buffer[at++] = rest
  return at
}

// Fields with their default value are not written: proto3.
const numberFieldSize = (value: number): number => (value === 0 ? 0 : 1 + varintSize(value))
const messageFieldSize = (length: number): number => 1 + varintSize(length) + length
/** Without the bytes themselves. */
const lengthFieldSize = (length: number): number => (length === 0 ? 0 : 1 + varintSize(length))
const bytesFieldSize = (length: number): number => (length === 0 ? 0 : 1 + varintSize(length) + length)

function writeNumberField(buffer: Buffer, at: number, field: number, value: number): number {
  if (value === 0) return at
  buffer[at] = (field << 3) | VARINT
  return writeVarint(buffer, at + 1, value)
}

function writeLength(buffer: Buffer, at: number, field: number, length: number): number {
  buffer[at] = (field << 3) | LENGTH_DELIMITED
  return writeVarint(buffer, at + 1, length)
}

/** What stands before a field of bytes that comes last. */
function writeLengthField(buffer: Buffer, at: number, field: number, length: number): void {
  if (length > 0) writeLength(buffer, at, field, length)
}

/** Walks the fields of one message. */
class FieldReader {
  at: number
  readonly #bytes: Uint8Array
  readonly #end: number
  #field = 0
  #type = 0

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.at = start
    this.#end = end
  }

  /** Goes to the next field. @returns false at the end */
  next(): boolean {
    if (this.at === this.#end) return false
    const tag = this.number()
    this.#field = tag >>> 3
    this.#type = tag & 7
    if (this.#field === 0 || tag >= TWO_32) throw new Error('a field has an impossible number')
    return true
  }

  is(field: number, type: number): boolean {
    return this.#field === field && this.#type === type
  }

  /** A varint as a number: exact, or refused. Negative numbers are those of int32 and int64. */
  number(): number {
    let low = 0
    let high = 0
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.#end) throw new Error('the message is cut short')
      const byte = this.#bytes[this.at++]
      const bits = byte & 0x7f
      if (shift < 28) low |= bits << shift
      else if (shift === 28) {
        low |= bits << 28
        high = bits >>> 4
      } else high |= bits << (shift - 32)
      if (byte < 0x80) return exact(low >>> 0, high)
    }
    throw new Error('a number has more than 10 bytes')
  }

  /** Goes past a length-delimited field. @returns where its content begins */
  enter(): number {
    const length = this.number()
    const start = this.at
    if (length < 0 || length > this.#end - start) throw new Error('the message is cut short')
    this.at = start + length
    return start
  }

  view(): Uint8Array {
    const start = this.enter()
    return this.#bytes.subarray(start, this.at)
  }

  text(): string {
    const view = this.view()
    return Buffer.from(view.buffer, view.byteOffset, view.length).toString()
  }

  /** Goes past a field that this version does not know. */
  skip(): void {
    if (this.#type === VARINT) this.number()
    else if (this.#type === LENGTH_DELIMITED) this.enter()
    else this.#advance(this.#type === 1 ? 8 : this.#type === 5 ? 4 : Number.NaN)
  }

  #advance(length: number): void {
    if (!(length <= this.#end - this.at)) throw new Error('a field has an unknown type or is cut short')
    this.at += length
  }
}

/** Numbers of a uint64 above 2^63 come as negative ones, and are beyond what we can tell exactly in any case. */
function unsigned(value: number): number {
  if (value < 0) throw new Error('a number is beyond 2^53 - 1')
  return value
}

function exact(low: number, high: number): number {
  const value = high * TWO_32 + low
  if (!Number.isSafeInteger(value)) throw new Error('a number is beyond 2^53 - 1')
  return value
}
