/** Runs seeds until one fails, in a process of its own that a bug may be planted in: `hunt.ts FIRST_SEED SEEDS`. */
import { runSeed } from './seed.ts'

/** What a hunt came to. */
export interface HuntResult {
  /** Seeds that were tried; the last one failed if there is a failure. */
  readonly seeds: number
  readonly failure: string | undefined
  /** Of all that was seen. */
  readonly hashes: readonly string[]
}

async function hunt(from: number, seeds: number): Promise<HuntResult> {
  const hashes: string[] = []
  for (let tried = 1; tried <= seeds; tried++) {
    const { failure, hash } = await runSeed(from + tried - 1)
    hashes.push(hash)
    if (failure !== undefined) return { seeds: tried, failure: failure.split('\n')[0], hashes }
  }
  return { seeds, failure: undefined, hashes }
}

const [from, seeds] = process.argv.slice(2).map(Number)
process.stdout.write(JSON.stringify(await hunt(from, seeds)))
