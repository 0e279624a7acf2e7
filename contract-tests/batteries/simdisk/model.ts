/**
 * What the simulation knows of a storage: everything that was submitted, what became of it, and so what a crash at any moment
 * may leave. It is written from the promises of the ports alone and shares no code with a store.
 */
import type { Durability, OffsetRange, StateChange } from 'ratatoskr/ports'

/** Why the process ended: a kill leaves what was written, a power cut what was synced and luck. */
export type CrashKind = 'kill' | 'power'

/** An append and what its caller was told. */
export interface Attempt {
  readonly base: number
  readonly end: number
  readonly bytes: Uint8Array
  readonly durability: Durability
  readonly status: 'pending' | 'acked' | 'full' | 'failed'
  /** When it was acknowledged, by the manual clock. */
  readonly ackedAtMs: number
}

/** A log as it was found: its batches in order, and what it declares to be damaged. */
export interface FoundLog {
  readonly start: number
  readonly end: number
  readonly batches: readonly { readonly base: number; readonly end: number; readonly bytes: Uint8Array }[]
  readonly damaged: readonly OffsetRange[]
}

/** What a check needs to know about the crash. */
export interface CrashFacts {
  readonly kind: CrashKind
  readonly nowMs: number
  readonly syncIntervalMs: number
}

export class LogModel {
  readonly key: string
  /** In the order in which they were submitted; without those that can never be read again. */
  attempts: readonly Attempt[] = []
  /** True while a log of this name may be there, and while one must be gone. */
  mayExist = false
  deleting = false
  /** Records below it are gone for good; those up to `startMax` may be. */
  start = 0
  startMax = 0
  /** Where a `truncateAfter` that has not settled cuts the log. */
  cutTo = Number.POSITIVE_INFINITY
  /** Acknowledgements of level `interval` up to this offset may have lost their sync to a failure of the disk. */
  excusedUntil = 0

  constructor(key: string) {
    this.key = key
  }

  /** The model as it is now, for a check later on. */
  snapshot(): LogModel {
    return Object.assign(new LogModel(this.key), this)
  }

  /** Where the next append belongs. */
  get end(): number {
    const last = this.attempts.findLast(({ status }) => status === 'acked' || status === 'pending')
    return last?.end ?? this.start
  }

  submitted(attempt: Attempt): void {
    this.attempts = [...this.attempts, attempt]
  }

  /** The append is not among those that may be found: it was refused before it began. */
  refused(attempt: Attempt): void {
    this.attempts = this.attempts.filter((one) => one !== attempt)
  }

  /** @returns the attempt as it is from now on */
  settled(attempt: Attempt, status: Attempt['status'], nowMs: number): Attempt {
    const after = { ...attempt, status, ackedAtMs: nowMs }
    this.attempts = this.attempts
      .map((one) => (one === attempt ? after : one))
      // What a durable append covers was not there when it was written.
      .filter(
        (one) =>
          !(status === 'acked' && attempt.durability === 'fsync') ||
          one.base >= attempt.end ||
          one.status === 'acked' ||
          one.status === 'pending',
      )
    return after
  }

  /** The log was cut at `offset`, for good. */
  cut(offset: number): void {
    // What was refused for lack of room may lie behind the end of the file until the next sync.
    this.attempts = this.attempts.filter(({ base, status }) => base < offset || status === 'full')
    this.cutTo = Number.POSITIVE_INFINITY
  }

  deleted(): void {
    // A fault that waits for a sync waits for that of the log made next under this name, too.
    const { excusedUntil } = this
    Object.assign(this, new LogModel(this.key), { excusedUntil })
  }

  /** The log was opened again after a failure and holds this: nothing else of before can come back. */
  reopenedWith(found: FoundLog): void {
    const kept = new Map(found.batches.map(({ base, bytes }) => [base, bytes]))
    this.attempts = this.attempts
      // Segments before its start may be there once more after a crash.
      .filter(({ base, bytes }) => base < found.start || equal(kept.get(base), bytes))
      .map((one) => (one.status === 'acked' ? one : { ...one, status: 'acked', durability: 'os' }))
    this.startMax = found.start
    this.cutTo = Number.POSITIVE_INFINITY
  }

  /** Records below it must have survived: an acknowledgement speaks for everything before it. */
  requiredEnd({ kind, nowMs, syncIntervalMs }: CrashFacts): number {
    let end = 0
    for (const one of this.attempts) {
      if (one.status !== 'acked') continue
      const overdue =
        one.durability === 'interval' && one.end > this.excusedUntil && one.ackedAtMs + syncIntervalMs < nowMs
      if (kind === 'kill' || one.durability === 'fsync' || overdue) end = Math.max(end, one.end)
    }
    return Math.min(end, this.cutTo)
  }

