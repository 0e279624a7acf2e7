import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllFlags } from '../flags.ts'
import { Figures } from '../harness/figures.ts'
import { type Claim, type Run, reportOf } from '../harness/report.ts'
import { scenarios } from '../scenarios/index.ts'
import { runAll } from './all.ts'
import { sweepChart } from './chart.ts'
import { writeResults } from './main.ts'
import { plan } from './plan.ts'
import { published } from './published.ts'
import { type AnyReport, resultsOf } from './render.ts'
import { verdictOf } from './verdict.ts'

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-results-'))
})
afterAll(() => rm(directory, { recursive: true, force: true }))

describe('verdictOf', () => {
  it.each([
    [10, { atLeast: 10 }, 'met'],
    [7.5, { atLeast: 10 }, '**missed** by 25 %'],
    [9.95, { atLeast: 10 }, '**missed** by 0.5 %'],
    [10, { atMost: 10 }, 'met'],
    [15, { atMost: 10 }, '**missed** by 50 %'],
    [125, { atMost: 10 }, '**missed**: 12.5 times as much'],
    [3, { atMost: 0 }, '**missed** by 3'],
    [Number.NaN, { atMost: 1 }, 'not measured'],
    [null, { atMost: 1 }, 'not measured'],
  ])('%s of %j is %s', (value, asked, verdict) => expect(verdictOf(value, asked)).toBe(verdict))
})

it('the plan is of scenarios that there are, and what was published is held against the plan', () => {
  const names = scenarios.map(({ name }) => name)
  expect(plan.filter(({ scenario }) => !names.includes(scenario))).toEqual([])
  expect(new Set(plan.map(({ name }) => name)).size).toBe(plan.length)
  for (const { flags } of plan) {
    expect(() => parseAllFlags(['--json-directory', 'x', ...flags])).not.toThrow()
  }
  const planned = plan.map(({ name }) => name)
  expect(published.filter((row) => 'report' in row && !planned.includes(row.report))).toEqual([])
})

const latencyMs = { p50: 1, p99: 2, p999: 3, max: 4 }
const runOf = (messagesPerSecond: number): Run => ({
  messagesPerSecond,
  latencyMs,
  processes: {
    broker: { cpuSeconds: 1.5, rssMegabytes: 100 },
    producer: { cpuSeconds: 0.5, rssMegabytes: 50 },
  },
  sent: 10,
  lost: 0,
  duplicated: 0,
  disordered: 0,
  damaged: 0,
})
const contestant = (name: string, version: string) => ({
  name,
  version,
  durability: 'memory',
  run: async () => runOf(1),
})

function comparison() {
  const setting = {
    scenario: 'stream-memory-tcp',
    transport: 'tcp',
    storage: 'memory',
    durability: 'memory',
    payloadBytes: 100,
    batchBytes: 1_000,
    producers: 1,
    consumers: 1,
    secondsPerRun: 2,
  }
  const claims: readonly Claim[] = [
    { against: 'nats-core', figure: 'messagesPerSecond', atLeast: 6 },
    { against: 'ceiling', figure: 'messagesPerSecond', atLeast: 0.85 },
    { against: 'absent', figure: 'p99', atMost: 1 },
  ]
  const results = [
    { contestant: contestant('ratatoskr', process.version), runs: [runOf(3_000_000), runOf(5_000_000)] },
    { contestant: contestant('ceiling', process.version), runs: [runOf(4_000_000), runOf(4_000_000)] },
    { contestant: contestant('nats-core', '2.9.10'), runs: [runOf(1_000_000), runOf(1_000_000)] },
  ]
  return reportOf(setting, results, [{ name: 'aedes', why: 'not installed here' }], claims)
}

function tier() {
  const figures = new Figures()
  figures.add('memory: due to handled, p99', 'ms', 4, { atMost: 5 })
  figures.add('fsync: due to handled, p99', 'ms', 20, { atMost: 5 })
  figures.add('memory: handled', '/s', 1_000)
  const processors = { share: 0.125, cpuSeconds: 5, seconds: 10, cores: 4 }
  return { ...figures.report('tier-chat', 'memory, disk'), processors }
}

it('a sweep is a chart as well', () => {
  const figures = new Figures()
  for (const [kibibytes, rate, p99] of [
    [4, 100_000, 1.5],
    [64, 400_000, 30],
  ]) {
    figures.add(`batches of ${kibibytes} KiB`, '/s', rate)
    figures.add(`batches of ${kibibytes} KiB: p50`, 'ms', 1)
    figures.add(`batches of ${kibibytes} KiB: p99`, 'ms', p99)
  }
  const sweep = figures.report('batch-sweep', 'memory')
  expect(sweepChart(sweep)).toBe(
    [
      '```text',
      'batch   messages/s                                  p99 ms',
      `4 KiB      100,000  ${'█'.repeat(8)}${' '.repeat(22)}     1.5  ██`,
      `64 KiB     400,000  ${'█'.repeat(30)}      30  ${'█'.repeat(30)}`,
      '```',
    ].join('\n'),
  )
  expect(sweepChart({ ...sweep, scenario: 'other' })).toBeUndefined()
  const all = new Map<string, AnyReport>([['batch-sweep', sweep]])
  const results = resultsOf({ reports: all, reasons: { scenarios: {}, published: {} }, day: '2026-01-02' })
  expect(results).toContain('\n\n```text\nbatch   messages/s')
})

