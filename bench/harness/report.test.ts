import { cpus } from 'node:os'
import { expect, it } from 'vitest'
import { Figures } from './figures.ts'
import { type Claim, medianRun, type Run, reportOf } from './report.ts'
import { tableOf } from './table.ts'

const runOf = (messagesPerSecond: number, p99: number, lost = 0): Run => ({
  messagesPerSecond,
  latencyMs: { p50: p99 / 2, p99, p999: p99, max: p99 },
  processes: { broker: { cpuSeconds: messagesPerSecond / 100, rssMegabytes: 50 } },
  sent: 10,
  lost,
  duplicated: 0,
  disordered: 0,
  damaged: 0,
})

const resultOf = (name: string, runs: readonly Run[]) => ({
  contestant: { name, version: '1.2', durability: 'none', run: async () => runs[0] },
  runs,
})

const setting = {
  scenario: 'test',
  transport: 'ws',
  storage: 'memory',
  durability: 'memory',
  payloadBytes: 1_000,
  batchBytes: 1_000,
  producers: 1,
  consumers: 1,
  secondsPerRun: 1,
}

const ours = resultOf('ratatoskr', [runOf(900, 1), runOf(100, 9), runOf(300, 2)])
const peer = resultOf('other', [runOf(300, 4), runOf(50, 18), runOf(600, 8)])
const claims: readonly Claim[] = [
  { against: 'other', figure: 'messagesPerSecond', atLeast: 2 },
  { against: 'other', figure: 'p99', atMost: 0.4 },
  { against: 'absent', figure: 'p99', atMost: 1 },
  { figure: 'p99', atMost: 2 },
]
const missing = [{ name: 'absent', why: 'not installed here' }]
const report = reportOf(setting, [ours, peer], missing, claims)

it('medians and ranges are of all runs, sums of what went wrong too', () => {
  expect(medianRun(ours.runs).messagesPerSecond).toBe(300)
  expect(report).toMatchObject({
    scenario: 'test',
    messagesPerSecond: 300,
    messagesPerSecondRange: [100, 900],
    megabytesPerSecond: 0,
    latencyMs: { p50: 1, p99: 2, max: 9 },
    latencyMsRange: { p99: [1, 9] },
    cpuSeconds: 3,
    brokerMicroseconds: 10_000,
    processorShare: Number((3 / cpus().length).toPrecision(4)),
    rssMegabytes: 50,
    messages: 30,
    lost: 0,
  })
  expect(reportOf(setting, [resultOf('ratatoskr', [runOf(1, 1, 2), runOf(1, 1, 3)])], [], []).lost).toBe(5)
})

it('ratios are the medians of those of each round', () => {
  expect(report.peers).toMatchObject([
    {
      name: 'other',
      version: '1.2',
      messagesPerSecond: 300,
      ratio: 2,
      latencyRatio: { p50: 0.25, p99: 0.25 },
    },
  ])
})

it('claims are judged where the one that they are about took part', () => {
  expect(report.judged).toEqual([
    { asked: 'messagesPerSecond ≥ 2 × other', bound: { atLeast: 2 }, value: 2, met: true },
    { asked: 'p99 ≤ 0.4 × other', bound: { atMost: 0.4 }, value: 0.25, met: true },
    { asked: 'p99 ≤ 1 × absent', bound: { atMost: 1 } },
    { asked: 'p99 ≤ 2', bound: { atMost: 2 }, value: 2, met: true },
  ])
})

it('the table names those who are missing, and what was not judged', () => {
  const table = tableOf(report)
  expect(table).toMatch(/other 1\.2 +none +300 +50 to 600 +10000 +2 × +4 +0\.25 × +8 +0\.25 ×/)
  expect(table).toMatch(/absent +not installed here/)
  expect(table).toMatch(/p99 ≤ 1 × absent +took no part/)
})

it('figures are medians with their range, held to what is asked', () => {
  const figures = new Figures()
  for (const value of [3, 1, 200]) figures.add('speed', 'MB/s', value, { atLeast: 3 })
  for (const value of [1, 4]) figures.add('size', '×', value, { atMost: 2.4 })
  figures.add('other', 'ms', 1.23456)
  expect(figures.report('one', 'disk').figures).toEqual([
    { name: 'speed', unit: 'MB/s', median: 3, range: [1, 200], asked: { atLeast: 3 }, met: true },
    { name: 'size', unit: '×', median: 2.5, range: [1, 4], asked: { atMost: 2.4 }, met: false },
    { name: 'other', unit: 'ms', median: 1.235, range: [1.235, 1.235] },
  ])
  figures.missing('absent', 'not installed here')
  figures.missing('absent', 'not installed here')
  expect(figures.report('one', 'disk').missing).toEqual([{ name: 'absent', why: 'not installed here' }])
  expect(tableOf(figures.report('one', 'disk'))).toMatch(/absent +not installed here/)
  expect(tableOf(figures.report('one', 'disk'))).toMatch(/size +2\.5 × +1 to 4 +≤ 2\.4 +MISSED/)
})
