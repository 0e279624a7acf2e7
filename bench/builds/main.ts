/**
 * `npm run bench -- compare-builds [--before REV|DIR] SCENARIO…`: an earlier build and this one in turns, each run with all its own
 * processes, and what became worse beyond doubt. Ends with 1 when something did, by `--worse` per cent at least.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { rounded } from '../../src/cli/bench/statistics.ts'
import { UsageError, wholeNumber } from '../flags.ts'
import type { Report } from '../harness/report.ts'
import { findingTable } from '../harness/table.ts'
import { type Bounds, type BuildsReport, type Figure, type Finding, findingsOf, roundsMin } from './paired.ts'
import { commitOf, ownTree, type Tree, treeOf } from './tree.ts'

/** Another program on the machine must not have the broker refuse publishes. */
const loopDelayMs = '60000'
/** More likely by chance than so is no finding. */
const chanceMax = 0.02

const buildFlags = {
  before: { type: 'string', default: 'HEAD^' },
  after: { type: 'string', default: ownTree },
  rounds: { type: 'string', default: '10' },
  seconds: { type: 'string', default: '1' },
  worse: { type: 'string', default: '1' },
  json: { type: 'string' },
} as const

interface BuildsAsked {
  readonly before: string
  readonly after: string
  readonly scenarios: readonly string[]
  readonly rounds: number
  readonly seconds: string
  readonly bounds: Bounds
  readonly json: string | undefined
}

/** @throws UsageError, or what `parseArgs` throws */
function parseBuildFlags(args: readonly string[]): BuildsAsked {
  const { values, positionals } = parseArgs({ args: [...args], options: buildFlags, allowPositionals: true })
  if (positionals.length === 0) throw new UsageError('compare-builds takes the scenarios to run')
  if (!(Number(values.seconds) > 0))
    throw new UsageError(`--seconds takes a number above 0, got ${values.seconds}`)
  return {
    before: values.before,
    after: values.after,
    scenarios: positionals,
    // Fewer could show nothing, and would always pass.
    rounds: wholeNumber('--rounds', values.rounds, roundsMin(chanceMax)),
    seconds: values.seconds,
    bounds: { percentMin: wholeNumber('--worse', values.worse, 1), chanceMax },
    json: values.json,
  }
}

/** Runs what the command line says. @returns the exit code: 1 when something became worse */
export async function compareBuilds(args: readonly string[]): Promise<number> {
  const asked = parseBuildFlags(args)
  const progress = (line: string): void => console.error(line)
  if (asked.before === buildFlags.before.default && (await commitOf(asked.before)) === undefined) {
    progress('there is no commit before this one here: nothing to compare with')
    return 0
  }
  await using before = await treeOf(asked.before)
  await using after = await treeOf(asked.after)
  const reports: BuildsReport[] = []
  for (const scenario of asked.scenarios) {
    const findings = await compareScenario(scenario, [before, after], asked, progress)
    reports.push({ scenario, before: before.name, after: after.name, findings })
  }
  const text = `${JSON.stringify(reports, null, 2)}\n`
  if (asked.json !== undefined) await writeFile(asked.json, text)
  for (const report of reports) console.log(findingTable(report))
  return reports.some(({ findings }) => findings.some(({ verdict }) => verdict === 'worse')) ? 1 : 0
}

async function compareScenario(
  scenario: string,
  trees: readonly [Tree, Tree],
  { rounds, seconds, bounds }: BuildsAsked,
  progress: (line: string) => void,
): Promise<readonly Finding[]> {
  const pairs: { before: readonly Figure[]; after: readonly Figure[] }[] = []
  for (let round = 0; round < rounds; round++) {
    const figures = new Map<Tree, readonly Figure[]>()
    // Each is first in every other round.
    for (const tree of round % 2 === 0 ? trees : trees.toReversed()) {
      figures.set(tree, figuresOf(await runIn(tree, scenario, seconds)))
    }
    const [before, after] = trees.map((tree) => figures.get(tree) as readonly Figure[])
    pairs.push({ before, after })
    progress(`${scenario}, round ${round + 1} of ${rounds}`)
  }
  return findingsOf(pairs, bounds)
}

async function runIn({ path, name }: Tree, scenario: string, seconds: string): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'ratatoskr-build-'))
  try {
    const json = join(folder, 'report.json')
    const flags = [
      '--runs',
      '1',
      '--seconds',
      seconds,
      '--loop-delay',
      loopDelayMs,
      '--directory',
      folder,
      '--json',
      json,
    ]
    const child = spawn(
      process.execPath,
      ['--conditions=source', join(path, 'bench/main.ts'), scenario, ...flags],
      {
        cwd: path,
        stdio: ['ignore', 'ignore', 'pipe'],
      },
    )
    let told = ''
    child.stderr.on('data', (text) => {
      told += text
    })
    // Whoever ends this process ends what it runs.
    const end = (): void => void child.kill()
    process.once('exit', end)
    const [code] = (await once(child, 'close')) as [number | null]
    process.off('exit', end)
    if (code !== 0) throw new Error(`${scenario} of ${name} ended with ${code}: ${told.trim().slice(-500)}`)
    return JSON.parse(await readFile(json, 'utf8')) as Report
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** What is compared. Processor time for a message is what other programs on the machine disturb least. */
function figuresOf(report: Report): readonly Figure[] {
  if (!('messagesPerSecond' in report)) {
    throw new UsageError(
      `${(report as Report).scenario} is no scenario beside a reference: compare-builds takes those`,
    )
  }
  const { messagesPerSecond, secondsPerRun, processes, brokerMicroseconds, latencyMs } = report
  const cpuSeconds = Object.values(processes).reduce((sum, one) => sum + one.cpuSeconds, 0)
  const all = (cpuSeconds * 1e6) / (messagesPerSecond * secondsPerRun)
  return [
    { name: 'messages a second', unit: '/s', value: messagesPerSecond, better: 'more' },
    { name: 'latency p50', unit: 'ms', value: latencyMs.p50, better: 'less' },
    { name: "broker's processor time a message", unit: 'us', value: brokerMicroseconds, better: 'less' },
    { name: "all processes' processor time a message", unit: 'us', value: rounded(all), better: 'less' },
  ]
}
