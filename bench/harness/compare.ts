/**
 * Two reports of the same scenario, held against each other: what became worse by more than noise. A figure is worse when
 * each median lies outside the range of the other's runs, and the difference is not a trifle.
 */

import type { Range } from '../../src/cli/bench/statistics.ts'
import type { FigureReport } from './figures.ts'
import type { Report } from './report.ts'

export interface Change {
  readonly figure: string
  readonly before: number
  readonly after: number
  /** How many per cent better the second is; below 0 it is worse. */
  readonly betterPercent: number
  readonly verdict: 'better' | 'same' | 'worse'
}

interface Measured {
  readonly median: number
  readonly range: Range
  readonly better: 'more' | 'less'
}

/** Differences below that are never worth a word, however close the runs of one report are to each other. */
const trifle = 0.03

/** @throws TypeError when the reports are of different scenarios or settings */
export function compare(before: Report | FigureReport, after: Report | FigureReport): readonly Change[] {
  assertComparable(before, after)
  const later = figuresOf(after)
  return Array.from(figuresOf(before)).flatMap(([figure, one]) => {
    const other = later.get(figure)
    return other === undefined ? [] : [changeOf(figure, one, other)]
  })
}

const settings = ['scenario', 'payloadBytes', 'batchBytes', 'transport', 'durability'] as const

function assertComparable(before: Report | FigureReport, after: Report | FigureReport): void {
  const [one, other] = [before, after] as readonly Partial<Report>[]
  for (const setting of settings) {
    if (one[setting] === other[setting]) continue
    throw new TypeError(
      `the reports differ in ${setting}: ${one[setting]} and ${other[setting]}; compare two of the same`,
    )
  }
}

/** What differs between the machines, but for how busy they were. */
export function machineDifferences(
  { machine: one }: Report | FigureReport,
  { machine: other }: Report | FigureReport,
): readonly string[] {
  return Object.keys(one)
    .filter((key) => key !== 'loadAverage' && one[key] !== other[key])
    .map((key) => `${key}: ${one[key]} and ${other[key]}`)
}

function figuresOf(report: Report | FigureReport): ReadonlyMap<string, Measured> {
  if ('figures' in report) {
    // What nothing is asked of may be a mere description, such as bytes a sync: nobody knows which way is better.
    return new Map(
      report.figures
        .filter(({ asked, unit }) => asked !== undefined || directions[unit] !== undefined)
        .map(({ name, unit, median, range, asked }) => {
          const better = asked === undefined ? directions[unit]! : 'atLeast' in asked ? 'more' : 'less'
          return [name, { median, range, better }]
        }),
    )
  }
  const { messagesPerSecond, messagesPerSecondRange, latencyMs, latencyMsRange, peers } = report
  const harm = report.lost + report.duplicated + report.disordered + report.damaged
  const ceiling = peers.find(({ name }) => name === 'ceiling')
  return new Map<string, Measured>([
    ['messages a second', { median: messagesPerSecond, range: messagesPerSecondRange, better: 'more' }],
    ['latency p50', { median: latencyMs.p50, range: latencyMsRange.p50, better: 'less' }],
    ['latency p99', { median: latencyMs.p99, range: latencyMsRange.p99, better: 'less' }],
    ['lost, doubled, disordered, damaged', { median: harm, range: [harm, harm], better: 'less' }],
    ...(ceiling === undefined
      ? []
      : [['part of the ceiling', ratioRange(report, ceiling.ratio)] as [string, Measured]]),
  ])
}

/** The ratio has no range of its own: that of our runs, in proportion. */
const ratioRange = (
  { messagesPerSecond, messagesPerSecondRange: [least, most] }: Report,
  ratio: number,
): Measured => ({
  median: ratio,
  range: [(ratio * least) / messagesPerSecond, (ratio * most) / messagesPerSecond],
  better: 'more',
})

const directions: Readonly<Record<string, Measured['better'] | undefined>> = {
  'MB/s': 'more',
  '/s': 'more',
  ms: 'less',
  s: 'less',
  ns: 'less',
}

function changeOf(figure: string, one: Measured, other: Measured): Change {
  const gain = one.better === 'more' ? other.median - one.median : one.median - other.median
  const part = gain === 0 ? 0 : gain / (one.median === 0 ? Math.abs(gain) : one.median)
  const outside = ({ range: [least, most] }: Measured, value: number): boolean =>
    value < least || value > most
  const matters = Math.abs(part) >= trifle && outside(one, other.median) && outside(other, one.median)
  return {
    figure,
    before: one.median,
    after: other.median,
    betterPercent: Number((part * 100).toFixed(1)),
    verdict: !matters ? 'same' : part > 0 ? 'better' : 'worse',
  }
}
