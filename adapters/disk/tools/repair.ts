/**
 * Repairs a data directory that nobody uses: what `ratatoskr log repair` is made of. Nothing is deleted: what is taken away
 * goes to `quarantine/`. What can be decided is done; where the files contradict each other so that somebody has to choose,
 * or where a loss has to be accepted, it says so and does nothing.
 */
import { basename, relative, resolve } from 'node:path'
import { type Checksum, type FileSystem, type OffsetRange, RatatoskrError, StateTable } from 'ratatoskr/ports'
import { locked, lockHolderOf } from '../files/directory-lock.ts'
import { isFull } from '../files/file-system.ts'
import { nodeFileSystem } from '../files/node-file-system.ts'
import type { CleanNote } from '../log/clean-file.ts'
import type { IndexSummary } from '../log/index-file.ts'
import { coded, misplacedIn, unreadableSegment } from '../log/misplaced.ts'
import { StateLog } from '../state/state-log.ts'
import { type DirectoryPart, partOf, pathsOf } from './directory-part.ts'
import {
  assertDataDirectory,
  formatProblem,
  isUnused,
  logFolders,
  type OnProgress,
} from './inspect-directory.ts'
import {
  type Inspection,
  inspectLog,
  type LogReport,
  type Misfit,
  type SegmentReport,
} from './inspect-log.ts'
import { doubtfulNotes, missingOf, notedLogs, readNote } from './inspect-missing.ts'
import { type InspectedState, inspectState, inspectTopics, shortText } from './inspect-state.ts'
import { orphanFindings } from './inspect-topics.ts'
import { RepairFiles } from './repair-files.ts'
import { assertChoices, withoutOverlaps } from './repair-overlaps.ts'

export interface RepairOptions {
  /** Says what it would do, and touches nothing. */
  readonly dryRun: boolean
  /**
   * Declares what is lost as lost: then it is no error of a check any more, and a missing segment keeps no log from opening.
   * A broker still says at each start which records it cannot serve.
   */
  readonly acceptLoss: boolean
  /**
   * Segments to take away, as paths below the directory: the choice where two hold different records, or of a file that
   * cannot be read. Others are refused.
   */
  readonly setAside: readonly string[]
}

/** One thing that is done, would be done, or is not done for a reason. */
export interface RepairStep {
  readonly action:
    | 'cut end'
    | 'write index'
    | 'set aside'
    | 'accept loss'
    | 'write state'
    | 'put right'
    | 'orphan'
  readonly file: string
  readonly result: 'done' | 'would do' | 'not done'
  readonly reason: string
  /** What to do about what is not done. */
  readonly advice?: string
}

interface Tools {
  readonly checksum: Checksum
  readonly clock: { now(): number }
}

/** What a repair works with. */
interface Workshop {
  readonly directory: string
  /** Paths are told below it. */
  readonly root: string
  readonly options: RepairOptions
  readonly inspection: Inspection
  readonly files: RepairFiles
  readonly nowMs: number
  readonly note: CleanNote | undefined
  /** What a clean stop has noted of the logs, by folder. */
  readonly noted: ReadonlyMap<string, readonly IndexSummary[]>
}

/**
 * Repairs, or says what it would do.
 * @param directory of several, each is repaired by itself, the first one first
 * @throws RTK_STORE_LOCKED when a broker runs on it, RTK_INVALID_ARGUMENT, RTK_STORE_FORMAT_UNKNOWN
 */
export const repairDataDirectory = (
  directory: string | DirectoryPart,
  platform: Tools,
  options: RepairOptions,
  onProgress: OnProgress = () => {},
  fileSystem: FileSystem = nodeFileSystem,
): AsyncGenerator<RepairStep, void, undefined> =>
  coded(repair(partOf(directory), platform, options, onProgress, fileSystem))

