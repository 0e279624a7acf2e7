/**
 * Looks into the files of one partition without owning them: reads every byte, believes no index, and tells what opening
 * the log would find. What `ratatoskr log verify` and `log repair` decide by. Only reads.
 */
import { basename, dirname } from 'node:path'
import { type Checksum, type DiskFile, type FileSystem, recordCountOf } from 'ratatoskr/ports'
import { systemCodeOf } from '../files/file-system.ts'
import { readIndexFile } from '../log/index-file.ts'
import type { Gap } from '../log/place.ts'
import { beginningOf } from '../log/segment-name.ts'
import { baseOffsetOfName } from '../log/segment-path.ts'
import { type SegmentScan, scanSegment } from '../log/segment-scan.ts'
import { isDeclaredLost } from './repair-loss.ts'

/** What looking into files needs. */
export interface Inspection {
  readonly fileSystem: FileSystem
  readonly checksum: Checksum
  /** Told how many bytes were checked. */
  readonly onBytes: (count: number) => void
}

/** A gap; `declared` when its owner has accepted the loss (`log repair --accept-loss`). */
interface ReportedGap extends Gap {
  readonly declared: boolean
}

/** One segment, as it is. */
export interface SegmentReport {
  readonly path: string
  readonly name: string
  readonly baseOffset: number
  readonly sizeBytes: number
  /** Where valid batches and gaps end: less than the size when the end is torn. */
  readonly validBytes: number
  readonly endOffset: number
  /** What the first header in the file says, true or not; undefined when there is none, or zeros. */
  readonly firstOffset: number | undefined
  /** The same, where the second header goes on from the first. */
  readonly chainOffset: number | undefined
  readonly batches: number
  readonly records: number
  readonly gaps: readonly ReportedGap[]
  /** What is wrong with the bytes after `validBytes`, which a crash left half-written. */
  readonly torn: string | undefined
  /** The system's code when the file cannot be read; then nothing else is known of it. */
  readonly unreadable: string | undefined
  readonly index: 'ok' | 'missing' | 'stale' | 'damaged'
}

/** Two segments that follow one another and do not fit: then the log is refused as a whole. */
export interface Misfit {
  /** `misnamed`: the later one begins with offsets of others, and is damaged or comes after records that are lost: a copy. */
  readonly kind: 'overlap' | 'hole' | 'misnamed'
  /** Offsets that are in both, or in none, or from what the later one begins with to its name. */
  readonly from: number
  readonly to: number
  readonly before: SegmentReport
  readonly after: SegmentReport
}

export interface LogReport {
  readonly folder: string
  readonly segments: readonly SegmentReport[]
  readonly misfits: readonly Misfit[]
  /** Names of files that are no segment and no index of one. */
  readonly strangers: readonly string[]
}

/** @param without names of segments to leave out, as if they were not there */
export async function inspectLog(
  inspection: Inspection,
  folder: string,
  without: ReadonlySet<string> = new Set(),
): Promise<LogReport> {
  const names = await inspection.fileSystem.list(folder)
  const kept = names.filter((name) => baseOffsetOfName(name) !== undefined && !without.has(name)).sort()
  const segments: SegmentReport[] = []
  for (const [i, name] of kept.entries()) {
    const limitOffset = i + 1 < kept.length ? baseOffsetOfName(kept[i + 1]) : undefined
    const report = await inspectSegment(inspection, `${folder}/${name}`, limitOffset)
    // Retention may have taken it away since.
    if (report !== undefined) segments.push(report)
  }
  const known = new Set(kept.flatMap((name) => [name, name.replace(/log$/, 'index')]))
  const strangers = names.filter((name) => !known.has(name) && !without.has(name.replace(/index$/, 'log')))
  return { folder, segments, misfits: misfitsOf(segments), strangers }
}

function misfitsOf(segments: readonly SegmentReport[]): Misfit[] {
  const misfits: Misfit[] = []
  for (let i = 1; i < segments.length; i++) {
    const [before, after] = [segments[i - 1], segments[i]]
    if (before.unreadable !== undefined) continue
    const lostEnd = before.gaps.some(
      (gap) => gap.offset < gap.endOffset && gap.endOffset === after.baseOffset,
    )
    const first = lostEnd ? after.firstOffset : after.gaps.length > 0 ? after.chainOffset : undefined
    if (first !== undefined && first < after.baseOffset && first >= segments[0].baseOffset) {
      misfits.push({ kind: 'misnamed', from: first, to: after.baseOffset, before, after })
    }
    if (before.endOffset === after.baseOffset) continue
    const from = Math.min(before.endOffset, after.baseOffset)
    const to = Math.max(before.endOffset, after.baseOffset)
    misfits.push({ kind: before.endOffset < after.baseOffset ? 'hole' : 'overlap', from, to, before, after })
  }
  return misfits
}

