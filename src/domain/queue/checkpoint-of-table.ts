/** Makes the checkpoint of a lease table: one walk over what is not settled. */
import { addSettled, addTried, type TriedRun } from './checkpoint.ts'
import type { Deliveries } from './deliveries.ts'
import type { MessageStates } from './message-states.ts'
import { attemptsMask, delayed, failing, leased, type Page, pageOffsets, settled } from './pages.ts'
import type { RangeHeap } from './range-heap.ts'

/** The settled runs above the floor, and the tried runs, of what was admitted. */
export function collectRuns(
  states: MessageStates,
  deliveries: Deliveries,
  delays: RangeHeap,
): { readonly settled: number[]; readonly tried: TriedRun[] } {
  const settledRuns: number[] = []
  const tried: TriedRun[] = []
  const due = delays.byOffset()
  let dueAt = 0
  for (let at = states.floor; at < states.nextOffset; ) {
    const page = states.pages.at(at)
    const end = Math.min(states.nextOffset, at - (at % pageOffsets) + pageOffsets)
    if (page === undefined) addSettled(settledRuns, at, end)
    else {
      for (let offset = at; offset < end; offset++) {
        const state = page.states[offset - page.base]
        if (state === settled) addSettled(settledRuns, offset, offset + 1)
        else if (state === delayed) {
          while (due[dueAt + 1] <= offset) dueAt += 3
          addTried(tried, triedOf(page, offset, state, deliveries, due[dueAt + 2]))
        } else if (state !== 1 || (page.attempts[offset - page.base] & attemptsMask) > 0) {
          addTried(tried, triedOf(page, offset, state, deliveries, 0))
        }
      }
    }
    at = end
  }
  return { settled: settledRuns, tried }
}

function triedOf(page: Page, offset: number, state: number, deliveries: Deliveries, dueMs: number): TriedRun {
  const place = offset - page.base
  let lastAtMs = page.times?.[place + pageOffsets] ?? 0
  let firstAtMs = page.times?.[place] ?? 0
  if (state === leased) {
    lastAtMs = deliveries.startedAtMs[page.slots[place]]
    if (firstAtMs === 0) firstAtMs = lastAtMs
  }
  return {
    from: offset,
    to: offset + 1,
    attempts: page.attempts[place] & attemptsMask,
    dueMs,
    firstAtMs,
    lastAtMs,
    failing: state === failing,
  }
}
