/**
 * The order of messages of the same key: the unsettled ones of each key form a list, linked through their pages. Of each list
 * the leased ones are the first, and one member holds them all; the next one after them is the only one that may be leased.
 */
import { none, type OffsetPages, type Page, pageOffsets } from './pages.ts'

const placeMask = pageOffsets - 1

/** The lists of all keys. Keys of the same hash count as one. */
export class KeyOrder {
  readonly #pages: OffsetPages
  /** The last message of each key. */
  readonly #tails = new Map<number, number>()

  constructor(pages: OffsetPages) {
    this.#pages = pages
  }

  /** Keys that have unsettled messages. */
  get size(): number {
    return this.#tails.size
  }

  /** A message was admitted: it is the last of its key. */
  append(offset: number, hash: number): void {
    const page = this.#pages.of(offset)
    const place = offset & placeMask
    page.hashes[place] = hash
    const tail = this.#tails.get(hash)
    this.#tails.set(hash, offset)
    if (tail === undefined) return
    page.previous[place] = tail
    this.#pages.of(tail).next[tail & placeMask] = offset
  }

  /** A message is about to be settled. @returns the next one of its key, or -1 */
  remove(page: Page, offset: number): number {
    const place = offset & placeMask
    const hash = page.hashes[place]
    if (hash === 0) return none
    const previous = page.previous[place]
    const next = page.next[place]
    if (previous !== none) this.#pages.of(previous).next[previous & placeMask] = next
    if (next !== none) this.#pages.of(next).previous[next & placeMask] = previous
    else if (previous !== none) this.#tails.set(hash, previous)
    else this.#tails.delete(hash)
    return next
  }

  clear(): void {
    this.#tails.clear()
  }
}
