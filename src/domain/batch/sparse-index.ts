/**
 * Finds a place in a run of batches without an entry for each: one entry about every few KiB, the rest by hopping headers.
 *
 * Entries live in typed arrays, 16 bytes each, so that an index of a full segment costs 0.4 % of it and a collector
 * never walks it. Each entry also knows the greatest timestamp of its block, the batches up to the next entry.
 */

/** Bytes of batches between two entries. */
export const indexIntervalBytes = 4096

/** Positions of some batches of a run, by offset and by time. */
export class SparseIndex {
  #length = 0
  #offsets = new Uint32Array(0)
  #positions = new Uint32Array(0)
  #maxTimestampsMs = new Float64Array(0)

  get length(): number {
    return this.#length
  }

  /** Tells of the batch at `position`, in order. Offsets are relative to the run's first. */
  add(relativeOffset: number, position: number, maxTimestampMs: number): void {
    const last = this.#length - 1
    if (last >= 0 && position - this.#positions[last] < indexIntervalBytes) {
      if (maxTimestampMs > this.#maxTimestampsMs[last]) this.#maxTimestampsMs[last] = maxTimestampMs
      return
    }
    this.addEntry(relativeOffset, position, maxTimestampMs)
  }

  /** Adds an entry whatever the distance: for indexes that are read back. */
  addEntry(relativeOffset: number, position: number, maxTimestampMs: number): void {
    if (this.#length === this.#offsets.length) this.#grow()
    this.#offsets[this.#length] = relativeOffset
    this.#positions[this.#length] = position
    this.#maxTimestampsMs[this.#length++] = maxTimestampMs
  }

  offsetAt(entry: number): number {
    return this.#offsets[entry]
  }

  positionAt(entry: number): number {
    return this.#positions[entry]
  }

  /** Greatest timestamp of the batches from this entry to the next; after `cut` perhaps more than is left. */
  maxTimestampMsAt(entry: number): number {
    return this.#maxTimestampsMs[entry]
  }

  /** The last entry at or below the offset; 0 when there is none. */
  entryOfOffset(relativeOffset: number): number {
    return this.#floor(this.#offsets, relativeOffset)
  }

  /** The last entry at or below the position; 0 when there is none. */
  entryOfPosition(position: number): number {
    return this.#floor(this.#positions, position)
  }

  /** Forgets the entries at and above a position. */
  cut(position: number): void {
    while (this.#length > 0 && this.#positions[this.#length - 1] >= position) this.#length--
  }

  #floor(values: Uint32Array, value: number): number {
    let low = 0
    let high = this.#length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (values[middle] <= value) low = middle
      else high = middle - 1
    }
    return low
  }

  #grow(): void {
    const capacity = Math.max(8, this.#offsets.length * 2)
    const offsets = new Uint32Array(capacity)
    const positions = new Uint32Array(capacity)
    const maxTimestampsMs = new Float64Array(capacity)
    offsets.set(this.#offsets)
    positions.set(this.#positions)
    maxTimestampsMs.set(this.#maxTimestampsMs)
    this.#offsets = offsets
    this.#positions = positions
    this.#maxTimestampsMs = maxTimestampsMs
  }
}
