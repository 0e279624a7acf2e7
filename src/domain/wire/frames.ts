/**
 * The frames of the binary data plane: what the subprotocol `ratatoskr.v1+binary` sends as binary WebSocket messages,
 * one frame each; a stream transport would put a uint32 length before them. Requests, replies and events that carry no
 * batches are JSON text beside them.
 *
 * Every frame is a header of 32 bytes, integers big-endian, and a body:
 *
 *     at  0 uint8   kind
 *     at  1 uint8   flags: 1 of a produced frame for a duplicate, of a leased one for redelivered; zero otherwise
 *     at  2 uint8   durability: the level's number, 255 for none
 *     at  3 uint8   zero
 *     at  4 uint32  id: of the request, or of the request that began the subscription
 *     at  8 int32   partition
 *     at 12 uint32  count
 *     at 16 int64   first offset
 *     at 24 int64   second offset
 *     at 32         body
 *
 *     kind         from     durability count         first      second  body
 *     1 produce    client   asked      bytes of name lease      0       topic's name, lease, then whole batches
 *     2 produced   broker   reached    records       base       0       duplicates
 *     3 deliver    broker   255        0             from       next    whole batches
 *     4 fetched    broker   255        16            from       next    start and stable offset (int64), then whole batches
 *     5 credit     client   255        0             bytes      messages -
 *     6 leased     broker   255        records       first      last    lease (int64), attempt and milliseconds that the lease
 *                                                                       lasts (uint32), then whole batches
 *
 * A leased frame carries messages of a queue group: to a subscription, or before the reply to a `take`, under its id.
 *
 * A produce that fails is answered like any other request, by a JSON reply with its id. Its `first offset` says how many bytes
 * its lease takes: JSON, { topic, group, partition, offset, lease }; 0 without one. The body of a produced frame names the
 * records that were not stored, since a message of their id was before, 16 bytes each: uint32 index among the records,
 * int32 partition, int64 offset.
 */
import { readInt32, readInt64, readUint32, utf8, utf8Text, writeInt32, writeInt64 } from '../batch/bytes.ts'
import {
  type Durability,
  durabilityLevels,
  durabilityNumber,
  durabilityOfNumber,
  isDurability,
} from '../durability.ts'
import { RatatoskrError } from '../errors.ts'
import { quoteForMessage } from '../names.ts'
import { roomFor } from './frame-pool.ts'
import { topicBytes, topicText } from './topic-text.ts'

/** Bytes before a frame's body. */
export const frameHeaderBytes = 32
/** The largest id of a request: it must fit the header. */
export const requestIdMax = 0xffff_ffff

/** The first byte of a frame, by the frame's name. */
export const frameKinds = { produce: 1, produced: 2, deliver: 3, fetched: 4, credit: 5, leased: 6 } as const

const noDurability = 255
const noBytes = new Uint8Array(0)
const noDuplicates: readonly Duplicate[] = []
const fetchedOffsetsBytes = 16
const duplicateFlag = 1
const redeliveredFlag = 1
const leaseBytes = 16
const duplicateBytes = 16
const uint32Max = 0xffff_ffff
/** Of the kinds that have some. */
const knownFlags: Readonly<Record<number, number | undefined>> = {
  [frameKinds.produced]: duplicateFlag,
  [frameKinds.leased]: redeliveredFlag,
}

/** A client publishes batches to one partition. */
export interface ProduceFrame {
  readonly kind: 'produce'
  readonly id: number
  readonly topic: string
  readonly partition: number
  readonly durability: Durability | undefined
  /** JSON as it came; undefined without one. */
  readonly lease: string | undefined
  /** A view on the frame, as all batches here. */
  readonly batch: Uint8Array
}

/** The broker says where the batches of a produce are stored. */
export interface ProducedFrame {
  readonly kind: 'produced'
  readonly id: number
  readonly partition: number
  readonly baseOffset: number
  readonly recordCount: number
  readonly durability: Durability
  /** As in a `BatchReceipt`. */
  readonly duplicate?: boolean | undefined
  readonly duplicates?: readonly Duplicate[] | undefined
}

