/** What the batteries share: their options, their cases, and how they report. */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'

export interface BatteryOptions {
  readonly rounds: number
  readonly seed: number
  /** Where the JSON goes. */
  readonly report: string | undefined
}

/** Reads `--rounds N --seed N --report FILE`. */
export function batteryOptions(defaults: { readonly rounds: number }): BatteryOptions {
  const { values } = parseArgs({
    options: { rounds: { type: 'string' }, seed: { type: 'string' }, report: { type: 'string' } },
  })
  return {
    rounds: values.rounds === undefined ? defaults.rounds : Number(values.rounds),
    seed: values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed),
    report: values.report,
  }
}

/** Numbers of at least 0 and below 1 that follow from a seed (mulberry32), so that a run can be repeated. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface CaseResult {
  readonly name: string
  readonly seconds: number
  readonly detail: string
  readonly failure: string | undefined
}

/** Runs cases one after the other, prints a line each, and ends the process with 1 when one failed. */
export class Battery {
  readonly #results: CaseResult[] = []
  readonly #report: string | undefined

  constructor(report: string | undefined) {
    this.#report = report
  }

  /** Runs a case; what it returns stands in the table. @returns false when it failed */
  async run(name: string, body: () => Promise<string>): Promise<boolean> {
    const begun = performance.now()
    const result = await body().then(
      (detail) => ({ detail, failure: undefined }),
      (error) => ({ detail: '', failure: error instanceof Error ? error.message : String(error) }),
    )
    const seconds = (performance.now() - begun) / 1000
    this.#results.push({ name, seconds, ...result })
    const verdict = result.failure === undefined ? 'pass' : 'FAIL'
    process.stdout.write(
      `${verdict}  ${name.padEnd(44)} ${seconds.toFixed(1).padStart(6)} s  ${result.failure ?? result.detail}\n`,
    )
    return result.failure === undefined
  }

  /** Writes the report and ends the process. */
  async finish(): Promise<never> {
    const failed = this.#results.filter(({ failure }) => failure !== undefined).length
    const passed = this.#results.length - failed
    process.stdout.write(`${passed} passed, ${failed} failed\n`)
    if (this.#report !== undefined) {
      const report = {
        numPassedTests: passed,
        numFailedTests: failed,
        numPendingTests: 0,
        cases: this.#results,
      }
      await writeFile(this.#report, `${JSON.stringify(report, null, 2)}\n`)
    }
    process.exit(failed > 0 || passed === 0 ? 1 : 0)
  }
}
