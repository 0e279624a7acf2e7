/**
 * `npm run bench -- <scenario>`: measures one scenario and prints one JSON object on standard output; everything else
 * goes to standard error. Ends with 1 when a message was lost, came twice, out of order or damaged, or when `--check` was
 * given and a figure misses what is asked of it; with 2 when it was asked wrongly. `all` runs every scenario that something
 * is asked of; `list`, `compare` and `results` measure nothing.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { compareBuilds } from './builds/main.ts'
import { exitCodeOf, parseAllFlags, parseFlags, scenarioList, UsageError } from './flags.ts'
import { compare, machineDifferences } from './harness/compare.ts'
import type { FigureReport } from './harness/figures.ts'
import { withShare } from './harness/processor-share.ts'
import type { Report } from './harness/report.ts'
import { changeTable, tableOf } from './harness/table.ts'
import { runAll } from './results/all.ts'
import { writeResults } from './results/main.ts'

async function measure(args: readonly string[]): Promise<number> {
  const { scenario, json, check, options } = parseFlags(args)
  const { result, processors } = await withShare(() => scenario.run(options))
  const report = { ...result, ...(processors === undefined ? {} : { processors }) }
  const text = `${JSON.stringify(report, null, 2)}\n`
  process.stdout.write(text)
  process.stderr.write(`${tableOf(report)}\n`)
  if (json !== undefined) await writeFile(json, text)
  if (harmOf(report) > 0) return 1
  return check && missed(report) ? 1 : 0
}

function harmOf(report: Report | FigureReport): number {
  if ('figures' in report) return 0
  const { lost, duplicated, disordered, damaged } = report
  return lost + duplicated + disordered + damaged
}

const missed = (report: Report | FigureReport): boolean =>
  ('figures' in report ? report.figures : report.judged).some(({ met }) => met === false)

async function compareFiles(files: readonly string[]): Promise<number> {
  if (files.length !== 2) throw new UsageError('compare takes two reports: BEFORE.json AFTER.json')
  // One after the other, so that of two that cannot be read it is the first that is told.
  const before = await readReport(files[0])
  const after = await readReport(files[1])
  for (const difference of machineDifferences(before, after)) {
    console.error(`the machines differ in ${difference}`)
  }
  const changes = compare(before, after)
  console.log(changeTable(before.scenario, changes))
  return changes.some(({ verdict }) => verdict === 'worse') ? 1 : 0
}

async function results(args: readonly string[]): Promise<number> {
  const [directory, target] = args
  if (directory === undefined || args.length > 2) {
    throw new UsageError(
      'results takes the folder of the reports, and where to write them if not to bench/RESULTS.md',
    )
  }
  await writeResults(directory, target)
  return 0
}

async function readReport(file: string): Promise<Report | FigureReport> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new UsageError(`${file} is no report: ${(error as Error).message}`)
  }
}

process.exitCode = await exitCodeOf(async () => {
  const [command, ...args] = process.argv.slice(2)
  if (command === 'compare') return compareFiles(args)
  if (command === 'compare-builds') return compareBuilds(args)
  if (command === 'all') return runAll(parseAllFlags(args))
  if (command === 'results') return results(args)
  if (command !== 'list') return measure(process.argv.slice(2))
  console.log(scenarioList())
  return 0
})
