/**
 * Lives thousands of random lives of a whole broker with its clients, over a network and on a disk that fail, on a manual clock:
 * `npm run test:simbroker -- --seeds 10000 --seed 7 --workers 3 --report simbroker.json --planted`.
 *
 * A part of the seeds is lived again in another process, and must come to the same events. `--planted` then plants one bug
 * after the other, each of which must be found within 500 seeds.
 */
import { Battery } from '../harness/battery.ts'
import { hunt, huntPlanted, inThreads, SeedTally, seededOptions, seedRanges } from '../harness/seeded.ts'
import type { SeedResult } from './seed.ts'

const seedsOfChunk = 20
/** Of the events of a seed that failed: the last ones. */
const linesShown = 100
const seedsToFindABug = 500
/** Every so many seeds that are run are run again in another process. */
const againEvery = 20

const options = seededOptions('seeds', { count: 10_000, workers: 3 })
const { count: seeds, seed: firstSeed, workers } = options
const battery = new Battery(options.report)
const huntFile = new URL('hunt.ts', import.meta.url)
const tally = new SeedTally<SeedResult>()

async function explore(): Promise<string> {
  const begun = performance.now()
  const sums = { events: 0, publishes: 0, deliveries: 0, crashes: 0 }
  await inThreads(
    new URL('worker.ts', import.meta.url),
    workers,
    seedRanges(firstSeed, seeds, seedsOfChunk),
    (results: readonly SeedResult[]) => {
      for (const result of results) {
        for (const name of ['events', 'publishes', 'deliveries', 'crashes'] as const)
          sums[name] += result[name]
      }
      return tally.add(results)
    },
  )
  const seconds = (performance.now() - begun) / 1000
  if (tally.failed !== undefined) {
    const { seed, failure = '' } = tally.failed
    const lines = failure.split('\n')
    const shown = [...lines.slice(0, 3), '    …', ...lines.slice(3).slice(-linesShown)].join('\n')
    throw new Error(
      `seed ${seed}: ${shown}\n  again with: npm run test:simbroker -- --seed ${seed} --seeds 1`,
    )
  }
  const { events, publishes, deliveries, crashes } = sums
  if (tally.hashes.size < seeds) throw new Error(`${tally.hashes.size} of ${seeds} seeds were run`)
  if (publishes === 0 || deliveries === 0) throw new Error('nothing was published or delivered')
  const rate = Math.round(seeds / seconds)
  return `${seeds} seeds, ${publishes} publishes, ${deliveries} deliveries, ${crashes} crashes, ${events} events, ${rate} seeds/s on ${workers} threads, hash ${tally.hash}`
}

/** The first seeds once more, elsewhere. */
async function mustBeTheSame(): Promise<string> {
  const { hashes = [], failure } = await hunt(huntFile, [firstSeed, Math.ceil(seeds / againEvery)], undefined)
  if (failure !== undefined) throw new Error(failure)
  for (const [i, hash] of hashes.entries()) {
    const first = tally.hashes.get(firstSeed + i)
    if (hash !== first) throw new Error(`seed ${firstSeed + i} gave two runs: ${first} and ${hash}`)
  }
  return `${hashes.length} seeds`
}

process.stdout.write(`simbroker: ${seeds} seeds from ${firstSeed}, ${workers} threads\n`)
const clean = await battery.run('every promise kept', explore)
if (clean) await battery.run('the same events in another process', mustBeTheSame)
if (clean && options.planted) {
  await huntPlanted(battery, {
    name: 'simbroker',
    unit: 'seeds',
    most: seedsToFindABug,
    lanes: workers,
    hunt: (bug) => hunt(huntFile, [firstSeed, seedsToFindABug], bug),
  })
}
await battery.finish()
