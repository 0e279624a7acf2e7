/**
 * The frames of the binary data plane: what the subprotocol `ratatoskr.v1+binary` sends as binary WebSocket messages,
 * one frame each; a stream transport would put a uint32 length before them. Requests, replies and events that carry no
 * batches are JSON text beside them.
 *
 * Every frame is a header of 32 bytes, integers big-endian, and a body:
 *
 *     at  0 uint8   kind
 *     at  1 uint8   flags, zero
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
 *     1 produce    client   asked      bytes of name 0          0       topic's name, then whole batches
 *     2 produced   broker   reached    records       base       0       -
 *     3 deliver    broker   255        0             from       next    whole batches
 *     4 fetched    broker   255        16            from       next    start and stable offset (int64), then whole batches
 *     5 credit     client   255        0             bytes      0       -
 *
 * A produce that fails is answered like any other request, by a JSON reply with its id.
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

/** Bytes before a frame's body. */
export const frameHeaderBytes = 32
/** The largest id of a request: it must fit the header. */
export const requestIdMax = 0xffff_ffff

/** The first byte of a frame, by the frame's name. */
export const frameKinds = { produce: 1, produced: 2, deliver: 3, fetched: 4, credit: 5 } as const

const noDurability = 255
const fetchedOffsetsBytes = 16

/** A client publishes batches to one partition. */
export interface ProduceFrame {
  readonly kind: 'produce'
  readonly id: number
  readonly topic: string
  readonly partition: number
  readonly durability: Durability | undefined
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
}

/** Any frame, told apart by `kind`. */
export type Frame = ProduceFrame | ProducedFrame | DeliverFrame | FetchedFrame | CreditFrame

/**
 * A produce frame with room for its batch copied in: clients send one buffer.
 * @throws RTK_INVALID_ARGUMENT for a level that does not exist: its number would say that none is asked for
 */
export function encodeProduce(
  id: number,
  topic: string,
  partition: number,
  durability: Durability | undefined,
  batch: Uint8Array,
): Uint8Array {
  if (durability !== undefined && !isDurability(durability)) {
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `durability must be one of ${durabilityLevels.join(', ')}, got ${quoteForMessage(durability)}`,
    )
  }
  const name = utf8(topic)
  const frame = new Uint8Array(frameHeaderBytes + name.length + batch.length)
  const level = durability === undefined ? noDurability : durabilityNumber(durability)
  writeHeader(frame, frameKinds.produce, level, id, partition, name.length)
  frame.set(name, frameHeaderBytes)
  frame.set(batch, frameHeaderBytes + name.length)
  return frame
}

/** The whole of a produced frame. */
export function encodeProduced(
  id: number,
  partition: number,
  baseOffset: number,
  recordCount: number,
  durability: Durability,
): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes)
  writeHeader(frame, frameKinds.produced, durabilityNumber(durability), id, partition, recordCount)
  writeInt64(frame, 16, baseOffset)
  return frame
}

/** The header of a deliver frame; the batches follow it on the wire as they are, without a copy. */
export function encodeDeliverHeader(
  id: number,
  partition: number,
  fromOffset: number,
  nextOffset: number,
): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes)
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
  const frame = new Uint8Array(frameHeaderBytes + fetchedOffsetsBytes)
  writeHeader(frame, frameKinds.fetched, noDurability, id, fetched.partition, fetchedOffsetsBytes)
  writeInt64(frame, 16, fetched.fromOffset)
  writeInt64(frame, 24, fetched.nextOffset)
  writeInt64(frame, frameHeaderBytes, fetched.startOffset)
  writeInt64(frame, frameHeaderBytes + 8, fetched.stableOffset)
  return frame
}

/** The whole of a credit frame. */
export function encodeCredit(id: number, bytes: number): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes)
  writeHeader(frame, frameKinds.credit, noDurability, id, 0, 0)
  writeInt64(frame, 16, bytes)
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
  if (frame[1] !== 0 || frame[3] !== 0) throw malformed('flags that this version does not know')
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
      return { kind: 'credit', id, bytes: wholeNumber(frame, 16) }
    default:
      throw malformed(`kind ${frame[0]} is not known`)
  }
}

function decodeProduce(frame: Uint8Array, id: number, partition: number): ProduceFrame {
  const batchStart = frameHeaderBytes + readUint32(frame, 12)
  if (batchStart > frame.length) throw malformed('the name of the topic is longer than the frame')
  const topic = utf8Text(frame.subarray(frameHeaderBytes, batchStart))
  const durability = durabilityOfNumber(frame[2])
  if (durability === undefined && frame[2] !== noDurability)
    throw malformed(`no durability has number ${frame[2]}`)
  return { kind: 'produce', id, topic, partition, durability, batch: frame.subarray(batchStart) }
}

function decodeProduced(frame: Uint8Array, id: number, partition: number): ProducedFrame {
  requireSize(frame, frameHeaderBytes)
  const durability = durabilityOfNumber(frame[2])
  if (durability === undefined) throw malformed(`no durability has number ${frame[2]}`)
  const baseOffset = wholeNumber(frame, 16)
  return { kind: 'produced', id, partition, baseOffset, recordCount: readUint32(frame, 12), durability }
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
