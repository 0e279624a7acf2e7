/** Checks a whole data directory without owning it: what `ratatoskr log verify` is made of. Only reads. */
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { basename, dirname, relative } from 'node:path'
import {
  type Checksum,
  type DiskFile,
  type FileSystem,
  type OffsetRange,
  RatatoskrError,
} from 'ratatoskr/ports'
import { formatFileName, formatProblemOf, missingFormat } from '../files/data-directory.ts'
import { lockFileName, lockHolderOf } from '../files/directory-lock.ts'
import { systemCodeOf } from '../files/file-system.ts'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { coded, misplacedIn, tolerantFileSystem, unreadableSegment } from '../log/misplaced.ts'
import { baseOffsetOfName } from '../log/segment-path.ts'
import { failureMark } from '../log/segment-tail.ts'
import { generationOf } from '../state/state-copies.ts'
import { type DirectoryPart, namesOfOthers, partOf, pathsOf, toldBelowFirst } from './directory-part.ts'
import type { Finding } from './finding.ts'
import {
  type Inspection,
  inspectLog,
  type LogReport,
  type Misfit,
  type SegmentReport,
} from './inspect-log.ts'
import { missingOf, notedLogs, readNote, withoutHoles } from './inspect-missing.ts'
import { inspectState, inspectTopics, stateFindings } from './inspect-state.ts'
import { displacedFindings, lostLogFindings, orphanFindings, reachedFindings } from './inspect-topics.ts'

/** How far a check is, in bytes of segments and state. */
export type OnProgress = (doneBytes: number, totalBytes: number) => void

/**
 * Checks every file, one after the other; also while a broker runs on it.
 * @param directory of several, each is checked by itself
 * @throws RTK_INVALID_ARGUMENT when it is no data directory
 */
export const verifyDataDirectory = (
  directory: string | DirectoryPart,
  checksum: Checksum,
  onProgress: OnProgress = () => {},
  fileSystem: FileSystem = tolerantFileSystem,
): AsyncGenerator<Finding, void, undefined> => {
  const part = partOf(directory)
  return toldBelowFirst(part, coded(check(part, checksum, onProgress, fileSystem)))
}

async function* check(
  part: DirectoryPart,
  checksum: Checksum,
  onProgress: OnProgress,
  fileSystem: FileSystem,
): AsyncGenerator<Finding, void, undefined> {
  const { directory, root } = pathsOf(part)
  if (part.index > 0 && (await isUnused(fileSystem, directory))) {
    const topics = await inspectTopics({ fileSystem, checksum, onBytes: () => {} }, root)
    yield* lostLogFindings(fileSystem, part, topics, new Set())
    return
  }
  await assertDataDirectory(fileSystem, directory)
  const below = (path: string): string => relative(directory, path)
  // Only on the machine's own files can another process hold them.
  const isOwn = fileSystem === tolerantFileSystem
  const holder = isOwn ? await lockHolderOf(directory) : undefined
  if (holder !== undefined) {
    const advice = 'what it writes at this moment may show as an unfinished end'
    yield {
      severity: 'info',
      file: lockFileName,
      state: 'in use',
      problem: `process ${holder} runs on it`,
      advice,
    }
  }
  if (isOwn) {
    for await (const { path, ...rest } of misplacedIn(directory))
      yield { file: below(path), state: 'misplaced', ...rest }
  }
  yield* formatFindings(fileSystem, directory)
  const totalBytes = await bytesToCheck(fileSystem, directory)
  let doneBytes = 0
  const onBytes = (count: number): void => {
    doneBytes += count
    onProgress(doneBytes, Math.max(totalBytes, doneBytes))
  }
  const inspection: Inspection = { fileSystem, checksum, onBytes }
  // A broker that runs has taken the note.
  const note = holder === undefined ? await readNote(inspection, directory) : undefined
  // What cannot be opened is told of above.
  const state = await inspectState(inspection, directory, note?.state).catch((error: unknown) => {
    if (!isOwn || systemCodeOf(error) === undefined) throw error
    return undefined
  })
  if (state !== undefined)
    for (const finding of stateFindings(`${directory}/state`, state, holder !== undefined))
      yield relativeTo(finding, below)
  const topics = part.index === 0 ? state : await inspectTopics(inspection, root)
  const noted = notedLogs(note, directory)
  const found = new Set<string>()
  for await (const folder of logFolders(fileSystem, directory, noted.keys())) {
    found.add(below(folder))
    const settled = await settledLog(inspection, folder, holder !== undefined)
    const { report, holes } = withoutHoles(settled)
    const missing = [...holes, ...(await missingOf(inspection, report, noted.get(folder)))]
    for (const finding of logFindings(report, missing, holder !== undefined)) yield relativeTo(finding, below)
    yield* orphanFindings(report, topics, below(folder))
    yield* displacedFindings(report, part, topics, below(folder))
    // A note knows better where the log ended, and a broker that runs goes on writing.
    if (note === undefined && holder === undefined)
      yield* reachedFindings(report, missing, topics, below(folder))
  }
  // A broker that runs may have made or deleted topics since the state was read.
  if (holder === undefined) yield* lostLogFindings(fileSystem, part, topics, found)
  yield* leftFindings(fileSystem, directory)
  yield* foreignFindings(fileSystem, directory, namesOfOthers(part))
}

