/**
 * Disturbs a scripted run of the disk storage at every call of the system that it makes on its directory:
 * `npm run test:syscalls -- --rounds 100 --lanes 2 --seed 7 --report syscalls.json`; `--rounds all` takes every call.
 *
 * A run is killed at a call, or gets an error from it, once or from there on, or a write takes only a part. Afterwards the
 * directory must recover, everything acknowledged must be there and nothing else, no descriptor may be synced again after its
 * sync failed, and nothing may be acknowledged at `fsync` whose bytes or names the trace does not show to be on the medium.
 * Needs strace, and the right to trace.
 */
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededDraw } from '../../seeded-draw.ts'
import { Battery, parseOptions, seedOf, wholeNumber } from '../harness/battery.ts'
import { findPlanted } from '../harness/planted-cases.ts'
import { type CallName, callNames, type Fault, runScript } from './runs.ts'

const values = parseOptions({
  rounds: { type: 'string', default: '100' },
  seed: { type: 'string' },
  lanes: { type: 'string', default: String(Math.min(2, availableParallelism())) },
  report: { type: 'string' },
})
const rounds = values.rounds === 'all' ? Number.POSITIVE_INFINITY : wholeNumber('rounds', values.rounds)
const seed = seedOf(values.seed)
const lanes = wholeNumber('lanes', values.lanes)
const battery = new Battery(values.report)
const root = await mkdtemp(join(tmpdir(), 'ratatoskr-syscalls-'))
const compileCache = join(root, 'compile-cache')
let runs = 0

const run = (fault?: Fault, bug?: string) =>
  runScript({
    directory: join(root, `run-${++runs}`),
    compileCache,
    ...(fault !== undefined && { fault }),
    ...(bug !== undefined && { bug }),
  })

const textOf = ({ call, nth, what, forEver }: Fault): string =>
  `${what}${forEver ? ' for ever' : ''} at ${call} ${nth}`

/** Every fault for every call that an undisturbed run makes. */
function faultsFor(counts: ReadonlyMap<string, number>): Fault[] {
  const faults: Fault[] = []
  const makesRoom: readonly CallName[] = [
    'openat',
    'write',
    'pwrite64',
    'pwritev',
    'fdatasync',
    'mkdir',
    'rename',
  ]
  for (const call of callNames) {
    for (let nth = 1; nth <= (counts.get(call) ?? 0); nth++) {
      const add = (what: Fault['what'], forEver: boolean): unknown =>
        faults.push({ call, nth, what, forEver })
      add('killed', false)
      // A close that fails has closed: nobody could do anything about it.
      if (call === 'close') continue
      for (const forEver of [false, true]) {
        add('EIO', forEver)
        if (makesRoom.includes(call)) add('ENOSPC', forEver)
      }
      if (call === 'openat') add('EMFILE', false)
      if (call === 'pwrite64') add('short', false)
    }
  }
  return faults
}

/** Some of the faults, each kind of call and fault in its turn. */
function sampleOf(faults: readonly Fault[], count: number): Fault[] {
  const random = seededDraw(seed)
  const groups = Object.values(Object.groupBy(faults, kindOf)) as Fault[][]
  const sample: Fault[] = []
  for (let turn = 0; sample.length < Math.min(count, faults.length); turn++) {
    const group = groups[turn % groups.length]
    if (group.length > 0) sample.push(...group.splice(Math.floor(random() * group.length), 1))
  }
  return sample
}

const kindOf = ({ call, what, forEver }: Fault): string => `${call}: ${what}${forEver ? ' for ever' : ''}`

/** Runs faults in lanes until one is done. @param one runs one; true ends all lanes */
async function runInLanes(faults: readonly Fault[], one: (fault: Fault) => Promise<boolean>): Promise<void> {
  const next = faults.values()
  let isDone = false
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (const fault of next) {
        if (isDone) return
        if (await one(fault)) isDone = true
      }
    }),
  )
}

