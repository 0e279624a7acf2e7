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
    const time = text.slice(1)
    const timestampMs = /^\d{1,15}$/.test(time)
      ? Number(time)
      : isoTime.test(time)
        ? Date.parse(time)
        : Number.NaN
    if (timestampMs >= 0) return { timestampMs }
  }
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${option} takes earliest, latest, an offset, or @TIME (Unix ms or ISO 8601), got ${JSON.stringify(text.slice(0, 60))}`,
  )
}
