/** Start positions as people write them. */
import { RatatoskrError, type StartPosition } from '../ports/index.ts'

// Date.parse alone takes nearly anything with a digit in it for a date: "-1", "room 5".
const isoTime = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/

/**
 * Reads `earliest`, `latest`, an offset, or `@TIME` (Unix milliseconds or ISO 8601).
 * @throws RTK_INVALID_ARGUMENT
 */
export function positionOf(option: string, text: string): StartPosition {
  if (text === 'earliest' || text === 'latest') return text
  if (/^\d{1,15}$/.test(text)) return { offset: Number(text) }
  if (text.startsWith('@')) {
    const timestampMs = timeOf(text.slice(1))
    if (timestampMs >= 0) return { timestampMs }
  }
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${option} takes earliest, latest, an offset, or @TIME (Unix ms or ISO 8601), got ${JSON.stringify(text.slice(0, 60))}`,
  )
}

/**
 * Reads a moment: Unix milliseconds or ISO 8601.
 * @throws RTK_INVALID_ARGUMENT
 */
export function momentMs(option: string, text: string): number {
  const timestampMs = timeOf(text)
  if (timestampMs >= 0) return timestampMs
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${option} takes Unix ms or a time of ISO 8601 such as 2030-01-31T08:00:00Z, got ${JSON.stringify(text.slice(0, 60))}`,
  )
}

/** Not a number when it is no moment. */
function timeOf(text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  return isoTime.test(text) ? Date.parse(text) : Number.NaN
}
