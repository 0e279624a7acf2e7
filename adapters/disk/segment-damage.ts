/** What is done about damage that a read finds in a segment: it is examined as a whole, once, and reported. */
import type { Segment } from './segment.ts'
import { corrupt, isCorrupt, type StoreContext } from './store-context.ts'

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

/** One line for all gaps of a segment: there may be thousands. */
export function reportGaps({ logger }: StoreContext, { baseOffset, gaps }: Segment): void {
  logger.error('a segment is damaged: what lies around it is served, and the file is kept', {
    segment: baseOffset,
    gaps: gaps.length,
    first: gaps.slice(0, gapsReported),
  })
}