async function* repair(
  part: DirectoryPart,
  platform: Tools,
  options: RepairOptions,
  onProgress: OnProgress,
  fileSystem: FileSystem,
): AsyncGenerator<RepairStep, void, undefined> {
  // Only on the machine's own files can another process hold them, or something else stand in their place.
  const isOwn = fileSystem === nodeFileSystem
  const { directory, root } = pathsOf(part)
  if (part.index > 0 && (await isUnused(fileSystem, directory))) return
  await assertDataDirectory(fileSystem, directory)
  let isMisplaced = false
  for await (const { path, problem: reason, advice } of isOwn ? misplacedIn(directory) : []) {
    isMisplaced = true
    const step = { action: 'put right', file: relative(root, path), result: 'not done', reason } as const
    yield { ...step, advice: `${advice}; nothing else is repaired before that` }
  }
  if (isMisplaced) return
  const problem = await formatProblem(fileSystem, directory)
  if (problem !== undefined) throw new RatatoskrError('RTK_STORE_FORMAT_UNKNOWN', problem)
  const setAside = chosenFiles(directory, root, options.setAside)
  const holder = isOwn ? await lockHolderOf(directory) : undefined
  if (holder !== undefined) throw locked(holder)
  const lock = options.dryRun ? undefined : await fileSystem.lock(directory)
  let doneBytes = 0
  const onBytes = (count: number): void => {
    doneBytes += count
    onProgress(doneBytes, doneBytes)
  }
  const { checksum } = platform
  const inspection = { fileSystem, checksum, onBytes }
  try {
    const note = await readNote(inspection, directory)
    const noted = notedLogs(note, directory)
    const found = await inspectState(inspection, directory, note?.state)
    // As long as nobody has accepted that files are missing, what tells of them stays.
    const keptNotes = options.acceptLoss
      ? { logs: new Map(), state: undefined }
      : { logs: await doubtfulNotes(inspection, noted), state: found?.shortOf }
    const workshop: Workshop = {
      directory,
      root,
      options: { ...options, setAside },
      inspection,
      files: new RepairFiles(fileSystem, directory, checksum, keptNotes),
      nowMs: platform.clock.now(),
      note,
      noted,
    }
    await assertChoices(workshop)
    yield* repairState(workshop, found)
    const topics = await inspectTopics(workshop.inspection, root)
    for await (const folder of logFolders(fileSystem, directory, noted.keys())) {
      const report = yield* repairLog(workshop, folder)
      for (const { advice, problem: reason } of orphanFindings(report, topics, '')) {
        yield {
          action: 'orphan',
          file: relative(root, folder),
          result: 'not done',
          reason: `${reason}`,
          ...(advice && { advice }),
        }
      }
    }
  } finally {
    await lock?.release()
  }
}

/** @throws RTK_INVALID_ARGUMENT for a path that is no segment of the directory */
function chosenFiles(directory: string, root: string, paths: readonly string[]): string[] {
  return paths.map((path) => {
    const file = relative(directory, resolve(root, path))
    if (/^logs\/[^/]+\/\d+\/\d{20}\.log$/.test(file)) return `${directory}/${file}`
    throw new RatatoskrError(
      'RTK_INVALID_ARGUMENT',
      `a segment below the data directory expected, such as logs/<topic id>/0/00000000000000000000.log, got ${JSON.stringify(path)}`,
    )
  })
}

async function* repairState(
  workshop: Workshop,
  found: InspectedState | undefined,
): AsyncGenerator<RepairStep, void, undefined> {
  if (found === undefined) return
  const { directory, root, options } = workshop
  const { merged, hollow, shortOf } = found
  const copies = merged?.copies ?? []
  const isMissing = merged === undefined && hollow.length === 0
  const isWhole = !isMissing && hollow.length === 0 && copies.every(({ state }) => state === 'ok')
  if (isWhole && shortOf === undefined) return
  const files = hollow.flatMap((one) => one.copies.filter(({ state }) => state !== 'missing'))
  const parts = [
    ...copies.map(({ path, state }) => `${basename(path)} is ${state}`),
    ...files.map(({ path }) => `${basename(path)} holds no whole change`),
  ]
  if (isMissing) parts.push(`there is no file of the state${found.hasLogs ? ', and there are logs' : ''}`)
  if (shortOf !== undefined) parts.push(shortText(shortOf))
  const what = parts.join('; ')
  const action = isWhole ? 'accept loss' : 'write state'
  const step = { action, file: relative(root, `${directory}/state`), reason: what } as const
  const isLost = hollow.length > 0 || merged?.lost.length !== 0
  if ((isLost || shortOf !== undefined) && !options.acceptLoss) {
    const reason =
      merged === undefined || hollow.length > 0 || !isLost
        ? what
        : `${what}; both copies are damaged at the same place`
    const advice =
      'restore state/ from a backup, or give --accept-loss to go on with what is whole; logs whose topics are lost are kept'
    yield { ...step, result: 'not done', reason, advice }
    return
  }
  yield { ...step, ...(await outcomeOf(options, () => writeState(workshop, shortOf !== undefined))) }
}

