/**
 * What batteries share that live one seed after the other: their options, threads that share the seeds, and hunts for planted
 * bugs in processes of their own.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parentPort, Worker } from 'node:worker_threads'
import { type Battery, parseOptions, seedOf, wholeNumber } from './battery.ts'
import type { BatteryName } from './planted.ts'
import { findPlanted } from './planted-cases.ts'

export interface SeededOptions {
  /** How many seeds or runs. */
  readonly count: number
  readonly seed: number
  readonly workers: number
  readonly report: string | undefined
  /** Whether planted bugs are hunted as well. */
  readonly planted: boolean
  /** What the option of the battery's own says. */
  readonly own: string | undefined
}

/** Reads `--seeds N --seed N --workers N --report FILE --planted`. @param unit what the first one is called @param own one more */
export function seededOptions(
  unit: 'seeds' | 'runs',
  defaults: { readonly count: number; readonly workers: number },
  own?: string,
): SeededOptions {
  const values: Readonly<Record<string, string | boolean | undefined>> = parseOptions({
    [unit]: { type: 'string' },
    seed: { type: 'string' },
    workers: { type: 'string' },
    report: { type: 'string' },
    planted: { type: 'boolean' },
    ...(own !== undefined && { [own]: { type: 'string' } }),
  })
  const text = (name: string): string | undefined => values[name] as string | undefined
  const workers = Math.min(defaults.workers, availableParallelism())
  return {
    count: wholeNumber(unit, text(unit) ?? `${defaults.count}`),
    seed: seedOf(text('seed')),
    workers: wholeNumber('workers', text('workers') ?? `${workers}`),
    report: text('report'),
    planted: values.planted === true,
    own: own === undefined ? undefined : text(own),
  }
}

/** Seeds from, and up to but without, `to`. */
export interface SeedRange {
  readonly from: number
  readonly to: number
}

/** So many seeds in pieces. */
export function* seedRanges(from: number, count: number, countOfRange: number): Generator<SeedRange> {
  const end = from + count
  for (let at = from; at < end; at += countOfRange) yield { from: at, to: Math.min(at + countOfRange, end) }
}

/** Hands chunks of work to threads until there are none left or `take` says that it is enough. @param file see `serveChunks` */
export async function inThreads<Chunk, Result>(
  file: URL,
  threads: number,
  chunks: Iterable<Chunk>,
  take: (result: Result) => 'more' | 'enough',
): Promise<void> {
  const left = chunks[Symbol.iterator]()
  let enough = false
  const lead = async (worker: Worker): Promise<void> => {
    while (!enough) {
      const { done, value } = left.next()
      if (done === true) break
      worker.postMessage(value)
      const [result] = (await once(worker, 'message')) as [Result]
      if (take(result) === 'enough') enough = true
    }
    await worker.terminate()
  }
  await Promise.all(Array.from({ length: threads }, () => lead(new Worker(file))))
}

/** What a thread of `inThreads` does. */
export function serveChunks<Chunk, Result>(run: (chunk: Chunk) => Promise<Result>): void {
  parentPort?.on('message', async (chunk: Chunk) => parentPort?.postMessage(await run(chunk)))
}

/** What became of one seed. */
export interface SeedOutcome {
  readonly seed: number
  /** Of all that it did: equal for equal runs. */
  readonly hash: string
  /** What went wrong, in the first line, and how; undefined when nothing did. */
  readonly failure: string | undefined
}

/** Runs seeds until one fails. */
export async function untilFailure<Result extends SeedOutcome>(
  { from, to }: SeedRange,
  run: (seed: number) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  for (let seed = from; seed < to; seed++) {
    const result = await run(seed)
    results.push(result)
    if (result.failure !== undefined) break
  }
  return results
}

/** What all seeds did, and the first of them that failed. */
export class SeedTally<Result extends SeedOutcome> {
  readonly hashes = new Map<number, string>()
  failed: Result | undefined

  add(results: readonly Result[]): 'more' | 'enough' {
    for (const result of results) {
      this.hashes.set(result.seed, result.hash)
      if (result.failure === undefined) continue
      if (this.failed === undefined || this.failed.seed > result.seed) this.failed = result
    }
    return this.failed === undefined ? 'more' : 'enough'
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

/** What a hunt came to. */
export interface HuntResult {
  /** Seeds or runs that were tried; the last one failed if there is a failure. */
  readonly tried: number
  readonly failure: string | undefined
  /** Of all that was seen, where that is known. */
  readonly hashes?: readonly string[]
}

/** A hunt that ran seeds until one failed. */
export function huntOf(results: readonly SeedOutcome[]): HuntResult {
  return {
    tried: results.length,
    failure: results.at(-1)?.failure?.split('\n')[0],
    hashes: results.map(({ hash }) => hash),
  }
}

/** What a process of `hunt` does: hunts as its numbers say, prints the result and ends. */
export async function serveHunt(run: (...numbers: number[]) => Promise<HuntResult>): Promise<void> {
  const result = await run(...process.argv.slice(2).map(Number))
  process.stdout.write(JSON.stringify(result), () => process.exit(0))
}

/** Hunts in a process of its own, in which a bug may be planted. @param file see `serveHunt` */
export async function hunt(
  file: URL,
  numbers: readonly number[],
  bug: string | undefined,
): Promise<HuntResult> {
  const plant = fileURLToPath(new URL('plant.ts', import.meta.url))
  const preload = bug === undefined ? [] : ['--import', plant]
  const args = ['--conditions=source', ...preload, fileURLToPath(file), ...numbers.map(String)]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, RATATOSKR_PLANTED: bug ?? '' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const out: Buffer[] = []
  child.stdout.on('data', (chunk) => out.push(chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`the hunt ended with ${code}`)
  return JSON.parse(Buffer.concat(out).toString()) as HuntResult
}

/** What is hunted by whom. */
export interface Hunters {
  readonly name: BatteryName
  readonly unit: 'seeds' | 'runs'
  /** How many may be needed to find a bug. */
  readonly most: number
  readonly lanes: number
  readonly hunt: (bug: string | undefined) => Promise<HuntResult>
}

/** Without a bug nothing may be found, and each planted bug must be. */
export async function huntPlanted(
  battery: Battery,
  { name, unit, most, lanes, hunt }: Hunters,
): Promise<void> {
  await battery.run('nothing planted', async () => {
    const { tried, failure } = await hunt(undefined)
    if (failure !== undefined) throw new Error(failure)
    return `nothing found in ${tried} ${unit}`
  })
  const find = async (bug: string): Promise<string> => {
    const { tried, failure } = await hunt(bug)
    if (failure === undefined) throw new Error(`not found in ${tried} ${unit}`)
    return `found by ${tried} of ${most} ${unit}: ${failure.slice(0, 110).replace(/\n.*/s, '')}`
  }
  await findPlanted(battery, name, find, { lanes })
}
