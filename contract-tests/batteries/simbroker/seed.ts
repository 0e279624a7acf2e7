/** One seed of the simulation: lives its plan and judges what came of it. */
import { judge } from './oracle.ts'
import { planOf } from './plan.ts'
import { Run } from './run.ts'

export interface SeedResult {
  readonly seed: number
  readonly hash: string
  readonly events: number
  readonly publishes: number
  readonly deliveries: number
  readonly crashes: number
  /** What went wrong, with what led to it; undefined when nothing did. */
  readonly failure: string | undefined
}

export async function runSeed(seed: number): Promise<SeedResult> {
  const plan = planOf(seed)
  const run = new Run(plan)
  const { ledger } = run
  let failure: string | undefined
  // An error that nobody took would end a real broker's or client's process.
  const onEscaped = (reason: unknown): void => void ledger.wrong.push(`nobody took: ${textOf(reason)}`)
  process.on('unhandledRejection', onEscaped)
  try {
    const wrong = judge(await run.run())
    if (wrong.length > 0) failure = wrong.join('; ')
  } catch (error) {
    failure = [...ledger.wrong, textOf(error)].join('; ')
  } finally {
    process.off('unhandledRejection', onEscaped)
  }
  const { publishes, deliveries, crashes, lines, hash } = ledger
  return {
    seed,
    hash,
    events: lines.length,
    publishes: publishes.length,
    deliveries: deliveries.length,
    crashes: crashes.length,
    failure:
      failure === undefined ? undefined : `${failure}\n${lines.map((line) => `    ${line}`).join('\n')}`,
  }
}

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error)
