/** Where a log stands, kept while it is closed so that descriptions stay truthful. */
import type { OffsetRange } from '../../ports/index.ts'

export interface LogOffsets {
  readonly startOffset: number
  readonly stableOffset: number
  readonly endOffset: number
  readonly sizeBytes: number
  readonly damaged: readonly OffsetRange[]
}

/** A log that was never opened. */
export const closedLog: LogOffsets = Object.freeze({
  startOffset: 0,
  stableOffset: 0,
  endOffset: 0,
  sizeBytes: 0,
  damaged: [],
})

/** A copy of where a log stands; what was not stable is given up. */
export const offsetsOf = (log: LogOffsets): LogOffsets => ({
  startOffset: log.startOffset,
  stableOffset: log.stableOffset,
  endOffset: log.stableOffset,
  sizeBytes: log.sizeBytes,
  damaged: log.damaged,
})
