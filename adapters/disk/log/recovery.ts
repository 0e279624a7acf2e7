/**
 * Opens the segments of a log as a crash may have left them. Every segment but the last was synced before the next was
 * made, so that only the end of the last may be torn; anything else that is wrong is damage. Damage within a segment becomes
 * a gap, and no file is changed for it. Files that contradict each other are refused, before anything is changed.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { RatatoskrError } from 'ratatoskr/ports'
import { allocate, isFull, writeAll } from '../files/file-system.ts'
import { keepCutEnd } from './cut-end.ts'
import { type IndexSummary, readIndexFile, temporaryEnding } from './index-file.ts'
import { standInForMissing } from './missing-files.ts'
import type { Place } from './place.ts'
import { Segment } from './segment.ts'
import { reportGaps } from './segment-damage.ts'
import { beginningOf, offsetAt } from './segment-name.ts'
import { baseOffsetOfName } from './segment-path.ts'
import type { SegmentScan } from './segment-scan.ts'
import { failureMark, finishTails, markFailure, moveTail, unfinishedEnding } from './segment-tail.ts'
import type { StoreContext } from './store-context.ts'
import { storeFull } from './store-errors.ts'

const pieceBytes = 1024 * 1024

// Reading less than this once more, should the broker be killed again, costs no more than an index does now.
const rescanBytesMin = 1024 * 1024

/** What opening a log took. */
export interface RecoveredLog {
  /** In order; none for a log without files. */
  readonly segments: Segment[]
  /** Bytes of batches that were read and checked. */
  readonly scannedBytes: number
}

/** What is known of writes and syncs of the log that failed. */
interface Failure {
  /** In this process. */
  readonly hasFailed: boolean
  /** In this process, or in one before it. */
  readonly isMarked: boolean
}

/** How one segment was found. */
interface Found {
  readonly sizeBytes: number
  readonly scannedBytes: number
  /** Everything before it was synced once. */
  readonly from: Place
  readonly torn: string | undefined
  /** The last segment's, open, when its end is to be settled. */
  readonly file: DiskFile | undefined
}

/**
 * Finds the segments of a log in its directory, which is made when it is not there.
 * @param parents the directories above the log's own, which a crash may have left as little durable as that
 * @param hasFailed whether a write or a sync of the log failed in this process
 * @throws RTK_STORE_CORRUPT when the files contradict each other
 */
export async function recoverSegments(
  context: StoreContext,
  directory: string,
  parents: readonly string[],
  hasFailed = false,
): Promise<RecoveredLog> {
  const { fileSystem } = context
  let names = await fileSystem.list(directory)
  if (names.length === 0) await fileSystem.makeDirectory(directory)
  if (await finishTails(context, directory, names)) names = await fileSystem.list(directory)
  const isMarked = names.includes(failureMark)
  const bases = names.map(baseOffsetOfName).filter((base) => base !== undefined)
  bases.sort((a, b) => a - b)
  const segments = bases.map((base) => new Segment(context, directory, base, true))
  const paths = new Set(names.map((name) => `${directory}/${name}`))
  const found: Found[] = []
  let stoodIn = false
  try {
    for (const [i, segment] of segments.entries()) {
      found.push(await recoverSegment(context, segment, paths.has(segment.indexPath), bases[i + 1]))
    }
    await assertNamedRightly(context, segments)
    assertNoOverlap(segments)
    stoodIn = await standInForMissing(context, directory, names, segments)
    if (!stoodIn) await settle(context, segments, found, directory, parents, { hasFailed, isMarked })
  } finally {
    await found.at(-1)?.file?.close()
  }
  if (stoodIn) return recoverSegments(context, directory, parents, hasFailed)
  for (const segment of segments) if (segment.gaps.length > 0) await reportGaps(context, segment)
  const known = new Set(segments.map((segment) => segment.indexPath))
  for (const path of paths) {
    const isStray = path.endsWith('.index') && !known.has(path)
    const isUnfinished = path.endsWith(`.index${temporaryEnding}`) || path.endsWith(unfinishedEnding)
    if (isStray || isUnfinished) await fileSystem.remove(path)
  }
  return { segments, scannedBytes: found.reduce((sum, { scannedBytes }) => sum + scannedBytes, 0) }
}

