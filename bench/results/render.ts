/** `bench/RESULTS.md` from the reports of `npm run bench -- all`: what was asked, what was measured, met or missed by how much. */
import type { Figure, FigureReport } from '../harness/figures.ts'
import type { PeerReport, Report } from '../harness/report.ts'
import { argumentsOf } from './all.ts'
import { sweepChart } from './chart.ts'
import { markdownTable } from './markdown.ts'
import { type Planned, plan } from './plan.ts'
import { type Published, published } from './published.ts'
import { text, verdictOf } from './verdict.ts'

export type AnyReport = Report | FigureReport

/** Written by hand: why a scenario misses what is asked, and what is to be known of a published figure; by their names. */
export interface Reasons {
  readonly scenarios: Readonly<Record<string, string>>
  readonly published: Readonly<Record<string, string>>
}

export interface Sources {
  readonly reports: ReadonlyMap<string, AnyReport>
  readonly reasons: Reasons
  /** Day of the measurement. */
  readonly day: string
}

const notMeasured = 'not measured'

export function resultsOf({ reports, reasons, day }: Sources): string {
  const parts = [
    '# Results',
    `Measured on ${day}. Made from the reports of \`npm run bench -- all\` by \`npm run bench -- results\`; how it is measured, and the settings of the peers, are in [README.md](README.md). Medians of all runs; a ratio is the median of those of each round.`,
    ...machineOf(reports),
    '## What was asked',
    askedTable(reports, reasons),
    '## Figures published for others',
    'For the first Ratatoskr, which ran within the Erlang virtual machine, and as goals of MemoryStreamer; each beside what was measured here. They were measured on other machines.',
    publishedTable(reports, reasons),
    '## Every scenario',
    ...plan.flatMap((one) => sectionOf(one, reports.get(one.name), reasons)),
  ]
  return `${parts.join('\n\n')}\n`
}

function machineOf(reports: ReadonlyMap<string, AnyReport>): readonly string[] {
  const [any] = reports.values()
  if (any === undefined) return []
  const { node, system, kernel, processor, cores, memoryGigabytes } = any.machine
  const versions = new Map<string, string>()
  for (const report of reports.values()) {
    if ('figures' in report) continue
    for (const { name, version } of report.peers) if (version !== node) versions.set(name, version)
  }
  const peers = Array.from(versions, ([name, version]) => `${name} ${version}`).toSorted()
  return [
    '## Machine',
    markdownTable(
      ['', ''],
      [
        ['processor', `${processor}, ${cores} processors`],
        ['memory', `${memoryGigabytes} GiB`],
        ['system', `${system}, kernel ${kernel}`],
        ['Node', String(node)],
        ['peers', peers.length === 0 ? 'none' : peers.join(', ')],
      ],
    ),
  ]
}

interface AskedRow {
  readonly asked: string
  readonly measured: string
  readonly verdict: string
}

function askedTable(reports: ReadonlyMap<string, AnyReport>, reasons: Reasons): string {
  const rows = plan.flatMap(({ name, onlyReported }) => {
    if (onlyReported) return []
    const report = reports.get(name)
    const asked = report === undefined ? [missingRow] : askedOf(report)
    const link = name in reasons.scenarios ? `[why](#${name})` : ''
    return asked.map((row, place) => [
      place === 0 ? `[${name}](#${name})` : '',
      row.asked,
      row.measured,
      row.verdict,
      row.verdict.startsWith('**missed') ? link : '',
    ])
  })
  return markdownTable(['scenario', 'asked', 'measured', '', ''], rows)
}

const missingRow: AskedRow = { asked: '', measured: notMeasured, verdict: '' }

function askedOf(report: AnyReport): readonly AskedRow[] {
  if ('figures' in report) {
    return report.figures.flatMap((figure) => {
      const { name, asked, unit, median } = figure
      if (asked === undefined) return []
      return [
        {
          asked: `${name} ${boundText(asked)} ${unit}`,
          measured: measuredOf(figure),
          verdict: verdictOf(median, asked),
        },
      ]
    })
  }
  return report.judged.map(({ asked, bound, value }) => ({
    asked: asked.replace('messagesPerSecond', 'messages/s'),
    measured: value === undefined ? notMeasured : text(value),
    verdict: value === undefined ? 'took no part' : verdictOf(value, bound),
  }))
}

const boundText = (asked: NonNullable<Figure['asked']>): string =>
  'atLeast' in asked ? `≥ ${text(asked.atLeast)}` : `≤ ${text(asked.atMost)}`

const measuredOf = ({ median, range: [least, most], unit }: Figure): string =>
  median === null ? notMeasured : `${text(median)} ${unit} (${text(least)} to ${text(most)})`

