/**
 * Finds the segments that keep a log from opening because others have their records as well, or because they cannot be
 * read: which of them can be taken away without a loss, and which somebody has to choose between.
 */
import { basename, dirname, relative } from 'node:path'
import { baseOffsetOf, batchHeaderBytes, batchSizeOf, crcOf, RatatoskrError } from 'ratatoskr/ports'
import { allocate } from '../files/file-system.ts'
import { scanSegment } from '../log/segment-scan.ts'
import {
  type Inspection,
  inspectLog,
  type LogReport,
  type Misfit,
  type SegmentReport,
} from './inspect-log.ts'

interface OverlapWorkshop {
  /** Paths are told below it. */
  readonly root: string
  readonly inspection: Inspection
  readonly options: { readonly setAside: readonly string[] }
}

interface Resolution {
  /** The log without the files that are taken away. */
  readonly report: LogReport
  readonly without: ReadonlySet<string>
  /** Why each is taken away. */
  readonly reasons: ReadonlyMap<string, string>
  /** Two segments of which neither may be taken away without a loss. */
  readonly conflict: Misfit | undefined
}

/** Finds the files that make a log be refused, for their records are in others as well. */
export async function withoutOverlaps(workshop: OverlapWorkshop, folder: string): Promise<Resolution> {
  const { inspection, options } = workshop
  const chosen = new Set(options.setAside)
  const without = new Set<string>()
  const reasons = new Map<string, string>()
  for (;;) {
    const report = await inspectLog(inspection, folder, without)
    for (const { path, name, unreadable } of report.segments) {
      if (unreadable !== undefined && chosen.has(path)) without.add(name)
    }
    const overlap = report.misfits.find(({ kind, after, before }) => {
      return kind !== 'hole' && !without.has(after.name) && !without.has(before.name)
    })
    if (overlap === undefined) {
      const left = without.size === 0 ? report : await inspectLog(inspection, folder, without)
      return { report: left, without, reasons, conflict: undefined }
    }
    const redundant = await redundantOf(workshop, report, overlap, without)
    if (redundant !== undefined) {
      without.add(redundant.name)
      reasons.set(
        redundant.name,
        `its records, offsets ${overlap.from} to ${overlap.to - 1} among them, are in other files as well; it adds nothing`,
      )
      continue
    }
    const choice = [overlap.before, overlap.after].find(({ path }) => chosen.has(path))
    if (choice === undefined) return { report, without, reasons, conflict: overlap }
    without.add(choice.name)
  }
}

/**
 * Before anything is changed: what is healthy is not taken out of service because somebody mistook a name.
 * @throws RTK_INVALID_ARGUMENT for a file about which there is nothing to decide
 */
export async function assertChoices(workshop: OverlapWorkshop): Promise<void> {
  const { root, options } = workshop
  for (const folder of new Set(options.setAside.map((path) => dirname(path)))) {
    const { without } = await withoutOverlaps(workshop, folder)
    const needless = options.setAside.find((path) => dirname(path) === folder && !without.has(basename(path)))
    if (needless === undefined) continue
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `${relative(root, needless)} is not to be set aside: it can be read, and no other file has its offsets with other records; \`ratatoskr log repair --dry-run\` lists what is to be decided`,
    )
  }
}

/** Of two segments that overlap, the one without which the log has every record that it had. */
async function redundantOf(
  { inspection }: OverlapWorkshop,
  report: LogReport,
  { before, after }: Misfit,
  without: ReadonlySet<string>,
): Promise<SegmentReport | undefined> {
  const quiet = { ...inspection, onBytes: () => {} }
  let best: { segment: SegmentReport; records: number; misfits: number } | undefined
  for (const segment of [after, before]) {
    const own = await batchesOf(inspection, segment)
    for (const other of report.segments) {
      if (other === segment) continue
      for (const batch of await batchesOf(inspection, other)) own.delete(batch)
    }
    if (own.size > 0) continue
    const rest = await inspectLog(quiet, report.folder, new Set([...without, segment.name]))
    const records = rest.segments.reduce((sum, one) => sum + one.records, 0)
    const misfits = rest.misfits.length
    if (
      best === undefined ||
      misfits < best.misfits ||
      (misfits === best.misfits && records > best.records)
    ) {
      best = { segment, records, misfits }
    }
  }
  return best?.segment
}

/** The valid batches of a file, whatever offsets its name promises. */
async function batchesOf(
  { fileSystem, checksum }: Inspection,
  { path }: SegmentReport,
): Promise<Set<string>> {
  const found = new Set<string>()
  const file = await fileSystem.open(path, 'read')
  try {
    const header = allocate(batchHeaderBytes)
    if ((await file.read(header, 0)) < batchHeaderBytes) return found
    const baseOffset = Math.max(0, baseOffsetOf(header))
    const source = { file, sizeBytes: await file.size(), checksum, baseOffset, limitOffset: undefined }
    await scanSegment(source, { position: 0, offset: baseOffset }, false, (bytes, at) => {
      found.add(`${baseOffsetOf(bytes, at)} ${batchSizeOf(bytes, at)} ${crcOf(bytes, at)}`)
    })
    return found
  } finally {
    await file.close()
  }
}
