/** A thread of the simulation: runs the seeds that it is given. */
import { type SeedRange, serveChunks, untilFailure } from '../harness/seeded.ts'
import { runSeed } from './seed.ts'

serveChunks((range: SeedRange) => untilFailure(range, runSeed))
