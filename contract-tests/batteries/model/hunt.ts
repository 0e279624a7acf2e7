/** Makes runs until one fails, with whatever bug was planted into this process, and prints what it found as JSON. */
import { runChunk } from './chunk.ts'

export interface HuntResult {
  readonly runs: number
  readonly failure: string | undefined
}

const runsOfChunk = 50

async function hunt(firstSeed: number, most: number): Promise<HuntResult> {
  let runs = 0
  while (runs < most) {
    const result = await runChunk({
      seed: firstSeed + runs,
      runs: Math.min(runsOfChunk, most - runs),
      shrinks: false,
    })
    runs += result.runs
    if (result.failure !== undefined) return { runs, failure: result.failure }
  }
  return { runs, failure: undefined }
}

const [firstSeed, most] = process.argv.slice(2).map(Number)
process.stdout.write(JSON.stringify(await hunt(firstSeed, most)), () => process.exit(0))
