/** Makes the checkpoint of a lease table: one walk over what is not settled. */
import { addSettled, type TriedRun } from './checkpoint.ts'
import type { Deliveries } from './deliveries.ts'
import type { MessageStates } from './message-states.ts'
import { attemptsMask, delayed, failing, leased, type Page, pageOffsets, settled, waiting } from './pages.ts'
import type { RangeHeap } from './range-heap.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The settled runs above the floor, and the tried runs, of what was admitted. */
export function collectRuns(
  states: MessageStates,
  deliveries: Deliveries,
  delays: RangeHeap,
): { readonly settled: number[]; readonly tried: TriedRun[] } {
  const settledRuns: number[] = []
  const tried = new TriedRuns(deliveries, delays)
  for (let at = states.floor; at < states.nextOffset; ) {
    const page = states.pages.at(at)
    const end = Math.min(states.nextOffset, at - (at % pageOffsets) + pageOffsets)
    if (page === undefined) addSettled(settledRuns, at, end)
    else {
      for (let offset = at; offset < end; offset++) {
        const state = page.states[offset - page.base]
        if (state === settled) addSettled(settledRuns, offset, offset + 1)
        else if (state !== waiting || (page.attempts[offset - page.base] & attemptsMask) > 0) {
          tried.add(page, offset, state)
        }
      }
    }
    at = end
  }
  return { settled: settledRuns, tried: tried.runs }
}

/** Collects messages into runs, without an object for each message. */
class TriedRuns {
  readonly runs: Mutable<TriedRun>[] = []
  readonly #deliveries: Deliveries
  readonly #due: readonly number[]
  #dueAt = 0

  constructor(deliveries: Deliveries, delays: RangeHeap) {
    this.#deliveries = deliveries
    this.#due = delays.byOffset()
  }

  add(page: Page, offset: number, state: number): void {
    const place = offset - page.base
    const { times } = page
    let firstAtMs = times === undefined ? 0 : times[place]
    let lastAtMs = times === undefined ? 0 : times[place + pageOffsets]
    if (state === leased) {
      lastAtMs = this.#deliveries.startedAtMs[page.slots[place]]
      if (firstAtMs === 0) firstAtMs = lastAtMs
    }
    const dueMs = state === delayed ? this.#dueOf(offset) : 0
    const attempts = page.attempts[place] & attemptsMask
    const last = this.runs.at(-1)
    if (
      last !== undefined &&
      last.to === offset &&
      last.attempts === attempts &&
      last.dueMs === dueMs &&
      last.firstAtMs === firstAtMs &&
      last.lastAtMs === lastAtMs &&
      last.failing === (state === failing)
    ) {
      last.to++
      return
    }
    this.runs.push({
      from: offset,
      to: offset + 1,
      attempts,
      dueMs,
      firstAtMs,
      lastAtMs,
      failing: state === failing,
    })
  }

  #dueOf(offset: number): number {
    while (this.#due[this.#dueAt + 1] <= offset) this.#dueAt += 3
    return this.#due[this.#dueAt + 2]
  }
}
