/** Reports as tables to read. */
import type { BuildsReport } from '../builds/paired.ts'
import type { Change } from './compare.ts'
import type { FigureReport } from './figures.ts'
import type { PeerReport, Report } from './report.ts'

export const tableOf = (report: Report | FigureReport): string =>
  'figures' in report ? figureTable(report) : comparisonTable(report)

const figureTable = ({ scenario, figures, missing, notes = [], processors }: FigureReport): string =>
  titled(scenario, [
    ['figure', 'median', 'range', 'asked', ''],
    ...figures.map(({ name, unit, median, range, asked, met }) => [
      name,
      `${median} ${unit}`,
      `${range[0]} to ${range[1]}`,
      asked === undefined ? '' : 'atLeast' in asked ? `≥ ${asked.atLeast}` : `≤ ${asked.atMost}`,
      verdict(met),
    ]),
    ...missing.map(({ name, why }) => [name, why]),
  ]) +
  [...notes, ...(processors === undefined ? [] : [shareText(processors.share, 'over the whole')])]
    .map((note) => `\n${note}`)
    .join('')

function comparisonTable(report: Report): string {
  const { scenario, durability, peers, missing, judged } = report
  const contestants = titled(scenario, [
    [
      'contestant',
      'acknowledged',
      'a second',
      'range',
      'broker µs',
      'we are',
      'p50 ms',
      'we are',
      'p99 ms',
      'we are',
    ],
    ['ratatoskr', durability, ...performanceCells(report)],
    ...peers.map((peer) => [
      `${peer.name} ${peer.version}`,
      peer.durability,
      ...performanceCells(peer, peer),
    ]),
    ...missing.map(({ name, why }) => [name, why]),
  ])
  const all = `${contestants}\n${shareText(report.processorShare, 'in our window')}`
  if (judged.length === 0) return all
  const rows = judged.map(({ asked, value, met }) => [
    asked,
    value === undefined ? 'took no part' : String(value),
    verdict(met),
  ])
  return `${all}\n${titled('', [['asked', 'is', ''], ...rows]).trimStart()}`
}

const shareText = (share: number, when: string): string =>
  `processors: ${Math.round(share * 100)} % of all, ${when}, of all processes together`

/** What `compare` found. */
export const changeTable = (scenario: string, changes: readonly Change[]): string =>
  titled(scenario, [
    ['figure', 'before', 'after', 'better by', ''],
    ...changes.map(({ figure, before, after, betterPercent, verdict }) => [
      figure,
      String(before),
      String(after),
      `${betterPercent} %`,
      verdict === 'same' ? '' : verdict.toUpperCase(),
    ]),
  ])

/** What `compare-builds` found. */
export const findingTable = ({ scenario, before, after, findings }: BuildsReport): string =>
  titled(`${scenario}: ${before} and ${after}`, [
    ['figure', 'before', 'after', 'worse by', 'surely within', 'worse in', 'by chance', ''],
    ...findings.map((one) => [
      one.figure,
      `${one.before} ${one.unit}`,
      `${one.after} ${one.unit}`,
      `${one.worsePercent} %`,
      one.intervalPercent.map((percent) => `${percent} %`).join(' to '),
      `${one.worseRounds} of ${one.rounds}`,
      String(one.chance),
      one.verdict === 'same' ? '' : one.verdict.toUpperCase(),
    ]),
  ])

function performanceCells(
  { messagesPerSecond, messagesPerSecondRange, latencyMs, brokerMicroseconds }: Report | PeerReport,
  peer?: PeerReport,
): readonly string[] {
  const times = (ratio: number | undefined): string => (ratio === undefined ? '' : `${ratio} ×`)
  return [
    messagesPerSecond.toLocaleString('en'),
    messagesPerSecondRange.map((one) => one.toLocaleString('en')).join(' to '),
    String(brokerMicroseconds),
    times(peer?.ratio),
    String(latencyMs.p50),
    times(peer?.latencyRatio.p50),
    String(latencyMs.p99),
    times(peer?.latencyRatio.p99),
  ]
}

const verdict = (met: boolean | undefined): string => (met === undefined ? '' : met ? 'met' : 'MISSED')

function titled(title: string, rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd(),
  )
  return [title, ...lines].join('\n')
}