/** A record that was stored before, and where. */
interface Duplicate {
  readonly index: number
  readonly partition: number
  readonly offset: number
}

/** The broker pushes batches to a subscription. */
export interface DeliverFrame {
  readonly kind: 'deliver'
  readonly id: number
  readonly partition: number
  readonly fromOffset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

/** The broker answers a fetch. */
export interface FetchedFrame extends Omit<DeliverFrame, 'kind'> {
  readonly kind: 'fetched'
  readonly startOffset: number
  readonly stableOffset: number
}

/** A client lets a subscription send more. */
export interface CreditFrame {
  readonly kind: 'credit'
  readonly id: number
  readonly bytes: number
  /** Of a queue group; 0 for none. */
  readonly messages: number
}

/** The broker gives messages of a queue group: the fields of a `LeasedBatch`. */
export interface LeasedFrame {
  readonly kind: 'leased'
  readonly id: number
  readonly partition: number
  readonly recordCount: number
  readonly firstOffset: number
  readonly lastOffset: number
  readonly lease: number
  readonly attempt: number
  readonly redelivered: boolean
  readonly leaseMs: number
  readonly bytes: Uint8Array
}

/** Any frame, told apart by `kind`. */
export type Frame = ProduceFrame | ProducedFrame | DeliverFrame | FetchedFrame | CreditFrame | LeasedFrame

/** The whole of a produce frame, with its batch copied in. @throws as `encodeProduceHeader` */
export function encodeProduce(
  id: number,
  topic: string,
  partition: number,
  durability: Durability | undefined,
  batch: Uint8Array,
  lease?: object,
): Uint8Array {
  return joinFrame(encodeProduceHeader(id, topic, partition, durability, lease), batch)
}

/** A frame of two parts as one, for what cannot send them one after the other. */
export function joinFrame(head: Uint8Array, body: Uint8Array): Uint8Array {
  const frame = new Uint8Array(head.length + body.length)
  frame.set(head)
  frame.set(body, head.length)
  return frame
}

/**
 * Header, topic and lease of a produce frame; the batches follow as they are.
 * @throws RTK_INVALID_ARGUMENT for a level that does not exist: its number would say that none is asked for
 */
export function encodeProduceHeader(
  id: number,
  topic: string,
  partition: number,
  durability: Durability | undefined,
  lease?: object,
): Uint8Array {
  if (durability !== undefined && !isDurability(durability)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `durability must be one of ${durabilityLevels.join(', ')}, got ${quoteForMessage(durability)}`,
    )
  }
  const name = topicBytes(topic)
  const proof = lease === undefined ? noBytes : utf8(JSON.stringify(lease))
  const batchStart = frameHeaderBytes + name.length + proof.length
  const frame = roomFor(batchStart)
  const level = durability === undefined ? noDurability : durabilityNumber(durability)
  writeHeader(frame, frameKinds.produce, level, id, partition, name.length)
  writeInt64(frame, 16, proof.length)
  frame.set(name, frameHeaderBytes)
  frame.set(proof, batchStart - proof.length)
  return frame
}

/** The whole of a produced frame. */
export function encodeProduced(id: number, receipt: Omit<ProducedFrame, 'kind' | 'id'>): Uint8Array {
  const { partition, baseOffset, recordCount, durability, duplicate, duplicates = noDuplicates } = receipt
  const frame = roomFor(frameHeaderBytes + duplicates.length * duplicateBytes)
  writeHeader(frame, frameKinds.produced, durabilityNumber(durability), id, partition, recordCount)
  if (duplicate === true) frame[1] = duplicateFlag
  writeInt64(frame, 16, baseOffset)
  let at = frameHeaderBytes
  for (const { index, partition, offset } of duplicates) {
    writeInt32(frame, at, index)
    writeInt32(frame, at + 4, partition)
    writeInt64(frame, at + 8, offset)
    at += duplicateBytes
  }
  return frame
}

