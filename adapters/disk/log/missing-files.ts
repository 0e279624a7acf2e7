/**
 * What is done about files of a log that are gone, though nobody let go of them. How far the log went is known from the note
 * of a clean stop, from an index whose segment is missing, which covers only what was synced, and from the segments behind. An
 * empty file takes the place of what is missing, and another one begins where the log ended: to whoever opens the log that is a segment which lost all
 * that was in it, now and after any number of restarts, and no offset is given out again.
 */
import { type IndexSummary, readIndexFile } from './index-file.ts'
import { baseOffsetOfName, pathOfSegment } from './segment-path.ts'
import type { StoreContext } from './store-context.ts'

const basesReported = 10

type OffsetSpan = Pick<IndexSummary, 'baseOffset' | 'endOffset'>

/** Stands in for the files that a clean stop has noted and that are not there, or lost their end. */
export async function standInForNoted(
  context: StoreContext,
  directory: string,
  noted: readonly IndexSummary[],
): Promise<void> {
  const last = noted.at(-1)
  if (last === undefined) return
  const names = await context.fileSystem.list(directory)
  const found = new Set(names.map(baseOffsetOfName).filter((base) => base !== undefined))
  const known = new Set([...noted.map(({ baseOffset }) => baseOffset), last.endOffset])
  // Somebody has put other files there: the note does not speak of them.
  if ([...found].some((base) => !known.has(base))) return
  const bases: number[] = []
  for (const [i, { baseOffset }] of noted.entries()) {
    const goesOn = i > 0 && !found.has(noted[i - 1].baseOffset)
    if (!found.has(baseOffset) && !goesOn) bases.push(baseOffset)
  }
  const path = pathOfSegment(directory, last.baseOffset)
  const lostEnd = !found.has(last.baseOffset) || (await context.fileSystem.sizeOf(path)) < last.sizeBytes
  if (lostEnd && !found.has(last.endOffset)) bases.push(last.endOffset)
  if (bases.length > 0) await standIn(context, directory, bases)
}

/**
 * Stands in for segments that are gone between others, and for those before and behind them of which the index is left.
 * @param names of all files of the log
 * @param segments those that are there, in order
 * @returns whether there were any
 */
export async function standInForMissing(
  context: StoreContext,
  directory: string,
  names: readonly string[],
  segments: readonly OffsetSpan[],
): Promise<boolean> {
  const bases: number[] = []
  const first = segments.at(0)
  const last = segments.at(-1)
  const indexed = await indexedSpans(context, directory, names)
  const from = Math.min(...indexed.map(({ baseOffset }) => baseOffset))
  const to = Math.max(-1, ...indexed.map(({ endOffset }) => endOffset))
  if (from < (first?.baseOffset ?? to)) bases.push(from)
  for (const [i, { endOffset }] of segments.entries()) {
    const next = segments.at(i + 1)
    if (next !== undefined && endOffset < next.baseOffset) bases.push(endOffset)
  }
  if (last !== undefined && last.endOffset < to && last.baseOffset !== last.endOffset)
    bases.push(last.endOffset)
  if (to > (last?.endOffset ?? -1) && to > from) bases.push(to)
  if (bases.length === 0) return false
  await standIn(context, directory, bases)
  return true
}

/** What indexes say of segments that are not there. */
async function indexedSpans(
  { fileSystem, checksum }: StoreContext,
  directory: string,
  names: readonly string[],
): Promise<readonly OffsetSpan[]> {
  const spans: OffsetSpan[] = []
  for (const name of names) {
    const base = baseOffsetOfName(name.replace(/index$/, 'log'))
    if (!name.endsWith('.index') || base === undefined || names.includes(name.replace(/index$/, 'log'))) {
      continue
    }
    const index = await readIndexFile(fileSystem, `${directory}/${name}`, checksum, 'summary')
    if (index?.summary.baseOffset === base) spans.push(index.summary)
  }
  return spans
}

/**
 * Makes empty segments, from the last to the first: a crash on the way may leave a hole, which is filled by the next opening,
 * but never a log that goes on at an offset which it had reached.
 */
async function standIn(context: StoreContext, directory: string, bases: readonly number[]): Promise<void> {
  const { fileSystem, logger } = context
  logger.error(
    'files of a log are missing: what they held is lost, and its offsets are not given out again',
    {
      log: directory.split('/').slice(-2).join('/'),
      standIns: bases.slice(0, basesReported),
    },
  )
  await fileSystem.makeDirectory(directory)
  for (const base of bases.toReversed()) {
    const file = await fileSystem.open(pathOfSegment(directory, base), 'create')
    await file.sync().finally(() => file.close())
    await fileSystem.syncDirectory(directory)
  }
}
