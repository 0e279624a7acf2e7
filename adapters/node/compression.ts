/**
 * The record batch's compression codecs on this platform: gzip and zstd of node:zlib, and snappy where the optional
 * package `snappy` is installed.
 */
import { constants } from 'node:buffer'
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { type CompressionCodec, type CompressionCodecs, RatatoskrError } from 'ratatoskr/ports'
import { isInstalled, type LoadPackage, optionalPackage } from './optional-package.ts'
import { type SnappyPackage, snappyCodec } from './snappy.ts'

/** Every codec that this process has, by id. */
export function nodeCompression(
  load: LoadPackage = optionalPackage,
  installed: (name: string) => boolean = isInstalled,
): CompressionCodecs {
  const codecs: CompressionCodec[] = [
    zlibCodec(1, 'gzip', gzipSync, gunzipSync),
    zlibCodec(4, 'zstd', zstdCompressSync, zstdDecompressSync),
  ]
  if (installed('snappy')) codecs.push(snappyCodec(loadedWhenUsed(load)))
  return new Map(codecs.map((codec) => [codec.id, codec]))
}

/** Snappy, loaded by the first batch that needs it: most processes never meet one. */
function loadedWhenUsed(load: LoadPackage): SnappyPackage {
  let loaded: SnappyPackage | undefined
  const snappy = (): SnappyPackage => {
    loaded ??= load('snappy') as SnappyPackage | undefined
    if (loaded !== undefined) return loaded
    throw new RatatoskrError(
      'RTK_COMPRESSION_UNAVAILABLE',
      'the package snappy has no build for this machine',
    )
  }
  return {
    compressSync: (bytes) => snappy().compressSync(bytes),
    uncompressSync: (bytes) => snappy().uncompressSync(bytes),
  }
}

function zlibCodec(
  id: number,
  name: string,
  compress: (bytes: Uint8Array) => Uint8Array,
  decompress: (bytes: Uint8Array, options: { maxOutputLength: number }) => Uint8Array,
): CompressionCodec {
  return {
    id,
    name,
    compress: (bytes) => compress(bytes),
    decompress(bytes, bytesMax) {
      try {
        return decompress(bytes, { maxOutputLength: Math.min(bytesMax, constants.MAX_LENGTH) })
      } catch (error) {
        if ((error as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') {
          throw new RatatoskrError(
            'RTK_BATCH_TOO_LARGE',
            `a compressed batch may expand to ${bytesMax} bytes (expandedBatchBytesMax); this one gives more`,
            { cause: error },
          )
        }
        throw new RatatoskrError('RTK_BATCH_MALFORMED', `the records of the batch are not valid ${name}`, {
          cause: error,
        })
      }
    },
  }
}
