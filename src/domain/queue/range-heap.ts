/** A heap of offset ranges, the one with the least key on top. Three flat arrays: an entry takes 24 bytes and no object. */

/** Ranges by key. Entries may be out of date: whoever takes one checks the messages' states. */
export class RangeHeap {
  readonly #keys: number[] = []
  readonly #froms: number[] = []
  readonly #tos: number[] = []

  get size(): number {
    return this.#keys.length
  }

  /** Key of the top; Infinity when there is none. */
  get topKey(): number {
    return this.#keys.length === 0 ? Number.POSITIVE_INFINITY : this.#keys[0]
  }

  get topFrom(): number {
    return this.#froms[0]
  }

  get topTo(): number {
    return this.#tos[0]
  }

  push(key: number, from: number, to: number): void {
    let at = this.#keys.length
    this.#keys.push(key)
    this.#froms.push(from)
    this.#tos.push(to)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#keys[parent] <= key) break
      this.#copy(parent, at)
      at = parent
    }
    this.#set(at, key, from, to)
  }

  pop(): void {
    const key = this.#keys.pop()
    const from = this.#froms.pop()
    const to = this.#tos.pop()
    if (this.#keys.length > 0) this.#sink(key as number, from as number, to as number)
  }

  /** The top now begins later, and has that as its key. */
  trimTop(from: number): void {
    this.#sink(from, from, this.#tos[0])
  }

  clear(): void {
    this.#keys.length = 0
    this.#froms.length = 0
    this.#tos.length = 0
  }

  /** Puts an entry at the top, then down to where it belongs. */
  #sink(key: number, from: number, to: number): void {
    const length = this.#keys.length
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= length) break
      if (child + 1 < length && this.#keys[child + 1] < this.#keys[child]) child++
      if (this.#keys[child] >= key) break
      this.#copy(child, at)
      at = child
    }
    this.#set(at, key, from, to)
  }

  #copy(from: number, to: number): void {
    this.#set(to, this.#keys[from], this.#froms[from], this.#tos[from])
  }

  #set(at: number, key: number, from: number, to: number): void {
    this.#keys[at] = key
    this.#froms[at] = from
    this.#tos[at] = to
  }
}