const ownNames =
  /^(ratatoskr\.lock|\.?format\.json|state|logs|reserve|quarantine|trash|\.?clean|lost\+found)$/
const topicName = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What somebody else has put beside our files. */
async function* foreignFindings(
  fileSystem: FileSystem,
  directory: string,
  others: ReadonlySet<string>,
): AsyncGenerator<Finding> {
  const names = await fileSystem.list(directory)
  const top = names.filter((name) => !ownNames.test(name) && !others.has(name))
  const topics = await fileSystem.list(`${directory}/logs`)
  const inLogs = topics.filter((name) => !topicName.test(name)).map((name) => `logs/${name}`)
  const inTopics: string[] = []
  for (const topic of topics.filter((name) => topicName.test(name))) {
    const names = await fileSystem.list(`${directory}/logs/${topic}`)
    inTopics.push(...names.filter((name) => !/^\d+$/.test(name)).map((name) => `logs/${topic}/${name}`))
  }
  for (const file of [...top, ...inLogs, ...inTopics]) {
    const problem = 'it is none of our files, so the broker ignores it'
    yield {
      severity: 'info',
      file,
      state: 'foreign',
      problem,
      advice: 'move it elsewhere if it is not needed here',
    }
  }
}

const relativeTo = (finding: Finding, below: (path: string) => string): Finding => ({
  ...finding,
  file: below(finding.file),
})

/** True for one of several directories that nothing was ever written to, or that is gone. @throws RTK_INVALID_ARGUMENT */
export async function isUnused(fileSystem: FileSystem, directory: string): Promise<boolean> {
  const isMissing = (await fileSystem.list(dirname(directory))).includes(basename(directory)) === false
  return isMissing || (await namesIn(fileSystem, directory)).length === 0
}

