/**
 * One seed of the simulation: lives its life twice (the second time must be the first again, call by call), crashes it at many
 * moments, each in several ways, and checks what the storage makes of what is left.
 */
import { ManualClock, type SimulatedDisk } from 'ratatoskr/contract-tests'
import type { LogId, PartitionLog, Stores } from 'ratatoskr/ports'
import { Dice } from './dice.ts'
import {
  type CrashFacts,
  type CrashKind,
  equal,
  type FoundLog,
  type FoundState,
  type LogModel,
  type StateModel,
} from './model.ts'
import {
  batchOf,
  keyOf,
  openStores,
  readLog,
  readState,
  type StorageShape,
  settled,
  stateValue,
  syncIntervalMs,
} from './storage.ts'
import { Workload } from './workload.ts'

export const crashNames = ['killed', 'power cut', 'in recovery', 'after recovery'] as const
export type CrashName = (typeof crashNames)[number]

export interface SeedResult {
  readonly seed: number
  readonly hash: string
  readonly calls: number
  /** Appends that were acknowledged. */
  readonly acked: number
  readonly crashes: Readonly<Record<CrashName, number>>
  /** What went wrong, with what led to it; undefined when nothing did. */
  readonly failure: string | undefined
}

/** A disk as a crash left it, with what may be on it. */
interface Crash {
  readonly disk: SimulatedDisk
  readonly facts: CrashFacts
  readonly call: number
  readonly models: readonly LogModel[]
  readonly state: StateModel
  /** See `Weather.cacheMayLie`; a power cut ends that. */
  readonly cacheMayLie: boolean
  /** See `Workload.noted`. */
  readonly noted: ReadonlySet<string>
}

/** What a recovery found, and the storage that found it. */
interface Recovered {
  readonly disk: SimulatedDisk
  /** Logs that were noted to have failed in the process before. */
  readonly marked: ReadonlySet<string>
  readonly stores: Stores
  readonly clock: ManualClock
  readonly logs: ReadonlyMap<
    string,
    { readonly log: PartitionLog; readonly id: LogId; readonly found: FoundLog }
  >
  readonly state: FoundState
}

// Each moment is crashed in at least this many ways, those that follow from them among them.
const outcomesOfMoment = 3

export async function runSeed(seed: number, crashesWanted: number): Promise<SeedResult> {
  const run = new SeedRun(seed, crashesWanted)
  const failure = await run.run().catch(textOfError)
  const { hash, calls, acked, crashes, lines } = run
  const told =
    failure === undefined ? undefined : `${failure}\n${lines.map((line) => `    ${line}`).join('\n')}`
  return { seed, hash, calls, acked, crashes, failure: told }
}

/** An error with everything that it came from. */
function textOfError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const cause = error.cause === undefined ? '' : `\n  caused by ${textOfError(error.cause)}`
  return `${error.stack ?? error.message}${cause}`
}

class SeedRun {
  readonly crashes: Record<CrashName, number> = {
    killed: 0,
    'power cut': 0,
    'in recovery': 0,
    'after recovery': 0,
  }
  hash = ''
  calls = 0
  acked = 0
  lines: readonly string[] = []
  readonly #seed: number
  readonly #crashesWanted: number
  readonly #dice: Dice
  #shape: StorageShape = { segmentBytes: 1, openFilesMax: 1, hotBytesMax: 1 }
  #number = 1_000_000

  constructor(seed: number, crashesWanted: number) {
    this.#seed = seed
    this.#crashesWanted = crashesWanted
    this.#dice = new Dice(seed ^ 0x5bd1e995)
  }

