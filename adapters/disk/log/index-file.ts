/**
 * The index of a segment as a file beside it: a cache and a checkpoint, never the truth. All integers big-endian.
 *
 *     at  0  uint32 magic "RTKI"
 *     at  4  uint16 version, 2
 *     at  6  uint16 flags, none yet: zero
 *     at  8  int64  base offset of the segment
 *     at 16  int64  offset after the last batch or gap that is covered
 *     at 24  int64  bytes of the segment that are covered: examined and synced when the index was written
 *     at 32  int64  greatest timestamp, -1 without
 *     at 40  uint32 number of entries
 *     at 44  uint32 CRC-32C of the entries
 *     at 48  uint32 number of gaps
 *     at 52  uint32 CRC-32C of the gaps
 *     at 56  uint32 CRC-32C of bytes 0 to 55
 *     at 60         gaps of 32 bytes: int64 position, end position, offset, end offset
 *     then          entries of 16 bytes: uint32 offset from base, uint32 position, int64 greatest timestamp up to the next
 *
 * The header and the gaps have CRCs of their own, so that opening a log reads those and not the whole index. Version 1 had
 * no gaps: its header ends at 52, with the CRC of bytes 0 to 47 at 48.
 */

import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import { type Checksum, SparseIndex } from 'ratatoskr/ports'
import { writeAll } from '../files/file-system.ts'
import type { Gap } from './place.ts'

const magic = 0x52544b49
const version = 2
const headerBytes = 60
const headerBytesOfVersion1 = 52
const gapBytes = 32
const entryBytes = 16
const twoTo32 = 2 ** 32

/** What an index says of its segment. */
export interface IndexSummary {
  readonly baseOffset: number
  readonly endOffset: number
  readonly sizeBytes: number
  readonly maxTimestampMs: number
  readonly gaps: readonly Gap[]
}

/** An index file as far as it was read. */
export interface IndexFile {
  readonly summary: IndexSummary
  /** Undefined when only the summary was read, or when the entries are damaged. */
  readonly entries: SparseIndex | undefined
}

interface Layout {
  readonly entries: number
  readonly entriesStart: number
  readonly gaps: number
}

/** The bytes of an index file. Entries beyond the covered bytes are left out. */
export function encodeIndex(summary: IndexSummary, index: SparseIndex, checksum: Checksum): Uint8Array {
  const { gaps } = summary
  let count = index.length
  while (count > 0 && index.positionAt(count - 1) >= summary.sizeBytes) count--
  const entriesStart = headerBytes + gaps.length * gapBytes
  const bytes = new Uint8Array(entriesStart + count * entryBytes)
  const view = new DataView(bytes.buffer)
  encodeGaps(view, headerBytes, gaps)
  for (let entry = 0; entry < count; entry++) {
    const at = entriesStart + entry * entryBytes
    view.setUint32(at, index.offsetAt(entry))
    view.setUint32(at + 4, index.positionAt(entry))
    setInt64(view, at + 8, index.maxTimestampMsAt(entry))
  }
  view.setUint32(0, magic)
  view.setUint16(4, version)
  setInt64(view, 8, summary.baseOffset)
  setInt64(view, 16, summary.endOffset)
  setInt64(view, 24, summary.sizeBytes)
  setInt64(view, 32, summary.maxTimestampMs)
  view.setUint32(40, count)
  view.setUint32(44, checksum(bytes.subarray(entriesStart)))
  view.setUint32(48, gaps.length)
  view.setUint32(52, checksum(bytes.subarray(headerBytes, entriesStart)))
  view.setUint32(56, checksum(bytes.subarray(0, 56)))
  return bytes
}

/** The summary in an index file's first bytes; undefined when it is none. */
function decodeSummary(bytes: Uint8Array, checksum: Checksum): IndexSummary | undefined {
  const layout = layoutOf(bytes, checksum)
  if (layout === undefined || bytes.length < layout.entriesStart) return undefined
  const view = viewOf(bytes)
  const gapsStart = layout.entriesStart - layout.gaps * gapBytes
  if (layout.gaps > 0 && view.getUint32(52) !== checksum(bytes.subarray(gapsStart, layout.entriesStart))) {
    return undefined
  }
  return {
    baseOffset: getInt64(view, 8),
    endOffset: getInt64(view, 16),
    sizeBytes: getInt64(view, 24),
    maxTimestampMs: getInt64(view, 32),
    gaps: decodeGaps(view, gapsStart, layout.gaps),
  }
}