async function disturb(): Promise<void> {
  let counts: ReadonlyMap<string, number> = new Map()
  const undisturbed = await battery.run('undisturbed', async () => {
    await run()
    const result = await run()
    if (result.problems.length > 0) throw new Error(result.problems.join('; '))
    if (result.history.acks === 0) throw new Error('nothing was acknowledged: there is nothing to lose')
    counts = result.counts
    const calls = callNames.filter((name) => counts.has(name)).map((name) => `${counts.get(name)} ${name}`)
    return `${result.history.acks} steps; ${calls.join(', ')}`
  })
  if (!undisturbed) return
  const all = faultsFor(counts)
  const faults = sampleOf(all, rounds)
  process.stdout.write(`syscalls: ${faults.length} of ${all.length} faults in ${lanes} lanes, seed ${seed}\n`)
  const wrong = new Map<Fault, readonly string[]>()
  let acks = 0
  let done = 0
  await runInLanes(faults, async (fault) => {
    const { problems, history } = await run(fault)
    if (problems.length > 0) {
      wrong.set(fault, problems)
      // All faults take long: whoever ends the run before its table sees what was wrong by then.
      process.stdout.write(`wrong after ${done} runs: ${textOf(fault)}: ${problems[0]}\n`)
    }
    acks += history.acks
    done++
    return false
  })
  await battery.run('all faults are run', async () => {
    if (done < faults.length) throw new Error(`${done} of ${faults.length}`)
    if (acks === 0) throw new Error('nothing was acknowledged in any run: there was nothing to lose')
    return `${done} runs with ${acks} steps acknowledged`
  })
  for (const [kind, group = []] of Object.entries(Object.groupBy(faults, kindOf))) {
    await battery.run(kind, async () => {
      const bad = group.filter((fault) => wrong.has(fault))
      if (bad.length === 0) return `${group.length} runs, all recovered`
      const told = bad
        .slice(0, 3)
        .map((fault) => `${textOf(fault)}: ${wrong.get(fault)?.slice(0, 3).join('; ')}`)
      throw new Error(`${bad.length} of ${group.length} wrong: ${told.join(' | ')}`)
    })
  }
  await findPlanted(battery, 'syscalls', (bug) => findBug(bug, all))
}

/** Calls that a bug is about, to find it sooner. */
const suspects: Readonly<Record<string, (fault: Fault) => boolean>> = {
  'a refused sync is tried again': ({ call }) => call === 'fdatasync',
  'short writes go unnoticed': ({ what }) => what === 'short',
  'a rename that failed is ignored': ({ call, what }) => call === 'rename' && what !== 'killed',
  'a write that failed is acknowledged': ({ call, what }) => call === 'pwrite64' && what === 'EIO',
}

/**
 * The planted bug must be found by a sample of faults, undisturbed runs among them. What is wrong without the bug as well
 * finds nothing.
 */
async function findBug(bug: string, all: readonly Fault[]): Promise<string> {
  const { problems } = await run(undefined, bug)
  if (problems.length > 0) return `found undisturbed: ${problems[0].slice(0, 120)}`
  let found: string | undefined
  let falseAlarms = 0
  await runInLanes(sampleOf(all.filter(suspects[bug] ?? (() => true)), 150), async (fault) => {
    const { problems } = await run(fault, bug)
    if (problems.length === 0) return false
    const control = await run(fault)
    if (control.problems.length > 0) falseAlarms++
    else found ??= `found by ${textOf(fault)}: ${problems[0].slice(0, 120)}`
    return found !== undefined
  })
  if (found !== undefined) return found
  throw new Error(`not found in 150 faults, of which ${falseAlarms} go wrong without the bug as well`)
}

const version = spawnSync('strace', ['-V'])
const probe = spawnSync('strace', ['-f', '--seccomp-bpf', '-o', '/dev/null', 'true'])
try {
  if (version.error !== undefined) battery.skip('calls of the system', 'strace is not installed')
  else if (probe.status !== 0)
    battery.skip('calls of the system', `strace may not trace here: ${String(probe.stderr).trim()}`)
  else await disturb()
} finally {
  await rm(root, { recursive: true, force: true })
}
await battery.finish()