  async run(): Promise<undefined> {
    const first = new Workload(this.#seed)
    this.#shape = first.shape
    this.lines = first.lines
    first.disk.onCall = () => {
      this.calls++
    }
    await first.run()
    this.hash = first.disk.hash
    const attempts = [...first.models.values()].flatMap((model) => model.attempts)
    this.acked = attempts.filter(({ status }) => status === 'acked').length
    if (this.calls === 0) throw new Error('a life without a call: there is nothing to crash')
    // A short life has fewer moments than crashes are wanted: then it is lived again, and crashes with other luck.
    do await this.#crashLife()
    while (this.#count < this.#crashesWanted)
    return undefined
  }

  async #crashLife(): Promise<void> {
    const { crashes, again } = await this.#crashing()
    if (again.disk.hash !== this.hash) {
      throw new Error(`the same seed gave two runs: ${this.hash} and ${again.disk.hash}`)
    }
    // There are some more than are wanted: any of them may be left out, not only the last.
    while (crashes.length > 0 && this.#count < this.#crashesWanted) {
      const [crash] = crashes.splice(this.#dice.between(0, crashes.length - 1), 1)
      this.lines = again.lines.slice(0, crash.lines)
      await this.#check(crash.crash)
    }
  }

  get #count(): number {
    return Object.values(this.crashes).reduce((sum, count) => sum + count, 0)
  }

  /** Lives the life once more and takes copies of the disk on the way. */
  async #crashing(): Promise<{ crashes: { crash: Crash; lines: number }[]; again: Workload }> {
    const moments = Math.ceil(this.#crashesWanted / outcomesOfMoment)
    const chosen = new Set<number>()
    for (let i = 0; i < moments; i++) chosen.add(this.#dice.between(1, this.calls))
    const again = new Workload(this.#seed)
    const crashes: { crash: Crash; lines: number }[] = []
    let call = 0
    again.disk.onCall = () => {
      if (!chosen.has(++call)) return
      const models = [...again.models.values()].map((model) => model.snapshot())
      const state = again.state.snapshot()
      const nowMs = again.clock.now()
      for (let outcome = 0; outcome < 2; outcome++) {
        const kind: CrashKind = outcome === 0 && this.#dice.chance(0.5) ? 'kill' : 'power'
        const disk = this.#crashed(again.disk, kind)
        const cacheMayLie = again.weather.cacheMayLie && kind === 'kill'
        const facts = { kind, nowMs, syncIntervalMs }
        const noted = new Set(again.noted)
        const crash = { disk, facts, call, models, state, cacheMayLie, noted }
        crashes.push({ crash, lines: again.lines.length })
      }
    }
    await again.run()
    return { crashes, again }
  }

  #crashed(disk: SimulatedDisk, kind: CrashKind): SimulatedDisk {
    if (kind === 'kill') return disk.fork()
    const survival = this.#dice.chance(0.2) ? 'nothing' : 'luck'
    return disk.powerCut({ survival, seed: this.#dice.between(0, 2 ** 31) })
  }

  async #check(crash: Crash): Promise<void> {
    const { facts, call, disk } = crash
    const name: CrashName = facts.kind === 'kill' ? 'killed' : 'power cut'
    const where = `${name} before call ${call}`
    this.crashes[name]++
    const interrupted = this.#dice.chance(0.35) ? this.#crashLater(disk, facts) : undefined
    const recovered = await this.#recover(disk, where)
    assertAllowed(crash, recovered, where)
    const second = interrupted?.()
    if (this.#dice.chance(0.5)) await this.#goOn(recovered, where, crash)
    if (second === undefined) return
    this.crashes['in recovery']++
    const then = `${where}, and again in recovery before its call ${second.call}`
    const again = await this.#recover(second.disk, then)
    assertAllowed({ ...crash, facts: { ...facts, kind: second.kind } }, again, then)
    const cacheMayLie = crash.cacheMayLie && second.kind === 'kill'
    if (this.#dice.chance(0.3)) await this.#goOn(again, then, { ...crash, cacheMayLie })
  }

  /** Takes a copy of a disk some calls later. @returns what gives it, when there were as many */
  #crashLater(
    disk: SimulatedDisk,
    { kind }: CrashFacts,
  ): () => { disk: SimulatedDisk; kind: CrashKind; call: number } | undefined {
    // What takes several steps on the disk has a rename or a cut among them: those moments are few.
    const between = this.#dice.chance(0.4)
    let left = this.#dice.between(1, between ? 8 : 60)
    const later: CrashKind = this.#dice.chance(0.3) ? 'kill' : 'power'
    let copy: { disk: SimulatedDisk; call: number } | undefined
    let call = 0
    disk.onCall = (made) => {
      call++
      if (between && made !== 'rename' && made !== 'truncate') return
      if (--left === 0) copy = { disk: this.#crashed(disk, later), call }
    }
    return () => {
      disk.onCall = undefined
      return copy && { ...copy, kind: kind === 'power' ? kind : later }
    }
  }

  async #recover(disk: SimulatedDisk, where: string): Promise<Recovered> {
    const clock = new ManualClock()
    const shape: StorageShape = { ...this.#shape, hotBytesMax: 1 }
    const marks = disk.paths().filter((path) => path.endsWith('/failed'))
    const marked = new Set(marks.map((path) => path.split('/').slice(-3, -1).join('/')))
    const stores = openStores(disk, clock, shape)
    const all = async (): Promise<Recovered> => {
      await stores.state.start()
      await stores.logs.start()
      const logs = new Map<string, { log: PartitionLog; id: LogId; found: FoundLog }>()
      for await (const id of stores.logs.listLogs()) {
        const log = await stores.logs.openLog(id, shape)
        logs.set(keyOf(id), { log, id, found: await readLog(log) })
      }
      return { disk, marked, stores, clock, logs, state: await readState(stores) }
    }
    const wasFull = disk.capacityBytes < Number.POSITIVE_INFINITY
    try {
      return await settled(all(), clock)
    } catch (error) {
      if (!wasFull) throw new Error(`${where}: recovery failed`, { cause: error })
      disk.capacityBytes = Number.POSITIVE_INFINITY
      return this.#recover(disk.fork(), where)
    }
  }

  /** The recovered storage takes more, and what it has shown and taken survives the next power cut. */
  async #goOn(recovered: Recovered, where: string, { cacheMayLie, noted }: Crash): Promise<void> {
    const { disk, stores, clock, logs, marked } = recovered
    const wanted = new Map<string, FoundLog>()
    const lacking = new Set<string>()
    const then = `${where}, then a power cut`
    // On a full disk there is no room to write it to other blocks.
    const wasFull = disk.capacityBytes < Number.POSITIVE_INFINITY
    disk.capacityBytes = Number.POSITIVE_INFINITY
    for (const [key, { log, found }] of logs) {
      const all = this.#dice.chance(0.5) ? found : await settled(this.#appendTo(log, found), clock)
      // Only what this process wrote is sure to be there, when the one before was killed before it could note the failure.
      const mayLack = cacheMayLie && (wasFull || !(marked.has(key) || noted.has(key)))
      if (mayLack) lacking.add(key)
      wanted.set(key, mayLack ? { ...all, batches: all.batches.slice(found.batches.length) } : all)
    }
    let { state } = recovered
    if (this.#dice.chance(0.5)) {
      const number = ++this.#number
      const version = await settled(stores.state.put('a', stateValue(number, 4)), clock)
      if (version !== (state.get('a')?.[1] ?? 0) + 1) throw new Error(`${then}: a has version ${version}`)
      state = new Map(state).set('a', [number, version])
    }
    this.crashes['after recovery']++
    const again = await this.#recover(this.#crashed(disk, 'power'), then)
    for (const [key, found] of wanted) {
      assertSame(found, again.logs.get(key)?.found, `${then}: ${key}`, !lacking.has(key))
    }
    if (cacheMayLie) return
    if (![...state].every(([key, [value]]) => again.state.get(key)?.[0] === value)) {
      throw new Error(`${then}: the state is not what it was`)
    }
  }

  async #appendTo(log: PartitionLog, found: FoundLog): Promise<FoundLog> {
    const base = log.endOffset
    const bytes = batchOf(++this.#number, base, 1, this.#dice.between(4, 200))
    await log.append(bytes, base, 1, 'fsync')
    const batch = { base, end: base + 1, bytes }
    return { ...found, end: base + 1, batches: [...found.batches, batch] }
  }
}

function assertAllowed({ models, state, facts }: Crash, recovered: Recovered, where: string): void {
  for (const model of models) {
    const problem = model.check(recovered.logs.get(model.key)?.found, facts)
    if (problem !== undefined) throw new Error(`${where}: log ${model.key}: ${problem}`)
  }
  const problem = state.check(recovered.state)
  if (problem !== undefined) throw new Error(`${where}: ${problem}`)
}

function assertSame(wanted: FoundLog, found: FoundLog | undefined, where: string, exactly: boolean): void {
  // A log that was empty need not be there.
  if (found === undefined && wanted.batches.length === 0) return
  if (found === undefined) throw new Error(`${where}: the log is gone`)
  const shown = ({ start, end }: FoundLog): string => `${start} to ${end}`
  // Segments that were being let go of may be back once more.
  if (exactly && (found.end !== wanted.end || found.start > wanted.start)) {
    throw new Error(`${where}: the log had ${shown(wanted)}, now it has ${shown(found)}`)
  }
  const there = new Map(found.batches.map(({ base, bytes }) => [base, bytes]))
  const lost = wanted.batches.find(({ base, bytes }) => !equal(there.get(base), bytes))
  if (lost !== undefined) throw new Error(`${where}: the batch at ${lost.base} is not there any more`)
}
