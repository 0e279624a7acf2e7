/** Finds the messages that a call is about: what of a range a lease holds, what a delivery still holds, what nobody holds. */
import type { Deliveries } from './deliveries.ts'
import type { SettleCounts } from './lease-types.ts'
import type { MessageStates } from './message-states.ts'
import { delayed, leased, none, pageOffsets, waiting } from './pages.ts'

const placeMask = pageOffsets - 1

/** Walks over messages, as runs as long as can be. Visitors may settle what they are shown, or give it back. */
export class MessageWalks {
  readonly #states: MessageStates
  readonly #deliveries: Deliveries

  constructor(states: MessageStates, deliveries: Deliveries) {
    this.#states = states
    this.#deliveries = deliveries
  }

  /** Visits the messages of a range that a lease holds, as runs of one slot each. */
  eachHeld(
    lease: number,
    from: number,
    to: number,
    visit: (slot: number, first: number, end: number) => void,
  ): SettleCounts {
    const deliveries = this.#deliveries
    const whole = deliveries.find(lease)
    if (whole === none) return { settled: 0, repeated: 0, lost: Math.max(1, to - from) }
    const first = Math.max(from, deliveries.froms[whole])
    const end = Math.min(to, deliveries.tos[whole])
    const inside = Math.max(0, end - first)
    const outside = from === 0 ? 0 : Math.max(0, to - from) - inside
    if (deliveries.isSettled(whole)) return { settled: 0, repeated: inside, lost: outside }
    let held = 0
    let repeated = 0
    let lost = outside
    for (let at = first; at < end; ) {
      const page = this.#states.pages.at(at)
      const slot =
        page !== undefined && page.states[at & placeMask] === leased ? page.slots[at & placeMask] : none
      if (slot !== none && deliveries.parents[slot] === whole) {
        const runEnd = this.endOfHeld(slot, at, end)
        visit(slot, at, runEnd)
        held += runEnd - at
        at = runEnd
      } else {
        if (deliveries.wasLost(whole, at)) lost++
        else repeated++
        at++
      }
    }
    return { settled: held, repeated, lost }
  }

  /** Visits the messages that a slot holds, as runs. */
  eachOfSlot(slot: number, visit: (first: number, end: number) => void): void {
    const { froms, tos, left } = this.#deliveries
    let remaining = left[slot]
    const end = tos[slot]
    for (let at = froms[slot]; remaining > 0 && at < end; ) {
      const page = this.#states.pages.at(at)
      if (page?.states[at & placeMask] !== leased || page.slots[at & placeMask] !== slot) {
        at++
        continue
      }
      const runEnd = this.endOfHeld(slot, at, end)
      remaining -= runEnd - at
      visit(at, runEnd)
      at = runEnd
    }
  }

  /** The end of the run of messages from `from` on, one that the slot holds, before `limit`. */
  endOfHeld(slot: number, from: number, limit: number): number {
    const { froms, tos, left } = this.#deliveries
    // All of the delivery is still held, in one piece.
    if (left[slot] === tos[slot] - froms[slot]) return Math.min(limit, tos[slot])
    let at = from
    while (at < limit) {
      const page = this.#states.pages.at(at)
      if (page === undefined) return at
      const end = Math.min(limit, page.base + pageOffsets) - page.base
      let place = at - page.base
      while (place < end && page.states[place] === leased && page.slots[place] === slot) place++
      at = page.base + place
      if (place < end) return at
    }
    return at
  }

  /** Visits what of a range waits or is delayed, as runs of one state. */
  eachIdle(from: number, to: number, visit: (first: number, end: number, state: number) => void): number {
    const states = this.#states
    const end = Math.min(to, states.nextOffset)
    let count = 0
    for (let at = Math.max(from, states.floor); at < end; ) {
      const state = states.of(at)
      const first = at++
      if (state !== waiting && state !== delayed) continue
      while (at < end && states.of(at) === state) at++
      visit(first, at, state)
      count += at - first
    }
    return count
  }
}
