/**
 * The index of a segment as a file beside it: a cache and a checkpoint, never the truth. All integers big-endian.
 *
 *     at  0  uint32 magic "RTKI"
 *     at  4  uint16 version, 1
 *     at  6  uint16 zero
 *     at  8  int64  base offset of the segment
 *     at 16  int64  offset after the last batch that is covered
 *     at 24  int64  bytes of the segment that are covered: valid and synced when the index was written
 *     at 32  int64  greatest timestamp, -1 without
 *     at 40  uint32 number of entries
 *     at 44  uint32 CRC-32C of the entries
 *     at 48  uint32 CRC-32C of bytes 0 to 47
 *     at 52         entries of 16 bytes: uint32 offset from base, uint32 position, int64 greatest timestamp up to the next
 *
 * The header has a CRC of its own, so that opening a log reads 52 bytes a segment and not its whole index.
 */

import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import { type Checksum, SparseIndex } from 'ratatoskr/ports'
import { writeAll } from './file-system.ts'

const magic = 0x52544b49
const version = 1
const headerBytes = 52
const entryBytes = 16

/** What an index says of its segment. */
export interface IndexSummary {
  readonly baseOffset: number
  readonly endOffset: number
  readonly sizeBytes: number
  readonly maxTimestampMs: number
}

export function encodeIndex(summary: IndexSummary, index: SparseIndex, checksum: Checksum): Uint8Array {
  const bytes = new Uint8Array(headerBytes + index.length * entryBytes)
  const view = new DataView(bytes.buffer)
  for (let entry = 0; entry < index.length; entry++) {
    const at = headerBytes + entry * entryBytes
    view.setUint32(at, index.offsetAt(entry))
    view.setUint32(at + 4, index.positionAt(entry))
    view.setBigInt64(at + 8, BigInt(index.maxTimestampMsAt(entry)))
  }
  view.setUint32(0, magic)
  view.setUint16(4, version)
  view.setBigInt64(8, BigInt(summary.baseOffset))
  view.setBigInt64(16, BigInt(summary.endOffset))
  view.setBigInt64(24, BigInt(summary.sizeBytes))
  view.setBigInt64(32, BigInt(summary.maxTimestampMs))
  view.setUint32(40, index.length)
  view.setUint32(44, checksum(bytes.subarray(headerBytes)))
  view.setUint32(48, checksum(bytes.subarray(0, 48)))
  return bytes
}

/** The summary in an index file's header; undefined when it is none. */
export function decodeSummary(bytes: Uint8Array, checksum: Checksum): IndexSummary | undefined {
  if (bytes.length < headerBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0) !== magic || view.getUint16(4) !== version) return undefined
  if (view.getUint32(48) !== checksum(bytes.subarray(0, 48))) return undefined
  return {
    baseOffset: Number(view.getBigInt64(8)),
    endOffset: Number(view.getBigInt64(16)),
    sizeBytes: Number(view.getBigInt64(24)),
    maxTimestampMs: Number(view.getBigInt64(32)),
  }
}

/** The entries of a whole index file; undefined when it is damaged. */
export function decodeEntries(bytes: Uint8Array, checksum: Checksum): SparseIndex | undefined {
  if (decodeSummary(bytes, checksum) === undefined) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const count = view.getUint32(40)
  if (bytes.length !== headerBytes + count * entryBytes) return undefined
  if (view.getUint32(44) !== checksum(bytes.subarray(headerBytes))) return undefined
  const index = new SparseIndex()
  for (let at = headerBytes; at < bytes.length; at += entryBytes) {
    index.addEntry(view.getUint32(at), view.getUint32(at + 4), Number(view.getBigInt64(at + 8)))
  }
  return index
}

/** Reads an index file, or only its header; no bytes when it cannot be read, for whatever reason: it is but a cache. */
export async function readIndexFile(
  fileSystem: FileSystem,
  path: string,
  headerOnly: boolean,
): Promise<Uint8Array> {
  let file: DiskFile | undefined
  try {
    file = await fileSystem.open(path, 'read')
    const bytes = new Uint8Array(headerOnly ? headerBytes : await file.size())
    return bytes.subarray(0, await file.read(bytes, 0))
  } catch {
    return new Uint8Array(0)
  } finally {
    await file?.close().catch(() => undefined)
  }
}

/** Writes an index file. Not synced: one that a crash tears fails its CRC and is made again. */
export async function writeIndexFile(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const file = await fileSystem.open(path, 'create')
  try {
    await writeAll(file, bytes, 0)
  } finally {
    await file.close()
  }
}
