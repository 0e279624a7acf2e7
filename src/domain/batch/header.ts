/**
 * The fixed header of a record batch: Apache Kafka's RecordBatch, magic 2.
 * Source: https://kafka.apache.org/documentation/#recordbatch
 *
 *     at  0  int64  base offset             \  outside the CRC, so that the broker
 *     at  8  int32  length after this field  | can write them without computing it
 *     at 12  int32  partition leader epoch  /
 *     at 16  int8   magic, 2
 *     at 17  uint32 CRC-32C of everything from 21 to the end
 *     at 21  int16  attributes: 0-2 compression, 3 log-append time, 4 transactional, 5 control; ours, 13 for one
 *                   queue group only, 14 after a gap
 *     at 23  int32  last offset delta
 *     at 27  int64  base timestamp, Unix ms
 *     at 35  int64  maximum timestamp, Unix ms
 *     at 43  int64  producer id, -1 without
 *     at 51  int16  producer epoch
 *     at 53  int32  base sequence
 *     at 57  int32  number of records
 *     at 61         records, compressed as a whole when the attributes say so
 *
 * Each function takes the bytes and where in them the batch begins. They trust that a whole header is there.
 */
import { RatatoskrError } from '../errors.ts'
import { readInt16, readInt32, readInt64, readUint32, writeInt16, writeInt32, writeInt64 } from './bytes.ts'

/** Bytes before the first record. */
export const batchHeaderBytes = 61
/** The version of the layout; no other is read. */
export const batchMagic = 2
/** Bytes before what the length field counts. */
export const lengthPrefixBytes = 12
/** Where the bytes that the CRC covers begin. */
export const crcStart = 21

/** Offset of the first record. Outside the CRC, so that the broker can stamp it. */
export const baseOffsetOf = (bytes: Uint8Array, at = 0): number => readInt64(bytes, at)
/** Size of the whole batch in bytes. */
export const batchSizeOf = (bytes: Uint8Array, at = 0): number => readInt32(bytes, at + 8) + lengthPrefixBytes
/** Epoch of the owner that stored the batch. Outside the CRC. */
export const leaderEpochOf = (bytes: Uint8Array, at = 0): number => readInt32(bytes, at + 12)
/** Version of the layout: see `batchMagic`. */
export const magicOf = (bytes: Uint8Array, at = 0): number => bytes[at + 16]
/** CRC-32C of the bytes from `crcStart` to the batch's end. */
export const crcOf = (bytes: Uint8Array, at = 0): number => readUint32(bytes, at + 17)
/** All 16 bits of the attributes. */
export const attributesOf = (bytes: Uint8Array, at = 0): number => readInt16(bytes, at + 21)
/** 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd. */
export const compressionOf = (bytes: Uint8Array, at = 0): number => bytes[at + 22] & 0x07
/** Control batches are the log's own marks; consumers never see their records. */
export const isControlBatch = (bytes: Uint8Array, at = 0): boolean => (bytes[at + 22] & 0x20) !== 0
/** The producer has given up what it numbered before this batch: see `markAfterGap`. */
export const isAfterGap = (bytes: Uint8Array, at = 0): boolean => (bytes[at + 21] & 0x40) !== 0
/** Offset of the last record, less the base offset. */
export const lastOffsetDeltaOf = (bytes: Uint8Array, at = 0): number => readInt32(bytes, at + 23)
/** Timestamp of the first record, Unix milliseconds; the others are differences to it. */
export const baseTimestampOf = (bytes: Uint8Array, at = 0): number => readInt64(bytes, at + 27)
/** Greatest timestamp of the records, Unix milliseconds. */
export const maxTimestampOf = (bytes: Uint8Array, at = 0): number => readInt64(bytes, at + 35)
/** Id of an idempotent producer; -1 without. */
export const producerIdOf = (bytes: Uint8Array, at = 0): number => readInt64(bytes, at + 43)
/** Epoch of an idempotent producer; -1 without. */
export const producerEpochOf = (bytes: Uint8Array, at = 0): number => readInt16(bytes, at + 51)
/** Sequence number of the first record by an idempotent producer; -1 without. */
export const baseSequenceOf = (bytes: Uint8Array, at = 0): number => readInt32(bytes, at + 53)
/** Number of records, as the header says. */
export const recordCountOf = (bytes: Uint8Array, at = 0): number => readInt32(bytes, at + 57)
/** The offset after the batch's last record. */
export const nextOffsetOf = (bytes: Uint8Array, at = 0): number =>
  baseOffsetOf(bytes, at) + lastOffsetDeltaOf(bytes, at) + 1

