/** Runs seeds until one fails, in a process that a bug may be planted in: `hunt.ts FIRST_SEED SEEDS CRASHES_OF_SEED`. */
import { huntOf, serveHunt, untilFailure } from '../harness/seeded.ts'
import { runSeed } from './seed.ts'

await serveHunt(async (from, seeds, crashesOfSeed) =>
  huntOf(await untilFailure({ from, to: from + seeds }, (seed) => runSeed(seed, crashesOfSeed))),
)
