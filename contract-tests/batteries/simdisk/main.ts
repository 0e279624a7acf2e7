/**
 * Lives thousands of random lives of the disk storage on a simulated disk, and crashes each at many moments and in many ways:
 * `npm run test:simdisk -- --seeds 2000 --crashes 100000 --seed 7 --workers 2 --report simdisk.json --planted`.
 *
 * Every seed is lived twice and must take the same steps both times. `--planted` then plants one bug after the other into the
 * storage, each of which must be found within 1,000 seeds.
 */
import { Battery, wholeNumber } from '../harness/battery.ts'
import { hunt, huntPlanted, inThreads, SeedTally, seededOptions, seedRanges } from '../harness/seeded.ts'
import { type CrashName, crashNames, type SeedResult } from './seed.ts'

const seedsOfChunk = 10
const seedsToFindABug = 1000
const crashesOfSeedInHunt = 50

const options = seededOptions('seeds', { count: 20_000, workers: 2 }, 'crashes')
const { count: seeds, seed: firstSeed, workers } = options
const crashesWanted = wholeNumber('crashes', options.own ?? `${seeds * 50}`)
const crashesOfSeed = Math.ceil(crashesWanted / seeds)
const battery = new Battery(options.report)

/** What all seeds came to. */
class Tally extends SeedTally<SeedResult> {
  readonly crashes: Record<CrashName, number> = {
    killed: 0,
    'power cut': 0,
    'in recovery': 0,
    'after recovery': 0,
  }
  acked = 0

  override add(results: readonly SeedResult[]): 'more' | 'enough' {
    for (const result of results) {
      for (const name of crashNames) this.crashes[name] += result.crashes[name]
      this.acked += result.acked
    }
    return super.add(results)
  }

  get seeds(): number {
    return this.hashes.size
  }

  get total(): number {
    return crashNames.reduce((sum, name) => sum + this.crashes[name], 0)
  }
}

async function explore(): Promise<string> {
  const begun = performance.now()
  const tally = new Tally()
  const chunks = seedRanges(firstSeed, seeds, seedsOfChunk).map((range) => ({ ...range, crashesOfSeed }))
  await inThreads(new URL('worker.ts', import.meta.url), workers, chunks, (results: readonly SeedResult[]) =>
    tally.add(results),
  )
  const seconds = (performance.now() - begun) / 1000
  if (tally.failed !== undefined) {
    const { seed, failure } = tally.failed
    const command = `npm run test:simdisk -- --seed ${seed} --seeds 1 --crashes ${crashesOfSeed}`
    throw new Error(`seed ${seed}: ${failure}\n  again with: ${command}`)
  }
  if (tally.seeds < seeds || tally.total < crashesWanted) {
    throw new Error(
      `${tally.seeds} of ${seeds} seeds and ${tally.total} of ${crashesWanted} crashes were run`,
    )
  }
  if (tally.acked === 0) throw new Error('no seed had anything acknowledged: there was nothing to lose')
  for (const name of crashNames) process.stdout.write(`      ${name.padEnd(20)} ${tally.crashes[name]}\n`)
  const rate = Math.round(tally.total / seconds)
  const asked = `${tally.total} crashes of the ${crashesWanted} that were asked for`
  return `${tally.seeds} seeds with ${tally.acked} acknowledged appends, ${asked}, ${rate}/s on ${workers} threads, hash ${tally.hash}`
}

process.stdout.write(
  `simdisk: ${crashesWanted} crashes of ${seeds} seeds from ${firstSeed}, ${crashesOfSeed} each, ${workers} threads\n`,
)
const clean = await battery.run('every promise kept', explore)
if (clean && options.planted) {
  const huntFile = new URL('hunt.ts', import.meta.url)
  await huntPlanted(battery, {
    name: 'simdisk',
    unit: 'seeds',
    most: seedsToFindABug,
    lanes: workers,
    hunt: (bug) => hunt(huntFile, [firstSeed, seedsToFindABug, crashesOfSeedInHunt], bug),
  })
}
await battery.finish()