/** @throws RTK_INVALID_ARGUMENT */
export async function assertDataDirectory(fileSystem: FileSystem, directory: string): Promise<void> {
  const names = await namesIn(fileSystem, directory)
  if (names.includes(formatFileName) || names.includes('logs') || names.includes('state')) return
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${JSON.stringify(directory)} is no data directory of Ratatoskr: it has neither ${formatFileName} nor logs nor state in it`,
  )
}

/** @throws RTK_INVALID_ARGUMENT for what may not be read, which is not the same as empty */
async function namesIn(fileSystem: FileSystem, directory: string): Promise<readonly string[]> {
  if (fileSystem === tolerantFileSystem || fileSystem === nodeFileSystem) {
    await access(directory, constants.R_OK | constants.X_OK).catch((cause: unknown) => {
      throw new RatatoskrError(
        'RTK_INVALID_ARGUMENT',
        `${JSON.stringify(directory)} cannot be read (${systemCodeOf(cause) ?? 'unknown reason'}); name a data directory that this user may read`,
        { cause },
      )
    })
  }
  return fileSystem.list(directory)
}

/** Why the directory is none that this version can work with; undefined when it is. */
export async function formatProblem(fileSystem: FileSystem, directory: string): Promise<string | undefined> {
  let file: DiskFile | undefined
  try {
    file = await fileSystem.open(`${directory}/${formatFileName}`, 'read')
    const bytes = new Uint8Array(await file.size())
    return formatProblemOf(bytes.subarray(0, await file.read(bytes, 0)))
  } catch (error) {
    return systemCodeOf(error) === 'ENOENT' ? missingFormat : `${formatFileName} cannot be read`
  } finally {
    await file?.close()
  }
}

async function* formatFindings(fileSystem: FileSystem, directory: string): AsyncGenerator<Finding> {
  const problem = await formatProblem(fileSystem, directory)
  if (problem === undefined) return
  const advice = `put back the ${formatFileName} that belongs to the data ({"format":1} for format 1), or use the version that wrote it`
  const refused = `${problem}: the broker refuses to start`
  yield { severity: 'error', file: formatFileName, state: 'refused', problem: refused, advice }
}

/** The folders of logs, in no order, and then those of the others that are not there. */
export async function* logFolders(
  fileSystem: FileSystem,
  directory: string,
  others: Iterable<string> = [],
): AsyncGenerator<string, void, undefined> {
  const missing = new Set(others)
  for (const topic of await fileSystem.list(`${directory}/logs`)) {
    for (const partition of await fileSystem.list(`${directory}/logs/${topic}`)) {
      const folder = `${directory}/logs/${topic}/${partition}`
      missing.delete(folder)
      yield folder
    }
  }
  yield* missing
}

/** A log, looked at twice when something is wrong while a broker writes to it: what only moved is gone the second time. */
async function settledLog(inspection: Inspection, folder: string, isRunning: boolean): Promise<LogReport> {
  const report = await inspectLog(inspection, folder)
  const isWrong = report.misfits.length > 0 || report.segments.some(({ gaps }) => gaps.length > 0)
  return isRunning && isWrong ? inspectLog({ ...inspection, onBytes: () => {} }, folder) : report
}

function* logFindings(
  { folder, segments, misfits, strangers }: LogReport,
  missing: readonly OffsetRange[],
  isRunning: boolean,
): Generator<Finding> {
  for (const [i, segment] of segments.entries()) {
    // A copy of another one has lost nothing.
    if (!misfits.some(({ kind, after }) => kind === 'misnamed' && after === segment))
      yield* segmentFindings(segment, i === segments.length - 1, isRunning)
    for (const misfit of misfits) if (misfit.before === segment) yield misfitFinding(misfit)
  }
  for (const { from, to } of missing) {
    yield {
      severity: 'error',
      file: `${folder}/${String(from).padStart(20, '0')}.log`,
      ...{ state: 'missing', offset: from, nextOffset: to },
      problem: `offsets ${from} to ${to - 1} are in no file, and nobody has deleted them`,
      advice:
        'put the missing files back, from where they were moved to or from a backup, before a broker is started: it takes them for lost; or accept the loss with `ratatoskr log repair --accept-loss`',
    }
  }
  for (const name of strangers) {
    if (missing.length > 0 && name.endsWith('.index')) continue
    if (name === failureMark) {
      yield {
        severity: 'info',
        ...{ file: `${folder}/${name}`, state: 'failed' },
        problem: 'a write or a sync of the log failed: check the disk',
        advice: 'nothing: the broker writes the end of the log to other blocks when it opens it',
      }
      continue
    }
    if (/\.tail(\.tmp)?$/.test(name)) {
      yield {
        severity: 'info',
        ...{ file: `${folder}/${name}`, state: 'unfinished' },
        problem: 'the end of the log was being moved to a file of its own',
        advice: 'nothing: the broker finishes that when it opens the log',
      }
      continue
    }
    const stray = /\.index(\.tmp)?$/.test(name)
    yield {
      severity: 'info',
      file: `${folder}/${name}`,
      state: stray ? 'stray index' : 'no segment',
      problem: stray
        ? 'there is no segment that it belongs to'
        : 'its name is none of a segment, so the broker ignores it',
      advice: stray ? 'nothing: the broker removes it' : 'move it elsewhere if it is not needed here',
    }
  }
}

function* segmentFindings(segment: SegmentReport, isLast: boolean, isRunning: boolean): Generator<Finding> {
  const { path: file, sizeBytes, batches, records, baseOffset, endOffset, gaps, torn, unreadable } = segment
  if (unreadable !== undefined) {
    yield { severity: 'error', file, state: 'unreadable', ...unreadableSegment(unreadable) }
    return
  }
  const counts = { sizeBytes, batches, records, offset: baseOffset, nextOffset: endOffset }
  if (torn !== undefined) {
    const advice = isRunning
      ? 'nothing: the broker is writing there'
      : 'start the broker: it cuts this end off, which a crash leaves like that; without a crash, records are lost here: restore the file from a backup'
    const at = { position: segment.validBytes, problem: torn }
    yield { severity: 'info', file, state: 'torn', ...counts, ...at, advice }
  } else if (gaps.length === 0) {
    yield { severity: 'ok', file, state: 'ok', ...counts }
  }
  for (const { declared, position, endPosition, offset, endOffset: nextOffset } of gaps) {
    const range = { offset, nextOffset, position, sizeBytes: endPosition - position }
    if (declared) {
      const problem = `offsets ${offset} to ${nextOffset - 1} were lost, and accepted as lost`
      yield { severity: 'info', file, state: 'accepted', ...range, problem }
    } else {
      yield {
        severity: nextOffset > offset ? 'error' : 'warning',
        file,
        state: 'damaged',
        ...range,
        problem: gapProblem(offset, nextOffset),
        advice: gapAdvice,
      }
    }
  }
  // The segment that is written has an index only after a stop in order.
  if (segment.index === 'ok' || (segment.index === 'missing' && isLast)) return
  const index = file.replace(/log$/, 'index')
  const advice = 'nothing: the broker makes it again'
  yield {
    severity: 'info',
    file: index,
    state: segment.index,
    problem: `the index is ${segment.index}`,
    advice,
  }
}

const gapProblem = (from: number, to: number): string =>
  to > from
    ? `offsets ${from} to ${to - 1} are lost to damage; what lies around them is served`
    : `bytes before offset ${from} are damaged, and no record is missing`
const gapAdvice =
  'restore the file from a backup, or accept the loss with `ratatoskr log repair --accept-loss`; check the disk'

function misfitFinding({ kind, from, to, before, after }: Misfit): Finding {
  const common = { severity: 'error', file: after.path, state: kind, offset: from, nextOffset: to } as const
  const advice = 'run `ratatoskr log repair`: it sets aside the file that adds nothing'
  const what =
    kind === 'overlap'
      ? `offsets ${from} to ${to - 1} are in ${before.name} as well`
      : `it begins with offset ${from}, which its name does not say: it is a copy of another`
  return { ...common, problem: `${what}: the broker refuses this log`, advice }
}

/** What waits in quarantine/ and trash/. */
async function* leftFindings(fileSystem: FileSystem, directory: string): AsyncGenerator<Finding> {
  const aside = await fileSystem.list(`${directory}/quarantine`)
  const inState = await fileSystem.list(`${directory}/quarantine/state`)
  for (const name of [...aside.filter((one) => one !== 'state'), ...inState.map((one) => `state/${one}`)]) {
    const file = `quarantine/${name}`
    const sizeBytes = await fileSystem.sizeOf(`${directory}/${file}`).catch(() => undefined)
    const advice = '`ratatoskr log dump` reads it; remove it when nobody needs it'
    yield {
      severity: 'info',
      file,
      state: 'set aside',
      ...(sizeBytes !== undefined && { sizeBytes }),
      problem: 'a file that was damaged or not needed',
      advice,
    }
  }
  for (const name of await fileSystem.list(`${directory}/trash`)) {
    const advice = 'nothing: the broker removes it when it starts'
    yield {
      severity: 'info',
      file: `trash/${name}`,
      state: 'deleted',
      problem: 'a deleted log on its way out',
      advice,
    }
  }
}

async function bytesToCheck(fileSystem: FileSystem, directory: string): Promise<number> {
  let total = 0
  const add = async (path: string): Promise<void> => {
    total += await fileSystem.sizeOf(path).catch(() => 0)
  }
  const folder = `${directory}/state`
  for (const name of await fileSystem.list(folder))
    if (generationOf(name) !== undefined) await add(`${folder}/${name}`)
  for await (const log of logFolders(fileSystem, directory)) {
    for (const name of await fileSystem.list(log))
      if (baseOffsetOfName(name) !== undefined) await add(`${log}/${name}`)
  }
  return total
}
