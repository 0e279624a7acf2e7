import { describe, expect, it } from 'vitest'
import { type Change, compare, machineDifferences } from './compare.ts'
import { Figures } from './figures.ts'
import { type Run, reportOf } from './report.ts'

const setting = {
  scenario: 'test',
  transport: 'ws',
  storage: 'memory',
  durability: 'memory',
  payloadBytes: 100,
  batchBytes: 1_000,
  producers: 1,
  consumers: 1,
  secondsPerRun: 1,
}

function reportWith(rates: readonly number[], { p99 = 5, lost = 0 } = {}) {
  const runs = rates.map(
    (messagesPerSecond): Run => ({
      messagesPerSecond,
      latencyMs: { p50: 1, p99, p999: 9, max: 9 },
      processes: {},
      sent: 10,
      lost,
      duplicated: 0,
      disordered: 0,
      damaged: 0,
    }),
  )
  const contestant = { name: 'ratatoskr', version: '1', durability: 'memory', run: async () => runs[0] }
  return reportOf(setting, [{ contestant, runs }], [], [])
}

const verdictOf = (changes: readonly Change[], figure: string) =>
  changes.find((change) => change.figure === figure)?.verdict

describe('compare', () => {
  const before = reportWith([100, 110, 120])

  it.each([
    ['a median within the other range is noise', [95, 101, 102], 'same'],
    ['each median outside the range of the other counts', [80, 90, 99], 'worse'],
    ['a wide range that reaches over the other median is noise', [50, 60, 115], 'same'],
    ['more is better', [130, 140, 150], 'better'],
  ] as const)('%s', (_, rates, verdict) => {
    expect(verdictOf(compare(before, reportWith(rates)), 'messages a second')).toBe(verdict)
  })

  it('says by how much, and never makes much of a trifle', () => {
    const steady = reportWith([100, 100, 100])
    expect(compare(steady, reportWith([99, 99, 99]))[0]).toMatchObject({ betterPercent: -1, verdict: 'same' })
    expect(compare(steady, reportWith([75, 75, 75]))[0]).toMatchObject({
      betterPercent: -25,
      verdict: 'worse',
    })
  })

  it('of latency and of losses less is better', () => {
    const after = reportWith([100, 110, 120], { p99: 8, lost: 1 })
    expect(verdictOf(compare(before, after), 'latency p99')).toBe('worse')
    expect(verdictOf(compare(after, before), 'latency p99')).toBe('better')
    expect(verdictOf(compare(before, after), 'lost, doubled, disordered, damaged')).toBe('worse')
  })

  it('of figures the bound, or the unit, says which way is better', () => {
    const reportOfFigures = (value: number) => {
      const figures = new Figures()
      figures.add('size', '×', value, { atMost: 1 })
      figures.add('speed', 'MB/s', value)
      figures.add('bytes a sync', 'bytes', value)
      return figures.report('one', 'disk')
    }
    expect(
      compare(reportOfFigures(1), reportOfFigures(2)).map(({ figure, verdict }) => [figure, verdict]),
    ).toEqual([
      ['size', 'worse'],
      ['speed', 'better'],
    ])
  })

  it('refuses what is not the same measurement, and names other machines', () => {
    expect(() => compare(before, { ...before, payloadBytes: 1_024 })).toThrow(/differ in payloadBytes/)
    expect(machineDifferences(before, before)).toEqual([])
    const elsewhere = { ...before, machine: { ...before.machine, node: 'v1', loadAverage: 99 } }
    expect(machineDifferences(elsewhere, before)).toEqual([`node: v1 and ${process.version}`])
  })
})
