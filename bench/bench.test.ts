/** The bench itself: that a scenario runs, loses nothing, and reports in the promised form; not how fast it is. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { RecordCursor } from 'ratatoskr/ports'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Figures, tableOf } from './harness/figures.ts'
import { latencyOf, MessageChecker, MessageMaker } from './harness/messages.ts'
import { medianRun, peerOf, type Run } from './harness/report.ts'

const run = promisify(execFile)
const main = fileURLToPath(new URL('main.ts', import.meta.url))
const bench = (...args: string[]) => run(process.execPath, ['--conditions=source', main, ...args])

describe('npm run bench', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-test-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  it.each(['stream-memory-ws', 'stream-fsync-ws'])(
    '%s reports in the form of the design',
    async (scenario) => {
      const file = join(directory, `${scenario}.json`)
      const flags = ['--seconds', '0.2', '--runs', '1', '--directory', directory, '--json', file]
      const { stdout } = await bench(scenario, ...flags)
      const report = JSON.parse(stdout)
      const latencyMs = {
        p50: expect.any(Number),
        p99: expect.any(Number),
        p999: expect.any(Number),
        max: expect.any(Number),
      }
      expect(report).toMatchObject({
        scenario,
        transport: 'ws',
        storage: scenario.includes('fsync') ? 'disk' : 'memory',
        durability: scenario.includes('fsync') ? 'fsync' : 'memory',
        payloadBytes: 100,
        producers: 1,
        consumers: 1,
        latencyMs,
        lost: 0,
        duplicated: 0,
        damaged: 0,
        peers: [{ name: 'ceiling', version: process.version, latencyMs }],
      })
      expect(report.messagesPerSecond).toBeGreaterThan(0)
      expect(report.megabytesPerSecond).toBe(Math.round(report.messagesPerSecond / 1e4))
      expect(report.cpuSeconds).toBeGreaterThan(0)
      expect(report.rssMegabytes).toBeGreaterThan(0)
      expect(report.peers[0].ratio).toBeCloseTo(
        report.messagesPerSecond / report.peers[0].messagesPerSecond,
        2,
      )
      expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(report)
    },
  )

  it.each([
    ['durable-append', 'batches of 256 KiB: store / bare file as the batches', '--seconds', '0.2'],
    ['disk-write', '16 KiB, fsync: broker'],
    ['single-acks', 'acknowledgements'],
    ['recovery', '2,000 messages of 1 KiB, after SIGKILL: broker ready'],
    ['disk-size', '100 B in batches of 100, after a clean stop: files / payload'],
    ['memory-size', 'growth of array buffers / payload'],
    ['many-topics', '20 topics, start after SIGKILL'],
    // As many as its readers of old data need.
    ['event-loop', 'fsync, 4 readers of old data: delay p99', '--messages', '70000'],
    ['store-soak', 'slope of the heap'],
    ['queue-embedded', 'delivered and acknowledged'],
    ['queue-grpc', 'delivered and acknowledged'],
    ['checksum', "the platform's"],
  ])('%s reports figures', { timeout: 60_000 }, async (scenario, figure, ...more) => {
    const flags = ['--seconds', '0.1', '--runs', '1', '--messages', '2000', '--topics', '20']
    const { stdout, stderr } = await bench(scenario, ...flags, '--directory', directory, ...more)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ scenario, runs: expect.any(Number), machine: { node: process.version } })
    const found = report.figures.find(({ name }: { name: string }) => name === figure)
    expect(found).toMatchObject({ unit: expect.any(String), range: [expect.any(Number), expect.any(Number)] })
    expect(found.median).toEqual(expect.any(Number))
    expect(stderr).toContain(figure)
    expect(await readdir(directory)).not.toContainEqual(expect.stringMatching(/^ratatoskr-bench-/))
  })

  it.each([
    [['no-such-scenario'], 'there is no scenario no-such-scenario'],
    [[], 'name one scenario'],
    [['stream-memory-ws', '--runs', '0'], '--runs must be a whole number of at least 1, got 0'],
    [['stream-memory-ws', '--seconds', '0'], '--seconds must be a number above 0, got 0'],
    [['stream-memory-ws', '--fast'], "Unknown option '--fast'"],
  ])('refuses %j with the usage and exit code 2', async (args, message) => {
    await expect(bench(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
  })
})

describe('MessageChecker', () => {
  const take = (checker: MessageChecker, payload: Uint8Array): void => {
    const bytes = payload.slice()
    checker.open(bytes)
    checker.check({ bytes, valueStart: 0, valueEnd: bytes.length } as RecordCursor)
  }

  it('finds nothing wrong with what comes whole and in order', () => {
    const maker = new MessageMaker(100)
    const checker = new MessageChecker(100)
    for (let i = 0; i < 100; i++) take(checker, maker.next())
    expect(checker.findings(100)).toEqual({
      received: 100,
      lost: 0,
      duplicated: 0,
      disordered: 0,
      damaged: 0,
    })
  })

  it('counts what is missing, what comes twice or late, and what is damaged', () => {
    const maker = new MessageMaker(100)
    const checker = new MessageChecker(100)
    const messages = Array.from({ length: 10 }, () => maker.next().slice())
    for (const place of [0, 1, 5, 5, 3, 3]) take(checker, messages[place])
    take(checker, messages[4].subarray(0, 99))
    take(checker, messages[4].with(99, 0))
    // 2 and 4 are missing in between, 6 to 9 at the end.
    expect(checker.findings(10)).toEqual({ received: 8, lost: 6, duplicated: 2, disordered: 1, damaged: 2 })
  })
})

describe('figures', () => {
  it('are medians with their range, held to what is asked', () => {
    const figures = new Figures()
    for (const value of [3, 1, 200]) figures.add('speed', 'MB/s', value, { atLeast: 3 })
    for (const value of [1, 4]) figures.add('size', '×', value, { atMost: 2.4 })
    figures.add('other', 'ms', 1.23456)
    expect(figures.report('one', 'disk').figures).toEqual([
      { name: 'speed', unit: 'MB/s', median: 3, range: [1, 200], asked: { atLeast: 3 }, met: true },
      { name: 'size', unit: '×', median: 2.5, range: [1, 4], asked: { atMost: 2.4 }, met: false },
      { name: 'other', unit: 'ms', median: 1.235, range: [1.235, 1.235] },
    ])
    expect(tableOf(figures.report('one', 'disk'))).toMatch(/size +2\.5 × +1 to 4 +≤ 2\.4 +MISSED/)
  })
})

describe('the report', () => {
  const runOf = (messagesPerSecond: number): Run => ({
    messagesPerSecond,
    latencyMs: latencyOf(Float64Array.from([3, 1, 2])),
    processes: {},
    sent: 1,
    lost: 0,
    duplicated: 0,
    disordered: 0,
    damaged: 0,
  })

  it('takes the median of the runs, and compares by it', () => {
    const ours = medianRun([runOf(900), runOf(100), runOf(300)])
    expect(ours.messagesPerSecond).toBe(300)
    expect(peerOf('other', '1', [runOf(200), runOf(50), runOf(150)], ours)).toMatchObject({
      messagesPerSecond: 150,
      messagesPerSecondRange: [50, 200],
      ratio: 2,
    })
    expect(ours.latencyMs).toEqual({ p50: 2, p99: 3, p999: 3, max: 3 })
  })
})
