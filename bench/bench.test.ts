/**
 * The bench itself: that a scenario runs, loses nothing, and reports in the promised form; not how fast it is. Each run is several
 * processes at full speed, so each kind of flow runs once, and over each transport some flow does.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseFlags } from './flags.ts'

const run = promisify(execFile)
const main = fileURLToPath(new URL('main.ts', import.meta.url))
const bench = (...args: string[]) => run(process.execPath, ['--conditions=source', main, ...args])
const harm = { lost: 0, duplicated: 0, disordered: 0, damaged: 0 }
const briefly = ['--seconds', '0.1', '--runs', '1']

describe('npm run bench', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-test-'))
  })
  afterAll(() => rm(directory, { recursive: true, force: true }))

  it.each(['stream-memory-tcp', 'stream-fsync-ws'])(
    '%s reports in the form of the design',
    async (scenario) => {
      const file = join(directory, `${scenario}.json`)
      const flags = [...briefly, '--directory', directory, '--json', file]
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
        transport: scenario.includes('tcp') ? 'tcp' : 'ws',
        storage: scenario.includes('fsync') ? 'disk' : 'memory',
        durability: scenario.includes('fsync') ? 'fsync' : 'memory',
        payloadBytes: 100,
        producers: 1,
        consumers: 1,
        latencyMs,
        ...harm,
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
    ['fanout-10', 'ceiling', 10],
    ['messages-ws', 'ceiling', 10],
    ['latency-10k-fsync', 'ceiling', 10],
    ['unary-grpc', 'empty-handler', 10],
  ])('%s runs beside %s and loses nothing', async (scenario, reference, messagesMin) => {
    const { stdout, stderr } = await bench(scenario, ...briefly, '--directory', directory)
    const report = JSON.parse(stdout)
    expect(report).toMatchObject({ scenario, runs: 1, missing: [], ...harm, peers: [{ name: reference }] })
    expect(report.messages).toBeGreaterThan(messagesMin)
    expect(stderr).toContain(reference)
  })

  it('names a peer that is not installed, and runs the others', async () => {
    const flags = ['--peers', ...briefly, '--directory', directory]
    const args = ['--conditions=source', main, 'pingpong-tcp', ...flags]
    const { stdout } = await run(process.execPath, args, { env: { PATH: directory } })
    const report = JSON.parse(stdout)
    expect(report.messages).toBeGreaterThan(10)
    expect(report).toMatchObject({
      ...harm,
      missing: [{ name: 'nats-core', why: 'not installed here' }],
      peers: [{ name: 'ceiling' }, { name: 'aedes', lost: 0, duplicated: 0, version: expect.any(String) }],
      judged: [{ asked: 'p50 ≤ 1 × nats-core' }, { asked: 'p99 ≤ 1 × nats-core' }],
    })
  })

  it('lists the scenarios, and compares two reports', async () => {
    const file = join(directory, 'before.json')
    await bench('checksum', '--runs', '1', '--json', file)
    const report = JSON.parse(await readFile(file, 'utf8'))
    for (const figure of report.figures) figure.range = [(figure.median /= 2), figure.median]
    const worse = join(directory, 'after.json')
    await writeFile(worse, JSON.stringify(report))
    await expect(bench('compare', file, worse)).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/the platform's .* -50 % +WORSE/),
    })
    expect((await bench('list')).stdout).toMatch(/^ {2}stream-memory-tcp /)
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
    const refusal = await bench(...args).catch((error) => error)
    expect(refusal).toMatchObject({ code: 2, stderr: expect.stringContaining(message) })
    expect(refusal.stderr).toContain('usage: npm run bench')
  })
})

describe('npm run profile', () => {
  it('leaves a CPU profile of the broker and names its hottest functions', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'ratatoskr-bench-test-'))
    try {
      const flags = ['--seconds', '0.1', '--profile', directory]
      const { stdout } = await run(process.execPath, [
        '--conditions=source',
        fileURLToPath(new URL('profile.ts', import.meta.url)),
        'stream-memory-tcp',
        ...flags,
      ])
      const [file, ...functions] = stdout.trimEnd().split('\n')
      expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ nodes: expect.any(Array) })
      expect(functions).toHaveLength(10)
      expect(functions[0]).toMatch(/^ +\d+(\.\d)? % {2}/)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
