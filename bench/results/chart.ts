/** Figures of one scenario as bars, where what matters is how one rises while another falls. */
import type { FigureReport } from '../harness/figures.ts'

const widthMax = 30

/** A row of the chart, and its two values. */
interface Row {
  readonly name: string
  readonly rate: number
  readonly delay: number
}

/** Throughput against latency by the size of batches; undefined for scenarios that sweep nothing. */
export function sweepChart({ scenario, figures }: FigureReport): string | undefined {
  if (scenario !== 'batch-sweep') return undefined
  const rows = figures.flatMap(({ name, unit, median: rate }): Row[] => {
    const delay = figures.find((one) => one.name === `${name}: p99`)?.median
    return unit === '/s' && delay !== undefined
      ? [{ name: name.replace('batches of ', ''), rate, delay }]
      : []
  })
  return rows.length === 0 ? undefined : chartOf(rows, ['batch', 'messages/s', 'p99 ms'])
}

function chartOf(rows: readonly Row[], [what, ofRate, ofDelay]: readonly [string, string, string]): string {
  const most = (of: (row: Row) => number): number => Math.max(...rows.map(of))
  const [rateMost, delayMost] = [most(({ rate }) => rate), most(({ delay }) => delay)]
  const bar = (value: number, all: number): string =>
    '█'.repeat(Math.max(1, Math.round((value / all) * widthMax)))
  const cells = rows.map(({ name, rate, delay }) => [
    name,
    rate.toLocaleString('en'),
    bar(rate, rateMost),
    String(delay),
    bar(delay, delayMost),
  ])
  const all = [[what, ofRate, '', ofDelay, ''], ...cells]
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)))
  const lines = all.map((row) =>
    row
      .map((cell, column) => (column % 2 === 1 ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
      .join('  ')
      .trimEnd(),
  )
  return ['```text', ...lines, '```'].join('\n')
}