/** What the header says of the rest, for either version; undefined when it is damaged or of a version that is not known. */
function layoutOf(bytes: Uint8Array, checksum: Checksum): Layout | undefined {
  if (bytes.length < headerBytesOfVersion1) return undefined
  const view = viewOf(bytes)
  if (view.getUint32(0) !== magic || view.getUint16(6) !== 0) return undefined
  const entries = view.getUint32(40)
  if (view.getUint16(4) === 1) {
    if (view.getUint32(48) !== checksum(bytes.subarray(0, 48))) return undefined
    return { entries, entriesStart: headerBytesOfVersion1, gaps: 0 }
  }
  if (view.getUint16(4) !== version || bytes.length < headerBytes) return undefined
  if (view.getUint32(56) !== checksum(bytes.subarray(0, 56))) return undefined
  const gaps = view.getUint32(48)
  return { entries, entriesStart: headerBytes + gaps * gapBytes, gaps }
}

/** The entries of a whole index file; undefined when they are damaged. */
function decodeEntries(bytes: Uint8Array, checksum: Checksum): SparseIndex | undefined {
  const layout = layoutOf(bytes, checksum)
  if (layout === undefined || bytes.length !== layout.entriesStart + layout.entries * entryBytes) {
    return undefined
  }
  const view = viewOf(bytes)
  if (view.getUint32(44) !== checksum(bytes.subarray(layout.entriesStart))) return undefined
  const index = new SparseIndex()
  for (let at = layout.entriesStart; at < bytes.length; at += entryBytes) {
    index.addEntry(view.getUint32(at), view.getUint32(at + 4), getInt64(view, at + 8))
  }
  return index
}

export const encodedGapBytes = gapBytes

/** Writes gaps one after the other, 32 bytes each. */
export function encodeGaps(view: DataView, start: number, gaps: readonly Gap[]): void {
  let at = start
  for (const { position, endPosition, offset, endOffset } of gaps) {
    setInt64(view, at, position)
    setInt64(view, at + 8, endPosition)
    setInt64(view, at + 16, offset)
    setInt64(view, at + 24, endOffset)
    at += gapBytes
  }
}

export function decodeGaps(view: DataView, start: number, count: number): Gap[] {
  return Array.from({ length: count }, (_, i) => {
    const at = start + i * gapBytes
    return {
      position: getInt64(view, at),
      endPosition: getInt64(view, at + 8),
      offset: getInt64(view, at + 16),
      endOffset: getInt64(view, at + 24),
    }
  })
}

/** Reads an index file, or only its summary; undefined when it cannot be read, for whatever reason: it is but a cache. */
export async function readIndexFile(
  fileSystem: FileSystem,
  path: string,
  checksum: Checksum,
  wanted: 'summary' | 'all',
): Promise<IndexFile | undefined> {
  let file: DiskFile | undefined
  try {
    file = await fileSystem.open(path, 'read')
    const bytes =
      wanted === 'all' ? await readStart(file, await file.size()) : await readSummary(file, checksum)
    const summary = decodeSummary(bytes, checksum)
    if (summary === undefined) return undefined
    return { summary, entries: wanted === 'all' ? decodeEntries(bytes, checksum) : undefined }
  } catch {
    return undefined
  } finally {
    await file?.close().catch(() => undefined)
  }
}

/** The header with the gaps, of which there are none as a rule. */
async function readSummary(file: DiskFile, checksum: Checksum): Promise<Uint8Array> {
  const header = await readStart(file, headerBytes)
  const layout = layoutOf(header, checksum)
  if (layout === undefined || layout.gaps === 0) return header
  return readStart(file, Math.min(layout.entriesStart, await file.size()))
}

async function readStart(file: DiskFile, count: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(count)
  return bytes.subarray(0, await file.read(bytes, 0))
}

/**
 * Puts an index file in place of the one before. Not synced: one that a crash tears fails its CRC and is made again. But a
 * whole one stays until the new one is written, so that a crash on the way costs nothing.
 */
export async function writeIndexFile(fileSystem: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}${temporaryEnding}`
  try {
    const file = await fileSystem.open(temporary, 'create')
    try {
      await writeAll(file, bytes, 0)
    } finally {
      await file.close()
    }
    await fileSystem.rename(temporary, path)
  } catch (error) {
    await fileSystem.remove(temporary).catch(() => undefined)
    throw error
  }
}

/** What a crash may leave of an index that was being written. */
export const temporaryEnding = '.tmp'

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

// Not by BigInt: an index of a large segment has tens of thousands of them.
function setInt64(view: DataView, at: number, value: number): void {
  const high = Math.floor(value / twoTo32)
  view.setInt32(at, high)
  view.setUint32(at + 4, value - high * twoTo32)
}

const getInt64 = (view: DataView, at: number): number => view.getInt32(at) * twoTo32 + view.getUint32(at + 4)
