/** Compressed batches: expanding their records, within a bound, with the codecs that the platform has. */
import { RatatoskrError } from '../errors.ts'
import { batchHeaderBytes, batchSizeOf, compressionOf } from './header.ts'

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
