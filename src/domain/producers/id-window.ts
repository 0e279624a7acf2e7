/**
 * The ids of a topic's messages of the last so many milliseconds, and where each is stored: which message was there before.
 *
 * One entry takes 34 bytes of typed arrays and some for the index, no object: a million ids are what they weigh. Entries
 * stand in a ring in the order in which they came, and are known by their number in that order, which is never used again.
 */

const idWords = 4
const firstCapacity = 256
const none = -1

/** Ids, for a time and up to a number: beyond it the oldest are forgotten. */
export class IdWindow {
  /** How long an id is remembered, in milliseconds. */
  windowMs: number
  readonly #idsMax: number
  #capacity = firstCapacity
  #ids = new Uint32Array(firstCapacity * idWords)
  #partitions = new Int32Array(firstCapacity)
  #offsets = new Float64Array(firstCapacity)
  #timesMs = new Float64Array(firstCapacity)
  /** Places in the ring by the hash of the id, one more than they are; 0 is free. */
  #index = new Int32Array(firstCapacity * 2)
  /** Numbers of the oldest entry, and of the next. */
  #head = 0
  #tail = 0
  #forgotten = 0

  constructor(windowMs: number, idsMax: number) {
    this.windowMs = windowMs
    this.#idsMax = idsMax
  }

  /** Entries that are kept, those included whose time is over and that were not come across since. */
  get size(): number {
    return this.#tail - this.#head
  }

  /** Ids that made room for others before their time was over. */
  get forgotten(): number {
    return this.#forgotten
  }

  /** The entry of the id at `at`, when it came less than the window ago; -1 otherwise. */
  find(bytes: Uint8Array, at: number, nowMs: number): number {
    const [a, b, c, d] = readId(bytes, at)
    const slot = this.#slotOf(a, b, c, d)
    const place = this.#index[slot] - 1
    if (place === none || this.#isOver(place, nowMs)) return none
    return this.#numberOf(place)
  }

  /** Takes an id that `find` did not know: it is on its way until `place` says where it is. @returns its entry */
  claim(bytes: Uint8Array, at: number, nowMs: number): number {
    const [a, b, c, d] = readId(bytes, at)
    this.#expire(nowMs)
    const before = this.#index[this.#slotOf(a, b, c, d)] - 1
    if (before !== none) this.#drop(before) // its time is over, but not that of those before it
    if (this.size === this.#capacity) {
      if (this.#capacity < this.#idsMax) this.#grow()
    }
    if (this.size >= Math.min(this.#capacity, this.#idsMax)) {
      this.#forgotten++
      this.#shift()
    }
    const number = this.#tail++
    const place = number % this.#capacity
    this.#ids.set([a, b, c, d], place * idWords)
    this.#partitions[place] = none
    this.#offsets[place] = none
    this.#timesMs[place] = nowMs
    this.#index[this.#slotOf(a, b, c, d)] = place + 1
    return number
  }

  /** The message is stored there. */
  place(number: number, partition: number, offset: number): void {
    if (number < this.#head) return
    const place = number % this.#capacity
    this.#partitions[place] = partition
    this.#offsets[place] = offset
  }

  /** The message is not stored: its id is free. */
  release(number: number): void {
    if (number >= this.#head) this.#drop(number % this.#capacity)
  }

  partitionOf(number: number): number {
    return this.#partitions[number % this.#capacity]
  }

  /** -1 while the message is on its way. */
  offsetOf(number: number): number {
    return this.#offsets[number % this.#capacity]
  }

  #isOver(place: number, nowMs: number): boolean {
    return nowMs - this.#timesMs[place] >= this.windowMs && this.#offsets[place] !== none
  }

  #expire(nowMs: number): void {
    while (this.#head < this.#tail && this.#isOver(this.#head % this.#capacity, nowMs)) this.#shift()
  }

  #shift(): void {
    this.#drop(this.#head % this.#capacity)
    this.#head++
  }

  #numberOf(place: number): number {
    const number = this.#head - (this.#head % this.#capacity) + place
    return number < this.#head ? number + this.#capacity : number
  }

  /** Takes the entry out of the index; its place in the ring is used again when those before it are gone. */
  #drop(place: number): void {
    const at = place * idWords
    const ids = this.#ids
    const slot = this.#slotOf(ids[at], ids[at + 1], ids[at + 2], ids[at + 3])
    if (this.#index[slot] === place + 1) this.#free(slot)
    this.#offsets[place] = 0
    this.#timesMs[place] = Number.NEGATIVE_INFINITY
  }

  /** Frees a slot and moves those behind it up, so that none is lost to a search that ends at a free slot. */
  #free(slot: number): void {
    const index = this.#index
    const mask = index.length - 1
    let hole = slot
    for (let next = (slot + 1) & mask; index[next] !== 0; next = (next + 1) & mask) {
      const home = this.#homeOf(index[next] - 1, mask)
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      index[hole] = index[next]
      hole = next
    }
    index[hole] = 0
  }

  #homeOf(place: number, mask: number): number {
    const at = place * idWords
    const ids = this.#ids
    return hash(ids[at], ids[at + 1], ids[at + 2], ids[at + 3]) & mask
  }

  /** The slot of the id, or the free one where it would be. */
  #slotOf(a: number, b: number, c: number, d: number): number {
    const index = this.#index
    const ids = this.#ids
    const mask = index.length - 1
    let slot = hash(a, b, c, d) & mask
    for (; index[slot] !== 0; slot = (slot + 1) & mask) {
      const at = (index[slot] - 1) * idWords
      if (ids[at] === a && ids[at + 1] === b && ids[at + 2] === c && ids[at + 3] === d) return slot
    }
    return slot
  }

  #grow(): void {
    const before = { capacity: this.#capacity, ids: this.#ids, partitions: this.#partitions }
    const { offsets, timesMs } = { offsets: this.#offsets, timesMs: this.#timesMs }
    this.#capacity = before.capacity * 2
    this.#ids = new Uint32Array(this.#capacity * idWords)
    this.#partitions = new Int32Array(this.#capacity)
    this.#offsets = new Float64Array(this.#capacity)
    this.#timesMs = new Float64Array(this.#capacity)
    this.#index = new Int32Array(this.#capacity * 2)
    for (let number = this.#head; number < this.#tail; number++) {
      const from = number % before.capacity
      const to = number % this.#capacity
      const id = before.ids.subarray(from * idWords, (from + 1) * idWords)
      this.#ids.set(id, to * idWords)
      this.#partitions[to] = before.partitions[from]
      this.#offsets[to] = offsets[from]
      this.#timesMs[to] = timesMs[from]
      if (timesMs[from] === Number.NEGATIVE_INFINITY) continue // let go of already
      this.#index[this.#slotOf(id[0], id[1], id[2], id[3])] = to + 1
    }
  }
}

type IdWords = readonly [number, number, number, number]

function readId(bytes: Uint8Array, at: number): IdWords {
  const word = (from: number): number =>
    ((bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3]) >>> 0
  return [word(at), word(at + 4), word(at + 8), word(at + 12)]
}

/** Ids are chosen by clients, who may choose them alike: every bit counts. */
function hash(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13) ^ b, 0xc2b2ae35)
  h = Math.imul(h ^ (h >>> 16) ^ c, 0x27d4eb2f)
  h = Math.imul(h ^ (h >>> 15) ^ d, 0x165667b1)
  return (h ^ (h >>> 16)) >>> 0
}
