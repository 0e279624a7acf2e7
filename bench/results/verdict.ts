/** Whether a value is what was asked for, and by how much it misses that. */
import type { Asked } from '../harness/figures.ts'

/** `met`, or `**missed** by 12 %`: what is missing of the bound, or how far it is passed. */
export function verdictOf(value: number | null, asked: Asked): string {
  if (value === null || Number.isNaN(value)) return 'not measured'
  const bound = 'atLeast' in asked ? asked.atLeast : asked.atMost
  if ('atLeast' in asked ? value >= bound : value <= bound) return 'met'
  if (bound === 0) return `**missed** by ${text(value)}`
  const times = value / bound
  return times > 2
    ? `**missed**: ${text(times)} times as much`
    : `**missed** by ${percent(Math.abs(times - 1))}`
}

const percent = (part: number): string => {
  const whole = part * 100
  return `${whole < 10 ? text(whole) : Math.round(whole)} %`
}

/** Three digits that count, thousands apart. */
export const text = (value: number): string =>
  Math.abs(value) >= 1_000
    ? Number(value.toPrecision(4)).toLocaleString('en')
    : String(Number(value.toPrecision(3)))
