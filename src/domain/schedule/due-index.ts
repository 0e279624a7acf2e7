/**
 * What waits for its time: one slot of about 65 bytes in typed arrays for each scheduled message, so that a million of
 * them cost no object and no work of the garbage collector. Found by due time (a heap) and by topic and id (hash chains).
 *
 * A slot that was taken out of the heap stays in the index until it is freed: it is being delivered, cancelled, or waits
 * for its topic. What a message holds beside this is in the log.
 */

const none = -1
const firstCapacity = 1_024

/** A place in the list of a topic's messages. */
export interface PageCursor {
  readonly dueMs: number
  readonly order: number
}

export class DueIndex {
  #capacity = firstCapacity
  #due = new Float64Array(firstCapacity)
  #order = new Float64Array(firstCapacity)
  #offset = new Float64Array(firstCapacity)
  #topic = new Int32Array(firstCapacity).fill(none)
  #bytes = new Uint32Array(firstCapacity)
  #ids = new Uint8Array(firstCapacity * 16)
  #heap = new Int32Array(firstCapacity)
  /** Place of a slot in the heap; `none` when it is not there. */
  #place = new Int32Array(firstCapacity).fill(none)
  /** The next slot of the same hash, or the next free one. */
  #next = new Int32Array(firstCapacity)
  #buckets = new Int32Array(firstCapacity).fill(none)
  #heapSize = 0
  #used = 0
  #free = none
  #size = 0
  #liveBytes = 0
  readonly #topicNumbers = new Map<string, number>()
  readonly #topicIds: string[] = []
  readonly #topicCounts: number[] = []

  /** Messages in the index, in the heap or not. */
  get size(): number {
    return this.#size
  }

  /** Bytes of their records, about. */
  get liveBytes(): number {
    return this.#liveBytes
  }