/** The header of a deliver frame; the batches follow it on the wire as they are, without a copy. */
export function encodeDeliverHeader(
  id: number,
  partition: number,
  fromOffset: number,
  nextOffset: number,
): Uint8Array {
  const frame = roomFor(frameHeaderBytes)
  writeHeader(frame, frameKinds.deliver, noDurability, id, partition, 0)
  writeInt64(frame, 16, fromOffset)
  writeInt64(frame, 24, nextOffset)
  return frame
}

/** Header and offsets of a fetched frame; the batches follow as they are. */
export function encodeFetchedHeader(
  id: number,
  fetched: Pick<FetchedFrame, 'partition' | 'fromOffset' | 'nextOffset' | 'startOffset' | 'stableOffset'>,
): Uint8Array {
  const frame = roomFor(frameHeaderBytes + fetchedOffsetsBytes)
  writeHeader(frame, frameKinds.fetched, noDurability, id, fetched.partition, fetchedOffsetsBytes)
  writeInt64(frame, 16, fetched.fromOffset)
  writeInt64(frame, 24, fetched.nextOffset)
  writeInt64(frame, frameHeaderBytes, fetched.startOffset)
  writeInt64(frame, frameHeaderBytes + 8, fetched.stableOffset)
  return frame
}

/** The whole of a credit frame. */
export function encodeCredit(id: number, bytes: number, messages = 0): Uint8Array {
  const frame = roomFor(frameHeaderBytes)
  writeHeader(frame, frameKinds.credit, noDurability, id, 0, 0)
  writeInt64(frame, 16, bytes)
  writeInt64(frame, 24, messages)
  return frame
}

/** Header and lease of a leased frame; the batches follow as they are. */
export function encodeLeasedHeader(
  id: number,
  leased: Omit<LeasedFrame, 'kind' | 'id' | 'bytes'>,
): Uint8Array {
  const frame = roomFor(frameHeaderBytes + leaseBytes)
  writeHeader(frame, frameKinds.leased, noDurability, id, leased.partition, leased.recordCount)
  if (leased.redelivered) frame[1] = redeliveredFlag
  writeInt64(frame, 16, leased.firstOffset)
  writeInt64(frame, 24, leased.lastOffset)
  writeInt64(frame, frameHeaderBytes, leased.lease)
  writeInt32(frame, frameHeaderBytes + 8, leased.attempt)
  writeInt32(frame, frameHeaderBytes + 12, Math.min(Math.floor(leased.leaseMs), uint32Max))
  return frame
}

function writeHeader(
  frame: Uint8Array,
  kind: number,
  durability: number,
  id: number,
  partition: number,
  count: number,
): void {
  frame[0] = kind
  frame[2] = durability
  writeInt32(frame, 4, id)
  writeInt32(frame, 8, partition)
  writeInt32(frame, 12, count)
}

/**
 * Reads a frame. Batches in it are views, not checked: whoever admits them verifies them.
 * @throws RTK_FRAME_MALFORMED
 */
export function decodeFrame(frame: Uint8Array): Frame {
  if (frame.length < frameHeaderBytes) {
    throw malformed(`a frame has at least ${frameHeaderBytes} bytes, got ${frame.length}`)
  }
  if ((frame[1] & ~(knownFlags[frame[0]] ?? 0)) !== 0 || frame[3] !== 0)
    throw malformed('flags that this version does not know')
  const id = readUint32(frame, 4)
  const partition = readInt32(frame, 8)
  if (partition < 0) throw malformed(`a partition is at least 0, got ${partition}`)
  switch (frame[0]) {
    case frameKinds.produce:
      return decodeProduce(frame, id, partition)
    case frameKinds.produced:
      return decodeProduced(frame, id, partition)
    case frameKinds.deliver:
      return { kind: 'deliver', id, partition, ...offsetsOf(frame), bytes: frame.subarray(frameHeaderBytes) }
    case frameKinds.fetched:
      return decodeFetched(frame, id, partition)
    case frameKinds.credit:
      requireSize(frame, frameHeaderBytes)
      return { kind: 'credit', id, bytes: wholeNumber(frame, 16), messages: wholeNumber(frame, 24) }
    case frameKinds.leased:
      return decodeLeased(frame, id, partition)
    default:
      throw malformed(`kind ${frame[0]} is not known`)
  }
}

