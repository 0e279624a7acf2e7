/** What one may say on the command line of the bench. */
import { tmpdir } from 'node:os'
import { parseArgs } from 'node:util'
import { payloadBytesMin } from '../src/cli/bench/messages.ts'
import type { Scenario, ScenarioOptions } from './harness/scenario.ts'
import { peerNames } from './peers/index.ts'
import { plan } from './results/plan.ts'
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
  peers: { type: 'boolean', default: false },
  peer: { type: 'string', multiple: true },
  'loop-delay': { type: 'string' },
  'trust-records': { type: 'boolean', default: false },
  check: { type: 'boolean', default: false },
  json: { type: 'string' },
} as const

export const scenarioList = (): string =>
  scenarios.map(({ name, about }) => `  ${name.padEnd(20)} ${about}`).join('\n')

const usage = (): string => `usage: npm run bench -- <scenario> [flags]
       npm run bench -- all --json-directory DIR [flags]     every scenario that something is asked of
       npm run bench -- results DIR [FILE]                   bench/RESULTS.md from the reports there
       npm run bench -- list
       npm run bench -- compare BEFORE.json AFTER.json
       npm run bench -- compare-builds [--before REV|DIR] [--after DIR] [--rounds N] [--seconds N] [--worse PERCENT] [--json FILE] SCENARIO…
       npm run profile -- <scenario> [flags]

scenarios:
${scenarioList()}

flags:
  --peers            run the peers as well: NATS, JetStream, Redis, RabbitMQ, aedes, as far as they are installed
  --peer NAME        only this one; may be repeated: ${peerNames.join(', ')}
  --seconds N        length of each measured window, also a part of one second (${flags.seconds.default})
  --runs N           runs of each contestant, in turns; medians are reported (${flags.runs.default})
  --payload BYTES    payload of a message (${flags.payload.default})
  --batch BYTES      size at which a producer's batch is full (${flags.batch.default})
  --messages N       how many are stored, in scenarios about an amount (${flags.messages.default})
  --topics N         how many topics many-topics has (${flags.topics.default})
  --directory DIR    where data folders are made, for the disk storage (${flags.directory.default})
  --profile DIR      write CPU profiles of the broker there
  --loop-delay MS    the broker's limit loopDelayMsMax: on a busy machine the default refuses publishes for what others do
  --trust-records    the broker checks a batch's header and checksum, not its records
  --check            end with 1 when a figure misses what is asked of it
  --only NAME        with all: only this one; may be repeated
  --json FILE        write the report to a file, too
`

export class UsageError extends Error {}

export interface Asked {
  readonly scenario: Scenario
  readonly json: string | undefined
  readonly check: boolean
  readonly options: ScenarioOptions
}

/** @throws UsageError, or what `parseArgs` throws */
export function parseFlags(args: readonly string[]): Asked {
  const { values, positionals } = parseArgs({ args: [...args], options: flags, allowPositionals: true })
  if (positionals.length !== 1) throw new UsageError('name one scenario')
  const scenario = scenarios.find(({ name }) => name === positionals[0])
  if (scenario === undefined) throw new UsageError(`there is no scenario ${positionals[0]}`)
  return {
    scenario,
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
      peers: values.peers || values.peer !== undefined,
      peersOnly: peersOf(values.peer),
      loopDelayMsMax:
        values['loop-delay'] === undefined ? undefined : wholeNumber('--loop-delay', values['loop-delay'], 1),
      verifyRecords: !values['trust-records'],
      progress: (line) => console.error(line),
    },
  }
}

export interface AllAsked {
  /** What goes on to every scenario. */
  readonly flags: readonly string[]
  /** Where the reports go. */
  readonly directory: string
  /** Only these of the plan; all of it without. */
  readonly only: readonly string[] | undefined
}

/** @throws UsageError, or what `parseArgs` throws */
export function parseAllFlags(args: readonly string[]): AllAsked {
  const own = { 'json-directory': { type: 'string' }, only: { type: 'string', multiple: true } } as const
  const { values, tokens } = parseArgs({ args: [...args], options: { ...flags, ...own }, tokens: true })
  const { 'json-directory': directory, only } = values
  if (directory === undefined) throw new UsageError('all takes --json-directory DIR, where the reports go')
  if (values.json !== undefined) throw new UsageError('all writes its reports into --json-directory')
  const unknown = only?.find((name) => !plan.some((one) => one.name === name))
  if (unknown !== undefined) throw new UsageError(`there is no ${unknown} among those of all`)
  const passedOn = tokens.flatMap((token) => {
    if (token.kind !== 'option' || token.name in own) return []
    return token.value === undefined ? [`--${token.name}`] : [`--${token.name}`, token.value]
  })
  parseFlags(['checksum', ...passedOn]) // so that a bad value is told before an hour of runs
  return { flags: passedOn, directory, only }
}

function peersOf(names: readonly string[] | undefined): readonly string[] | undefined {
  const unknown = names?.find((name) => !peerNames.includes(name))
  if (unknown === undefined) return names
  throw new UsageError(`there is no peer ${unknown}; there are ${peerNames.join(', ')}`)
}

/** @throws UsageError */
export function wholeNumber(flag: string, text: string, min: number): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= min) return value
  throw new UsageError(`${flag} must be a whole number of at least ${min}, got ${text}`)
}

function secondsOf(text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new UsageError(`--seconds must be a number above 0, got ${text}`)
}

/** Runs a command, and makes of what it throws an exit code: 2 when it was asked wrongly. */
export async function exitCodeOf(run: () => Promise<number>): Promise<number> {
  // By the usual numbers; what was started ends with this process.
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  try {
    return await run()
  } catch (error) {
    const misused =
      error instanceof UsageError ||
      (error instanceof TypeError && 'code' in error && isFlagError(error.code))
    console.error(misused ? `${error.message}\n\n${usage()}` : error)
    return misused ? 2 : 1
  }
}

const isFlagError = (code: unknown): boolean => String(code).startsWith('ERR_PARSE_ARGS')