/** @returns false when there is no room */
async function writeState(
  { directory, inspection, options, files, nowMs, note }: Workshop,
  isShort: boolean,
): Promise<boolean> {
  const log = new StateLog(inspection.fileSystem, `${directory}/state`, inspection.checksum)
  try {
    const findings = await log.open(new StateTable(), nowMs, options.acceptLoss)
    if (findings?.full === true) return false
  } finally {
    await log.close()
  }
  if (isShort && options.acceptLoss)
    await files.writeNote({ logs: note?.logs ?? new Map(), state: undefined })
  return true
}

type Outcome = Pick<RepairStep, 'result' | 'advice'>

/**
 * Makes a change, unless none is to be made. Where there is no room it is not made, and the others are tried all the same: the
 * reserve is not spent on it, for without that no topic could be deleted any more.
 * @param change gives false when there is no room
 */
async function outcomeOf(options: RepairOptions, change: () => Promise<unknown>): Promise<Outcome> {
  if (options.dryRun) return { result: 'would do' }
  try {
    if ((await change()) !== false) return { result: 'done' }
  } catch (error) {
    if (!isFull(error)) throw error
  }
  const advice = 'the disk is full: free space, or start the broker and delete a topic, and run this again'
  return { result: 'not done', advice }
}

/** @returns the log as it is afterwards, or would be */
async function* repairLog(
  workshop: Workshop,
  folder: string,
): AsyncGenerator<RepairStep, LogReport, undefined> {
  const { root, inspection, options, files, noted } = workshop
  const below = (path: string): string => relative(root, path)
  const { without, conflict, reasons, report: resolved } = await withoutOverlaps(workshop, folder)
  if (conflict !== undefined) {
    yield conflictStep(conflict, below)
    return resolved
  }
  let report = resolved
  for (const name of without) {
    const outcome = await outcomeOf(options, () => files.setAside(`${folder}/${name}`))
    const reason = reasons.get(name) ?? 'it was chosen'
    yield { action: 'set aside', file: below(`${folder}/${name}`), ...outcome, reason }
  }
  // Without the files that were taken away the log may end earlier, and rightly so.
  const missing = without.size > 0 ? [] : await missingOf(inspection, report, noted.get(folder))
  for (const range of missing) yield* acceptMissing(workshop, report, range)
  if (missing.length > 0 && options.acceptLoss && !options.dryRun) {
    report = await inspectLog({ ...inspection, onBytes: () => {} }, folder)
  }
  for (const { path, unreadable } of report.segments) {
    if (unreadable === undefined) continue
    const { problem: reason, advice: first } = unreadableSegment(unreadable)
    const advice = `${first}; or take it away with --set-aside ${below(path)}`
    yield { action: 'put right', file: below(path), result: 'not done', reason, advice }
  }
  yield* acceptLosses(workshop, report)
  const last = report.segments.at(-1)
  if (last?.torn !== undefined) {
    const outcome = await outcomeOf(options, () => files.cutEnd(last.path, last.validBytes))
    const kept = outcome.result === 'not done' ? '' : ', kept aside'
    const reason = `${last.torn}: ${last.sizeBytes - last.validBytes} bytes of no whole batch${kept}`
    yield { action: 'cut end', file: below(last.path), ...outcome, reason }
  }
  if (!options.dryRun) report = await inspectLog({ ...inspection, onBytes: () => {} }, folder)
  for (const [i, segment] of report.segments.entries()) {
    const next = report.segments[i + 1]
    if (segment.index === 'ok' || segment.unreadable !== undefined) continue
    if (segment.index === 'missing' && next === undefined) continue
    if (report.misfits.some(({ before, after }) => before === segment || after === segment)) continue
    const outcome = await outcomeOf(options, () => files.writeIndex(segment, next?.baseOffset))
    const file = below(segment.path.replace(/log$/, 'index'))
    yield { action: 'write index', file, ...outcome, reason: `the index is ${segment.index}` }
  }
  return report
}

