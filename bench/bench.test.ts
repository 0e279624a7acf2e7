/** The command line of the bench: the form of its reports, what it compares, what it refuses. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseFlags } from './flags.ts'
import { bench } from './short-runs.ts'

describe('npm run bench', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-test-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  it('reports in the form of the design', async () => {
    const scenario = 'stream-fsync-ws'
    const file = join(directory, `${scenario}.json`)
    const flags = ['--seconds', '0.3', '--runs', '1', '--loop-delay', '60000', '--directory', directory]
    const { stdout } = await bench([scenario, ...flags, '--json', file])
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
      storage: 'disk',
      durability: 'fsync',
      payloadBytes: 100,
      producers: 1,
      consumers: 1,
      latencyMs,
      lost: 0,
      duplicated: 0,
      disordered: 0,
      damaged: 0,
      peers: [{ name: 'ceiling', version: process.version, latencyMs }],
    })
    expect(report.messagesPerSecond).toBeGreaterThan(0)
    expect(report.megabytesPerSecond).toBe(Math.round(report.messagesPerSecond / 1e4))
    expect(report.cpuSeconds).toBeGreaterThan(0)
    expect(report.rssMegabytes).toBeGreaterThan(0)
    expect(report.peers[0].ratio).toBeCloseTo(report.messagesPerSecond / report.peers[0].messagesPerSecond, 2)
    expect(report.machine).toMatchObject({ cores: expect.any(Number), kernel: expect.any(String) })
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(report)
  })

  it('lists the scenarios, and compares two reports', async () => {
    const file = join(directory, 'before.json')
    await bench(['checksum', '--runs', '1', '--json', file])
    const report = JSON.parse(await readFile(file, 'utf8'))
    for (const figure of report.figures) figure.range = [(figure.median /= 2), figure.median]
    const worse = join(directory, 'after.json')
    await writeFile(worse, JSON.stringify(report))
    await expect(bench(['compare', file, worse])).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/the platform's .* -50 % +WORSE/),
    })
    expect((await bench(['list'])).stdout).toMatch(/^ {2}stream-memory-tcp /)
  })

  it.each([
    [['no-such-scenario'], 'there is no scenario no-such-scenario'],
    [[], 'name one scenario'],
    [['stream-memory-ws', '--runs', '0'], '--runs must be a whole number of at least 1, got 0'],
    [['stream-memory-ws', '--seconds', '0'], '--seconds must be a number above 0, got 0'],
    [['stream-memory-ws', '--fast'], "Unknown option '--fast'"],
  ])('refuses %j', (args, message) => expect(() => parseFlags(args)).toThrow(message))

  it.each([
    [['compare', 'one.json'], 'compare takes two reports'],
    [['stream-memory-ws', '--fast'], "Unknown option '--fast'"],
    [['compare', 'one.json', 'two.json'], 'one.json is no report'],
  ])('refuses %j with the usage and exit code 2', async (args, message) => {
    const refusal = await bench(args).catch((error) => error)
    expect(refusal).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
    expect(refusal.stderr).toContain('usage: npm run bench')
  })
})
