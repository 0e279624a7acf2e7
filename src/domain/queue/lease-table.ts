/**
 * The leases of one partition of a queue group: see lease-types.ts for what each method does. This is where the parts work
 * together: states of messages, deliveries that are out, what is ready, and the order of keys.
 */
import { BoundStep } from './bound-step.ts'
import type { QueueCheckpoint } from './checkpoint.ts'
import { settledRunsMax } from './checkpoint.ts'
import { CheckpointWalk } from './checkpoint-of-table.ts'
import { Deliveries } from './deliveries.ts'
import { KeyOrder } from './key-order.ts'
import { leasesBeforeNext, leasesPerEpoch } from './lease-numbers.ts'
import type {
  FailedMessage,
  LeaseTableApi,
  LeaseTableOptions,
  Loss,
  ReadyRun,
  SettleCounts,
  SettleKind,
} from './lease-types.ts'
import { MessageEnds } from './message-ends.ts'
import { MessageStates } from './message-states.ts'
import { MessageWalks } from './message-walks.ts'
import { attemptsMask, failing, leased, none, pageOffsets, seenFlag, settled, waiting } from './pages.ts'
import { RangeHeap } from './range-heap.ts'
import { ReadyQueue } from './ready-queue.ts'
import { RestoredState } from './restored-state.ts'

const placeMask = pageOffsets - 1

/** The state of one partition of a queue group. */
export class LeaseTable implements LeaseTableApi {
  readonly #ordered: boolean
  readonly #boundStep: BoundStep
  readonly #states: MessageStates
  readonly #deliveries = new Deliveries()
  readonly #order: KeyOrder
  readonly #ready: ReadyQueue
  readonly #delays = new RangeHeap()
  readonly #ends: MessageEnds
  readonly #walks: MessageWalks
  #restored: RestoredState
  #epoch: number
  /** Leases of the epoch that count as given. */
  #given: number
  #deliveryBound = 0
  /** Below it, messages may have been delivered without that being known. */
  #doubtBound: number

