/**
 * Finds segments that are gone though nobody let go of them: the note of a clean stop speaks of them, or an index is left
 * without its segment. An index covers only what was synced. Only reads.
 */
import type { OffsetRange } from 'ratatoskr/ports'
import { type CleanLogs, type CleanNote, readCleanFile } from '../log/clean-file.ts'
import { type IndexSummary, readIndexFile } from '../log/index-file.ts'
import { baseOffsetOfName } from '../log/segment-path.ts'
import type { Inspection, LogReport } from './inspect-log.ts'

/** What the note of a clean stop says; undefined when there is none that counts. */
export const readNote = (
  { fileSystem, checksum }: Inspection,
  directory: string,
): Promise<CleanNote | undefined> => readCleanFile(fileSystem, directory, checksum)

/** What a note says of the logs, by folder. */
export const notedLogs = (
  note: CleanNote | undefined,
  directory: string,
): Map<string, readonly IndexSummary[]> =>
  new Map([...(note?.logs ?? [])].map(([key, segments]) => [`${directory}/logs/${key}`, segments]))

/** The logs of a note of which files are missing, or shorter than it says. */
export async function doubtfulNotes(
  { fileSystem }: Inspection,
  noted: ReadonlyMap<string, readonly IndexSummary[]>,
): Promise<CleanLogs> {
  const doubtful: CleanLogs = new Map()
  for (const [folder, segments] of noted) {
    for (const { baseOffset, sizeBytes } of segments) {
      const path = `${folder}/${String(baseOffset).padStart(20, '0')}.log`
      const size = await fileSystem.sizeOf(path).catch(() => -1)
      if (size < sizeBytes) doubtful.set(folder.split('/').slice(-2).join('/'), segments)
    }
  }
  return doubtful
}

/** Offsets before the first segment and behind the last one that are in no file, though they were stored. */
export async function missingOf(
  inspection: Inspection,
  { folder, segments, strangers }: LogReport,
  noted: readonly IndexSummary[] = [],
): Promise<readonly OffsetRange[]> {
  const last = segments.at(-1)
  const note = believed(noted, segments)
  const indexed = await strayRanges(inspection, folder, strangers)
  const told = [...indexed, ...(note === undefined ? [] : [note])]
  const endOffset = Math.max(-1, ...told.map(({ to }) => to))
  if (last === undefined) {
    const from = Math.min(...told.map((range) => range.from))
    return from < endOffset ? [{ from, to: endOffset }] : []
  }
  const missing: OffsetRange[] = []
  const [{ baseOffset: startOffset }] = segments
  const from = Math.min(...told.map((range) => range.from))
  if (from < startOffset) missing.push({ from, to: startOffset })
  if (last.unreadable === undefined && endOffset > last.endOffset) {
    missing.push({ from: last.endOffset, to: endOffset })
  }
  return missing
}

/** The report without the holes between segments, and those: the broker takes what was there for lost, and serves the rest. */
export function withoutHoles(report: LogReport): {
  readonly report: LogReport
  readonly holes: readonly OffsetRange[]
} {
  const holes = report.misfits.filter(({ kind }) => kind === 'hole').map(({ from, to }) => ({ from, to }))
  const misfits = report.misfits.filter(({ kind }) => kind !== 'hole')
  return { report: { ...report, misfits }, holes }
}

/** What a note says of a log; undefined when somebody has put other files there since, of which it does not speak. */
function believed(noted: readonly IndexSummary[], segments: LogReport['segments']): OffsetRange | undefined {
  const last = noted.at(-1)
  if (last === undefined) return undefined
  const known = new Set([...noted.map(({ baseOffset }) => baseOffset), last.endOffset])
  if (!segments.every(({ baseOffset }) => known.has(baseOffset))) return undefined
  return { from: noted[0].baseOffset, to: last.endOffset }
}

async function strayRanges(
  { fileSystem, checksum }: Inspection,
  folder: string,
  strangers: readonly string[],
): Promise<OffsetRange[]> {
  const ranges: OffsetRange[] = []
  for (const name of strangers) {
    const base = name.endsWith('.index') ? baseOffsetOfName(name.replace(/index$/, 'log')) : undefined
    if (base === undefined) continue
    const index = await readIndexFile(fileSystem, `${folder}/${name}`, checksum, 'summary')
    if (index?.summary.baseOffset === base) ranges.push({ from: base, to: index.summary.endOffset })
  }
  return ranges
}
