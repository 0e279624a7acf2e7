/** Redrives and purges in as many calls as it takes: the broker does a bounded amount of work in each. */
import type { PurgeRequest, PurgeResult, RedriveRequest, RedriveResult } from '../ports/index.ts'

/** The most that one call may ask for. */
const maxPerCall = 10_000

/** @param step one call */
export async function redriveAll(
  step: (request: RedriveRequest) => Promise<RedriveResult>,
  { max = Number.POSITIVE_INFINITY, ...request }: RedriveRequest,
  progress: (sofar: RedriveResult) => void,
): Promise<RedriveResult> {
  let after = request.after
  let total: RedriveResult | undefined
  for (;;) {
    const left = max - (total?.redriven ?? 0)
    const { next, ...done } = await step({ ...request, after, max: Math.min(maxPerCall, left) })
    total = {
      deadLetterTopic: done.deadLetterTopic,
      matched: (total?.matched ?? 0) + done.matched,
      redriven: (total?.redriven ?? 0) + done.redriven,
      refused: (total?.refused ?? 0) + done.refused,
      skipped: (total?.skipped ?? 0) + done.skipped,
    }
    progress(total)
    if (total.redriven >= max || next === undefined) return total
    after = next
  }
}

/** @param step one call */
export async function purgeAll(
  step: (request: PurgeRequest) => Promise<PurgeResult>,
  { max = Number.POSITIVE_INFINITY, ...request }: PurgeRequest,
): Promise<PurgeResult> {
  let after = request.after
  let purged = 0
  let skipped = 0
  for (;;) {
    const { next, ...done } = await step({ ...request, after, max: Math.min(maxPerCall, max - purged) })
    purged += done.purged
    skipped += done.skipped
    if (purged >= max || next === undefined) {
      return { deadLetterTopic: done.deadLetterTopic, purged, skipped }
    }
    after = next
  }
}