const acceptAdvice = { advice: 'restore the file from a backup, or give --accept-loss' }

/** Empty segments hold the place of what is missing, so that no offset is given out again; then it is a loss like others. */
async function* acceptMissing(
  { root, options, files }: Workshop,
  { folder, segments }: LogReport,
  { from, to }: OffsetRange,
): AsyncGenerator<RepairStep, void, undefined> {
  const file = relative(root, `${folder}/${String(from).padStart(20, '0')}.log`)
  const reason = `offsets ${from} to ${to - 1} are in no file, and nobody has deleted them`
  const step = { action: 'accept loss', file, reason } as const
  if (!options.acceptLoss) {
    yield { ...step, result: 'not done', ...acceptAdvice }
    return
  }
  const startOffset = segments.at(0)?.baseOffset ?? to
  const bases = [
    ...(from < startOffset ? [from] : []),
    ...(to > startOffset || segments.length === 0 ? [to] : []),
  ]
  yield { ...step, ...(await outcomeOf(options, () => files.addEmptySegments(folder, bases))) }
}

/** What is lost, and where that can be written down. */
async function* acceptLosses(
  workshop: Workshop,
  report: LogReport,
): AsyncGenerator<RepairStep, void, undefined> {
  const { root, options, files } = workshop
  for (const { kind, from, to, after } of report.misfits) {
    if (kind !== 'hole') continue
    const step = { action: 'accept loss', file: relative(root, after.path) } as const
    const reason = `offsets ${from} to ${to - 1} before it are in no file`
    if (!options.acceptLoss) {
      yield { ...step, result: 'not done', reason, ...acceptAdvice }
      continue
    }
    const outcome = await outcomeOf(options, () => files.standIn(report.folder, from))
    const standsIn = outcome.result === 'not done' ? '' : '; a file stands in for them'
    yield { ...step, ...outcome, reason: `${reason}${standsIn}` }
  }
  for (const [i, segment] of report.segments.entries()) {
    const open = segment.gaps.filter(({ declared }) => !declared)
    const losses = open.filter(({ offset, endOffset }) => endOffset > offset)
    if (losses.length === 0) continue
    const ranges = losses.map(({ offset, endOffset }) => `${offset} to ${endOffset - 1}`).join(', ')
    const step = { action: 'accept loss', file: relative(root, segment.path) } as const
    const reason = `offsets ${ranges} are lost to damage`
    if (!options.acceptLoss) {
      yield { ...step, result: 'not done', reason, ...acceptAdvice }
      continue
    }
    let limitOffset = report.segments[i + 1]?.baseOffset
    let isDeclared = true
    const outcome = await outcomeOf(options, async () => {
      if (limitOffset === undefined && endsInGap(segment)) {
        // Damaged bytes told where the log ends; the name of an empty segment behind them does from now on.
        limitOffset = segment.endOffset
        await files.addEmptySegments(report.folder, [limitOffset])
      }
      isDeclared = await files.declareLost(segment, open, limitOffset)
    })
    if (outcome.result === 'not done') {
      yield { ...step, ...outcome, reason }
    } else if (isDeclared) {
      yield { ...step, ...outcome, reason: `${reason}; the damaged file is kept aside` }
    } else {
      const advice = 'nothing: the broker serves what lies around it'
      yield {
        ...step,
        result: 'not done',
        reason: `${reason}, and there is no place to write that down`,
        advice,
      }
    }
  }
}

/** True when what is lost reaches to the end of the segment. */
const endsInGap = ({ gaps, sizeBytes, endOffset }: SegmentReport): boolean => {
  const last = gaps.at(-1)
  return last !== undefined && last.endPosition === sizeBytes && last.endOffset === endOffset
}

function conflictStep(
  { kind, from, to, before, after }: Misfit,
  below: (path: string) => string,
): RepairStep {
  const [one, other] = [below(before.path), below(after.path)]
  return {
    action: 'set aside',
    file: other,
    result: 'not done',
    reason:
      kind === 'overlap'
        ? `offsets ${from} to ${to - 1} are in ${one} as well, and each has records that the other has not`
        : `it begins with offset ${from}, which its name does not say, and has records that no other file has`,
    advice: `look into both with \`ratatoskr log dump\`, then choose: --set-aside ${one} or --set-aside ${other}`,
  }
}
