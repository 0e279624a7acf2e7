/**
 * The deliveries that are out: one for each lease, in flat arrays, with a heap of their deadlines and an index by lease.
 *
 * Extending a part of a delivery splits it: the part becomes a delivery of its own with the same lease and another deadline,
 * whose `parent` is the first one. That is over only when its parts are. The last 1,024 that ended with a settlement
 * are remembered, so that a settlement that comes twice can be told from one that comes too late.
 */

const rememberedMax = 1_024
const slotsMin = 64
const shrinkFrom = 65_536

/** Deliveries by slot. The arrays are read by the lease table, and written only here. */
export class Deliveries {
  leases = new Float64Array(slotsMin)
  members = new Int32Array(slotsMin)
  froms = new Float64Array(slotsMin)
  tos = new Float64Array(slotsMin)
  startedAtMs = new Float64Array(slotsMin)
  attempts = new Uint16Array(slotsMin)
  /** Messages that are held in this slot. */
  left = new Uint32Array(slotsMin)
  /** The slot of the whole delivery: itself, but for parts of it. -1 for a free slot. */
  parents = new Int32Array(slotsMin).fill(-1)
  /** Slots were handed out below it only. */
  used = 0
  #deadlines = new Float64Array(slotsMin)
  #parts = new Uint32Array(slotsMin)
  /** 1 once a message was settled. */
  #settledAny = new Uint8Array(slotsMin)
  /** Place in the heap; -1 when not there. */
  #places = new Int32Array(slotsMin)
  #heap = new Int32Array(slotsMin)
  #heapSize = 0
  /** Open addressing by lease: slot + 1, 0 for none. At most half full. */
  #index = new Int32Array(slotsMin * 2)
  #free: number[] = []
  readonly #remembered = new Int32Array(rememberedMax).fill(-1)
  #rememberedAt = 0
  /** By whole delivery: which of its messages were lost. Only of those that are not lost as a whole. */
  readonly #losses = new Map<number, number[]>()

  /** The earliest deadline; Infinity for none. */
  get nextDeadlineMs(): number {
    return this.#heapSize === 0 ? Number.POSITIVE_INFINITY : this.#deadlines[this.#heap[0]]
  }

  /** The delivery with the earliest deadline. */
  get first(): number {
    return this.#heap[0]
  }

  /** The whole delivery of a lease, also when it is over but remembered; -1 when it is not known. */
  find(lease: number): number {
    const mask = this.#index.length - 1
    for (let at = this.#home(lease); ; at = (at + 1) & mask) {
      const slot = this.#index[at] - 1
      if (slot === -1 || this.leases[slot] === lease) return slot
    }
  }

  add(
    lease: number,
    member: number,
    from: number,
    to: number,
    attempt: number,
    nowMs: number,
    deadlineMs: number,
  ): number {
    const slot = this.#take(lease, member, from, to, attempt, nowMs)
    this.left[slot] = to - from
    this.parents[slot] = slot
    this.#enter(slot)
    this.#place(slot, deadlineMs)
    return slot
  }

  /** A part of a delivery, with its own deadline; `move` brings messages into it. */
  split(parent: number, from: number, to: number, deadlineMs: number): number {
    const { leases, members, attempts, startedAtMs } = this
    const slot = this.#take(leases[parent], members[parent], from, to, attempts[parent], startedAtMs[parent])
    this.parents[slot] = parent
    this.#parts[parent]++
    this.#place(slot, deadlineMs)
    return slot
  }

  /** Messages go from one part of a delivery to another. */
  move(slot: number, part: number, from: number, to: number): void {
    this.froms[part] = Math.min(this.froms[part], from)
    this.tos[part] = Math.max(this.tos[part], to)
    this.left[part] += to - from
    this.#reduce(slot, to - from)
  }

  setDeadline(slot: number, deadlineMs: number): void {
    this.#deadlines[slot] = deadlineMs
    this.#raise(this.#places[slot])
    this.#sink(this.#places[slot])
  }

  /** `count` messages of the slot were settled. */
  settle(slot: number, count: number): void {
    this.#settledAny[this.parents[slot]] = 1
    this.#reduce(slot, count)
  }

  /** Messages of the slot are lost. */
  lose(slot: number, from: number, to: number): void {
    const parent = this.parents[slot]
    if (to - from < this.left[slot] || this.#parts[parent] > 0 || this.#settledAny[parent] === 1) {
      const lost = this.#losses.get(parent)
      if (lost === undefined) this.#losses.set(parent, [from, to])
      else lost.push(from, to)
    }
    this.#reduce(slot, to - from)
  }

  /** True when each message of the whole delivery was settled with its lease. */
  isSettled(slot: number): boolean {
    return this.left[slot] === 0 && this.#parts[slot] === 0 && !this.#losses.has(slot)
  }

  /** True when a message of the whole delivery, which it does not hold any more, was lost. */
  wasLost(slot: number, offset: number): boolean {
    const lost = this.#losses.get(slot)
    if (lost === undefined) return false
    for (let i = 0; i < lost.length; i += 2) if (offset >= lost[i] && offset < lost[i + 1]) return true
    return false
  }

  /** Gives the memory of a burst back, if there was one; what is remembered goes with it. Only while nothing is held. */
  shrink(): void {
    if (this.used < shrinkFrom) return
    this.clear()
    this.#resize(slotsMin)
  }

  /** Forgets all. */
  clear(): void {
    this.parents.fill(-1)
    this.#index.fill(0)
    this.#remembered.fill(-1)
    this.#losses.clear()
    this.#free = []
    this.#heapSize = 0
    this.used = 0
  }

