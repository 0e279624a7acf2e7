/**
 * Lives thousands of random lives of a whole broker with its clients, over a network and on a disk that fail, on a manual clock:
 * `npm run test:simbroker -- --seeds 10000 --seed 7 --workers 3 --report simbroker.json --planted`.
 *
 * A part of the seeds is lived again in another process, and must come to the same events. `--planted` then plants one bug
 * after the other, each of which must be found within 500 seeds.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { Battery, seedOf, wholeNumber } from '../harness/battery.ts'
import { bugsOf } from '../harness/planted-bugs.ts'
import type { HuntResult } from './hunt.ts'
import type { SeedResult } from './seed.ts'
import type { Chunk } from './worker.ts'

const seedsOfChunk = 20
/** Of the events of a seed that failed: the last ones. */
const linesShown = 100
const seedsToFindABug = 500
/** Every so many seeds that are run are run again in another process. */
const againEvery = 20

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    workers: { type: 'string' },
    report: { type: 'string' },
    planted: { type: 'boolean' },
  },
})
const seeds = wholeNumber('seeds', values.seeds ?? '10000')
const firstSeed = seedOf(values.seed)
const workers = wholeNumber('workers', values.workers ?? `${Math.min(3, availableParallelism())}`)
const battery = new Battery(values.report)

/** What all seeds came to. */
class Tally {
  readonly hashes = new Map<number, string>()
  readonly sums = { events: 0, publishes: 0, deliveries: 0, crashes: 0 }
  failed: SeedResult | undefined

  add(result: SeedResult): void {
    this.hashes.set(result.seed, result.hash)
    for (const name of ['events', 'publishes', 'deliveries', 'crashes'] as const)
      this.sums[name] += result[name]
    if (result.failure === undefined || (this.failed?.seed ?? Number.POSITIVE_INFINITY) < result.seed) return
    this.failed = result
  }

  /** One number for what every seed did. */
  get hash(): string {
    let hash = 0x811c9dc5
    for (const [, text] of [...this.hashes].sort(([a], [b]) => a - b)) {
      for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
    }
    return (hash >>> 0).toString(16).padStart(8, '0')
  }
}

const tally = new Tally()

/** Hands chunks of seeds to threads until there are none left or one has failed. */
async function runAll(): Promise<void> {
  let next = firstSeed
  const lead = async (worker: Worker): Promise<void> => {
    while (next < firstSeed + seeds && tally.failed === undefined) {
      const chunk: Chunk = { from: next, to: Math.min(next + seedsOfChunk, firstSeed + seeds) }
      next = chunk.to
      worker.postMessage(chunk)
      const [results] = (await once(worker, 'message')) as [readonly SeedResult[]]
      for (const result of results) tally.add(result)
    }
    await worker.terminate()
  }
  const threads = Array.from({ length: workers }, () => new Worker(new URL('worker.ts', import.meta.url)))
  await Promise.all(threads.map(lead))
}

async function explore(): Promise<string> {
  const begun = performance.now()
  await runAll()
  const seconds = (performance.now() - begun) / 1000
  if (tally.failed !== undefined) {
    const { seed, failure = '' } = tally.failed
    const lines = failure.split('\n')
    const shown = [...lines.slice(0, 3), '    …', ...lines.slice(3).slice(-linesShown)].join('\n')
    throw new Error(
      `seed ${seed}: ${shown}\n  again with: npm run test:simbroker -- --seed ${seed} --seeds 1`,
    )
  }
  const { events, publishes, deliveries, crashes } = tally.sums
  if (tally.hashes.size < seeds) throw new Error(`${tally.hashes.size} of ${seeds} seeds were run`)
  if (publishes === 0 || deliveries === 0) throw new Error('nothing was published or delivered')
  const rate = Math.round(seeds / seconds)
  return `${seeds} seeds, ${publishes} publishes, ${deliveries} deliveries, ${crashes} crashes, ${events} events, ${rate} seeds/s on ${workers} threads, hash ${tally.hash}`
}

/** Runs seeds in a process of its own, with a bug planted there, until one fails. */
async function hunt(bug: string | undefined, from: number, count: number): Promise<HuntResult> {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  const planted = bug === undefined ? [] : ['--import', path('../harness/plant.ts')]
  const args = [path('hunt.ts'), from, count].map(String)
  const child = spawn(process.execPath, ['--conditions=source', ...planted, ...args], {
    env: { ...process.env, RATATOSKR_PLANTED: bug ?? '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const out: Buffer[] = []
  child.stdout.on('data', (chunk) => out.push(chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the hunt ended with ${code}`)
  return JSON.parse(Buffer.concat(out).toString()) as HuntResult
}

/** The first seeds once more, elsewhere. */
async function mustBeTheSame(): Promise<string> {
  const count = Math.ceil(seeds / againEvery)
  const { hashes, failure } = await hunt(undefined, firstSeed, count)
  if (failure !== undefined) throw new Error(failure)
  for (const [i, hash] of hashes.entries()) {
    const first = tally.hashes.get(firstSeed + i)
    if (hash !== first) throw new Error(`seed ${firstSeed + i} gave two runs: ${first} and ${hash}`)
  }
  return `${hashes.length} seeds`
}

async function mustBeFound(bug: string): Promise<string> {
  const { seeds: tried, failure } = await hunt(bug, firstSeed, seedsToFindABug)
  if (failure === undefined) throw new Error(`not found in ${tried} seeds`)
  return `found by seed ${tried} of ${seedsToFindABug}: ${failure.slice(0, 110)}`
}

async function mustBeClean(): Promise<string> {
  const { seeds: tried, failure } = await hunt(undefined, firstSeed, seedsToFindABug)
  if (failure !== undefined) throw new Error(failure)
  return `nothing found in ${tried} seeds`
}

process.stdout.write(`simbroker: ${seeds} seeds from ${firstSeed}, ${workers} threads\n`)
const clean = await battery.run('every promise kept', explore)
if (clean) await battery.run('the same events in another process', mustBeTheSame)
if (clean && values.planted) {
  const cases: (() => Promise<unknown>)[] = [
    () => battery.run('nothing planted', mustBeClean),
    ...bugsOf('simbroker').map(
      ({ name }) =>
        () =>
          battery.run(`planted: ${name}`, () => mustBeFound(name)),
    ),
  ]
  const lane = async (): Promise<void> => {
    for (let one = cases.shift(); one !== undefined; one = cases.shift()) await one()
  }
  await Promise.all(Array.from({ length: workers }, lane))
}
await battery.finish()
