/** Durations as people write them. */
import { RatatoskrError } from '../ports/index.ts'

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Reads `1500ms`, `5s`, `1.5h`: a number above 0 and its unit, in whole milliseconds together.
 * @throws RTK_INVALID_ARGUMENT that names the option
 */
export function durationMs(option: string, text: string): number {
  const [, amount, unit] = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/.exec(text) ?? []
  // Rounded to what was written, since 0.1 of a unit is no binary fraction.
  const ms = amount === undefined ? Number.NaN : Number((Number(amount) * unitMs[unit]).toFixed(6))
  if (Number.isSafeInteger(ms) && ms >= 1) return ms
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `${option} takes a duration of at least 1ms with its unit, such as 1500ms, 5s, 10m, 2h or 7d, got ${JSON.stringify(text.slice(0, 60))}`,
  )
}
