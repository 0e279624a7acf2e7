/**
 * What happens to messages when a lease on them ends, and what follows from it: retries, dead letters, losses, and the order
 * of keys. Everything takes runs of messages that are in one state.
 */
import type { TriedRun } from './checkpoint.ts'
import type { Deliveries } from './deliveries.ts'
import type { KeyOrder } from './key-order.ts'
import type { FailedMessage, Loss, SettleKind } from './lease-types.ts'
import type { MessageStates } from './message-states.ts'
import {
  attemptsMask,
  delayed,
  failing,
  leased,
  none,
  pageOffsets,
  seenFlag,
  settled,
  timesOf,
  waiting,
} from './pages.ts'
import type { RangeHeap } from './range-heap.ts'
import type { ReadyQueue } from './ready-queue.ts'

const placeMask = pageOffsets - 1

/** What a lease table is made of. */
export interface TableParts {
  readonly ordered: boolean
  readonly states: MessageStates
  readonly deliveries: Deliveries
  readonly order: KeyOrder
  readonly ready: ReadyQueue
  readonly delays: RangeHeap
}

/** Ends of leases. `flush` after the last of those that belong together. */
export class MessageEnds {
  retriesMax: number
  /** Goes up with each change. */
  changes = 0
  readonly #parts: TableParts
  readonly #held = new Map<number, number>()
  #losses: Loss[] = []
  #failed: FailedMessage[] = []
  /** Messages that came back and whose key's order is yet to be restored: from, to, from, to, ... */
  #cameBack: number[] = []

  constructor(parts: TableParts, retriesMax: number) {
    this.#parts = parts
    this.retriesMax = retriesMax
  }

  heldBy(member: number): number {
    return this.#held.get(member) ?? 0
  }

  hold(member: number, count: number): void {
    const held = this.heldBy(member) + count
    if (held === 0) this.#held.delete(member)
    else this.#held.set(member, held)
    this.changes++
  }

  /** Ends the lease of messages of a delivery as its holder says. */
  end(kind: SettleKind, slot: number, from: number, to: number, nowMs: number, delayMs: number): void {
    const { deliveries } = this.#parts
    this.hold(deliveries.members[slot], from - to)
    if (kind === 'ack') this.settle(from, to, leased)
    else if (kind === 'release') this.#release(from, to)
    else {
      this.#noteTimes(slot, from, to)
      if (kind === 'terminate' || this.#exhausted(slot)) this.#fail(slot, from, to, kind)
      else if (delayMs > 0) this.#delay(from, to, nowMs + delayMs)
      else this.#wait(from, to)
    }
    deliveries.settle(slot, to - from)
  }

  /** Messages of a delivery are taken away, their attempt counted. */
  lose(slot: number, from: number, to: number, cause: 'timeout' | 'left'): void {
    const { deliveries } = this.#parts
    this.hold(deliveries.members[slot], from - to)
    this.#noteTimes(slot, from, to)
    if (this.#exhausted(slot)) this.#fail(slot, from, to, cause)
    else this.#wait(from, to)
    deliveries.lose(slot, from, to)
  }

  /** The holder of messages is gone: the attempt counts of those that he had begun with, or might have. */
  loseHolder(slot: number, from: number, to: number): void {
    const { states, deliveries } = this.#parts
    const isBegun = (at: number): boolean => states.pages.of(at).begun[at & placeMask] === 1
    for (let at = from; at < to; ) {
      const first = at++
      const begun = isBegun(first)
      while (at < to && isBegun(at) === begun) at++
      if (begun) this.lose(slot, first, at, 'left')
      else {
        this.hold(deliveries.members[slot], first - at)
        this.#release(first, at)
        deliveries.lose(slot, first, at)
      }
    }
  }

  /** Settles messages in the state `was`. */
  settle(from: number, to: number, was: number): void {
    const { states, order, ready, ordered } = this.#parts
    for (let at = from; ordered && at < to; at++) {
      const page = states.pages.of(at)
      const previous = page.previous[at & placeMask]
      const next = order.remove(page, at)
      // After a leased one that is not the first, the next one is leased as well or known to the holder.
      if (next !== none && (previous === none || was !== leased)) ready.offer(next)
    }
    states.move(from, to, was, settled)
    this.changes++
  }

  /** Lets messages in the state `was` fail that nobody holds. */
  failIdle(from: number, to: number, was: number, cause: 'expired' | 'undecodable'): void {
    this.#parts.states.move(from, to, was, failing)
    this.report(from, to, cause, 0)
    this.changes++
  }

  /** Delays that end by `nowMs`. @returns how many messages wait again */
  endDelays(nowMs: number): number {
    const { delays, states, ready } = this.#parts
    let count = 0
    while (delays.topKey <= nowMs) {
      const from = delays.topFrom
      const to = delays.topTo
      delays.pop()
      for (let at = from; at < to; at++) {
        if (states.of(at) !== delayed) continue
        let end = at + 1
        while (end < to && states.of(end) === delayed) end++
        states.move(at, end, delayed, waiting)
        ready.offerRange(at, end)
        count += end - at
        at = end
      }
    }
    this.changes += count
    return count
  }

  /** Puts the order of keys right after messages came back: later ones of their keys that are leased are taken back. */
  flush(): void {
    if (this.#cameBack.length === 0) return
    const cameBack = this.#cameBack
    this.#cameBack = []
    const { states, ready } = this.#parts
    for (let i = 0; i < cameBack.length; i += 2) {
      for (let at = cameBack[i]; at < cameBack[i + 1]; at++) {
        this.#takeBackAfter(states.pages.of(at).next[at & placeMask])
      }
    }
    for (let i = 0; i < cameBack.length; i += 2) ready.offerRange(cameBack[i], cameBack[i + 1])
  }

  /** Notes that a holder must be told of a loss. */
  tell(slot: number, from: number, to: number, reason: Loss['reason']): void {
    const { leases, members } = this.#parts.deliveries
    const last = this.#losses.at(-1)
    if (last?.to === from && last.lease === leases[slot] && last.reason === reason) {
      this.#losses[this.#losses.length - 1] = { ...last, to }
    } else this.#losses.push({ member: members[slot], lease: leases[slot], from, to, reason })
  }

  /** Notes that failing messages are to become dead letters. */
  report(from: number, to: number, cause: FailedMessage['cause'], lease: number): void {
    for (let offset = from; offset < to; offset++) {
      const page = this.#parts.states.pages.of(offset)
      const place = offset & placeMask
      this.#failed.push({
        offset,
        attempts: page.attempts[place] & attemptsMask,
        firstAtMs: page.times?.[place] ?? 0,
        lastAtMs: page.times?.[place + pageOffsets] ?? 0,
        cause,
        lease,
      })
    }
  }

  takeFailing(): readonly FailedMessage[] {
    const failed = this.#failed
    if (failed.length > 0) this.#failed = []
    return failed
  }

  takeLosses(): readonly Loss[] {
    const losses = this.#losses
    if (losses.length > 0) this.#losses = []
    return losses
  }

  /** Forgets what is held and what has failed. Losses stay, to be told. */
  clear(): void {
    this.#held.clear()
    this.#failed = []
    this.#cameBack = []
    this.changes++
  }

  /** What is stored of messages that were just admitted, as far as they wait. */
  restore({ from, to, attempts, failing: isFailing, dueMs, firstAtMs, lastAtMs }: TriedRun): void {
    const { states } = this.#parts
    for (let at = from; at < to; at++) {
      const page = states.pages.at(at)
      const place = at & placeMask
      if (page?.states[place] !== waiting) continue
      page.attempts[place] = attempts | seenFlag
      const times = timesOf(page)
      times[place] = firstAtMs
      times[place + pageOffsets] = lastAtMs
      if (isFailing) {
        states.move(at, at + 1, waiting, failing)
        this.report(at, at + 1, 'restored', 0)
      } else if (dueMs > 0) {
        states.move(at, at + 1, waiting, delayed)
        this.#setDelay(at, at + 1, dueMs)
      }
    }
  }

  /** Messages that are delayed, each with its times. */
  #setDelay(from: number, to: number, dueMs: number): void {
    const { states, delays } = this.#parts
    delays.push(dueMs, from, to)
    for (let at = from; at < to; at++) {
      timesOf(states.pages.of(at))[(at & placeMask) + 2 * pageOffsets] = dueMs
    }
  }

