/**
 * Moves the end of a log into a file of its own. After a failed sync, in this process or in the one before, what is read may
 * be in the kernel's memory alone: its pages count as clean, so that a sync reports success and writes nothing. On ext4 not
 * even writing the same bytes again helps, for the blocks stay marked as never written. Only other blocks do, so the bytes go
 * to a new file.
 *
 * Where nothing of the segment is known to be synced, the new file replaces the segment by one rename. Otherwise it becomes
 * the next segment, and the one before ends where it begins. In between, the new file is whole and synced under a name that
 * says what is left to do: a crash at any moment leaves either the old bytes or the new ones.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { allocate, writeAll } from '../files/file-system.ts'
import type { Place } from './place.ts'
import type { Segment } from './segment.ts'
import { baseOffsetOfName, pathOfSegment } from './segment-path.ts'
import type { StoreContext } from './store-context.ts'

const pieceBytes = 1024 * 1024

/** What a crash may leave of an end that was being copied: the segment still has all of it. */
export const unfinishedEnding = '.tail.tmp'

/**
 * Stands in the directory of a log from when a write or a sync of it failed until its end was moved. Never synced: it is for
 * the next process, which finds in the kernel's memory what this one left there. After a power cut nothing reads otherwise
 * than it is on the disk.
 */
export const failureMark = 'failed'

export async function markFailure({ fileSystem, logger }: StoreContext, directory: string): Promise<void> {
  try {
    await (await fileSystem.open(`${directory}/${failureMark}`, 'create')).close()
  } catch (error) {
    logger.warn('a log failed, and that could not be noted for the next start', { error })
  }
}

/** Where the segment before is to end, and with which offset the tail begins. */
const nameOfTail = ({ offset, position }: Place): string =>
  `${String(offset).padStart(20, '0')}-${position}.tail`

function placeOfTail(name: string): Place | undefined {
  const found = /^(\d{20})-(\d+)\.tail$/.exec(name)
  return found === null ? undefined : { offset: Number(found[1]), position: Number(found[2]) }
}

/**
 * Moves what a segment holds from a place on to other blocks. The directory is to be synced after it.
 * @param from a batch begins there; everything before it is synced
 * @param file the segment's; nothing of the kind failed on it
 * @returns the segment that is the last from now on: another one, unless `from` is the start
 */
export async function moveTail(
  context: StoreContext,
  directory: string,
  segment: Segment,
  file: DiskFile,
  from: Place,
): Promise<Segment> {
  const { fileSystem } = context
  const temporary = `${segment.path}${unfinishedEnding}`
  try {
    const copy = await fileSystem.open(temporary, 'create')
    try {
      await copyBytes(file, copy, from.position, segment.sizeBytes)
      await copy.sync()
      context.tally.syncs++
    } finally {
      await copy.close()
    }
  } catch (error) {
    await fileSystem.remove(temporary).catch(() => undefined)
    throw error
  }
  if (from.position === 0) {
    await fileSystem.rename(temporary, segment.path)
    // Whoever reads from now on reads the new file.
    await context.files.discard(segment.path)
    return segment
  }
  await fileSystem.rename(temporary, `${directory}/${nameOfTail(from)}`)
  await finishTail(context, directory, segment.path, from)
  return segment.split(directory, from)
}

/** Finishes what a crash interrupted, up to a sync of the directory. @returns whether there was anything */
export async function finishTails(
  context: StoreContext,
  directory: string,
  names: readonly string[],
): Promise<boolean> {
  let found = false
  const bases = names.map(baseOffsetOfName).filter((base) => base !== undefined)
  for (const place of names.map(placeOfTail)) {
    if (place === undefined || bases.includes(place.offset)) continue
    const before = Math.max(...bases.filter((base) => base < place.offset))
    const path = Number.isFinite(before) ? pathOfSegment(directory, before) : undefined
    await finishTail(context, directory, path, place)
    found = true
  }
  return found
}

/** Cuts the segment before, for good, and gives the tail its name, which is durable when the directory is synced. */
async function finishTail(
  { fileSystem }: StoreContext,
  directory: string,
  before: string | undefined,
  place: Place,
): Promise<void> {
  // First: a power cut could else take the name after the bytes are gone from the segment before.
  await fileSystem.syncDirectory(directory)
  if (before !== undefined) {
    const file = await fileSystem.open(before, 'write')
    try {
      // A shorter one has lost something else, and whoever opens the log sees that.
      if ((await file.size()) > place.position) await file.truncate(place.position)
      await file.sync()
    } finally {
      await file.close()
    }
  }
  await fileSystem.rename(`${directory}/${nameOfTail(place)}`, pathOfSegment(directory, place.offset))
}

async function copyBytes(file: DiskFile, into: DiskFile, from: number, to: number): Promise<void> {
  const buffer = allocate(Math.max(0, Math.min(pieceBytes, to - from)))
  for (let position = from; position < to; ) {
    const count = await file.read(buffer.subarray(0, Math.min(buffer.length, to - position)), position)
    if (count === 0) throw new Error('a segment became shorter while it was copied')
    await writeAll(into, buffer.subarray(0, count), position - from)
    position += count
  }
}
