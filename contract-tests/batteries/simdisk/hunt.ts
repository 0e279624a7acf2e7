/** Runs seeds until one fails, in a process that a bug may be planted in: `hunt.ts FIRST_SEED SEEDS CRASHES_OF_SEED`. */
import { runSeed } from './seed.ts'

/** What a hunt came to. */
export interface HuntResult {
  /** Seeds that were tried; the last one failed if there is a failure. */
  readonly seeds: number
  readonly failure: string | undefined
}

async function hunt(from: number, seeds: number, crashesOfSeed: number): Promise<HuntResult> {
  for (let tried = 1; tried <= seeds; tried++) {
    const { failure } = await runSeed(from + tried - 1, crashesOfSeed)
    if (failure !== undefined) return { seeds: tried, failure: failure.split('\n')[0] }
  }
  return { seeds, failure: undefined }
}

const [from, seeds, crashesOfSeed] = process.argv.slice(2).map(Number)
process.stdout.write(JSON.stringify(await hunt(from, seeds, crashesOfSeed)))
