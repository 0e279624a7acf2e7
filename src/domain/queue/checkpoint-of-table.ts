/**
 * Makes the checkpoint of a lease table: one walk over what is not settled, in as many steps as are wanted. Between steps the
 * table may change: each message is told as it was when the walk came by, and all that is said to be settled is settled. What
 * changes behind the walk belongs to the next checkpoint.
 */
import { addSettled, type TriedRun, triedRunsMax } from './checkpoint.ts'
import type { Deliveries } from './deliveries.ts'
import type { MessageStates } from './message-states.ts'
import { attemptsMask, delayed, failing, leased, type Page, pageOffsets, settled } from './pages.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Collects the settled runs above the floor, and the tried runs, of what was admitted. */
export class CheckpointWalk {
  /** The floor when it began. */
  readonly floor: number
  readonly settled: number[] = []
  readonly #states: MessageStates
  readonly #resets: number
  readonly #tried: TriedRuns
  #at: number

  /** @param bounded tried runs become coarser, and at last the highest are left out, when there are more than can be stored */
  constructor(states: MessageStates, deliveries: Deliveries, bounded: boolean) {
    this.#states = states
    this.#resets = states.resets
    this.#tried = new TriedRuns(deliveries, bounded ? triedRunsMax : Number.POSITIVE_INFINITY)
    this.floor = this.#at = states.floor
  }

  get tried(): TriedRun[] {
    return this.#tried.runs
  }

  /** True when the table has begun anew: what was collected is of no use. */
  get isVoid(): boolean {
    return this.#states.resets !== this.#resets
  }

  /** Goes on by about so many offsets. @returns true when it has come to the end of what is admitted at this moment */
  step(offsets: number): boolean {
    const { nextOffset, pages } = this.#states
    const stop = Math.min(nextOffset, this.#at + offsets)
    while (this.#at < stop) {
      const at = this.#at
      const page = pages.at(at)
      const end = Math.min(nextOffset, at - (at % pageOffsets) + pageOffsets)
      if (page === undefined) addSettled(this.settled, at, end)
      else this.#collect(page, at, end)
      this.#at = end
    }
    return this.#at === nextOffset
  }

  #collect(page: Page, from: number, to: number): void {
    const { base, states } = page
    const end = to - base
    for (let place = from - base; place < end; ) {
      const first = place
      const state = states[place++]
      if (state === settled) {
        while (place < end && states[place] === settled) place++
        addSettled(this.settled, base + first, base + place)
      } else if (state === failing || countedAttempts(page, first) > 0) {
        this.#tried.add(page, first, state)
      }
    }
  }
}

/** Deliveries that count if all holders of leases are lost at this moment. */
function countedAttempts({ states, begun, attempts }: Page, place: number): number {
  const tries = attempts[place] & attemptsMask
  return states[place] === leased && begun[place] === 0 ? tries - 1 : tries
}

/** Collects messages into runs, without an object for each message. */
class TriedRuns {
  runs: Mutable<TriedRun>[] = []
  readonly #deliveries: Deliveries
  readonly #runsMax: number
  /** Times of neighbours that were tried equally often become one. */
  #isCoarse = false

  constructor(deliveries: Deliveries, runsMax: number) {
    this.#deliveries = deliveries
    this.#runsMax = runsMax
  }

  add(page: Page, place: number, state: number): void {
    const { times } = page
    const offset = page.base + place
    let firstAtMs = times === undefined ? 0 : times[place]
    let lastAtMs = times === undefined ? 0 : times[place + pageOffsets]
    if (state === leased && page.begun[place] === 1) {
      lastAtMs = this.#deliveries.startedAtMs[page.slots[place]]
      if (firstAtMs === 0) firstAtMs = lastAtMs
    }
    const dueMs = state === delayed && times !== undefined ? times[place + 2 * pageOffsets] : 0
    const attempts = countedAttempts(page, place)
    const isFailing = state === failing
    const last = this.runs.at(-1)
    if (last?.to === offset && last.attempts === attempts && last.failing === isFailing) {
      if (last.dueMs === dueMs && last.firstAtMs === firstAtMs && last.lastAtMs === lastAtMs) {
        last.to++
        return
      }
      if (this.#isCoarse) {
        last.to++
        last.dueMs = Math.max(last.dueMs, dueMs)
        last.firstAtMs = Math.min(last.firstAtMs, firstAtMs)
        last.lastAtMs = Math.max(last.lastAtMs, lastAtMs)
        return
      }
    }
    if (this.runs.length >= this.#runsMax) {
      if (this.#isCoarse) return
      this.#isCoarse = true
      this.runs = coarsened(this.runs)
      this.add(page, place, state)
      return
    }
    this.runs.push({
      from: offset,
      to: offset + 1,
      attempts,
      dueMs,
      firstAtMs,
      lastAtMs,
      failing: isFailing,
    })
  }
}

/** Neighbours that were tried equally often become one run: with the latest due time, so that nothing comes too early. */
export function coarsened(tried: readonly TriedRun[]): TriedRun[] {
  const runs: Mutable<TriedRun>[] = []
  for (const run of tried) {
    const last = runs.at(-1)
    if (last?.to !== run.from || last.attempts !== run.attempts || last.failing !== run.failing) {
      runs.push({ ...run })
      continue
    }
    last.to = run.to
    last.dueMs = Math.max(last.dueMs, run.dueMs)
    last.firstAtMs = Math.min(last.firstAtMs, run.firstAtMs)
    last.lastAtMs = Math.max(last.lastAtMs, run.lastAtMs)
  }
  return runs
}
