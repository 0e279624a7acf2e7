/** What is done about damage that a read finds in a segment: it is examined as a whole, once, and reported. */
import { isDeclaredLost } from '../tools/repair-loss.ts'
import type { Gap } from './place.ts'
import type { Segment } from './segment.ts'
import type { StoreContext } from './store-context.ts'
import { corrupt, isCorrupt } from './store-errors.ts'

// A segment that is sound by examination and still fails to be read is being changed by somebody else.
const attemptsMax = 3
const gapsReported = 10

/**
 * Runs a read; when it finds damage, has the segment examined, so that the damage is known, and runs it again.
 * @param offset what the read is for, in the error when nothing helps
 * @param examine is told how often the segment had been examined when the read began
 * @throws RTK_STORE_CORRUPT
 */
export async function readExamined<T>(
  segment: Segment,
  offset: number,
  read: () => Promise<T>,
  examine: (examinationsSeen: number) => Promise<void>,
): Promise<T> {
  for (let attempt = 1; attempt <= attemptsMax; attempt++) {
    const { examinations } = segment
    try {
      return await read()
    } catch (error) {
      if (!isCorrupt(error)) throw error
    }
    await examine(examinations)
  }
  throw corrupt('the file changes while it is read', offset, offset + 1)
}

/** Finds out which losses of a segment somebody has accepted. What cannot be read is not taken for accepted. */
export async function noteAccepted({ files }: StoreContext, segment: Segment): Promise<void> {
  segment.accepted = []
  if (segment.gaps.length === 0) return
  try {
    const pooled = await files.acquire(segment.path, 'read')
    try {
      const accepted: Gap[] = []
      for (const gap of segment.gaps) if (await isDeclaredLost(pooled.file, gap, 'ends')) accepted.push(gap)
      segment.accepted = accepted
    } finally {
      files.release(pooled)
    }
  } catch {
    // Whoever reads the segment is told why.
  }
}

/** One line for all gaps of a segment: there may be thousands. What was accepted as lost is no error any more. */
export async function reportGaps(context: StoreContext, segment: Segment): Promise<void> {
  await noteAccepted(context, segment)
  const { baseOffset, accepted } = segment
  const fields = (gaps: readonly Gap[]) => ({
    segment: baseOffset,
    gaps: gaps.length,
    first: gaps.slice(0, gapsReported),
  })
  const open = segment.gaps.filter((gap) => !accepted.includes(gap))
  const { logger } = context
  if (open.length > 0)
    logger.error('a segment is damaged: what lies around it is served, and the file is kept', fields(open))
  if (accepted.length > 0)
    logger.info('a segment has losses that were accepted: what lies around them is served', fields(accepted))
}
