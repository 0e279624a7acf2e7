/**
 * Short runs of the scenarios: that each runs, loses nothing, reports in its form and leaves nothing behind; not how fast
 * anything is. `npm test` makes some of them, one of each kind; `npm run test:bench` makes all.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { FigureReport } from './harness/figures.ts'
import type { Report } from './harness/report.ts'

const run = promisify(execFile)
const [main, profile] = ['main.ts', 'profile.ts'].map((file) => fileURLToPath(new URL(file, import.meta.url)))
/** Far more than any takes on a machine that is slow or busy. */
const runMsMax = 600_000
/** What comes behind goes before: `--seconds` or `--messages` of a run. A busy machine is no reason to refuse anything. */
const briefly = [
  '--seconds',
  '0.1',
  '--runs',
  '1',
  '--messages',
  '2000',
  '--topics',
  '20',
  '--loop-delay',
  '60000',
]

interface Outcome {
  readonly stdout: string
  readonly stderr: string
}

/** Runs `npm run bench` with these arguments. @throws Error with its output when it ends otherwise than with 0 */
export const bench = (args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Outcome> =>
  run(process.execPath, ['--conditions=source', main, ...args], { timeout: runMsMax, env })

/** `npm run profile` leaves a CPU profile of the broker, and names its hottest functions. @throws AssertionError, or Error with the output */
export async function assertProfile(directory: string): Promise<void> {
  const flags = ['--seconds', '0.1', '--profile', directory, '--directory', directory]
  const { stdout } = await run(process.execPath, [
    '--conditions=source',
    profile,
    'stream-memory-tcp',
    ...flags,
  ])
  const [file, ...functions] = stdout.trimEnd().split('\n')
  const { nodes } = JSON.parse(await readFile(file, 'utf8')) as { nodes: unknown }
  assert.ok(Array.isArray(nodes), 'a CPU profile has nodes')
  assert.equal(functions.length, 10)
  assert.match(functions[0], /^ +\d+(\.\d)? % {2}/)
}

/** A scenario, more flags for it, and what its report has to show: a figure of this name, or this contestant beside ours. */
export type ShortRun = { readonly scenario: string; readonly flags?: readonly string[] } & (
  | { readonly figure: string }
  | { readonly beside: string }
)

export const shortRuns: readonly ShortRun[] = [
  ...['tcp', 'unix', 'ws', 'grpc', 'http'].map((by) => ({
    scenario: `stream-memory-${by}`,
    beside: 'ceiling',
  })),
  ...['tcp', 'ws', 'grpc'].map((by) => ({ scenario: `stream-fsync-${by}`, beside: 'ceiling' })),
  { scenario: 'fanout-10', beside: 'ceiling' },
  { scenario: 'messages-ws', beside: 'ceiling' },
  { scenario: 'unary-grpc', beside: 'empty-handler' },
  { scenario: 'unary-grpc-bare', beside: 'empty-handler' },
  { scenario: 'unary-grpc-workers', beside: 'empty-handlers' },
  { scenario: 'pingpong-tcp', beside: 'ceiling' },
  { scenario: 'pingpong-ws', beside: 'ceiling' },
  { scenario: 'latency-10k-memory', beside: 'ceiling' },
  { scenario: 'latency-10k-fsync', beside: 'ceiling' },
  {
    scenario: 'durable-append',
    figure: 'batches of 256 KiB: store / bare file as the batches',
    flags: ['--seconds', '0.6'],
  },
  { scenario: 'disk-write', figure: '16 KiB, fsync: broker' },
  { scenario: 'single-acks', figure: 'acknowledgements' },
  { scenario: 'recovery', figure: '2,000 messages of 1 KiB, after SIGKILL: broker ready' },
  { scenario: 'disk-size', figure: '100 B in batches of 100, after a clean stop: files / payload' },
  { scenario: 'memory-size', figure: 'growth of array buffers / payload' },
  { scenario: 'many-topics', figure: '20 topics, start after SIGKILL' },
  // As many as its readers of old data need.
  {
    scenario: 'event-loop',
    figure: 'fsync, 4 readers of old data: delay p99',
    flags: ['--messages', '70000'],
  },
  { scenario: 'store-soak', figure: 'slope of the heap' },
  { scenario: 'queue-soak', figure: 'dead letters redriven', flags: ['--seconds', '1'] },
  { scenario: 'queue-table', figure: 'checkpoint with 1 M leases, longest step' },
  { scenario: 'queue-embedded', figure: 'delivered and acknowledged' },
  { scenario: 'queue-grpc', figure: 'delivered and acknowledged' },
  { scenario: 'embedded', figure: 'at 100,000/s: p99' },
  { scenario: 'allocations', figure: 'a message, fsync, tcp' },
  { scenario: 'authorize', figure: 'with / without' },
  { scenario: 'subscribers', figure: '1000 idle subscribers: resident, each' },
  { scenario: 'overload-memory', figure: 'goodput: under overload / sustained' },
  { scenario: 'overload-fsync', figure: 'goodput: under overload / sustained' },
  { scenario: 'noisy-memory', figure: 'a caller of another, alone: p99' },
  { scenario: 'noisy-fsync', figure: 'a caller of another, alone: p99' },
  ...['chat', 'iot', 'microservices', 'streaming'].map((use) => ({
    scenario: `tier-${use}`,
    figure: 'fsync: due to handled, p99',
  })),
  { scenario: 'floors', figure: 'grpc, idle: publish, p99' },
  { scenario: 'first-broker', figure: '50 subscribers: deliveries' },
  { scenario: 'batch-sweep', figure: 'batches of 1024 KiB: p99' },
  { scenario: 'soak', figure: 'heap more than after the warm-up', flags: ['--seconds', '1'] },
  { scenario: 'scheduled', figure: 'index, 1 M messages' },
  { scenario: 'workers', beside: 'one-worker' },
  { scenario: 'footprint', figure: 'resident when idle, all transports' },
  { scenario: 'checksum', figure: "the platform's" },
  { scenario: 'compression', figure: 'zstd: batch / payload' },
]

/**
 * Makes a short run, in a directory of its own.
 * @param more flags, before which those of the run itself go
 * @throws AssertionError for what is not as it should be, Error with its output when the run itself fails
 */
export async function assertShortRun(
  shortRun: ShortRun,
  directory: string,
  more: readonly string[] = [],
): Promise<Report | FigureReport> {
  const { scenario, flags = [] } = shortRun
  const args = [...briefly, '--directory', directory, ...more, ...flags]
  const { stdout, stderr } = await bench([scenario, ...args])
  const report = JSON.parse(stdout) as Report | FigureReport
  assert.equal(report.scenario, scenario)
  assert.equal(report.machine.node, process.version)
  const share = report.processors?.share ?? 0
  assert.ok(share > 0 && share <= 1.1, `it took ${share} of all processors`)
  if ('figure' in shortRun) assertFigure(report as FigureReport, shortRun.figure)
  else assertFlow(report as Report, shortRun.beside)
  assert.ok(stderr.includes('figure' in shortRun ? shortRun.figure : shortRun.beside), 'the table has it')
  const left = (await readdir(directory)).filter((name) => name.startsWith('ratatoskr-bench-'))
  assert.deepEqual(left, [], 'nothing is left behind')
  return report
}

function assertFlow(report: Report, beside: string): void {
  const { messages, missing, peers } = report
  assert.deepEqual(harmOf(report), noHarm)
  assert.ok(messages > 10, `${messages} messages came`)
  assert.deepEqual(missing, [])
  assert.ok(
    peers.some(({ name }) => name === beside),
    `${beside} is missing among ${peers.map(({ name }) => name).join(', ')}`,
  )
  for (const { latencyMs } of [report, ...peers]) {
    assert.deepEqual(Object.keys(latencyMs).sort(), ['max', 'p50', 'p99', 'p999'])
    assert.ok(
      Object.values(latencyMs).every((ms) => ms >= 0),
      JSON.stringify(latencyMs),
    )
  }
  assert.ok(report.messagesPerSecond > 0 && report.cpuSeconds > 0 && report.rssMegabytes > 0)
}

function assertFigure({ figures }: FigureReport, wanted: string): void {
  const figure = figures.find(({ name }) => name === wanted)
  assert.ok(figure, `${wanted} is missing among ${figures.map(({ name }) => name).join('; ')}`)
  const numbers = [figure.median, ...figure.range]
  assert.ok(numbers.length === 3 && numbers.every((number) => typeof number === 'number'), `${numbers}`)
  assert.equal(typeof figure.unit, 'string')
}

const noHarm = { lost: 0, duplicated: 0, disordered: 0, damaged: 0 }

const harmOf = ({ lost, duplicated, disordered, damaged }: Report) => ({
  lost,
  duplicated,
  disordered,
  damaged,
})

/**
 * A run beside peers on a machine that has no programs but these: aedes takes part, for it is a package, and NATS is said to
 * be missing. @throws AssertionError, or Error with the output
 */
export async function assertPeers(directory: string): Promise<void> {
  const { stdout } = await bench(['pingpong-tcp', '--peers', ...briefly, '--directory', directory], {
    PATH: directory,
  })
  const report = JSON.parse(stdout) as Report
  assert.deepEqual(harmOf(report), noHarm)
  assert.ok(report.messages > 10, `${report.messages} messages came`)
  assert.deepEqual(report.missing, [{ name: 'nats-core', why: 'not installed here' }])
  assert.deepEqual(
    report.peers.map(({ name }) => name),
    ['ceiling', 'aedes'],
  )
  const [, { lost, duplicated, version }] = report.peers
  assert.deepEqual([lost, duplicated, typeof version], [0, 0, 'string'])
  assert.deepEqual(
    report.judged.map(({ asked }) => asked),
    ['p50 ≤ 1 × nats-core', 'p99 ≤ 1 × nats-core'],
  )
}

/** A run beside all peers that the scenario has, each installed. @throws AssertionError, or Error with the output */
export async function assertServers(scenario: string, directory: string): Promise<readonly string[]> {
  const args = [...briefly, '--seconds', '0.5', '--directory', directory]
  const { stdout } = await bench([scenario, '--peers', ...args])
  const report = JSON.parse(stdout) as Report
  assert.deepEqual([harmOf(report), report.missing], [noHarm, []])
  const [, ...peers] = report.peers
  for (const { name, messagesPerSecond, lost, version } of peers) {
    assert.ok(messagesPerSecond > 0 && version !== '', name)
    assert.equal(lost, 0, name)
  }
  return peers.map(({ name }) => name)
}