  constructor({ ordered, epoch, given, start, retriesMax, restored, deliveryBoundStep }: LeaseTableOptions) {
    this.#ordered = ordered
    this.#boundStep = new BoundStep(deliveryBoundStep)
    this.#epoch = epoch
    this.#given = given ?? 0
    this.#states = new MessageStates(ordered, restored?.floor ?? start)
    this.#order = new KeyOrder(this.#states.pages)
    this.#ready = new ReadyQueue(ordered, this.#states, this.#deliveries)
    this.#ends = new MessageEnds(
      {
        ordered,
        states: this.#states,
        deliveries: this.#deliveries,
        order: this.#order,
        ready: this.#ready,
        delays: this.#delays,
      },
      retriesMax,
    )
    this.#walks = new MessageWalks(this.#states, this.#deliveries)
    this.#restored = new RestoredState(restored)
    this.#doubtBound = restored?.deliveryBound ?? 0
  }

  get retriesMax(): number {
    return this.#ends.retriesMax
  }

  set retriesMax(retriesMax: number) {
    this.#ends.retriesMax = retriesMax
  }

  get floor(): number {
    return this.#states.floor
  }

  get nextOffset(): number {
    return this.#states.nextOffset
  }

  get unsettled(): number {
    const { waiting, leased, delayed, failing } = this.#states
    return waiting + leased + delayed + failing
  }

  get waiting(): number {
    return this.#states.waiting
  }

  get leased(): number {
    return this.#states.leased
  }

  get delayed(): number {
    return this.#states.delayed
  }

  get failing(): number {
    return this.#states.failing
  }

  get keys(): number {
    return this.#order.size
  }

  get runs(): number {
    return this.#states.runs + this.#restored.runsFrom(this.#states.nextOffset)
  }

  get changes(): number {
    return this.#ends.changes
  }

  get deliveryBound(): number {
    return this.#deliveryBound
  }

  get needsBound(): boolean {
    return this.#deliveryBound - this.#ready.freshAt < this.#boundStep.now / 2
  }

  get nextDueMs(): number {
    return Math.min(this.#deliveries.nextDeadlineMs, this.#delays.topKey)
  }

  admit(to: number, keyHashes?: Int32Array, settledRanges: readonly number[] = []): void {
    const states = this.#states
    const from = states.nextOffset
    let range = 0
    while (states.nextOffset < to) {
      const at = states.nextOffset
      while (range < settledRanges.length && settledRanges[range + 1] <= at) range += 2
      const inRange = range < settledRanges.length && settledRanges[range] <= at
      const settledTo = Math.max(this.#restored.settledUntil(at), inRange ? settledRanges[range + 1] : at)
      if (settledTo > at) states.admitSettled(Math.min(to, settledTo))
      else states.admitWaiting(Math.min(to, this.#restored.nextSettled, settledRanges[range] ?? to))
    }
    if (this.#ordered && keyHashes !== undefined) {
      for (let at = from; at < to; at++) {
        const hash = keyHashes[at - from]
        if (hash !== 0 && states.of(at) === waiting) this.#order.append(at, hash)
      }
    }
    for (const run of this.#restored.triedIn(from, to)) this.#ends.restore(run)
    this.#ends.changes++
  }

  next(member: number, countMax: number, nowMs: number, since = 0): ReadyRun | undefined {
    if (this.#delays.topKey <= nowMs) this.#ends.endDelays(nowMs)
    const limit = Math.min(this.#states.nextOffset, this.#deliveryBound)
    const from = this.#ready.first(member, this.runs < settledRunsMax ? limit : 0, since)
    if (from === none || countMax < 1) return undefined
    let end = Math.min(limit, from + countMax)
    if (from < this.#doubtBound) end = Math.min(end, this.#doubtBound)
    const to = this.#ready.endOfRun(from, end, member, since)
    const tries = this.#states.pages.of(from).attempts[from & placeMask]
    return {
      from,
      to,
      attempt: (tries & attemptsMask) + 1,
      redelivered: (tries & seenFlag) !== 0 || from < this.#doubtBound,
    }
  }

  lease(
    from: number,
    to: number,
    member: number,
    nowMs: number,
    leaseMs: number,
    since = 0,
    begun = true,
  ): number {
    const states = this.#states
    if (from >= to || from < states.floor || to > states.nextOffset || to > this.#deliveryBound) return 0
    if (this.#ready.endOfRun(from, to, member, since) !== to) return 0
    const lease = this.#nextLease()
    const tries = states.pages.of(from).attempts[from & placeMask] & attemptsMask
    const attempt = Math.min(tries + 1, attemptsMask)
    const slot = this.#deliveries.add(lease, member, from, to, attempt, nowMs, nowMs + leaseMs)
    states.move(from, to, waiting, leased)
    for (let at = from; at < to; ) {
      const page = states.pages.of(at)
      const end = Math.min(to, page.base + pageOffsets)
      page.attempts.fill(attempt | seenFlag, at - page.base, end - page.base)
      page.slots.fill(slot, at - page.base, end - page.base)
      page.begun.fill(begun ? 1 : 0, at - page.base, end - page.base)
      at = end
    }
    this.#ready.leased(from, to, member)
    this.#ends.hold(member, to - from)
    return lease
  }

  begin(lease: number, from: number, to: number): SettleCounts {
    const counts = this.#walks.eachHeld(lease, from, to, (_slot, first, end) => {
      for (let at = first; at < end; at++) this.#states.pages.of(at).begun[at & placeMask] = 1
    })
    if (counts.settled > 0) this.#ends.changes++
    return counts
  }

  attemptOf(lease: number): number {
    const slot = this.#deliveries.find(lease)
    return slot === -1 ? 0 : this.#deliveries.attempts[slot]
  }

  /** The member that a lease was given to; 0 when it is not known any more. */
  holderOf(lease: number): number {
    const slot = this.#deliveries.find(lease)
    return slot === -1 ? 0 : this.#deliveries.members[slot]
  }

  settle(
    kind: SettleKind,
    lease: number,
    from: number,
    to: number,
    nowMs: number,
    delayMs = 0,
  ): SettleCounts {
    const counts = this.#walks.eachHeld(lease, from, to, (slot, first, end) => {
      this.#ends.end(kind, slot, first, end, nowMs, delayMs)
    })
    this.#finish()
    return counts
  }

  ackUpTo(member: number, to: number, nowMs: number): number {
    const { members } = this.#deliveries
    let count = 0
    const end = Math.min(to, this.#states.nextOffset)
    for (let at = this.#states.floor; at < end; ) {
      const page = this.#states.pages.at(at)
      if (page === undefined) {
        at = at - (at % pageOffsets) + pageOffsets
        continue
      }
      const slot = page.slots[at & placeMask]
      const first = at
      at = page.states[at & placeMask] === leased ? this.#walks.endOfHeld(slot, at, end) : at + 1
      if (page.states[first & placeMask] !== leased || members[slot] !== member) continue
      this.#ends.end('ack', slot, first, at, nowMs, 0)
      count += at - first
    }
    this.#finish()
    return count
  }

  extend(lease: number, from: number, to: number, untilMs: number): SettleCounts {
    const deliveries = this.#deliveries
    let part = none
    return this.#walks.eachHeld(lease, from, to, (slot, first, end) => {
      if (end - first === deliveries.left[slot]) {
        deliveries.setDeadline(slot, untilMs)
        return
      }
      if (part === none) part = deliveries.split(deliveries.parents[slot], first, end, untilMs)
      deliveries.move(slot, part, first, end)
      for (let at = first; at < end; at++) this.#states.pages.of(at).slots[at & placeMask] = part
    })
  }

  holds(lease: number, offset: number): boolean {
    const page = this.#states.pages.at(offset)
    if (page === undefined || page.states[offset & placeMask] !== leased) return false
    return this.#deliveries.leases[page.slots[offset & placeMask]] === lease
  }

  heldBy(member: number): number {
    return this.#ends.heldBy(member)
  }

  expire(nowMs: number): number {
    const deliveries = this.#deliveries
    let count = 0
    while (deliveries.nextDeadlineMs <= nowMs) {
      const slot = deliveries.first
      this.#walks.eachOfSlot(slot, (first, end) => {
        count += end - first
        this.#ends.tell(slot, first, end, 'timeout')
        this.#ends.lose(slot, first, end, 'timeout')
      })
    }
    this.#finish()
    return count + this.#ends.endDelays(nowMs)
  }

  leave(member: number): number {
    const { parents, members, left, used } = this.#deliveries
    let count = 0
    for (let slot = 0; slot < used; slot++) {
      if (parents[slot] === -1 || members[slot] !== member || left[slot] === 0) continue
      this.#walks.eachOfSlot(slot, (first, end) => {
        count += end - first
        this.#ends.loseHolder(slot, first, end)
      })
    }
    this.#finish()
    this.#ready.leave(member)
    return count
  }

  seek(offset: number): void {
    const { parents, left, used } = this.#deliveries
    for (let slot = 0; slot < used; slot++) {
      if (parents[slot] === -1 || left[slot] === 0) continue
      this.#walks.eachOfSlot(slot, (first, end) => this.#ends.tell(slot, first, end, 'seek'))
    }
    this.#doubtBound = Math.max(this.#doubtBound, this.#ready.freshAt)
    this.#states.reset(offset)
    this.#deliveries.clear()
    this.#order.clear()
    this.#ready.clear(offset)
    this.#delays.clear()
    this.#ends.clear()
    this.#restored = new RestoredState(undefined)
  }

  skip(from: number, to: number): number {
    return this.#walks.eachIdle(from, to, (first, end, state) => this.#ends.settle(first, end, state))
  }

  fail(from: number, to: number, cause: 'expired' | 'undecodable'): number {
    return this.#walks.eachIdle(from, to, (first, end, state) =>
      this.#ends.failIdle(first, end, state, cause),
    )
  }

  takeFailing(): readonly FailedMessage[] {
    return this.#ends.takeFailing()
  }

  buried(offset: number): boolean {
    if (!this.#isFailing(offset)) return false
    this.#ends.settle(offset, offset + 1, failing)
    return true
  }

  buryAgain(offset: number): void {
    if (this.#isFailing(offset)) this.#ends.report(offset, offset + 1, 'restored', 0)
  }

  takeLosses(): readonly Loss[] {
    return this.#ends.takeLosses()
  }

  owes(offset: number): boolean {
    if (offset < this.#states.floor) return false
    if (offset < this.#states.nextOffset) return this.#states.of(offset) !== settled
    return !this.#restored.isSettled(offset)
  }

  ahead(): Pick<QueueCheckpoint, 'settled' | 'tried'> {
    const ahead = { settled: [], tried: [] }
    this.#restored.appendTo(ahead.settled, ahead.tried, this.#states.nextOffset)
    return ahead
  }

  beginCheckpoint(): CheckpointWalk {
    return new CheckpointWalk(this.#states, this.#deliveries, true)
  }

  checkpoint(
    last = false,
    walk = new CheckpointWalk(this.#states, this.#deliveries, false),
  ): QueueCheckpoint {
    walk.step(Number.POSITIVE_INFINITY)
    const { settled: runs, tried } = walk
    this.#restored.appendTo(runs, tried, this.#states.nextOffset)
    const { freshAt } = this.#ready
    const bound = freshAt + this.#boundStep.next(freshAt, this.unsettled)
    // It may come down: nothing is delivered beyond what is about to be stored.
    this.#deliveryBound = Math.min(this.#deliveryBound, bound)
    return {
      floor: walk.floor,
      // The next epoch is taken when the numbers of this one are used up: it must be stored by then.
      epoch: this.#given < leasesBeforeNext ? this.#epoch : this.#epoch + 1,
      deliveryBound: Math.max(this.#doubtBound, last ? freshAt : bound),
      settled: runs,
      tried,
    }
  }

  stored({ deliveryBound }: QueueCheckpoint): void {
    this.#deliveryBound = Math.max(this.#deliveryBound, deliveryBound)
  }

  #nextLease(): number {
    if (++this.#given === leasesPerEpoch) {
      this.#epoch++
      this.#given = 1
    }
    return this.#epoch * leasesPerEpoch + this.#given
  }

  #isFailing(offset: number): boolean {
    const { floor, nextOffset } = this.#states
    return offset >= floor && offset < nextOffset && this.#states.of(offset) === failing
  }

  /** At the end of each call that ends leases. */
  #finish(): void {
    this.#ends.flush()
    if (this.#states.leased === 0) this.#deliveries.shrink()
  }
}
