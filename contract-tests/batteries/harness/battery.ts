/** What the batteries share: their options, their cases, and how they report. */
import { writeFile } from 'node:fs/promises'
import { type ParseArgsConfig, parseArgs } from 'node:util'

export interface BatteryOptions {
  readonly rounds: number
  readonly seed: number
  /** How much runs side by side. */
  readonly lanes: number
  /** Where the JSON goes. */
  readonly report: string | undefined
}

/**
 * The whole number that an option says. Anything else ends the process with 2: a battery that runs nothing because of a slip
 * of the pen would pass.
 */
export function wholeNumber(option: string, text: string, min = 1): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (Number.isSafeInteger(value) && value >= min) return value
  process.stderr.write(
    `--${option} takes a whole number of at least ${min}, and it is ${JSON.stringify(text)}\n`,
  )
  process.exit(2)
}

/** Reads the options of a battery; with `--help` prints them and ends the process. @throws Error for one that there is not */
export function parseOptions<const Options extends NonNullable<ParseArgsConfig['options']>>(
  options: Options,
) {
  if (process.argv.includes('--help')) {
    const usage = Object.entries(options).map(
      ([name, { type }]) => `[--${name}${type === 'string' ? ' …' : ''}]`,
    )
    process.stdout.write(`usage: ${usage.join(' ')} [--help]\n`)
    process.exit(0)
  }
  return parseArgs({ options }).values
}

/** What `--seed` says, and any seed without it. */
export const seedOf = (text: string | undefined): number =>
  text === undefined ? Math.floor(Math.random() * 2 ** 30) : wholeNumber('seed', text, 0)

/** Reads `--rounds N --seed N --lanes N --report FILE`. @throws Error for an option that there is not */
export function batteryOptions(defaults: {
  readonly rounds: number
  readonly lanes?: number
}): BatteryOptions {
  const values = parseOptions({
    rounds: { type: 'string' },
    seed: { type: 'string' },
    lanes: { type: 'string' },
    report: { type: 'string' },
  })
  const rounds = wholeNumber('rounds', values.rounds ?? `${defaults.rounds}`)
  return {
    rounds,
    seed: seedOf(values.seed),
    // A lane without a round would pass for nothing.
    lanes: Math.min(rounds, wholeNumber('lanes', values.lanes ?? `${defaults.lanes ?? 1}`)),
    report: values.report,
  }
}

/** Runs what is given on SIGINT and SIGTERM, and ends the process: for what must not be left behind. Must not wait. */
export function onInterrupt(cleanUp: () => void): void {
  for (const [signal, code] of [['SIGINT', 130] as const, ['SIGTERM', 143] as const]) {
    process.once(signal, () => {
      cleanUp()
      process.exit(code)
    })
  }
}

/** Numbers in short: how many, the middle one, the 99th percentile and the largest. */
export function summaryOf(values: readonly number[]): {
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly text: string
} {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => Math.round(sorted[Math.ceil(sorted.length * share) - 1] ?? 0)
  const [p50, p99, max] = [at(0.5), at(0.99), at(1)]
  return { p50, p99, max, text: `p50 ${p50}, p99 ${p99}, max ${max} ms of ${values.length}` }
}

interface CaseResult {
  readonly name: string
  readonly seconds: number
  readonly detail: string
  readonly failure: string | undefined
  /** Why it did not run. */
  readonly skipped: string | undefined
  /** What it measured, for whoever reads the report. */
  readonly figures?: object | undefined
}

/** What a case has to tell: a line of the table, and what it measured. */
interface CaseOutcome {
  readonly detail: string
  readonly figures?: object
}

/** Runs cases one after the other, prints a line each, and ends the process with 0 when some passed and none failed. */
export class Battery {
  readonly #results: CaseResult[] = []
  readonly #report: string | undefined

  constructor(report: string | undefined) {
    this.#report = report
  }

  /** Runs a case; what it returns stands in the table, figures in the report. @returns false when it failed */
  async run(name: string, body: () => Promise<string | CaseOutcome>): Promise<boolean> {
    const begun = performance.now()
    const result = await body().then(
      (told) => ({ ...(typeof told === 'string' ? { detail: told } : told), failure: undefined }),
      (error) => ({ detail: '', failure: error instanceof Error ? error.message : String(error) }),
    )
    const seconds = (performance.now() - begun) / 1000
    this.#add({ name, seconds, ...result, skipped: undefined })
    return result.failure === undefined
  }

  /** Tells that a case cannot run here, and why. It counts as skipped. */
  skip(name: string, reason: string): void {
    this.#add({ name, seconds: 0, detail: '', failure: undefined, skipped: reason })
  }

  #add(result: CaseResult): void {
    this.#results.push(result)
    const { name, seconds, failure, skipped, detail } = result
    const verdict = skipped !== undefined ? 'skip' : failure === undefined ? 'pass' : 'FAIL'
    process.stdout.write(
      `${verdict}  ${name.padEnd(44)} ${seconds.toFixed(1).padStart(6)} s  ${skipped ?? failure ?? detail}\n`,
    )
  }

  /** Writes the report and ends the process. */
  async finish(): Promise<never> {
    const failed = this.#results.filter(({ failure }) => failure !== undefined).length
    const skipped = this.#results.filter(({ skipped }) => skipped !== undefined).length
    const passed = this.#results.length - failed - skipped
    process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`)
    if (this.#report !== undefined) {
      const report = {
        numPassedTests: passed,
        numFailedTests: failed,
        numPendingTests: skipped,
        cases: this.#results,
      }
      await writeFile(this.#report, `${JSON.stringify(report, null, 2)}\n`)
    }
    // What was skipped has proved nothing.
    process.exit(failed > 0 || passed === 0 ? 1 : 0)
  }
}