function decodeProduce(frame: Uint8Array, id: number, partition: number): ProduceFrame {
  const nameEnd = frameHeaderBytes + readUint32(frame, 12)
  const batchStart = nameEnd + wholeNumber(frame, 16)
  if (batchStart > frame.length)
    throw malformed('the name of the topic, or the lease, is longer than the frame')
  const topic = topicText(frame, frameHeaderBytes, nameEnd)
  const lease = batchStart === nameEnd ? undefined : utf8Text(frame.subarray(nameEnd, batchStart))
  const durability = durabilityOfNumber(frame[2])
  if (durability === undefined && frame[2] !== noDurability)
    throw malformed(`no durability has number ${frame[2]}`)
  return { kind: 'produce', id, topic, partition, durability, lease, batch: frame.subarray(batchStart) }
}

function decodeProduced(frame: Uint8Array, id: number, partition: number): ProducedFrame {
  const count = (frame.length - frameHeaderBytes) / duplicateBytes
  if (!Number.isInteger(count)) throw malformed('a duplicate takes 16 bytes')
  const durability = durabilityOfNumber(frame[2])
  if (durability === undefined) throw malformed(`no durability has number ${frame[2]}`)
  const baseOffset = wholeNumber(frame, 16)
  const recordCount = readUint32(frame, 12)
  const produced = { kind: 'produced', id, partition, baseOffset, recordCount, durability } as const
  const marked = frame[1] === duplicateFlag ? { ...produced, duplicate: true } : produced
  return count === 0 ? marked : { ...marked, duplicates: duplicatesOf(frame, count) }
}

function duplicatesOf(frame: Uint8Array, count: number): readonly Duplicate[] {
  return Array.from({ length: count }, (_, place) => {
    const at = frameHeaderBytes + place * duplicateBytes
    return {
      index: readUint32(frame, at),
      partition: readInt32(frame, at + 4),
      offset: wholeNumber(frame, at + 8),
    }
  })
}

function decodeFetched(frame: Uint8Array, id: number, partition: number): FetchedFrame {
  const bytesStart = frameHeaderBytes + fetchedOffsetsBytes
  if (frame.length < bytesStart || readUint32(frame, 12) !== fetchedOffsetsBytes) {
    throw malformed("a fetched frame begins with its partition's offsets")
  }
  return {
    kind: 'fetched',
    id,
    partition,
    ...offsetsOf(frame),
    startOffset: wholeNumber(frame, frameHeaderBytes),
    stableOffset: wholeNumber(frame, frameHeaderBytes + 8),
    bytes: frame.subarray(bytesStart),
  }
}

function decodeLeased(frame: Uint8Array, id: number, partition: number): LeasedFrame {
  const bytesStart = frameHeaderBytes + leaseBytes
  if (frame.length < bytesStart) throw malformed('a leased frame begins with its lease')
  return {
    kind: 'leased',
    id,
    partition,
    recordCount: readUint32(frame, 12),
    firstOffset: wholeNumber(frame, 16),
    lastOffset: wholeNumber(frame, 24),
    lease: wholeNumber(frame, frameHeaderBytes),
    attempt: readUint32(frame, frameHeaderBytes + 8),
    redelivered: frame[1] === redeliveredFlag,
    leaseMs: readUint32(frame, frameHeaderBytes + 12),
    bytes: frame.subarray(bytesStart),
  }
}

function offsetsOf(frame: Uint8Array): { readonly fromOffset: number; readonly nextOffset: number } {
  return { fromOffset: wholeNumber(frame, 16), nextOffset: wholeNumber(frame, 24) }
}

function wholeNumber(frame: Uint8Array, at: number): number {
  const value = readInt64(frame, at)
  if (value < 0 || !Number.isSafeInteger(value)) throw malformed('a number of 64 bits is from 0 to 2^53 - 1')
  return value
}

function requireSize(frame: Uint8Array, size: number): void {
  if (frame.length !== size) throw malformed(`kind ${frame[0]} has ${size} bytes, got ${frame.length}`)
}

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_FRAME_MALFORMED', `the binary frame is malformed: ${what}`)
}