/** @returns undefined when there is no such file any more */
async function inspectSegment(
  inspection: Inspection,
  path: string,
  limitOffset: number | undefined,
): Promise<SegmentReport | undefined> {
  const { fileSystem, checksum } = inspection
  const name = basename(path)
  const baseOffset = baseOffsetOfName(name) ?? 0
  // Before the size of the segment: an index never covers what is not there yet.
  const indexPath = path.replace(/log$/, 'index')
  const index = await readIndexFile(fileSystem, indexPath, checksum, 'all')
  const hasIndex = await fileSystem.sizeOf(indexPath).then(
    () => true,
    () => false,
  )
  const counts = { batches: 0, records: 0 }
  let file: DiskFile | undefined
  try {
    file = await fileSystem.open(path, 'read')
    const sizeBytes = await file.size()
    const source = { file: counted(file, inspection.onBytes), sizeBytes, checksum, baseOffset, limitOffset }
    const scan = await scanSegment(source, { position: 0, offset: baseOffset }, false, (bytes, at) => {
      counts.batches++
      counts.records += recordCountOf(bytes, at)
    })
    const summary = index?.summary.baseOffset === baseOffset ? index.summary : undefined
    const found = withLostEnd(scan, sizeBytes, limitOffset, summary)
    const covers = summary?.sizeBytes ?? -1
    const fits =
      limitOffset === undefined
        ? covers >= 0 && covers <= found.end.position
        : covers === sizeBytes && summary?.endOffset === found.end.offset
    const knowsGaps = JSON.stringify(summary?.gaps ?? []) === JSON.stringify(found.gaps)
    const gaps: ReportedGap[] = []
    for (const gap of found.gaps) gaps.push({ ...gap, declared: await isDeclaredLost(file, gap) })
    return {
      ...{ path, name, baseOffset, sizeBytes, ...counts, gaps },
      validBytes: found.end.position,
      endOffset: found.end.offset,
      firstOffset: await beginningOf(file, false),
      // What its index covers the broker does not look at.
      chainOffset: summary?.sizeBytes === sizeBytes ? undefined : await beginningOf(file, true),
      torn: found.torn,
      unreadable: undefined,
      index: indexState(hasIndex, index?.entries !== undefined, fits && knowsGaps),
    }
  } catch (error) {
    const code = systemCodeOf(error)
    const isGone = code === 'ENOENT' && !(await fileSystem.list(dirname(path))).includes(name)
    if (isGone) return undefined
    return {
      ...{
        path,
        name,
        baseOffset,
        sizeBytes: 0,
        validBytes: 0,
        endOffset: baseOffset,
        batches: 0,
        records: 0,
      },
      ...{
        gaps: [],
        torn: undefined,
        unreadable: code ?? 'unknown reason',
        index: 'ok',
        firstOffset: undefined,
        chainOffset: undefined,
      },
    }
  } finally {
    await file?.close()
  }
}

function indexState(isThere: boolean, isWhole: boolean, fits: boolean): SegmentReport['index'] {
  if (!isThere) return 'missing'
  if (!isWhole) return 'damaged'
  return fits ? 'ok' : 'stale'
}

/** Bytes that were synced when the index was written, or all of a sealed segment, are gone: that is damage as well. */
function withLostEnd(
  scan: SegmentScan,
  sizeBytes: number,
  limitOffset: number | undefined,
  summary: { readonly sizeBytes: number; readonly endOffset: number } | undefined,
): SegmentScan {
  const concerns = summary !== undefined && summary.endOffset <= (limitOffset ?? Number.MAX_SAFE_INTEGER)
  // Of the last segment the index also tells what was lost before it was written.
  const wasLonger = concerns && (summary.sizeBytes > sizeBytes || limitOffset === undefined)
  if (!wasLonger && (limitOffset === undefined || sizeBytes > 0)) return scan
  const endOffset = limitOffset ?? summary?.endOffset ?? scan.end.offset
  if (endOffset <= scan.end.offset) return scan
  const end = { position: sizeBytes, offset: endOffset }
  const gap = { ...scan.end, endPosition: sizeBytes, endOffset }
  return { end, gaps: [...scan.gaps, gap], torn: undefined }
}

/** The file, telling how far it was read: each byte once, however often it is looked at. */
function counted(file: DiskFile, onBytes: (count: number) => void): DiskFile {
  let done = 0
  return {
    async read(into, position) {
      const count = await file.read(into, position)
      if (position + count > done) onBytes(position + count - done)
      done = Math.max(done, position + count)
      return count
    },
    write: (bytes, position) => file.write(bytes, position),
    sync: () => file.sync(),
    truncate: (sizeBytes) => file.truncate(sizeBytes),
    size: () => file.size(),
    close: () => file.close(),
  }
}
