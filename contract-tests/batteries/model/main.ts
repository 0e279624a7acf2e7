/**
 * Queue groups against a model: random histories of publishing, consuming, failing, crashing and waiting, over memory and a
 * simulated disk, under a clock and a scheduler that belong to the test:
 * `npm run test:model -- --runs 50000 --seed 7 --workers 2 --report model.json --planted`.
 *
 * A failure is made as small as can be and printed with its seed. `--planted` then plants one bug after the other into the
 * delivery, each of which must be found within 2,000 runs.
 */
import { Battery } from '../harness/battery.ts'
import { hunt, huntPlanted, inThreads, seededOptions, seedRanges } from '../harness/seeded.ts'
import { type Chunk, type ChunkResult, runsOfChunk } from './chunk.ts'

const runsToFindABug = 2_000

const options = seededOptions('runs', { count: 2_000, workers: 2 })
const { count: runs, seed: firstSeed, workers } = options
const battery = new Battery(options.report)

async function explore(): Promise<string> {
  const begun = performance.now()
  let done = 0
  let failed: ChunkResult | undefined
  const chunks = seedRanges(firstSeed, runs, runsOfChunk).map(
    ({ from, to }): Chunk => ({ seed: from, runs: to - from, shrinks: true }),
  )
  await inThreads(new URL('worker.ts', import.meta.url), workers, chunks, (result: ChunkResult) => {
    done += result.runs
    if (result.failure !== undefined) failed ??= result
    return failed === undefined ? 'more' : 'enough'
  })
  if (failed !== undefined) {
    const again = `npm run test:model -- --seed ${failed.seed} --runs ${runsOfChunk} --workers 1`
    throw new Error(`seed ${failed.seed}: ${failed.failure}\n  again with: ${again}`)
  }
  if (done < runs) throw new Error(`${done} of ${runs} runs were made`)
  const rate = Math.round((done * 1000) / (performance.now() - begun))
  return `${done} runs, ${rate}/s on ${workers} threads`
}

process.stdout.write(`model: ${runs} runs from seed ${firstSeed}, ${workers} threads\n`)
const clean = await battery.run('every promise kept', explore)
if (clean && options.planted) {
  await huntPlanted(battery, {
    name: 'model',
    unit: 'runs',
    most: runsToFindABug,
    lanes: workers,
    hunt: (bug) => hunt(new URL('hunt.ts', import.meta.url), [firstSeed, runsToFindABug], bug),
  })
}
await battery.finish()