describe('the results', () => {
  const reports = new Map<string, AnyReport>([
    ['stream-memory-tcp', comparison()],
    ['tier-chat', tier()],
  ])
  const reasons = {
    scenarios: { 'tier-chat': 'The disk syncs in 15 ms.' },
    published: { 'throughput, beside Kafka': 'Not now.' },
  }
  const results = resultsOf({ reports, reasons, day: '2026-01-02' })

  it('say what was asked, what was measured, and by how much it is missed', () => {
    for (const row of [
      '| [stream-memory-tcp](#stream-memory-tcp) | messages/s ≥ 6 × nats-core | 4 | **missed** by 33 % |  |',
      '|  | messages/s ≥ 0.85 × ceiling | 1 | met |  |',
      '|  | p99 ≤ 1 × absent | not measured | took no part |  |',
      '|  | fsync: due to handled, p99 ≤ 5 ms | 20 ms (20 to 20) | **missed**: 4 times as much | [why](#tier-chat) |',
      '| [overload-memory](#overload-memory) |  | not measured |  |  |',
    ]) {
      expect(results).toContain(row)
    }
    expect(results).not.toContain('memory: handled ≥')
    expect(results).toContain('\n\nProcessors over the whole scenario: 12.5 % of 4.\n')
    expect(results).toMatch(/\n\nProcessors in our window: [\d.]+ % of all\.\n/)
    // With other settings it is only reported.
    expect(results).not.toContain('[stream-memory-tcp-1kib]')
    expect(results).toContain('### stream-memory-tcp-1kib')
  })

  it('hold what was published beside it', () => {
    for (const row of [
      '| first broker | chat, 1,000/s, memory: p99 | 5 ms | 4 ms | [tier-chat](#tier-chat) | met |  |',
      '| first broker | 50 subscribers: memory | 64 MB | not measured | [subscribers](#subscribers) |  |  |',
      '| MemoryStreamer | throughput, beside Kafka | 10 × |  |  | not comparable: Kafka was not run: ',
    ]) {
      expect(results).toContain(row)
    }
    expect(results).toMatch(/beside Kafka \| 10 × .*\| Not now\. \|/)
  })

  it('describe the machine, and each scenario with its command', () => {
    expect(results).toContain('Measured on 2026-01-02.')
    expect(results).toContain('| peers | nats-core 2.9.10 |')
    expect(results).toContain('`npm run bench -- stream-memory-tcp --runs 2 --seconds 2 --peers`')
    expect(results).toMatch(
      /\| nats-core 2\.9\.10 \| memory \| 1,000,000 \| 1,000,000 to 1,000,000 \| 4 × \| 100 \| 1 \/ 2 \/ 3 \| 1 × \/ 1 × \| 0\.75 \| 0\.75 \/ 1 \| 100 \|/,
    )
    expect(results).toContain('aedes took no part: not installed here.')
    expect(results).toMatch(/### tier-chat\n[^#]*The disk syncs in 15 ms\.\n/)
  })

  it('are written from a folder of reports', async () => {
    const target = join(directory, 'RESULTS.md')
    await expect(writeResults(directory, target)).rejects.toThrow('holds no report of the plan')
    await writeFile(join(directory, 'tier-chat.json'), JSON.stringify(tier()))
    await writeResults(directory, target)
    expect(await readFile(target, 'utf8')).toContain('### tier-chat\n')
  })
})

describe('npm run bench -- all', () => {
  it('goes on after a scenario that fails, and ends with 1', async () => {
    const flags = ['--runs', '1', '--seconds', '0.1', '--directory', join(directory, 'nowhere')]
    // The first wants a folder below that directory; the other wants none.
    const only = ['tier-chat', 'checksum']
    expect(await runAll({ flags, directory: join(directory, 'reports'), only })).toBe(1)
    const report = JSON.parse(await readFile(join(directory, 'reports', 'checksum.json'), 'utf8'))
    expect(report).toMatchObject({ scenario: 'checksum', runs: 1 })
  })

  it('passes on what is for every scenario', () => {
    const args = ['--json-directory', 'here', '--peers', '--runs', '3', '--only', 'soak', '--seconds=2']
    expect(parseAllFlags(args)).toEqual({
      directory: 'here',
      only: ['soak'],
      flags: ['--peers', '--runs', '3', '--seconds', '2'],
    })
  })

  it.each([
    [[], 'all takes --json-directory DIR'],
    [['--json-directory', 'x', '--json', 'y'], 'all writes its reports into --json-directory'],
    [['--json-directory', 'x', '--only', 'nothing'], 'there is no nothing among those of all'],
    [['--json-directory', 'x', '--runs', '0'], '--runs must be a whole number of at least 1'],
    [['--json-directory', 'x', '--peer', 'kafka'], 'there is no peer kafka'],
  ])('refuses %j', (args, message) => expect(() => parseAllFlags(args)).toThrow(message))
})
