/**
 * Queue groups against a model: random histories of publishing, consuming, failing, crashing and waiting, over memory and a
 * simulated disk, under a clock and a scheduler that belong to the test:
 * `npm run test:model -- --runs 50000 --seed 7 --workers 2 --report model.json --planted`.
 *
 * A failure is made as small as can be and printed with its seed. `--planted` then plants one bug after the other into the
 * delivery, each of which must be found within 2,000 runs.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import { Battery, seedOf, wholeNumber } from '../harness/battery.ts'
import { bugsOf } from '../harness/planted-bugs.ts'
import type { Chunk, ChunkResult } from './chunk.ts'
import type { HuntResult } from './hunt.ts'

const runsOfChunk = 50
const runsToFindABug = 2_000

const { values } = parseArgs({
  options: {
    runs: { type: 'string' },
    seed: { type: 'string' },
    workers: { type: 'string' },
    report: { type: 'string' },
    planted: { type: 'boolean' },
  },
})
const runs = wholeNumber('runs', values.runs ?? '2000')
const firstSeed = seedOf(values.seed)
const workers = wholeNumber('workers', values.workers ?? `${Math.min(2, availableParallelism())}`)
const battery = new Battery(values.report)

/** Hands chunks of runs to threads until there are none left or one has failed. */
async function explore(): Promise<string> {
  const begun = performance.now()
  let asked = 0
  let done = 0
  let failed: ChunkResult | undefined
  const lead = async (worker: Worker): Promise<void> => {
    while (asked < runs && failed === undefined) {
      const chunk: Chunk = {
        seed: firstSeed + asked,
        runs: Math.min(runsOfChunk, runs - asked),
        shrinks: true,
      }
      asked += chunk.runs
      worker.postMessage(chunk)
      const [result] = (await once(worker, 'message')) as [ChunkResult]
      done += result.runs
      if (result.failure !== undefined) failed ??= result
    }
    await worker.terminate()
  }
  const threads = Array.from({ length: workers }, () => new Worker(new URL('worker.ts', import.meta.url)))
  await Promise.all(threads.map(lead))
  if (failed !== undefined) {
    const again = `npm run test:model -- --seed ${failed.seed} --runs ${runsOfChunk} --workers 1`
    throw new Error(`seed ${failed.seed}: ${failed.failure}\n  again with: ${again}`)
  }
  if (done < runs) throw new Error(`${done} of ${runs} runs were made`)
  const rate = Math.round((done * 1000) / (performance.now() - begun))
  return `${done} runs, ${rate}/s on ${workers} threads`
}

/** Makes runs in a process of its own, with a bug in its delivery, until one fails. */
async function hunt(bug: string | undefined): Promise<HuntResult> {
  const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
  const planted = bug === undefined ? [] : ['--import', path('../harness/plant.ts')]
  const args = [path('hunt.ts'), firstSeed, runsToFindABug].map(String)
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
  const { runs: made, failure } = await hunt(bug)
  if (failure === undefined) throw new Error(`not found in ${made} runs`)
  return `found by run ${made} of ${runsToFindABug}: ${failure.slice(0, 110).replace(/\n.*/s, '')}`
}

async function mustBeClean(): Promise<string> {
  const { runs: made, failure } = await hunt(undefined)
  if (failure !== undefined) throw new Error(failure)
  return `nothing found in ${made} runs`
}

process.stdout.write(`model: ${runs} runs from seed ${firstSeed}, ${workers} threads\n`)
const clean = await battery.run('every promise kept', explore)
if (clean && values.planted) {
  const cases: (() => Promise<unknown>)[] = [
    () => battery.run('nothing planted', mustBeClean),
    ...bugsOf('model').map(
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
