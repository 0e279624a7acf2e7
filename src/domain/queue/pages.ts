/**
 * What is known of each message that is not settled, in pages of 256 offsets. A page whose messages are all settled is
 * dropped, so that memory follows the messages that are not, and not the distance between the first and the last of them.
 */

/** What a message may be in. Settled is 0, so that a new page has no message. */
export const settled = 0
/** May be delivered, or waits behind an earlier message of its key. */
export const waiting = 1
export const leased = 2
/** Waits for the time of its retry. */
export const delayed = 3
/** On its way to the dead letters. */
export const failing = 4

/** A message of `attempts`: how often it was delivered, as far as that counts. */
export const attemptsMask = 0x7fff
/** Set when it was delivered, whether that counts or not. */
export const seenFlag = 0x8000

export const pageOffsets = 256
const sparePagesMax = 64

/** Stands for "no message" in the links of a key. */
export const none = -1

/** 256 offsets. Place of an offset: its low 8 bits. */
export interface Page {
  base: number
  unsettled: number
  readonly states: Uint8Array
  readonly attempts: Uint16Array
  /** The delivery of leased messages: see deliveries.ts. */
  readonly slots: Int32Array
  /** Of leased messages: 1 when the loss of their holder counts as a failure, since he has begun or would not say so. */
  readonly begun: Uint8Array
  /** Hash of the key; 0 without. Of length 0 in tables without order, as the next two. */
  readonly hashes: Int32Array
  /** Offsets of the unsettled messages of the same key before and after; -1 for none. */
  readonly previous: Float64Array
  readonly next: Float64Array
  /**
   * Times of the first and the last delivery, by place and by place + 256, and when it is due of what is delayed, by place + 512; only
   * once a message of the page came back.
   */
  times: Float64Array | undefined
}

/** The pages of a table. */
export class OffsetPages {
  readonly #pages = new Map<number, Page>()
  readonly #spare: Page[] = []
  readonly #linkCount: number
  #last: Page | undefined

  /** @param ordered whether pages have keys */
  constructor(ordered: boolean) {
    this.#linkCount = ordered ? pageOffsets : 0
  }

  /** The page of an offset; undefined when all of it is settled. */
  at(offset: number): Page | undefined {
    const last = this.#last
    if (last !== undefined && offset >= last.base && offset < last.base + pageOffsets) return last
    const page = this.#pages.get(Math.floor(offset / pageOffsets))
    if (page !== undefined) this.#last = page
    return page
  }

  /** The page of an offset whose message is known not to be settled. */
  of(offset: number): Page {
    const page = this.at(offset)
    if (page === undefined) throw new TypeError(`offset ${offset} is settled`)
    return page
  }

  /** The page of an offset, made when there is none. */
  make(offset: number): Page {
    const page = this.at(offset)
    if (page !== undefined) return page
    const number = Math.floor(offset / pageOffsets)
    const made = this.#spare.pop() ?? newPage(this.#linkCount)
    made.base = number * pageOffsets
    this.#pages.set(number, made)
    this.#last = made
    return made
  }

  /** A page whose messages are all settled: nothing of it is kept. */
  drop(page: Page): void {
    this.#pages.delete(page.base / pageOffsets)
    if (this.#last === page) this.#last = undefined
    page.times = undefined
    page.base = -1
    if (this.#spare.length < sparePagesMax) this.#spare.push(page)
  }

  clear(): void {
    this.#pages.clear()
    this.#last = undefined
  }
}

/** The times of a page, made when there are none. */
export function timesOf(page: Page): Float64Array {
  page.times ??= new Float64Array(3 * pageOffsets)
  return page.times
}

function newPage(linkCount: number): Page {
  return {
    base: 0,
    unsettled: 0,
    states: new Uint8Array(pageOffsets),
    attempts: new Uint16Array(pageOffsets),
    slots: new Int32Array(pageOffsets),
    begun: new Uint8Array(pageOffsets),
    hashes: new Int32Array(linkCount),
    previous: new Float64Array(linkCount),
    next: new Float64Array(linkCount),
    times: undefined,
  }
}
