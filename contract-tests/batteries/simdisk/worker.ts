/** A thread of the simulation: runs the seeds that it is given. */
import { type SeedRange, serveChunks, untilFailure } from '../harness/seeded.ts'
import { runSeed } from './seed.ts'

interface Chunk extends SeedRange {
  readonly crashesOfSeed: number
}

serveChunks((chunk: Chunk) => untilFailure(chunk, (seed) => runSeed(seed, chunk.crashesOfSeed)))
