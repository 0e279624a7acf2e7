/**
 * A partition's producers as one value of the state store, integers big-endian:
 *
 *     uint8 version, 1 · int64 up to which offset the log is told · int32 number of producers, and for each of them
 *     int64 id · int16 epoch · int64 when it was heard of last, Unix ms · uint8 number of batches, and for each of them
 *     int32 first sequence · int32 number of records · int64 offset of the first record
 */
import { readInt16, readInt32, readInt64, writeInt16, writeInt32, writeInt64 } from '../batch/bytes.ts'
import { batchesPerProducerMax, type KnownBatch, type ProducerState } from './producer-table.ts'

const version = 1
const headerBytes = 13
const producerBytes = 19
const batchBytes = 16

/** What one value of the state store holds. */
const snapshotBytesMax = 1024 * 1024
/** Producers whose snapshot fits into one value of the state store, with at least five batches of each. */
export const producersPerSnapshotMax = 10_000

/** The table as it stood when the log ended at `upTo`. Of very many producers fewer batches are kept: the last ones. */
export interface ProducerSnapshot {
  readonly upTo: number
  readonly producers: readonly ProducerState[]
}

export function encodeProducers({ upTo, producers }: ProducerSnapshot): Uint8Array {
  const share = (snapshotBytesMax - headerBytes) / Math.max(1, producers.length)
  const batchesMax = Math.min(batchesPerProducerMax, Math.floor((share - producerBytes) / batchBytes))
  const size = producers.reduce(
    (sum, { batches }) => sum + producerBytes + Math.min(batches.length, batchesMax) * batchBytes,
    headerBytes,
  )
  const bytes = new Uint8Array(size)
  bytes[0] = version
  writeInt64(bytes, 1, upTo)
  writeInt32(bytes, 9, producers.length)
  let at = headerBytes
  for (const { producerId, epoch, lastMs, batches: known } of producers) {
    const batches = known.slice(-batchesMax)
    writeInt64(bytes, at, producerId)
    writeInt16(bytes, at + 8, epoch)
    writeInt64(bytes, at + 10, lastMs)
    bytes[at + 18] = batches.length
    at += producerBytes
    for (const { baseSequence, recordCount, baseOffset } of batches) {
      writeInt32(bytes, at, baseSequence)
      writeInt32(bytes, at + 4, recordCount)
      writeInt64(bytes, at + 8, baseOffset)
      at += batchBytes
    }
  }
  return bytes
}

/** @returns undefined for bytes that are no such value: then the log alone tells */
export function decodeProducers(bytes: Uint8Array): ProducerSnapshot | undefined {
  if (bytes.length < headerBytes || bytes[0] !== version) return undefined
  const producers: ProducerState[] = []
  let at = headerBytes
  for (let left = readInt32(bytes, 9); left > 0; left--) {
    if (at + producerBytes > bytes.length) return undefined
    const producerId = readInt64(bytes, at)
    const epoch = readInt16(bytes, at + 8)
    const lastMs = readInt64(bytes, at + 10)
    const count = bytes[at + 18]
    at += producerBytes
    if (count < 1 || count > batchesPerProducerMax || at + count * batchBytes > bytes.length) return undefined
    const batches: KnownBatch[] = []
    for (let place = 0; place < count; place++, at += batchBytes) {
      batches.push({
        producerId,
        epoch,
        baseSequence: readInt32(bytes, at),
        recordCount: readInt32(bytes, at + 4),
        baseOffset: readInt64(bytes, at + 8),
        durability: undefined,
        settled: undefined,
      })
    }
    producers.push({ producerId, epoch, lastMs, batches })
  }
  return at === bytes.length ? { upTo: readInt64(bytes, 1), producers } : undefined
}
