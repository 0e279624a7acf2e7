/** The bench itself: that a scenario runs, loses nothing, and reports in the promised form; not how fast it is. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

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
      expect(report.machine).toMatchObject({ cores: expect.any(Number), kernel: expect.any(String) })
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
