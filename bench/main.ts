/**
 * `npm run bench -- <scenario>`: measures one scenario and prints one JSON object on standard output; everything else
 * goes to standard error. Ends with 1 when a message was lost, came twice, out of order or damaged, or when `--check` was
 * given and a figure misses what is asked of it; with 2 when it was asked wrongly.
 */
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { type FigureReport, tableOf } from './harness/figures.ts'
import { payloadBytesMin } from './harness/messages.ts'
import type { Report } from './harness/report.ts'
import type { ScenarioOptions } from './harness/scenario.ts'
import { scenarios } from './scenarios/index.ts'

const flags = {
  seconds: { type: 'string', default: '3' },
  runs: { type: 'string', default: '5' },
  payload: { type: 'string', default: '100' },
  batch: { type: 'string', default: String(256 * 1024) },
  messages: { type: 'string', default: '1000000' },
  topics: { type: 'string', default: '10000' },
  directory: { type: 'string', default: tmpdir() },
  profile: { type: 'string' },
  'trust-records': { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
  json: { type: 'string' },
} as const

const usage = `usage: npm run bench -- <scenario> [flags]

scenarios:
${scenarios.map(({ name, about }) => `  ${name.padEnd(20)} ${about}`).join('\n')}

flags:
  --seconds N        length of each measured window, also a part of one second (${flags.seconds.default})
  --runs N           runs of each contestant, in turns; medians are reported (${flags.runs.default})
  --payload BYTES    payload of a message (${flags.payload.default})
  --batch BYTES      size at which a producer's batch is full (${flags.batch.default})
  --messages N       how many are stored, in scenarios about an amount (${flags.messages.default})
  --topics N         how many topics many-topics has (${flags.topics.default})
  --directory DIR    where data folders are made, for the disk storage (${flags.directory.default})
  --profile DIR      write CPU profiles of the broker there
  --trust-records    the broker checks a batch's header and checksum, not its records
  --check            end with 1 when a figure misses what is asked of it
  --json FILE        write the report to a file, too
`

class UsageError extends Error {}

interface Asked {
  readonly scenario: string
  readonly json: string | undefined
  readonly check: boolean
  readonly options: ScenarioOptions
}

function parse(): Asked {
  const { values, positionals } = parseArgs({ options: flags, allowPositionals: true })
  if (positionals.length !== 1) throw new UsageError('name one scenario')
  return {
    scenario: positionals[0],
    json: values.json,
    check: values.check,
    options: {
      seconds: secondsOf(values.seconds),
      runs: wholeNumber('--runs', values.runs, 1),
      payloadBytes: wholeNumber('--payload', values.payload, payloadBytesMin),
      batchBytes: wholeNumber('--batch', values.batch, 1024),
      messages: wholeNumber('--messages', values.messages, 1_000),
      topics: wholeNumber('--topics', values.topics, 1),
      directory: values.directory,
      profileDirectory: values.profile,
      verifyRecords: !values['trust-records'],
      progress: (line) => console.error(line),
    },
  }
}

function wholeNumber(flag: string, text: string, min: number): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new UsageError(`${flag} must be a whole number of at least ${min}, got ${text}`)
}

function secondsOf(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new UsageError(`--seconds must be a number above 0, got ${text}`)
}

async function main(): Promise<number> {
  const { scenario, json, check, options } = parse()
  const chosen = scenarios.find(({ name }) => name === scenario)
  if (chosen === undefined) throw new UsageError(`there is no scenario ${scenario}`)
  const report = await chosen.run(options)
  const text = `${JSON.stringify(report, null, 2)}\n`
  process.stdout.write(text)
  if (json !== undefined) await writeFile(json, text)
  return 'figures' in report ? judge(report, check) : harmOf(report) === 0 ? 0 : 1
}

function judge(report: FigureReport, check: boolean): number {
  process.stderr.write(`${tableOf(report)}\n`)
  return check && report.figures.some(({ met }) => met === false) ? 1 : 0
}

const harmOf = ({ lost, duplicated, disordered, damaged }: Report): number =>
  lost + duplicated + disordered + damaged

try {
  process.exitCode = await main()
} catch (error) {
  const misused = error instanceof UsageError || (error instanceof TypeError && 'code' in error)
  console.error(misused ? `${error.message}\n\n${usage}` : error)
  process.exitCode = misused ? 2 : 1
}
