/** Compressed batches: expanding their records, within a bound, with the codecs that the platform has. */
import { RatatoskrError } from '../errors.ts'
import { writeInt32 } from './bytes.ts'
import {
  batchHeaderBytes,
  batchSizeOf,
  batchStarts,
  compressionOf,
  crcStart,
  lengthPrefixBytes,
} from './header.ts'

/** What this module needs of a codec; `CompressionCodec` of the ports has more. */
interface Decompressor {
  decompress(bytes: Uint8Array, bytesMax: number): Uint8Array
}

/** How compressed batches are expanded. */
export interface Expansion {
  readonly codecs: ReadonlyMap<number, Decompressor>
  /** What one batch may expand to. */
  readonly bytesMax: number
}

const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/**
 * The records of the batch at `at`, expanded; undefined when they are not compressed.
 * @throws RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE, RTK_BATCH_MALFORMED
 */
export function expandedRecords(batch: Uint8Array, at: number, expansion: Expansion): Uint8Array | undefined {
  const id = compressionOf(batch, at)
  if (id === 0) return undefined
  const codec = expansion.codecs.get(id)
  if (codec === undefined) {
    throw new RatatoskrError(
      'RTK_COMPRESSION_UNAVAILABLE',
      `the batch is compressed with ${codecNames[id] ?? `codec ${id}`}, which is not installed here`,
    )
  }
  return codec.decompress(
    batch.subarray(at + batchHeaderBytes, at + batchSizeOf(batch, at)),
    expansion.bytesMax,
  )
}

/**
 * The same batches without compression, for consumers that lack the codec: offsets, timestamps and records stay, length
 * and CRC are new. What is not compressed is handed on as it is.
 * @throws RTK_COMPRESSION_UNAVAILABLE, RTK_BATCH_TOO_LARGE, RTK_BATCH_MALFORMED
 */
export function uncompressedBatches(
  bytes: Uint8Array,
  expansion: Expansion,
  checksum: (bytes: Uint8Array) => number,
): Uint8Array {
  const starts = [...batchStarts(bytes)]
  if (starts.every((at) => compressionOf(bytes, at) === 0)) return bytes
  const batches = starts.map((at) => uncompressedBatch(bytes, at, expansion, checksum))
  const all = new Uint8Array(batches.reduce((sum, batch) => sum + batch.length, 0))
  let end = 0
  for (const batch of batches) {
    all.set(batch, end)
    end += batch.length
  }
  return all
}

function uncompressedBatch(
  bytes: Uint8Array,
  at: number,
  expansion: Expansion,
  checksum: (bytes: Uint8Array) => number,
): Uint8Array {
  const records = expandedRecords(bytes, at, expansion)
  if (records === undefined) return bytes.subarray(at, at + batchSizeOf(bytes, at))
  const batch = new Uint8Array(batchHeaderBytes + records.length)
  batch.set(bytes.subarray(at, at + batchHeaderBytes))
  batch.set(records, batchHeaderBytes)
  writeInt32(batch, 8, batch.length - lengthPrefixBytes)
  batch[22] &= ~0x07 // compression bits of the attributes
  writeInt32(batch, 17, checksum(batch.subarray(crcStart)))
  return batch
}
