/** Runs that follow from one seed, and what became of them. */
import fc from 'fast-check'
import { everyRun } from './run.ts'

/** How many runs follow from one seed. */
export const runsOfChunk = 50

export interface Chunk {
  readonly seed: number
  readonly runs: number
  /** A failure is made as small as can be; otherwise it is told as it was found. */
  readonly shrinks: boolean
}

export interface ChunkResult {
  readonly seed: number
  readonly runs: number
  /** What went wrong, and how; undefined when nothing did. */
  readonly failure: string | undefined
}

const shrinkingMsMax = 60_000

export async function runChunk({ seed, runs, shrinks }: Chunk): Promise<ChunkResult> {
  const found = await fc.check(everyRun, {
    seed,
    numRuns: runs,
    endOnFailure: !shrinks,
    interruptAfterTimeLimit: shrinkingMsMax,
    markInterruptAsFailure: true,
  })
  if (!found.failed) return { seed, runs: found.numRuns, failure: undefined }
  const { errorInstance, counterexample, counterexamplePath } = found
  const reason =
    errorInstance instanceof Error ? (errorInstance.stack ?? errorInstance.message) : String(errorInstance)
  const [scheduler, options, commands] = counterexample ?? []
  const steps = String(commands).replaceAll('),', '),\n      ')
  const told = `${reason}\n    with ${fc.stringify(options)}\n    commands\n      ${steps}\n    ${String(scheduler)}`
  return { seed, runs: found.numRuns, failure: `${told}\n    path ${counterexamplePath}` }
}
