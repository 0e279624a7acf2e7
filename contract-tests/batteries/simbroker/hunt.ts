/** Runs seeds until one fails, in a process of its own that a bug may be planted in: `hunt.ts FIRST_SEED SEEDS`. */
import { huntOf, serveHunt, untilFailure } from '../harness/seeded.ts'
import { runSeed } from './seed.ts'

await serveHunt(async (from, seeds) => huntOf(await untilFailure({ from, to: from + seeds }, runSeed)))
