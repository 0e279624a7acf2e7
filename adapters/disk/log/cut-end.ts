/**
 * Keeps aside what is cut off the end of a log, when there are whole batches in it. A crash leaves such an end, with batches
 * that were never acknowledged behind one that is torn; but so do damage to a header right before the end, and bytes that
 * somebody appended. Nobody can tell these apart, so that nothing whole is destroyed.
 */
import type { DiskFile } from 'ratatoskr/ports'
import { BatchProbe } from './batch-probe.ts'
import type { Segment } from './segment.ts'
import type { StoreContext } from './store-context.ts'

/** More than a crash leaves unsynced of one log. What is cut off beyond that is not kept. */
const keptBytesMax = 64 * 1024 * 1024

/**
 * To be called before the file is cut to the size of its segment. Where the copy cannot be made, the end is cut all the same:
 * a log must open on a full disk.
 * @param sizeBytes of the file as it is
 */
export async function keepCutEnd(
  { quarantine, checksum, logger }: StoreContext,
  { path, sizeBytes: position }: Segment,
  file: DiskFile,
  sizeBytes: number,
): Promise<void> {
  const endPosition = Math.min(sizeBytes, position + keptBytesMax)
  try {
    const batch = await new BatchProbe(file, endPosition, checksum).findBatch(position, () => true)
    if (batch === undefined) return
    const logKey = path.split('/').slice(-3, -1).join('/')
    await quarantine.keepCut(path, logKey, file, position, endPosition - position)
    logger.warn('there were whole batches in the end that is cut off; a copy of it is in quarantine', {
      log: logKey,
      bytes: endPosition - position,
      left: sizeBytes - endPosition,
      offset: batch.baseOffset,
    })
  } catch (error) {
    logger.warn('the end of a log that is cut off could not be kept aside', { error })
  }
}
