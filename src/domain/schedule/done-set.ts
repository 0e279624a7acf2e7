/**
 * Which records of the scheduler's log are done: everything below the floor, and a bit each above it. The bits are kept in
 * chunks, so that a checkpoint writes only those that changed.
 */

/** Offsets of one chunk. */
export const chunkOffsets = 65_536
const chunkBytes = chunkOffsets / 8

export class DoneSet {
  readonly #chunks = new Map<number, Uint8Array>()
  #changed = new Set<number>()
  #floor: number

  constructor(floor: number) {
    this.#floor = floor
  }

  /** The first offset that is not known to be done. */
  get floor(): number {
    return this.#floor
  }

  has(offset: number): boolean {
    if (offset < this.#floor) return true
    const chunk = this.#chunks.get(Math.floor(offset / chunkOffsets))
    const bit = offset % chunkOffsets
    return chunk !== undefined && (chunk[bit >> 3] & (1 << (bit & 7))) !== 0
  }

  add(offset: number): void {
    if (offset < this.#floor) return
    const number = Math.floor(offset / chunkOffsets)
    let chunk = this.#chunks.get(number)
    if (chunk === undefined) {
      chunk = new Uint8Array(chunkBytes)
      this.#chunks.set(number, chunk)
    }
    const bit = offset % chunkOffsets
    chunk[bit >> 3] |= 1 << (bit & 7)
    this.#changed.add(number)
    if (offset === this.#floor) this.#rise()
  }

  /** Takes a chunk as it was stored. */
  load(number: number, bits: Uint8Array): void {
    const chunk = new Uint8Array(chunkBytes)
    chunk.set(bits.subarray(0, chunkBytes))
    this.#chunks.set(number, chunk)
    this.#rise()
  }

  /** Moves the floor to `offset` at least: the log begins there. */
  raise(offset: number): void {
    if (offset <= this.#floor) return
    this.#floor = offset
    this.#rise()
  }

  /** Takes out what is done from `end` on, where the log ends now. @returns false when there was nothing */
  cut(end: number): boolean {
    let changed = this.#floor > end
    this.#floor = Math.min(this.#floor, end)
    const first = Math.floor(end / chunkOffsets)
    for (const [number, chunk] of this.#chunks) {
      if (number < first) continue
      for (let bit = number === first ? end % chunkOffsets : 0; bit < chunkOffsets; bit++) {
        if ((chunk[bit >> 3] & (1 << (bit & 7))) === 0) continue
        chunk[bit >> 3] &= ~(1 << (bit & 7))
        this.#changed.add(number)
        changed = true
      }
    }
    return changed
  }

  /** The chunks that changed since the last call: their bits, or undefined for one that lies below the floor now. */
  takeChanges(): Map<number, Uint8Array | undefined> {
    const changes = new Map<number, Uint8Array | undefined>()
    for (const number of this.#changed) changes.set(number, this.#chunks.get(number)?.slice())
    this.#changed = new Set()
    return changes
  }

  /** What `takeChanges` gave was not stored: it counts as changed again. */
  giveBack(changes: ReadonlyMap<number, unknown>): void {
    for (const number of changes.keys()) this.#changed.add(number)
  }

  #rise(): void {
    while (this.#isSet(this.#floor)) this.#floor++
    const first = Math.floor(this.#floor / chunkOffsets)
    for (const number of this.#chunks.keys()) {
      if (number >= first) continue
      this.#chunks.delete(number)
      this.#changed.add(number)
    }
  }

  #isSet(offset: number): boolean {
    const chunk = this.#chunks.get(Math.floor(offset / chunkOffsets))
    const bit = offset % chunkOffsets
    return chunk !== undefined && (chunk[bit >> 3] & (1 << (bit & 7))) !== 0
  }
}
