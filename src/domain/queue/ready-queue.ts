/**
 * What may be leased next. It is found in three places: a heap of ranges that any member may have (retries that are due,
 * messages whose key is free again), one for each member (messages whose key the member holds), and everything from
 * `freshAt` on, which was never looked at.
 *
 * Entries of the heaps may be out of date; the states of the messages decide. Each waiting message below `freshAt` that may
 * be leased is in a heap: `offer` puts it there whenever it may have become so.
 */
import type { Deliveries } from './deliveries.ts'
import type { MessageStates } from './message-states.ts'
import { leased, none, type Page, pageOffsets, waiting } from './pages.ts'
import { RangeHeap } from './range-heap.ts'

const placeMask = pageOffsets - 1

/** The messages that wait, in the order in which members get them. */
export class ReadyQueue {
  /** No message from here on was leased, or passed over because its key was held back. */
  freshAt: number
  readonly #ordered: boolean
  readonly #states: MessageStates
  readonly #deliveries: Deliveries
  readonly #forAll = new RangeHeap()
  readonly #forMembers = new Map<number, RangeHeap>()

  constructor(ordered: boolean, states: MessageStates, deliveries: Deliveries) {
    this.freshAt = states.floor
    this.#ordered = ordered
    this.#states = states
    this.#deliveries = deliveries
  }

  /**
   * The first message that the member may have: of those in the heaps the least offset, then what is fresh.
   * @param freshLimit fresh ones from here on are not given
   * @param since the first lease of the member that lets later messages of its keys go to it
   * @returns -1 when there is none
   */
  first(member: number, freshLimit: number, since: number): number {
    const forAll = this.#topOf(this.#forAll, member, since)
    const own = this.#forMembers.get(member)
    const forMember = own === undefined ? none : this.#topOf(own, member, since)
    if (forAll !== none && (forMember === none || forAll < forMember)) return forAll
    return forMember === none ? this.#fresh(member, freshLimit, since) : forMember
  }

  /** The end of the run of messages from `from` on, before `limit`, that the member may have and that were tried equally often. */
  endOfRun(from: number, limit: number, member: number, since: number): number {
    let at = from
    let tries = -1
    while (at < limit) {
      const page = this.#states.pages.at(at)
      if (page === undefined) return at
      const { states, attempts, base } = page
      const end = Math.min(limit, base + pageOffsets) - base
      let place = at - base
      if (tries === -1) tries = attempts[place]
      while (place < end && states[place] === waiting && attempts[place] === tries) {
        if (this.#ordered && !this.#allows(page, place, member, since, from)) break
        place++
      }
      at = base + place
      if (place < end) return at
    }
    return at
  }

  /** A run was leased: the next messages of its keys are now the member's. */
  leased(from: number, to: number, member: number): void {
    if (from <= this.freshAt && this.freshAt < to) this.freshAt = to
    if (!this.#ordered) return
    for (let at = from; at < to; at++) {
      const next = this.#states.pages.of(at).next[at & placeMask]
      if (next !== none && next < this.freshAt && next >= to && this.#states.of(next) === waiting) {
        this.#ofMember(member).push(next, next, next + 1)
      }
    }
  }

  /** Messages have come to wait, or what was before them has changed. */
  offerRange(from: number, to: number): void {
    if (this.#ordered) {
      for (let at = from; at < to; at++) this.offer(at)
      return
    }
    const end = Math.min(to, this.freshAt)
    if (from < end) this.#forAll.push(from, from, end)
  }

  /** As `offerRange`, of one message, which may be in any state. */
  offer(offset: number): void {
    if (offset >= this.freshAt || this.#states.of(offset) !== waiting) return
    const before = this.#ordered ? this.#states.pages.of(offset).previous[offset & placeMask] : none
    if (before === none) this.#forAll.push(offset, offset, offset + 1)
    else {
      const page = this.#states.pages.of(before)
      if (page.states[before & placeMask] !== leased) return
      const holder = this.#deliveries.members[page.slots[before & placeMask]]
      this.#ofMember(holder).push(offset, offset, offset + 1)
    }
  }

  /** The member is gone, and holds nothing. */
  leave(member: number): void {
    this.#forMembers.delete(member)
  }

  clear(start: number): void {
    this.freshAt = start
    this.#forAll.clear()
    this.#forMembers.clear()
  }

  /** Whether the order of keys lets the member have the message, when he gets all from `runFrom` up to it as well. */
  #allows(page: Page, place: number, member: number, since: number, runFrom: number): boolean {
    const before = page.previous[place]
    if (before === none || before >= runFrom) return true
    const holding = this.#states.pages.of(before)
    const at = before & placeMask
    const slot = holding.slots[at]
    const { members, leases } = this.#deliveries
    return holding.states[at] === leased && members[slot] === member && leases[slot] >= since
  }

  #topOf(heap: RangeHeap, member: number, since: number): number {
    while (heap.size > 0) {
      const from = heap.topFrom
      const to = heap.topTo
      let at = from
      while (at < to && !this.#mayHave(at, member, since)) at++
      if (at === to) heap.pop()
      else {
        if (at > from) heap.trimTop(at)
        return at
      }
    }
    return none
  }

  #mayHave(offset: number, member: number, since: number): boolean {
    const page = this.#states.pages.at(offset)
    if (page === undefined || page.states[offset & placeMask] !== waiting) return false
    return !this.#ordered || this.#allows(page, offset & placeMask, member, since, offset)
  }

  #fresh(member: number, limit: number, since: number): number {
    while (this.freshAt < limit) {
      const at = this.freshAt
      if (this.#states.pages.at(at) === undefined) {
        this.freshAt = Math.min(limit, at - (at % pageOffsets) + pageOffsets)
      } else {
        if (this.#mayHave(at, member, since)) return at
        this.freshAt++
        this.offer(at) // another member may hold its key
      }
    }
    return none
  }

  #ofMember(member: number): RangeHeap {
    let heap = this.#forMembers.get(member)
    if (heap === undefined) {
      heap = new RangeHeap()
      this.#forMembers.set(member, heap)
    }
    return heap
  }
}