/** Writes what only the broker knows: outside the CRC, so the batch stays valid. */
export function stampBatch(bytes: Uint8Array, baseOffset: number, leaderEpoch: number): void {
  writeInt64(bytes, 0, baseOffset)
  writeInt32(bytes, 12, leaderEpoch)
}

/** Who sends a batch, and which of his it is: see idempotent producing. */
export interface ProducerStamp {
  readonly producerId: number
  readonly epoch: number
  readonly baseSequence: number
}

/** Writes who sends a batch, and its CRC anew. */
export function stampProducer(
  bytes: Uint8Array,
  { producerId, epoch, baseSequence }: ProducerStamp,
  checksum: (bytes: Uint8Array) => number,
): void {
  writeInt64(bytes, 43, producerId)
  writeInt16(bytes, 51, epoch)
  writeInt32(bytes, 53, baseSequence)
  writeInt32(bytes, 17, checksum(bytes.subarray(crcStart)))
}

/**
 * Says of a numbered batch that its producer has given up what it numbered before and is not stored: the batch may be
 * stored though its sequence is beyond the one that is expected. Writes its CRC anew. Apache Kafka leaves this bit unused.
 */
export function markAfterGap(bytes: Uint8Array, checksum: (bytes: Uint8Array) => number): void {
  bytes[21] |= 0x40
  writeInt32(bytes, 17, checksum(bytes.subarray(crcStart)))
}

/**
 * The place after the batch at `at`: how to step from one batch to the next in bytes that may not be what they should.
 * @throws RTK_BATCH_MALFORMED when no whole batch is there
 */
export function batchEndOf(bytes: Uint8Array, at = 0): number {
  const left = bytes.length - at
  const size = left < batchHeaderBytes ? 0 : batchSizeOf(bytes, at)
  if (size < batchHeaderBytes || size > left) {
    throw new RatatoskrError(
      'RTK_BATCH_MALFORMED',
      `whole record batches expected, but at byte ${at} of ${bytes.length} there is none`,
    )
  }
  return at + size
}

/**
 * The offset after the last of several whole batches back to back; undefined for no bytes.
 * @throws RTK_BATCH_MALFORMED
 */
export function endOffsetOf(bytes: Uint8Array): number | undefined {
  let end: number | undefined
  // Not by batchStarts: it is asked for each delivery, and most are one batch.
  for (let at = 0, next = 0; at < bytes.length; at = next) {
    next = batchEndOf(bytes, at)
    end = nextOffsetOf(bytes, at)
  }
  return end
}

/**
 * Where each of several whole batches begins.
 * @throws RTK_BATCH_MALFORMED
 */
export function* batchStarts(bytes: Uint8Array): Generator<number, void, undefined> {
  for (let at = 0, end = 0; at < bytes.length; at = end) {
    end = batchEndOf(bytes, at)
    yield at
  }
}

/**
 * Records from `fromOffset` on, over several whole batches back to back.
 * @throws RTK_BATCH_MALFORMED
 */
export function recordsFrom(bytes: Uint8Array, fromOffset: number): number {
  let count = 0
  for (const at of batchStarts(bytes)) {
    const records = recordCountOf(bytes, at)
    const before = fromOffset - baseOffsetOf(bytes, at)
    count += records - Math.min(records, Math.max(0, before))
  }
  return count
}