  /** Topics that messages wait for, by id. */
  get topicIds(): readonly string[] {
    return [...this.#topicNumbers.keys()]
  }

  topicIdOf(slot: number): string {
    return this.#topicIds[this.#topic[slot]]
  }

  dueMsOf(slot: number): number {
    return this.#due[slot]
  }

  /** Place in the order of acceptance: the offset that the message got first. */
  orderOf(slot: number): number {
    return this.#order[slot]
  }

  offsetOf(slot: number): number {
    return this.#offset[slot]
  }

  sizeBytesOf(slot: number): number {
    return this.#bytes[slot]
  }

  /** 16 bytes, a view. */
  idOf(slot: number): Uint8Array {
    return this.#ids.subarray(slot * 16, slot * 16 + 16)
  }

  /** Adds a message that waits. @param id 16 bytes of `source` from `idAt` on */
  add(
    topicId: string,
    source: Uint8Array,
    idAt: number,
    dueMs: number,
    order: number,
    offset: number,
    sizeBytes: number,
  ): number {
    const slot = this.#newSlot()
    const topic = this.#topicNumber(topicId)
    this.#topicCounts[topic]++
    this.#topic[slot] = topic
    this.#due[slot] = dueMs
    this.#order[slot] = order
    this.#offset[slot] = offset
    this.#bytes[slot] = sizeBytes
    for (let i = 0; i < 16; i++) this.#ids[slot * 16 + i] = source[idAt + i]
    this.#chain(slot)
    this.#size++
    this.#liveBytes += sizeBytes
    this.push(slot)
    return slot
  }

  /** The slot of a message; -1 when there is none. @param order that of the message; any when it is undefined */
  find(topicId: string, id: Uint8Array, order?: number): number {
    const topic = this.#topicNumbers.get(topicId)
    if (topic === undefined) return none
    let found = none
    for (let slot = this.#buckets[this.#hash(topic, id, 0)]; slot !== none; slot = this.#next[slot]) {
      if (this.#topic[slot] !== topic || !this.#hasId(slot, id)) continue
      if (order !== undefined ? this.#order[slot] !== order : found !== none && this.#before(found, slot))
        continue
      found = slot
    }
    return found
  }

  /** The record of a message is at another offset now. */
  moved(slot: number, offset: number): void {
    this.#offset[slot] = offset
  }

  /** When the next message is due, Unix milliseconds; infinity when none waits. */
  get nextDueMs(): number {
    return this.#heapSize === 0 ? Number.POSITIVE_INFINITY : this.#due[this.#heap[0]]
  }

  /** Takes the next message that is due out of the heap; -1 when none is. */
  popDue(nowMs: number): number {
    if (this.nextDueMs > nowMs) return none
    const slot = this.#heap[0]
    this.withdraw(slot)
    return slot
  }

  /** True while the message is in the heap. */
  waits(slot: number): boolean {
    return this.#place[slot] !== none
  }

  /** Puts a message back in the heap. */
  push(slot: number): void {
    this.#heap[this.#heapSize] = slot
    this.#place[slot] = this.#heapSize
    this.#up(this.#heapSize++)
  }

  /** Takes a message out of the heap, wherever it is in it. */
  withdraw(slot: number): void {
    const place = this.#place[slot]
    this.#place[slot] = none
    const last = this.#heap[--this.#heapSize]
    if (last === slot) return
    this.#heap[place] = last
    this.#place[last] = place
    this.#up(place)
    this.#down(this.#place[last])
  }

  /** Forgets a message. */
  remove(slot: number): void {
    if (this.waits(slot)) this.withdraw(slot)
    this.#unchain(slot)
    const topic = this.#topic[slot]
    if (--this.#topicCounts[topic] === 0) this.#topicNumbers.delete(this.#topicIds[topic])
    this.#liveBytes -= this.#bytes[slot]
    this.#size--
    this.#topic[slot] = none
    this.#next[slot] = this.#free
    this.#free = slot
  }

  /** All messages of a topic, in no order. */
  slotsOf(topicId: string): readonly number[] {
    const topic = this.#topicNumbers.get(topicId)
    const slots: number[] = []
    if (topic === undefined) return slots
    for (let slot = 0; slot < this.#used; slot++) if (this.#topic[slot] === topic) slots.push(slot)
    return slots
  }

  /** The first `max` messages of a topic behind `after`, by due time and order of acceptance. */
  page(topicId: string, after: PageCursor | undefined, max: number): readonly number[] {
    const topic = this.#topicNumbers.get(topicId)
    if (topic === undefined) return []
    const { dueMs, order } = after ?? { dueMs: none, order: none }
    // Twice as many as are asked for are gathered before they are cut: few sorts, and never more than that in memory.
    let found: number[] = []
    let boundSlot = none
    const compare = (one: number, other: number): number => (this.#before(one, other) ? -1 : 1)
    for (let slot = 0; slot < this.#used; slot++) {
      if (this.#topic[slot] !== topic) continue
      const due = this.#due[slot]
      if (due < dueMs || (due === dueMs && this.#order[slot] <= order)) continue
      if (boundSlot !== none && !this.#before(slot, boundSlot)) continue
      if (found.push(slot) < 2 * max) continue
      found = found.sort(compare).slice(0, max)
      boundSlot = found[max - 1]
    }
    return found.sort(compare).slice(0, max)
  }

  /** The `max` messages whose records have the lowest offsets, in that order. */
  oldest(max: number): readonly number[] {
    let found: number[] = []
    let boundOffset = Number.POSITIVE_INFINITY
    const compare = (one: number, other: number): number => this.#offset[one] - this.#offset[other]
    for (let slot = 0; slot < this.#used; slot++) {
      if (this.#topic[slot] === none || this.#offset[slot] >= boundOffset) continue
      if (found.push(slot) < 2 * max) continue
      found = found.sort(compare).slice(0, max)
      boundOffset = this.#offset[found[max - 1]]
    }
    return found.sort(compare).slice(0, max)
  }

  #topicNumber(topicId: string): number {
    const known = this.#topicNumbers.get(topicId)
    if (known !== undefined) return known
    const unused = this.#topicCounts.indexOf(0)
    const number = unused === none ? this.#topicIds.length : unused
    this.#topicIds[number] = topicId
    this.#topicCounts[number] = 0
    this.#topicNumbers.set(topicId, number)
    return number
  }

  #newSlot(): number {
    if (this.#free !== none) {
      const slot = this.#free
      this.#free = this.#next[slot]
      return slot
    }
    if (this.#used === this.#capacity) this.#grow()
    return this.#used++
  }

  #grow(): void {
    const before = this.#capacity
    const capacity = before * 2
    this.#capacity = capacity
    this.#due = larger(this.#due, new Float64Array(capacity))
    this.#order = larger(this.#order, new Float64Array(capacity))
    this.#offset = larger(this.#offset, new Float64Array(capacity))
    this.#topic = larger(this.#topic, new Int32Array(capacity).fill(none, before))
    this.#bytes = larger(this.#bytes, new Uint32Array(capacity))
    this.#ids = larger(this.#ids, new Uint8Array(capacity * 16))
    this.#heap = larger(this.#heap, new Int32Array(capacity))
    this.#place = larger(this.#place, new Int32Array(capacity).fill(none, before))
    this.#next = larger(this.#next, new Int32Array(capacity))
    this.#buckets = new Int32Array(capacity).fill(none)
    for (let slot = 0; slot < before; slot++) if (this.#topic[slot] !== none) this.#chain(slot)
  }

  #chain(slot: number): void {
    const bucket = this.#hash(this.#topic[slot], this.#ids, slot * 16)
    this.#next[slot] = this.#buckets[bucket]
    this.#buckets[bucket] = slot
  }

  #unchain(slot: number): void {
    const bucket = this.#hash(this.#topic[slot], this.#ids, slot * 16)
    let at = this.#buckets[bucket]
    if (at === slot) {
      this.#buckets[bucket] = this.#next[slot]
      return
    }
    while (this.#next[at] !== slot) at = this.#next[at]
    this.#next[at] = this.#next[slot]
  }

  #hash(topic: number, id: Uint8Array, at: number): number {
    let hash = topic
    for (let i = 0; i < 16; i++) hash = Math.imul(hash ^ id[at + i], 0x01000193)
    return (hash ^ (hash >>> 15)) & (this.#capacity - 1)
  }

  #hasId(slot: number, id: Uint8Array): boolean {
    for (let i = 0; i < 16; i++) if (this.#ids[slot * 16 + i] !== id[i]) return false
    return true
  }

  #before(one: number, other: number): boolean {
    const due = this.#due[one] - this.#due[other]
    return due < 0 || (due === 0 && this.#order[one] < this.#order[other])
  }

  #up(from: number): void {
    const heap = this.#heap
    const slot = heap[from]
    let place = from
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!this.#before(slot, heap[parent])) break
      heap[place] = heap[parent]
      this.#place[heap[place]] = place
      place = parent
    }
    heap[place] = slot
    this.#place[slot] = place
  }

  #down(from: number): void {
    const heap = this.#heap
    const slot = heap[from]
    let place = from
    for (;;) {
      let child = 2 * place + 1
      if (child >= this.#heapSize) break
      if (child + 1 < this.#heapSize && this.#before(heap[child + 1], heap[child])) child++
      if (!this.#before(heap[child], slot)) break
      heap[place] = heap[child]
      this.#place[heap[place]] = place
      place = child
    }
    heap[place] = slot
    this.#place[slot] = place
  }
}

function larger<T extends Float64Array | Int32Array | Uint32Array | Uint8Array>(old: T, grown: T): T {
  grown.set(old)
  return grown
}