function publishedTable(reports: ReadonlyMap<string, AnyReport>, reasons: Reasons): string {
  const rows = published.map((row) => {
    const [ours, where, verdict] = comparedTo(row, reports)
    return [row.of, row.what, row.published, ours, where, verdict, reasons.published[row.what] ?? '']
  })
  return markdownTable(['of', 'figure', 'published', 'here', 'measured by', '', ''], rows)
}

function comparedTo(
  row: Published,
  reports: ReadonlyMap<string, AnyReport>,
): readonly [string, string, string] {
  if ('notComparable' in row) return ['', '', `not comparable: ${row.notComparable}`]
  const where = `[${row.report}](#${row.report})`
  const report = reports.get(row.report)
  if (report === undefined) return [notMeasured, where, '']
  if ('figures' in report) {
    const figure = report.figures.find(({ name }) => name === row.figure)
    if (figure === undefined) return [notMeasured, where, '']
    return [`${text(figure.median)} ${figure.unit}`, where, verdictOf(figure.median, row.bound)]
  }
  const { messagesPerSecond } = report
  return [`${text(messagesPerSecond)} /s`, where, verdictOf(messagesPerSecond, row.bound)]
}

function sectionOf(planned: Planned, report: AnyReport | undefined, reasons: Reasons): readonly string[] {
  const { name } = planned
  const reason = reasons.scenarios[name]
  const title = `### ${name}`
  if (report === undefined) return [title, `${notMeasured}.`]
  return [
    title,
    `\`npm run bench -- ${argumentsOf(planned, givenTo(planned, report)).join(' ')}\``,
    ...('figures' in report ? figureBlocks(report) : [contestantTable(report)]),
    ...shareLines(report),
    ...report.missing.map(({ name: peer, why }) => `${peer} took no part: ${why}.`),
    ...(reason === undefined ? [] : [reason]),
  ]
}

/** What part of all processors it took: near all of them, the machine is what was measured. Older reports do not say. */
function shareLines(report: AnyReport): readonly string[] {
  const percent = (share: number): string => `${text(share * 100)} %`
  const lines: string[] = []
  if ('processorShare' in report && report.processorShare !== undefined) {
    lines.push(`Processors in our window: ${percent(report.processorShare)} of all.`)
  }
  if (report.processors !== undefined) {
    lines.push(
      `Processors over the whole scenario: ${percent(report.processors.share)} of ${report.processors.cores}.`,
    )
  }
  return lines
}

/** The flags that all scenarios were given: those that the report tells of, and the plan does not. */
function givenTo({ flags }: Planned, report: AnyReport): readonly string[] {
  const runs = flags.includes('--runs') ? [] : ['--runs', String(report.runs)]
  if ('figures' in report || flags.includes('--seconds')) return runs
  return [...runs, '--seconds', String(report.secondsPerRun)]
}

function figureBlocks(report: FigureReport): readonly string[] {
  const chart = sweepChart(report)
  return chart === undefined ? [figureTable(report)] : [figureTable(report), chart]
}

const figureTable = ({ figures }: FigureReport): string =>
  markdownTable(
    ['figure', 'median', 'range', 'asked', ''],
    figures.map(({ name, unit, median, range, asked }) => [
      name,
      median === null ? notMeasured : `${text(median)} ${unit}`,
      range.map(text).join(' to '),
      asked === undefined ? '' : boundText(asked),
      asked === undefined ? '' : verdictOf(median, asked),
    ]),
  )

function contestantTable(report: Report): string {
  const { payloadBytes, peers, durability, secondsPerRun } = report
  const row = (name: string, level: string, one: Report | PeerReport, beside?: PeerReport) => {
    const { messagesPerSecond, messagesPerSecondRange, latencyMs, brokerMicroseconds, processes } = one
    const all = Object.values(processes).reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0)
    const { cpuSeconds = 0, rssMegabytes = 0 } = processes.broker ?? {}
    return [
      name,
      level,
      text(messagesPerSecond),
      messagesPerSecondRange.map(text).join(' to '),
      beside === undefined ? '' : `${text(beside.ratio)} ×`,
      text((messagesPerSecond * payloadBytes) / 1e6),
      `${text(latencyMs.p50)} / ${text(latencyMs.p99)} / ${text(latencyMs.p999)}`,
      beside === undefined ? '' : `${text(beside.latencyRatio.p50)} × / ${text(beside.latencyRatio.p99)} ×`,
      text(brokerMicroseconds),
      `${text(cpuSeconds / secondsPerRun)} / ${text(all / secondsPerRun)}`,
      text(rssMegabytes),
    ]
  }
  return markdownTable(
    [
      'contestant',
      'acknowledged',
      'messages/s',
      'range',
      'we are',
      'MB/s',
      'ms p50 / p99 / p99.9',
      'we take, p50 / p99',
      'broker µs',
      'processors: broker / all',
      'broker MB',
    ],
    [
      row('ratatoskr', durability, report),
      ...peers.map((peer) => row(`${peer.name} ${peer.version}`, peer.durability, peer, peer)),
    ],
  )
}