  #reduce(slot: number, count: number): void {
    this.left[slot] -= count
    if (this.left[slot] > 0) return
    this.#unplace(slot)
    const parent = this.parents[slot]
    if (parent !== slot) {
      this.#parts[parent]--
      this.#release(slot)
    }
    if (this.left[parent] === 0 && this.#parts[parent] === 0) this.#end(parent)
  }

  /** A whole delivery is over. */
  #end(slot: number): void {
    if (this.#settledAny[slot] === 0) {
      this.#forget(slot)
      return
    }
    const oldest = this.#remembered[this.#rememberedAt]
    this.#remembered[this.#rememberedAt] = slot
    this.#rememberedAt = (this.#rememberedAt + 1) % rememberedMax
    if (oldest !== -1) this.#forget(oldest)
  }

  #forget(slot: number): void {
    this.#leave(slot)
    if (this.#losses.size > 0) this.#losses.delete(slot)
    this.#release(slot)
  }

  #take(lease: number, member: number, from: number, to: number, attempt: number, nowMs: number): number {
    let slot = this.#free.pop()
    if (slot === undefined) {
      if (this.used === this.leases.length) this.#resize(this.used * 2)
      slot = this.used++
    }
    this.leases[slot] = lease
    this.members[slot] = member
    this.froms[slot] = from
    this.tos[slot] = to
    this.attempts[slot] = attempt
    this.startedAtMs[slot] = nowMs
    this.left[slot] = 0
    this.#parts[slot] = 0
    this.#settledAny[slot] = 0
    return slot
  }

  #release(slot: number): void {
    this.parents[slot] = -1
    this.#free.push(slot)
  }

  #resize(slots: number): void {
    const grow = <T extends { set(from: T): void; subarray(from: number, to: number): T }>(
      old: T,
      made: T,
    ): T => {
      made.set(old.subarray(0, this.used))
      return made
    }
    this.leases = grow(this.leases, new Float64Array(slots))
    this.members = grow(this.members, new Int32Array(slots))
    this.froms = grow(this.froms, new Float64Array(slots))
    this.tos = grow(this.tos, new Float64Array(slots))
    this.startedAtMs = grow(this.startedAtMs, new Float64Array(slots))
    this.attempts = grow(this.attempts, new Uint16Array(slots))
    this.left = grow(this.left, new Uint32Array(slots))
    this.parents = grow(this.parents, new Int32Array(slots).fill(-1))
    this.#deadlines = grow(this.#deadlines, new Float64Array(slots))
    this.#parts = grow(this.#parts, new Uint32Array(slots))
    this.#settledAny = grow(this.#settledAny, new Uint8Array(slots))
    this.#places = grow(this.#places, new Int32Array(slots))
    this.#heap = grow(this.#heap, new Int32Array(slots))
    this.#index = new Int32Array(slots * 2)
    for (let slot = 0; slot < this.used; slot++) if (this.parents[slot] === slot) this.#enter(slot)
  }

  /** Leases follow each other: scattered over the index, so that they do not make one long row, which is slow to take out of. */
  #home(lease: number): number {
    return Math.imul(lease | 0, 0x9e3779b1) >>> (Math.clz32(this.#index.length) + 1)
  }

  #enter(slot: number): void {
    const mask = this.#index.length - 1
    let at = this.#home(this.leases[slot])
    while (this.#index[at] !== 0) at = (at + 1) & mask
    this.#index[at] = slot + 1
  }

  /** Takes a slot out of the index, and moves those that had to step aside for it back. */
  #leave(slot: number): void {
    const index = this.#index
    const mask = index.length - 1
    let hole = this.#home(this.leases[slot])
    while (index[hole] !== slot + 1) hole = (hole + 1) & mask
    for (let at = (hole + 1) & mask; index[at] !== 0; at = (at + 1) & mask) {
      const home = this.#home(this.leases[index[at] - 1])
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      index[hole] = index[at]
      hole = at
    }
    index[hole] = 0
  }

  #place(slot: number, deadlineMs: number): void {
    this.#deadlines[slot] = deadlineMs
    this.#heap[this.#heapSize] = slot
    this.#places[slot] = this.#heapSize
    this.#raise(this.#heapSize++)
  }

  #unplace(slot: number): void {
    const place = this.#places[slot]
    const last = this.#heap[--this.#heapSize]
    if (last === slot) return
    this.#heap[place] = last
    this.#places[last] = place
    this.#raise(place)
    this.#sink(this.#places[last])
  }

  #raise(place: number): void {
    const heap = this.#heap
    const slot = heap[place]
    const deadlineMs = this.#deadlines[slot]
    let at = place
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#deadlines[heap[parent]] <= deadlineMs) break
      heap[at] = heap[parent]
      this.#places[heap[at]] = at
      at = parent
    }
    heap[at] = slot
    this.#places[slot] = at
  }

  #sink(place: number): void {
    const heap = this.#heap
    const slot = heap[place]
    const deadlineMs = this.#deadlines[slot]
    let at = place
    for (;;) {
      let child = 2 * at + 1
      if (child >= this.#heapSize) break
      if (child + 1 < this.#heapSize && this.#deadlines[heap[child + 1]] < this.#deadlines[heap[child]])
        child++
      if (this.#deadlines[heap[child]] >= deadlineMs) break
      heap[at] = heap[child]
      this.#places[heap[at]] = at
      at = child
    }
    heap[at] = slot
    this.#places[slot] = at
  }
}
