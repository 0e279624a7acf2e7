/** The scenarios that report figures of their own: that they run and leave nothing behind; not how fast they are. */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
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
    ['queue-soak', 'dead letters redriven', '--seconds', '1'],
    ['queue-embedded', 'delivered and acknowledged'],
    ['queue-grpc', 'delivered and acknowledged'],
    ['embedded', 'at 100,000/s: p99'],
    ['authorize', 'with / without'],
    ['subscribers', '1000 idle subscribers: resident, each'],
    ['overload', 'goodput under overload / alone'],
    ['soak', 'slope of what is resident', '--seconds', '1'],
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
})
