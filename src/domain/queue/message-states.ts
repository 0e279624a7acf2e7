/** The states of the messages between the floor and the first offset that was not admitted, and how many there are of each. */
import { delayed, failing, leased, OffsetPages, pageOffsets, settled, waiting } from './pages.ts'

/** States of messages, the floor, and the settled runs above it. */
export class MessageStates {
  readonly pages: OffsetPages
  /** Everything below is settled. */
  floor: number
  /** The first offset that was not admitted. */
  nextOffset: number
  /** How often it began anew. */
  resets = 0
  /** Settled runs between the two. */
  runs = 0
  readonly #counts = [0, 0, 0, 0, 0]

  constructor(ordered: boolean, start: number) {
    this.pages = new OffsetPages(ordered)
    this.floor = start
    this.nextOffset = start
  }

  get waiting(): number {
    return this.#counts[waiting]
  }

  get leased(): number {
    return this.#counts[leased]
  }

  get delayed(): number {
    return this.#counts[delayed]
  }

  get failing(): number {
    return this.#counts[failing]
  }

  /** The state of an admitted message. */
  of(offset: number): number {
    const page = this.pages.at(offset)
    return page === undefined ? settled : page.states[offset & (pageOffsets - 1)]
  }

  /** Admits messages up to `to`, which wait. */
  admitWaiting(to: number): void {
    this.#counts[waiting] += to - this.nextOffset
    for (let at = this.nextOffset; at < to; ) {
      const page = this.pages.make(at)
      const end = Math.min(to, page.base + pageOffsets)
      const first = at - page.base
      const last = end - page.base
      page.states.fill(waiting, first, last)
      page.attempts.fill(0, first, last)
      page.unsettled += end - at
      page.hashes.fill(0, first, last)
      page.previous.fill(-1, first, last)
      page.next.fill(-1, first, last)
      at = end
    }
    this.nextOffset = to
  }

  /** Admits offsets up to `to` that are settled, or have no message. */
  admitSettled(to: number): void {
    const from = this.nextOffset
    this.nextOffset = to
    const page = this.pages.at(from)
    if (page !== undefined && page.unsettled === 0 && page.base + pageOffsets <= to) this.pages.drop(page)
    if (from === this.floor) this.floor = to
    else if (this.of(from - 1) !== settled) this.runs++
  }

  /** Moves messages that are all in the state `was`. */
  move(from: number, to: number, was: number, state: number): void {
    this.#counts[was] -= to - from
    this.#counts[state] += to - from
    const joined = state === settled ? this.#countRun(from, to) : false
    for (let at = from; at < to; ) {
      const page = this.pages.of(at)
      const end = Math.min(to, page.base + pageOffsets)
      page.states.fill(state, at - page.base, end - page.base)
      if (state === settled) {
        page.unsettled -= end - at
        if (page.unsettled === 0 && page.base + pageOffsets <= this.nextOffset) this.pages.drop(page)
      }
      at = end
    }
    if (state === settled && from === this.floor) this.floor = joined ? this.#firstUnsettled(to) : to
  }

  /** Begins anew. */
  reset(offset: number): void {
    this.resets++
    this.pages.clear()
    this.#counts.fill(0)
    this.runs = 0
    this.floor = offset
    this.nextOffset = offset
  }

  /** Counts the run that is about to be settled. @returns whether it joins one behind it */
  #countRun(from: number, to: number): boolean {
    const joinsNext = to < this.nextOffset && this.of(to) === settled
    if (joinsNext) this.runs--
    if (from > this.floor && this.of(from - 1) !== settled) this.runs++
    return joinsNext
  }

  #firstUnsettled(from: number): number {
    let at = from
    while (at < this.nextOffset) {
      const page = this.pages.at(at)
      const pageEnd = at - (at % pageOffsets) + pageOffsets
      if (page === undefined) at = pageEnd
      else {
        while (at < pageEnd && page.states[at - page.base] === settled) at++
        if (at < pageEnd) break
      }
    }
    return Math.min(at, this.nextOffset)
  }
}
