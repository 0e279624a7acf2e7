/** Keeps something busy for a while, and says how much it did between warm-up and end. */
import type { MaybePromise } from 'ratatoskr/ports'

export interface LoadOptions<Snapshot> {
  /** Operations that run at the same time, each begun when the one before it is done. */
  readonly lanes: number
  readonly seconds: number
  /** Operations in all, warm-up included, so that no disk is filled; the window ends early when they are done. */
  readonly operationsMax: number
  /** Read at both ends of the window. */
  readonly snapshot: () => Snapshot
}

export interface LoadResult<Snapshot> {
  readonly operations: number
  readonly seconds: number
  readonly before: Snapshot
  readonly after: Snapshot
}

/** Part of the time that goes before the window. */
const warmUpPart = 0.2

/** Runs `operation` in lanes until the time is over, and waits for the last ones. */
export async function underLoad<Snapshot>(
  { lanes, seconds, operationsMax, snapshot }: LoadOptions<Snapshot>,
  operation: () => MaybePromise<unknown>,
): Promise<LoadResult<Snapshot>> {
  const beginMs = performance.now() + seconds * warmUpPart * 1_000
  const endMs = beginMs + seconds * 1_000
  let begun = 0
  let done = 0
  let first: { readonly done: number; readonly ms: number; readonly at: Snapshot } | undefined
  let last: typeof first
  const lane = async () => {
    while (begun < operationsMax && last === undefined) {
      begun++
      await operation()
      done++
      const ms = performance.now()
      if (first === undefined && ms >= beginMs) first = { done, ms, at: snapshot() }
      else if (last === undefined && (ms >= endMs || done === operationsMax))
        last = { done, ms, at: snapshot() }
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  if (first === undefined || last === undefined) {
    throw new Error(`${operationsMax} operations were over before the warm-up was`)
  }
  return {
    operations: last.done - first.done,
    seconds: (last.ms - first.ms) / 1_000,
    before: first.at,
    after: last.at,
  }
}