  #exhausted(slot: number): boolean {
    return this.retriesMax !== -1 && this.#parts.deliveries.attempts[slot] > this.retriesMax
  }

  #release(from: number, to: number): void {
    for (let at = from; at < to; at++) this.#parts.states.pages.of(at).attempts[at & placeMask]--
    this.#wait(from, to)
  }

  #wait(from: number, to: number): void {
    this.#parts.states.move(from, to, leased, waiting)
    if (this.#parts.ordered) this.#cameBack.push(from, to)
    else this.#parts.ready.offerRange(from, to)
  }

  #delay(from: number, to: number, dueMs: number): void {
    this.#parts.states.move(from, to, leased, delayed)
    this.#setDelay(from, to, dueMs)
    if (this.#parts.ordered) this.#cameBack.push(from, to)
  }

  #fail(slot: number, from: number, to: number, cause: 'nack' | 'terminate' | 'timeout' | 'left'): void {
    this.#parts.states.move(from, to, leased, failing)
    this.report(from, to, cause, this.#parts.deliveries.leases[slot])
    if (this.#parts.ordered) this.#cameBack.push(from, to)
  }

  #noteTimes(slot: number, from: number, to: number): void {
    const startedAtMs = this.#parts.deliveries.startedAtMs[slot]
    for (let at = from; at < to; at++) {
      const page = this.#parts.states.pages.of(at)
      const times = timesOf(page)
      const place = at & placeMask
      if (times[place] === 0) times[place] = startedAtMs
      times[place + pageOffsets] = startedAtMs
    }
  }

  #takeBackAfter(first: number): void {
    const { states, deliveries } = this.#parts
    for (let at = first; at !== none; ) {
      const page = states.pages.of(at)
      const place = at & placeMask
      if (page.states[place] !== leased) return
      const slot = page.slots[place]
      this.tell(slot, at, at + 1, 'order')
      this.hold(deliveries.members[slot], -1)
      page.attempts[place]--
      states.move(at, at + 1, leased, waiting)
      deliveries.lose(slot, at, at + 1)
      at = page.next[place]
    }
  }
}
