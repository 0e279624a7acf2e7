/**
 * The file `clean`: written when the store stops and everything closed well, read and removed when it starts. It says what
 * the segments of every log are, so that a log is opened without looking into them, and how far the state goes at least, so
 * that one whose files were cut short is not taken for whole. All integers big-endian.
 *
 *     uint32 magic "RTKC"
 *     uint16 version, 2; 1, which is still read, has nothing of the state
 *     uint16 flags, none yet: zero
 *     int64 generation of the state, 0 when nothing is said of it; int64 bytes of a copy; int64 number of records in it
 *     uint32 CRC of the batch that ends there
 *     uint32 number of logs, then for each, in order of `<topic id>/<partition>` as text:
 *       16 bytes topic id
 *       uint32 partition
 *       uint32 number of segments, then for each in order:
 *         int64 base offset, int64 end offset, int64 bytes, int64 greatest timestamp (-1 without)
 *         uint32 number of gaps, then for each: int64 position, end position, offset, end offset
 *     uint32 CRC-32C of everything before
 *
 * It is never believed against the directory: a log whose files are not these is recovered like after a crash. What it says
 * of the state stays true when more is written: a generation only grows, and a newer one holds all that the older did.
 */
import type { FileSystem } from 'ratatoskr/ports'
import { type Checksum, formatUuid, parseUuid } from 'ratatoskr/ports'
import { writeAll } from '../files/file-system.ts'
import { decodeGaps, encodedGapBytes, encodeGaps, type IndexSummary } from './index-file.ts'

const magic = 0x52544b43
const version = 2
const headerBytes = 8
const stateBytes = 28
const countBytes = 4
const logBytes = 24
const segmentBytes = 36
const crcBytes = 4

/** The segments of each log, by `<topic id>/<partition>`. */
export type CleanLogs = Map<string, readonly IndexSummary[]>

/** How far the state goes at least: a batch that ends at this place of this generation, or a newer generation. */
export interface StateNote {
  readonly generation: number
  readonly sizeBytes: number
  readonly endOffset: number
  readonly lastCrc: number
}

/** What a clean file says. */
export interface CleanNote {
  readonly logs: CleanLogs
  /** Undefined when nothing is said of the state. */
  readonly state: StateNote | undefined
}

export function encodeClean({ logs, state }: CleanNote, checksum: Checksum): Uint8Array {
  const bytes = new Uint8Array(sizeOf(logs))
  const view = new DataView(bytes.buffer)
  view.setUint32(0, magic)
  view.setUint16(4, version)
  if (state !== undefined) encodeState(view, headerBytes, state)
  view.setUint32(headerBytes + stateBytes, logs.size)
  let at = headerBytes + stateBytes + countBytes
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
function decodeClean(bytes: Uint8Array, checksum: Checksum): CleanNote | undefined {
  const end = bytes.length - crcBytes
  if (end < headerBytes + countBytes) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const found = view.getUint16(4)
  if (view.getUint32(0) !== magic || found < 1 || found > version || view.getUint16(6) !== 0) return undefined
  if (view.getUint32(end) !== checksum(bytes.subarray(0, end))) return undefined
  const logs: CleanLogs = new Map()
  let at = headerBytes + (found === 1 ? 0 : stateBytes)
  const state = found === 1 ? undefined : decodeState(view, headerBytes)
  const count = view.getUint32(at)
  at += countBytes
  for (let left = count; left > 0; left--) {
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
  return { logs, state }
}

function encodeState(view: DataView, at: number, state: StateNote): void {
  const { generation, sizeBytes, endOffset, lastCrc } = state
  for (const [i, value] of [generation, sizeBytes, endOffset].entries()) {
    view.setBigInt64(at + i * 8, BigInt(value))
  }
  view.setUint32(at + 24, lastCrc)
}

function decodeState(view: DataView, at: number): StateNote | undefined {
  const [generation, sizeBytes, endOffset] = [0, 8, 16].map((i) => Number(view.getBigInt64(at + i)))
  if (generation === 0) return undefined
  return { generation, sizeBytes, endOffset, lastCrc: view.getUint32(at + 24) }
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
  let size = headerBytes + stateBytes + countBytes + crcBytes
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
): Promise<CleanNote | undefined> {
  if (!(await fileSystem.list(directory)).includes('clean')) return undefined
  const note = await readCleanFile(fileSystem, directory, checksum)
  await fileSystem.remove(`${directory}/clean`)
  return note
}

/** Reads the clean file of a data directory. @returns undefined when there is none that counts */
export async function readCleanFile(
  fileSystem: FileSystem,
  directory: string,
  checksum: Checksum,
): Promise<CleanNote | undefined> {
  try {
    const file = await fileSystem.open(`${directory}/clean`, 'read')
    try {
      const bytes = new Uint8Array(await file.size())
      return decodeClean(bytes.subarray(0, await file.read(bytes, 0)), checksum)
    } finally {
      await file.close()
    }
  } catch {
    return undefined
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
