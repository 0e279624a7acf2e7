/** Makes runs until one fails, in a process of its own that a bug may be planted in: `hunt.ts FIRST_SEED RUNS`. */
import { type HuntResult, seedRanges, serveHunt } from '../harness/seeded.ts'
import { runChunk, runsOfChunk } from './chunk.ts'

await serveHunt(async (firstSeed, most): Promise<HuntResult> => {
  let tried = 0
  for (const { from, to } of seedRanges(firstSeed, most, runsOfChunk)) {
    const { runs, failure } = await runChunk({ seed: from, runs: to - from, shrinks: false })
    tried += runs
    if (failure !== undefined) return { tried, failure }
  }
  return { tried, failure: undefined }
})
