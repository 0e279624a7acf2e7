/**
 * The file `clean`: written when the store stops and everything closed well, read and removed when it starts. It says what
 * the segments of every log are, so that a log is opened without looking into them. All integers big-endian.
 *
 *     uint32 magic "RTKC"
 *     uint16 version, 1
 *     uint16 flags, none yet: zero
 *     uint32 number of logs, then for each, in order of `<topic id>/<partition>` as text:
 *       16 bytes topic id
 *       uint32 partition
 *       uint32 number of segments, then for each in order:
 *         int64 base offset, int64 end offset, int64 bytes, int64 greatest timestamp (-1 without)
 *         uint32 number of gaps, then for each: int64 position, end position, offset, end offset
 *     uint32 CRC-32C of everything before
 *
 * It is never believed against the directory: a log whose files are not these is recovered like after a crash.
 */
import type { FileSystem } from 'ratatoskr/ports'
import { type Checksum, formatUuid, parseUuid } from 'ratatoskr/ports'
import { writeAll } from '../files/file-system.ts'
import { decodeGaps, encodedGapBytes, encodeGaps, type IndexSummary } from './index-file.ts'

const magic = 0x52544b43
const version = 1
const headerBytes = 12
const logBytes = 24
const segmentBytes = 36
const crcBytes = 4

/** The segments of each log, by `<topic id>/<partition>`. */
export type CleanLogs = Map<string, readonly IndexSummary[]>

export function encodeClean(logs: CleanLogs, checksum: Checksum): Uint8Array {
  const bytes = new Uint8Array(sizeOf(logs))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic)
  view.setUint16(4, version)
  view.setUint32(8, logs.size)
  let at = headerBytes
  for (const [key, segments] of [...logs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [topicId, partition] = key.split('/')
    bytes.set(parseUuid(topicId), at)
    view.setUint32(at + 16, Number(partition))
    view.setUint32(at + 20, segments.length)
    at += logBytes
    for (const segment of segments) at = encodeSegment(view, at, segment)
  }
  view.setUint32(at, checksum(bytes.subarray(0, at)))
  return bytes
}

/** What a clean file says; undefined when it is damaged or of a version that is not known. */
function decodeClean(bytes: Uint8Array, checksum: Checksum): CleanLogs | undefined {
  const end = bytes.length - crcBytes
  if (end < headerBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0) !== magic || view.getUint16(4) !== version || view.getUint16(6) !== 0)
    return undefined
  if (view.getUint32(end) !== checksum(bytes.subarray(0, end))) return undefined
  const logs: CleanLogs = new Map()
  let at = headerBytes
  for (let count = view.getUint32(8); count > 0; count--) {
    const key = `${formatUuid(bytes.subarray(at, at + 16))}/${view.getUint32(at + 16)}`
    const segments: IndexSummary[] = []
    let left = view.getUint32(at + 20)
    at += logBytes
    for (; left > 0; left--) {
      const segment = decodeSegment(view, at)
      segments.push(segment)
      at += segmentBytes + segment.gaps.length * encodedGapBytes
    }
    logs.set(key, segments)
  }
  return logs
}

function encodeSegment(view: DataView, at: number, segment: IndexSummary): number {
  const { baseOffset, endOffset, sizeBytes, maxTimestampMs, gaps } = segment
  for (const [i, value] of [baseOffset, endOffset, sizeBytes, maxTimestampMs].entries()) {
    view.setBigInt64(at + i * 8, BigInt(value))
  }
  view.setUint32(at + 32, gaps.length)
  encodeGaps(view, at + segmentBytes, gaps)
  return at + segmentBytes + gaps.length * encodedGapBytes
}

function decodeSegment(view: DataView, at: number): IndexSummary {
  const field = (i: number): number => Number(view.getBigInt64(at + i * 8))
  const gaps = decodeGaps(view, at + segmentBytes, view.getUint32(at + 32))
  return { baseOffset: field(0), endOffset: field(1), sizeBytes: field(2), maxTimestampMs: field(3), gaps }
}

function sizeOf(logs: CleanLogs): number {
  let size = headerBytes + crcBytes
  for (const segments of logs.values()) {
    size += logBytes
    for (const { gaps } of segments) size += segmentBytes + gaps.length * encodedGapBytes
  }
  return size
}

/** Reads the clean file and removes it; the caller syncs the directory. @returns undefined when there is none that counts */
export async function takeCleanFile(
  fileSystem: FileSystem,
  directory: string,
  checksum: Checksum,
): Promise<CleanLogs | undefined> {
  const path = `${directory}/clean`
  if (!(await fileSystem.list(directory)).includes('clean')) return undefined
  const logs = await readCleanFile(fileSystem, path, checksum).catch(() => undefined)
  await fileSystem.remove(path)
  return logs
}

export async function readCleanFile(
  fileSystem: FileSystem,
  path: string,
  checksum: Checksum,
): Promise<CleanLogs | undefined> {
  const file = await fileSystem.open(path, 'read')
  try {
    const bytes = new Uint8Array(await file.size())
    return decodeClean(bytes.subarray(0, await file.read(bytes, 0)), checksum)
  } finally {
    await file.close()
  }
}

/** Writes the clean file, whole or not at all. */
export async function writeCleanFile(
  fileSystem: FileSystem,
  directory: string,
  bytes: Uint8Array,
): Promise<void> {
  const temporary = `${directory}/.clean`
  try {
    const file = await fileSystem.open(temporary, 'create')
    try {
      await writeAll(file, bytes, 0)
      await file.sync()
    } finally {
      await file.close()
    }
    await fileSystem.rename(temporary, `${directory}/clean`)
    await fileSystem.syncDirectory(directory)
  } catch (error) {
    await fileSystem.remove(temporary).catch(() => undefined)
    throw error
  }
}