/** Makes durable what was found, and leaves the indexes that were missing. */
async function settle(
  context: StoreContext,
  segments: Segment[],
  found: readonly Found[],
  directory: string,
  parents: readonly string[],
  failure: Failure,
): Promise<void> {
  const { fileSystem, indexes } = context
  for (const [i, segment] of [...segments].entries()) {
    if (i === segments.length - 1) {
      const tail = await settleEnd(context, segment, found[i], directory, failure).catch(async (error) => {
        if (!failure.isMarked) await markFailure(context, directory)
        throw error
      })
      if (tail !== segment) segments.push(tail)
      // Segments that were removed, and not for good yet, would be back beside what is written from now on.
      await fileSystem.syncDirectory(directory)
      if (failure.isMarked) await fileSystem.remove(`${directory}/${failureMark}`)
      // Nothing is written to a segment before the names that lead to it are durable; to this one nothing was.
      if (segment.sizeBytes > 0) continue
      for (const path of parents) await fileSystem.syncDirectory(path)
    } else if (segment.indexedBytes !== segment.sizeBytes) {
      await segment.writeIndex()
      indexes.keep(segment)
    }
  }
}

/**
 * Takes over what was noted when the log was closed, without looking into its files.
 * @returns undefined when they are not those that were closed
 */
export async function adoptSegments(
  context: StoreContext,
  directory: string,
  summaries: readonly IndexSummary[],
): Promise<readonly Segment[] | undefined> {
  const names = await context.fileSystem.list(directory)
  const bases = names.map(baseOffsetOfName).filter((base) => base !== undefined)
  const known = new Set(summaries.map(({ baseOffset }) => baseOffset))
  if (bases.length !== known.size || !bases.every((base) => known.has(base))) return undefined
  const segments = summaries.map((summary) => {
    const segment = new Segment(context, directory, summary.baseOffset, true)
    segment.adopt(summary)
    return segment
  })
  // A file that has another size is not the one that was closed, whatever the note says of it.
  for (const { path, sizeBytes } of segments) {
    if ((await context.fileSystem.sizeOf(path)) !== sizeBytes) return undefined
  }
  return segments
}

/**
 * Finds out what is in a segment: by its index as far as that goes, by reading the rest.
 * @param hasIndex whether there is an index file
 * @param limitOffset where it must end; undefined for the last
 */
async function recoverSegment(
  context: StoreContext,
  segment: Segment,
  hasIndex: boolean,
  limitOffset: number | undefined,
): Promise<Found> {
  const { checksum, fileSystem } = context
  const size = await fileSystem.sizeOf(segment.path)
  const index = hasIndex ? await readIndexFile(fileSystem, segment.indexPath, checksum, 'summary') : undefined
  const summary = index?.summary
  const concerns =
    summary?.baseOffset === segment.baseOffset &&
    summary.endOffset <= (limitOffset ?? Number.MAX_SAFE_INTEGER) &&
    // A sealed segment that has grown since it was covered whole is not what was covered.
    !(summary.endOffset === limitOffset && summary.sizeBytes < size)
  // Bytes that were synced once, or all of a sealed segment, are gone: that is damage.
  const isCut = (concerns && summary.sizeBytes > size) || (limitOffset !== undefined && size === 0)
  const endOffset = limitOffset ?? (isCut ? summary?.endOffset : undefined)
  if (concerns && !isCut) {
    segment.adopt(summary)
    // An empty file may be one that was cut, and whose cut is not on the disk yet.
    const isCovered = summary.sizeBytes === size && size > 0
    if (isCovered && (limitOffset ?? summary.endOffset) === summary.endOffset) {
      const from = { position: size, offset: segment.endOffset }
      return { sizeBytes: size, scannedBytes: 0, from, torn: undefined, file: undefined }
    }
  }
  const file = await fileSystem.open(segment.path, limitOffset === undefined ? 'write' : 'read')
  let toSettle: DiskFile | undefined
  try {
    let from = { position: segment.sizeBytes, offset: segment.endOffset }
    const scannedBytes = size - from.position
    let scan = await segment.recover(file, size, endOffset)
    // The file has the last word: over an index that does not agree with the next segment on where this one ends, and over
    // one that ends in the midst of a batch.
    const disagrees = segment.endOffset < (endOffset ?? 0)
    if (from.position > 0 && (disagrees || (await goesOnWrongly(file, from, scan)))) {
      segment.forget()
      from = { position: 0, offset: segment.baseOffset }
      scan = await segment.recover(file, size, endOffset)
    }
    if (isCut && endOffset !== undefined) segment.loseEnd(endOffset)
    if (limitOffset === undefined) toSettle = file
    return { sizeBytes: size, scannedBytes, from, torn: scan.torn, file: toSettle }
  } finally {
    if (toSettle === undefined) await file.close()
  }
}

/** True when what comes after the bytes that the index covers is neither a batch nor what is left of the one that must follow. */
async function goesOnWrongly(
  file: DiskFile,
  from: Place,
  { gaps, end, torn }: SegmentScan,
): Promise<boolean> {
  if (gaps[0]?.position === from.position) return true
  if (torn === undefined || end.position !== from.position) return false
  const found = await offsetAt(file, from.position)
  return found !== undefined && found !== from.offset
}

