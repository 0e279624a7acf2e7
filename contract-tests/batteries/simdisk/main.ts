/**
 * Lives thousands of random lives of the disk storage on a simulated disk, and crashes each at many moments and in many ways:
 * `npm run test:simdisk -- --seeds 2000 --crashes 100000 --seed 7 --workers 2 --report simdisk.json --planted`.
 *
 * Every seed is lived twice and must take the same steps both times. `--planted` then plants one bug after the other into the
 * storage, each of which must be found within 1,000 seeds.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { Battery, parseOptions, seedOf, wholeNumber } from '../harness/battery.ts'
import { bugsOf } from '../harness/planted-bugs.ts'
import type { HuntResult } from './hunt.ts'
import { type CrashName, crashNames, type SeedResult } from './seed.ts'

const seedsOfChunk = 10
const seedsToFindABug = 1000
const crashesOfSeedInHunt = 50

const values = parseOptions({
  crashes: { type: 'string' },
  seeds: { type: 'string' },
  seed: { type: 'string' },
  workers: { type: 'string' },
  report: { type: 'string' },
  planted: { type: 'boolean' },
})
const seeds = wholeNumber('seeds', values.seeds ?? '20000')
const crashesWanted = wholeNumber('crashes', values.crashes ?? `${seeds * 50}`)
const crashesOfSeed = Math.ceil(crashesWanted / seeds)
const firstSeed = seedOf(values.seed)
const workers = wholeNumber('workers', values.workers ?? `${Math.min(2, availableParallelism())}`)
const battery = new Battery(values.report)

/** What all seeds came to. */
class Tally {
  readonly crashes: Record<CrashName, number> = {
    killed: 0,
    'power cut': 0,
    'in recovery': 0,
    'after recovery': 0,
  }
  acked = 0
  readonly #hashes = new Map<number, string>()
  failed: SeedResult | undefined

  add(result: SeedResult): void {
    for (const name of crashNames) this.crashes[name] += result.crashes[name]
    this.acked += result.acked
    this.#hashes.set(result.seed, result.hash)
    if (result.failure === undefined || (this.failed?.seed ?? Number.POSITIVE_INFINITY) < result.seed) return
    this.failed = result
  }

  get seeds(): number {
    return this.#hashes.size
  }

  get total(): number {
    return crashNames.reduce((sum, name) => sum + this.crashes[name], 0)
  }

  /** One number for what every seed did. */
  get hash(): string {
    let hash = 0x811c9dc5
    for (const [, text] of [...this.#hashes].sort(([a], [b]) => a - b)) {
      for (const letter of text) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193)
    }
    return (hash >>> 0).toString(16).padStart(8, '0')
  }
}

/** Hands chunks of seeds to threads until there are none left or one has failed. */
async function runAll(tally: Tally): Promise<void> {
  let next = firstSeed
  const lead = async (worker: Worker): Promise<void> => {
    while (next < firstSeed + seeds && tally.failed === undefined) {
      const from = next
      next = Math.min(next + seedsOfChunk, firstSeed + seeds)
      worker.postMessage({ from, to: next, crashesOfSeed })
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
  const tally = new Tally()
  await runAll(tally)
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

/** Runs seeds in a process of its own, with a bug in its storage, until one fails. */
async function hunt(bug: string | undefined): Promise<HuntResult> {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  const planted = bug === undefined ? [] : ['--import', path('../harness/plant.ts')]
  const args = [path('hunt.ts'), firstSeed, seedsToFindABug, crashesOfSeedInHunt].map(String)
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

async function mustBeFound(bug: string): Promise<string> {
  const { seeds, failure } = await hunt(bug)
  if (failure === undefined) throw new Error(`not found in ${seeds} seeds`)
  return `found by seed ${seeds} of ${seedsToFindABug}: ${failure.slice(0, 110)}`
}

async function mustBeClean(): Promise<string> {
  const { seeds, failure } = await hunt(undefined)
  if (failure !== undefined) throw new Error(failure)
  return `nothing found in ${seeds} seeds`
}

process.stdout.write(
  `simdisk: ${crashesWanted} crashes of ${seeds} seeds from ${firstSeed}, ${crashesOfSeed} each, ${workers} threads\n`,
)
const clean = await battery.run('every promise kept', explore)
if (clean && values.planted) {
  const cases: (() => Promise<unknown>)[] = [
    () => battery.run('nothing planted', mustBeClean),
    ...bugsOf('simdisk').map(
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