  /** What is wrong with a log that was found after a crash; undefined when nothing is. */
  check(found: FoundLog | undefined, crash: CrashFacts): string | undefined {
    const required = this.requiredEnd(crash)
    const owed = this.attempts.filter(
      ({ status, base, end }) => status === 'acked' && base >= this.startMax && end <= required,
    )
    if (found === undefined) {
      return owed.length > 0 && !this.deleting ? `the log is gone, with ${owed.length} batches` : undefined
    }
    if (!this.mayExist) return 'a deleted log is back'
    if (found.start < this.start) return `records from ${found.start} are back; ${this.start} was the start`
    if (found.start > this.startMax)
      return `the log starts at ${found.start}, expected ${this.startMax} at most`
    return this.#invented(found, crash) ?? gapIn(found) ?? missing(owed, found)
  }

  #invented({ batches }: FoundLog, { kind }: CrashFacts): string | undefined {
    for (const { base, bytes } of batches) {
      const known = this.attempts.some(
        (one) => one.base === base && !(kind === 'kill' && one.status === 'full') && equal(one.bytes, bytes),
      )
      if (!known) return `the batch at ${base} is not one that may be there`
    }
    return undefined
  }
}

/** Offsets follow each other; only declared damage is left out. */
function gapIn({ start, end, batches, damaged }: FoundLog): string | undefined {
  const pieces = [
    ...batches.map(({ base, end }) => ({ from: base, to: end })),
    ...damaged.map(({ from, to }) => ({ from: Math.max(from, start), to })),
  ].sort((a, b) => a.from - b.from)
  let next = start
  for (const { from, to } of pieces) {
    if (from > next) return `records ${next} to ${from} are neither there nor declared damaged`
    if (from < next && to <= next) continue
    if (from < next) return `offset ${from} is there twice, or damaged and there`
    next = to
  }
  return next === end ? undefined : `the log ends at ${end}, its batches at ${next}`
}

function missing(owed: readonly Attempt[], found: FoundLog): string | undefined {
  const there = new Map(found.batches.map(({ base, bytes }) => [base, bytes]))
  for (const { base, end, bytes, durability } of owed) {
    if (base < found.start || equal(there.get(base), bytes)) continue
    return `records ${base} to ${end} were acknowledged at ${durability} or before one that was, and are not there`
  }
  return undefined
}

export function equal(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0
}

/** A value by its number, and its version. */
export type FoundState = ReadonlyMap<string, readonly [value: number, version: number]>

/** One change, or several that are one. Each value is a number that no other change has. */
interface Transaction {
  readonly changes: readonly StateChange[]
  readonly values: readonly number[]
}

export class StateModel {
  /** What is acknowledged. */
  #base: FoundState = new Map()
  /** Not acknowledged, since the last that was. */
  #open: readonly Transaction[] = []

  snapshot(): StateModel {
    const copy = new StateModel()
    copy.#base = this.#base
    copy.#open = this.#open
    return copy
  }

  get present(): FoundState {
    return this.#base
  }

  submitted(changes: readonly StateChange[], values: readonly number[]): Transaction {
    const transaction = { changes, values }
    this.#open = [...this.#open, transaction]
    return transaction
  }

  /** Acknowledged: it is there, and what was submitted before and failed is not. */
  acked(transaction: Transaction): void {
    this.#base = applied(this.#base, transaction)
    this.#open = this.#open.slice(this.#open.indexOf(transaction) + 1)
  }

  /** The store was opened again and holds this: what failed before cannot come back. */
  reopenedWith(found: FoundState): void {
    this.#base = found
    this.#open = []
  }

  /** What is wrong with the state that was found after a crash; undefined when nothing is. */
  check(found: FoundState): string | undefined {
    // Any of the open ones may be there, and none in part. One whose predecessor a power cut took has the version that it
    // was planned with, which counts that one: then versions say nothing.
    const open = this.#open
    for (let subset = 0; subset < 2 ** open.length; subset++) {
      let state = this.#base
      for (let i = 0; i < open.length; i++) if (subset & (1 << i)) state = applied(state, open[i])
      // The lowest bits are the first changes: without a gap they are one less than a power of two.
      if (same(state, found, (subset & (subset + 1)) === 0)) return undefined
    }
    return `the state is ${textOf(found)}; acknowledged was ${textOf(this.#base)}, and ${open.length} changes were open`
  }
}

function applied(state: FoundState, { changes, values }: Transaction): FoundState {
  const after = new Map(state)
  for (const [i, { key, value }] of changes.entries()) {
    if (value === undefined) after.delete(key)
    else after.set(key, [values[i], (state.get(key)?.[1] ?? 0) + 1])
  }
  return after
}

function same(wanted: FoundState, found: FoundState, withVersions: boolean): boolean {
  if (wanted.size !== found.size) return false
  for (const [key, [value, version]] of wanted) {
    const other = found.get(key)
    if (other?.[0] !== value || (withVersions && other[1] !== version)) return false
  }
  return true
}

const textOf = (state: FoundState): string =>
  `{${[...state].map(([key, [value, version]]) => `${key}: ${value} v${version}`).join(', ')}}`