/**
 * A segment that begins with another offset than its name says is damaged, or a copy of another. It is a copy when it begins
 * with an offset that another segment holds, and records are missing right before it or its second batch goes on from there.
 * @throws RTK_STORE_CORRUPT
 */
async function assertNamedRightly({ fileSystem }: StoreContext, segments: readonly Segment[]): Promise<void> {
  for (let i = 1; i < segments.length; i++) {
    const { baseOffset, gaps, path } = segments[i]
    const before = segments[i - 1].gaps.at(-1)
    const lostEnd = before?.endOffset === baseOffset && before.offset < baseOffset
    if (!lostEnd && gaps.length === 0) continue
    const file = await fileSystem.open(path, 'read')
    const found = await beginningOf(file, !lostEnd).finally(() => file.close())
    if (found === undefined || found >= baseOffset || found < segments[0].baseOffset) continue
    throw new RatatoskrError(
      'RTK_STORE_CORRUPT',
      `the segment that is named ${baseOffset} holds records from ${found} on: it is a copy of another; run \`ratatoskr log verify\` to see the files, and put it elsewhere or run \`ratatoskr log repair\``,
      { details: { offset: found, nextOffset: baseOffset } },
    )
  }
}

/** @throws RTK_STORE_CORRUPT */
function assertNoOverlap(segments: readonly Segment[]): void {
  for (let i = 1; i < segments.length; i++) {
    const { endOffset } = segments[i - 1]
    const { baseOffset } = segments[i]
    if (endOffset <= baseOffset) continue
    throw new RatatoskrError(
      'RTK_STORE_CORRUPT',
      `offsets ${baseOffset} to ${endOffset - 1} are in two segments; run \`ratatoskr log verify\` to see the files, and run \`ratatoskr log repair\``,
      { details: { offset: baseOffset, nextOffset: endOffset } },
    )
  }
}

/**
 * Cuts off the torn end of the last segment. Found after a crash, the rest may not be on the disk yet: nobody may read it
 * before it is. @returns the segment that is the last now
 */
async function settleEnd(
  context: StoreContext,
  segment: Segment,
  found: Found,
  directory: string,
  failure: Failure,
): Promise<Segment> {
  const { file, sizeBytes: size, torn, from } = found
  if (file === undefined) return segment
  if (torn !== undefined) {
    const { endOffset, sizeBytes } = segment
    context.logger.warn('the torn end of a log was cut off', {
      endOffset,
      bytes: size - sizeBytes,
      problem: torn,
    })
    await keepCutEnd(context, segment, file, size)
    await file.truncate(sizeBytes)
  }
  let last = segment
  // A damaged segment is kept as it is, and takes nothing any more.
  const isKept = segment.gaps.length > 0 || segment.sizeBytes <= from.position
  if (isKept || !(failure.hasFailed || failure.isMarked)) await writeAgain(context, file, from, segment)
  else last = await moveFound(context, segment, file, from, directory, failure)
  if (last.gaps.length > 0 || found.scannedBytes >= rescanBytesMin) await last.writeIndex()
  return last
}

/** Moves what was not synced to other blocks. @returns the segment that is the last now */
async function moveFound(
  context: StoreContext,
  segment: Segment,
  file: DiskFile,
  from: Place,
  directory: string,
  failure: Failure,
): Promise<Segment> {
  try {
    return await moveTail(context, directory, segment, file, from)
  } catch (error) {
    if (!isFull(error)) throw error
    // What a sync that failed has left here must not be built on.
    if (failure.hasFailed) throw storeFull(error)
  }
  // A process that is new must not keep reads and deletions waiting for room. What is written next goes to a new segment, so
  // that at least that has blocks of its own.
  await writeAgain(context, file, from, segment)
  segment.isSealed = true
  return segment
}

/**
 * Writes what was not synced with its own bytes, and syncs it. Where a sync failed in the process before, its pages count as
 * clean, and a sync alone would write nothing.
 */
async function writeAgain(
  context: StoreContext,
  file: DiskFile,
  from: Place,
  { sizeBytes }: Segment,
): Promise<void> {
  const buffer = allocate(Math.max(0, Math.min(pieceBytes, sizeBytes - from.position)))
  try {
    for (let { position } = from; position < sizeBytes; ) {
      const count = await file.read(
        buffer.subarray(0, Math.min(buffer.length, sizeBytes - position)),
        position,
      )
      if (count === 0) break
      await writeAll(file, buffer.subarray(0, count), position)
      position += count
    }
  } catch (error) {
    // A file system that never overwrites needs room for it: without any, nothing could be promised of what comes after.
    throw isFull(error) ? storeFull(error) : error
  }
  await file.sync()
  context.tally.syncs++
}
