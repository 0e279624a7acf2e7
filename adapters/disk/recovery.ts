/**
 * Opens the segments of a log as a crash may have left them. Every segment but the last was synced before the next was
 * made, so that only the end of the last may be torn; anything else that is wrong is damage, and is reported, not mended.
 */
import { findBatchAfter } from './batch-scan.ts'
import { baseOffsetOfName, Segment } from './segment.ts'
import { corrupt, type StoreContext } from './store-context.ts'

/** @returns the segments in order, none for a log without files; @throws RTK_STORE_CORRUPT */
export async function recoverSegments(context: StoreContext, directory: string): Promise<Segment[]> {
  const { fileSystem } = context
  const names = await fileSystem.list(directory)
  const bases = names.map(baseOffsetOfName).filter((base) => base !== undefined)
  bases.sort((a, b) => a - b)
  const segments = bases.map((base) => new Segment(context, directory, base, true))
  const indexes = new Set(segments.map((segment) => segment.indexPath))
  for (const name of names) {
    const path = `${directory}/${name}`
    if (name.endsWith('.index') && !indexes.has(path)) await fileSystem.remove(path)
  }
  for (const segment of segments.slice(0, -1)) await segment.openSealed()
  const active = segments.at(-1)
  if (active !== undefined) await recoverActive(context, active)
  for (let i = 1; i < segments.length; i++) {
    const { endOffset } = segments[i - 1]
    const { baseOffset } = segments[i]
    if (endOffset === baseOffset) continue
    const what = endOffset < baseOffset ? 'are missing between two segments' : 'are in two segments'
    throw corrupt(
      `records ${Math.min(endOffset, baseOffset)} to ${Math.max(endOffset, baseOffset)} ${what}`,
      endOffset,
    )
  }
  return segments
}

async function recoverActive(context: StoreContext, segment: Segment): Promise<void> {
  const { checksum, fileSystem, logger } = context
  const file = await fileSystem.open(segment.path, 'write')
  try {
    const size = await file.size()
    const { problem, endPosition, endOffset, coveredBytes } = await segment.openActive(file, size)
    if (problem === undefined) {
      // Found after a crash, it may not be on the disk yet: nobody may read it before it is.
      if (coveredBytes < size) await file.sync()
      return
    }
    const later = await findBatchAfter(file, { position: endPosition, offset: endOffset }, size, checksum)
    if (later !== undefined) {
      throw corrupt(
        `the log is damaged before its end: ${problem}; valid batches follow from ${later} on`,
        endOffset,
      )
    }
    logger.warn('the torn end of a log was cut off', { endOffset, bytes: size - endPosition, problem })
    await file.truncate(endPosition)
    await file.sync()
  } finally {
    await file.close()
  }
}
