/**
 * Snappy as Kafka's clients use it. Java writes the stream format of xerial's snappy-java, and other clients bare blocks:
 *
 *     8 bytes  0x82 'SNAPPY' 0x00
 *     int32    version, 1
 *     int32    oldest version that can read it, 1
 *     then for each block: int32 length, that many bytes of bare Snappy
 *
 * A header may stand again between blocks, where streams were joined. Java reads both formats; we read both and write its own.
 * Source: https://github.com/xerial/snappy-java (SnappyOutputStream, SnappyInputStream)
 */
import { type CompressionCodec, isRatatoskrError, RatatoskrError } from 'ratatoskr/ports'

/** What is used of the package `snappy`. */
export interface SnappyPackage {
  compressSync(bytes: Uint8Array): Uint8Array
  uncompressSync(bytes: Uint8Array): Uint8Array | string
}

const magic = Uint8Array.of(0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0)
const streamHeaderBytes = 16
const blockBytes = 32 * 1024 // what Java's writer cuts at

export const snappyCodec = (snappy: SnappyPackage): CompressionCodec => ({
  id: 2,
  name: 'snappy',
  compress: (bytes) => writeStream(bytes, snappy),
  decompress(bytes, bytesMax) {
    const blocks = isStreamHeader(bytes, 0) ? blocksOf(bytes) : [bytes]
    // Sizes first: a few bytes may claim gigabytes, and nothing is allocated before the sum is known to be allowed.
    let total = 0
    for (const block of blocks) total += expandedSize(block)
    if (total > bytesMax) {
      throw new RatatoskrError(
        'RTK_BATCH_TOO_LARGE',
        `a compressed batch may expand to ${bytesMax} bytes (expandedBatchBytesMax), this one to ${total}`,
      )
    }
    const expanded = new Uint8Array(total)
    let at = 0
    for (const block of blocks) {
      const part = expandBlock(block, snappy)
      expanded.set(part, at)
      at += part.length
    }
    return expanded
  },
})

function writeStream(bytes: Uint8Array, snappy: SnappyPackage): Uint8Array {
  const blocks: Uint8Array[] = []
  let size = streamHeaderBytes
  for (let at = 0; at < bytes.length; at += blockBytes) {
    const block = snappy.compressSync(bytes.subarray(at, at + blockBytes))
    blocks.push(block)
    size += 4 + block.length
  }
  const stream = new Uint8Array(size)
  const view = new DataView(stream.buffer)
  stream.set(magic)
  view.setInt32(8, 1)
  view.setInt32(12, 1)
  let at = streamHeaderBytes
  for (const block of blocks) {
    view.setInt32(at, block.length)
    stream.set(block, at + 4)
    at += 4 + block.length
  }
  return stream
}

function isStreamHeader(bytes: Uint8Array, at: number): boolean {
  return at + streamHeaderBytes <= bytes.length && magic.every((byte, i) => bytes[at + i] === byte)
}

/** The bare blocks of a stream. */
function blocksOf(bytes: Uint8Array): readonly Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const blocks: Uint8Array[] = []
  let at = 0
  while (at < bytes.length) {
    if (isStreamHeader(bytes, at)) {
      at += streamHeaderBytes
      continue
    }
    if (at + 4 > bytes.length) throw malformed()
    const start = at + 4
    const end = start + view.getUint32(at)
    if (end > bytes.length) throw malformed()
    blocks.push(bytes.subarray(start, end))
    at = end
  }
  return blocks
}

/** What a bare block says it expands to: its first bytes, a varint of 32 bits. */
function expandedSize(block: Uint8Array): number {
  let size = 0
  for (let i = 0; i < 5; i++) {
    if (i >= block.length) throw malformed()
    size += (block[i] & 0x7f) * 2 ** (7 * i)
    if (block[i] < 0x80) return size
  }
  throw malformed()
}

function expandBlock(block: Uint8Array, snappy: SnappyPackage): Uint8Array {
  try {
    return snappy.uncompressSync(block) as Uint8Array
  } catch (error) {
    throw isRatatoskrError(error) ? error : malformed(error)
  }
}

const malformed = (cause?: unknown): RatatoskrError =>
  new RatatoskrError('RTK_BATCH_MALFORMED', 'the records of the batch are not valid snappy', { cause })
