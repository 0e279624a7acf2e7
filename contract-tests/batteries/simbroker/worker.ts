/** A thread of the simulation: runs the seeds that it is given. */
import { parentPort } from 'node:worker_threads'
import { runSeed, type SeedResult } from './seed.ts'

/** Seeds from, and up to but without, `to`. */
export interface Chunk {
  readonly from: number
  readonly to: number
}

parentPort?.on('message', async ({ from, to }: Chunk) => {
  const results: SeedResult[] = []
  for (let seed = from; seed < to; seed++) {
    const result = await runSeed(seed)
    results.push(result)
    if (result.failure !== undefined) break
  }
  parentPort?.postMessage(results)
})
