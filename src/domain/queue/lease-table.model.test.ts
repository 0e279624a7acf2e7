/** The lease table against a naive model, over random histories: see testing/naive-queue.ts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../testing/rounds.ts'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-codec.ts'
import { LeaseTable } from './lease-table.ts'
import type { Loss, SettleKind } from './lease-types.ts'
import { type NaiveMessage, NaiveQueue } from './testing/naive-queue.ts'

const ackTimeoutMs = 30_000
const retriesMax = 2
const leaseMs = ackTimeoutMs

interface Step {
  readonly what:
    | 'admit'
    | 'take'
    | 'settle'
    | 'extend'
    | 'pass'
    | 'leave'
    | 'seek'
    | 'crash'
    | 'bury'
    | 'skip'
    | 'ackUpTo'
  readonly a: number
  readonly b: number
  readonly c: number
}

const kinds: readonly SettleKind[] = ['ack', 'ack', 'nack', 'nack', 'terminate', 'release']
const weights: readonly [number, Step['what']][] = [
  [6, 'admit'],
  [12, 'take'],
  [14, 'settle'],
  [3, 'extend'],
  [4, 'pass'],
  [1, 'leave'],
  [1, 'crash'],
  [3, 'bury'],
  [1, 'skip'],
  [1, 'ackUpTo'],
]
const step = (seeks: boolean): fc.Arbitrary<Step> =>
  fc.record({
    what: fc.oneof(
      ...weights.map(([weight, what]) => ({ weight, arbitrary: fc.constant(what) })),
      ...(seeks ? [{ weight: 1, arbitrary: fc.constant('seek' as const) }] : []),
    ),
    a: fc.nat(1_000),
    b: fc.nat(1_000),
    c: fc.nat(1_000),
  })

/** A table and its model, driven by the same steps, compared after each. */
class Pair {
  readonly #ordered: boolean
  readonly #keys: number
  #table: LeaseTable
  readonly #model: NaiveQueue
  readonly #leases: { lease: number; from: number; to: number }[] = []
  #epoch = 1
  #nowMs = 1_000_000
  #leaseMax = 0
  /** The third member polls: its leases from here on are of its last call. */
  #since = 0

  constructor(ordered: boolean, keys: number) {
    this.#ordered = ordered
    this.#keys = keys
    this.#table = this.#open(undefined)
    this.#model = new NaiveQueue(ordered, retriesMax)
  }

  run({ what, a, b, c }: Step): void {
    this[what](a, b, c)
    this.#compare()
  }

  admit(a: number, b: number, c: number): void {
    const from = this.#table.nextOffset
    const to = from + (c % 20 === 0 ? 500 : a % 12)
    const hole = [from + (b % 12), from + (b % 12) + (c % 3)]
    const hashes = Int32Array.from({ length: to - from }, (_, i) => this.#keyOf(from + i))
    this.#table.admit(to, hashes, hole[0] < hole[1] ? hole : [])
    this.#model.admit(
      to,
      (offset) => this.#keyOf(offset),
      (offset) => offset >= hole[0] && offset < hole[1],
    )
  }

  take(a: number, b: number, c: number): void {
    const member = 1 + (a % 3)
    if (member === 3 && b % 2 === 0) this.#since = this.#leaseMax + 1
    const since = member === 3 ? this.#since : 0
    const run = this.#table.next(member, 1 + (b % 10), this.#nowMs, since)
    this.#model.endDelays(this.#nowMs)
    if (run === undefined) {
      for (const offset of this.#model.messages.keys()) {
        expect(this.#model.mayHave(offset, member, since), `${offset} may be had`).toBe(false)
      }
      return
    }
    const from = run.from
    const to = run.from + Math.max(1, run.to - run.from - (c % 3))
    const first = this.#model.messages.get(from) as NaiveMessage
    expect(this.#model.mayHaveAll(from, run.to, member, since)).toBe(true)
    expect(run.attempt).toBe(first.attempts + 1)
    if (first.seen) expect(run.redelivered).toBe(true)
    for (const other of [1, 2, 3]) {
      const others = other === 3 ? this.#since : 0
      if (!this.#model.mayHaveAll(from, to, other, others)) {
        expect(this.#table.lease(from, to, other, this.#nowMs, leaseMs, others)).toBe(0)
      }
    }
    const lease = this.#table.lease(from, to, member, this.#nowMs, leaseMs, since)
    expect(lease).toBeGreaterThan(this.#leaseMax)
    this.#leaseMax = lease
    expect(this.#table.lease(from, to, member, this.#nowMs, leaseMs)).toBe(0)
    this.#model.lease(from, to, member, lease, this.#nowMs + leaseMs)
    this.#leases.push({ lease, from, to })
  }

  settle(a: number, b: number, c: number): void {
    const picked = this.#pick(a)
    if (picked === undefined) return
    const from = picked.from + (b % 4)
    const to = Math.max(from + 1, picked.to - (c % 4))
    const kind = kinds[c % kinds.length]
    const delayMs = b % 3 === 0 ? 0 : (b % 7) * 5_000
    const counts = this.#table.settle(kind, picked.lease, from, to, this.#nowMs, delayMs)
    expect(counts).toEqual(this.#model.settle(kind, picked.lease, from, to, this.#nowMs, delayMs))
  }

  extend(a: number, b: number, c: number): void {
    const picked = this.#pick(a)
    if (picked === undefined) return
    const from = picked.from + (b % 3)
    const untilMs = this.#nowMs + 1 + (c % 60) * 1_000
    this.#table.extend(picked.lease, from, picked.to, untilMs)
    this.#model.extend(picked.lease, from, picked.to, untilMs)
  }

  pass(a: number, b: number): void {
    const dueMs = this.#table.nextDueMs
    if (a % 2 === 0 && dueMs !== Number.POSITIVE_INFINITY && dueMs > this.#nowMs) {
      expect(this.#table.expire(dueMs - 1)).toBe(0)
      this.#nowMs = dueMs
    } else this.#nowMs += b * 40
    this.#table.expire(this.#nowMs)
    this.#model.expire(this.#nowMs)
    this.#model.leave(-1) // restores the order after all that expired at once
  }

  leave(a: number): void {
    const member = 1 + (a % 3)
    this.#table.leave(member)
    this.#model.leave(member)
    expect(this.#table.heldBy(member)).toBe(0)
  }

  seek(a: number): void {
    const offset = a % (this.#table.nextOffset + 1)
    this.#table.seek(offset)
    this.#model.seek(offset)
  }

  crash(): void {
    const checkpoint = this.#table.checkpoint()
    const stored = decodeCheckpoint(encodeCheckpoint(checkpoint))
    expect(stored).toEqual(checkpoint)
    const { nextOffset } = this.#table
    this.#table = this.#open(stored)
    // In two steps, with a checkpoint between them, for a crash may come at any point.
    const hashes = (from: number, to: number) =>
      Int32Array.from({ length: to - from }, (_, i) => this.#keyOf(from + i))
    const { floor } = this.#table
    const middle = Math.floor((floor + nextOffset) / 2)
    this.#table.admit(middle, hashes(floor, middle))
    expect(this.#table.checkpoint()).toEqual({
      ...stored,
      epoch: this.#epoch,
      floor: this.#table.floor,
      deliveryBound: expect.any(Number),
      settled: stored.settled.filter((_, i) => stored.settled[i | 1] > this.#table.floor),
    })
    this.#table.admit(nextOffset, hashes(middle, nextOffset))
    this.#model.crash()
    this.#model.losses = []
    this.#model.failed = []
    for (const message of this.#model.messages.values()) {
      if (message.state === 'failing') this.#model.failed.push(message.offset)
    }
  }

  bury(a: number, b: number): void {
    const failing = [...this.#model.messages.values()].filter(({ state }) => state === 'failing')
    const picked = failing.at(a % Math.max(1, failing.length))
    if (picked === undefined) return
    if (b % 4 === 0) {
      this.#table.buryAgain(picked.offset)
      this.#model.failed.push(picked.offset)
      return
    }
    expect(this.#table.buried(picked.offset)).toBe(true)
    expect(this.#table.buried(picked.offset)).toBe(false)
    this.#model.messages.delete(picked.offset)
  }

  skip(a: number, b: number): void {
    const from = this.#table.floor + (a % 10)
    const to = from + (b % 5)
    const idle = [...this.#model.messages.values()].filter(
      ({ offset, state }) => offset >= from && offset < to && (state === 'waiting' || state === 'delayed'),
    )
    expect(this.#table.skip(from, to)).toBe(idle.length)
    for (const { offset } of idle) this.#model.messages.delete(offset)
  }

  ackUpTo(a: number, b: number): void {
    const member = 1 + (a % 3)
    const to = this.#table.floor + (b % 30)
    const held = [...this.#model.messages.values()].filter(
      (message) => message.offset < to && message.state === 'leased' && message.member === member,
    )
    expect(this.#table.ackUpTo(member, to, this.#nowMs)).toBe(held.length)
    for (const { lease, offset } of held) {
      this.#model.settle('ack', lease, offset, offset + 1, this.#nowMs, 0)
    }
  }

  #open(restored: ReturnType<LeaseTable['checkpoint']> | undefined): LeaseTable {
    this.#epoch = restored === undefined ? 1 : restored.epoch + 1
    const table = new LeaseTable({
      ordered: this.#ordered,
      epoch: this.#epoch,
      start: 0,
      retriesMax,
      restored,
      deliveryBoundStep: 2_000_000,
    })
    expect(table.next(1, 1, this.#nowMs)).toBe(undefined)
    table.stored(table.checkpoint())
    return table
  }

  /** The last leases more often than old ones. */
  #pick(a: number): { lease: number; from: number; to: number } | undefined {
    return this.#leases.at(-1 - (a % Math.min(12, Math.max(1, this.#leases.length))))
  }

  #keyOf(offset: number): number {
    return this.#keys === 0
      ? 0
      : Math.imul(offset + 1, 0x9e3779b1) >>> 8 > 0xe00000
        ? 0
        : 1 + ((offset * 7) % this.#keys)
  }

  #compare(): void {
    const table = this.#table
    const model = this.#model
    expect(table.floor).toBe(model.floor)
    expect(table.nextOffset).toBe(model.nextOffset)
    expect([table.waiting, table.leased, table.delayed, table.failing]).toEqual([
      model.count('waiting'),
      model.count('leased'),
      model.count('delayed'),
      model.count('failing'),
    ])
    const { settled, tried } = table.checkpoint()
    expect(settled).toEqual(settledRunsOf(model))
    expect(table.runs).toBe(settled.length / 2)
    const known = tried.flatMap((run) =>
      Array.from({ length: run.to - run.from }, (_, i) => [
        run.from + i,
        run.attempts,
        run.failing,
        run.dueMs,
      ]),
    )
    const expected = [...model.messages.values()]
      .filter(({ attempts, state }) => attempts > 0 || state !== 'waiting')
      .sort((one, other) => one.offset - other.offset)
      .map(({ offset, attempts, state, dueMs }) => [
        offset,
        attempts,
        state === 'failing',
        state === 'delayed' ? dueMs : 0,
      ])
    expect(known).toEqual(expected)
    const wronglyHeld = [...model.messages.values()].filter(
      ({ offset, state, lease }) => lease !== 0 && table.holds(lease, offset) !== (state === 'leased'),
    )
    expect(wronglyHeld).toEqual([])
    expect(singles(table.takeLosses())).toEqual(singles(model.losses))
    expect(
      table
        .takeFailing()
        .map(({ offset }) => offset)
        .toSorted((x, y) => x - y),
    ).toEqual(model.failed.toSorted((x, y) => x - y))
    model.losses = []
    model.failed = []
  }
}

function settledRunsOf(model: NaiveQueue): number[] {
  const runs: number[] = []
  for (let offset = model.floor; offset < model.nextOffset; offset++) {
    if (model.messages.has(offset)) continue
    if (runs.at(-1) === offset) runs[runs.length - 1] = offset + 1
    else runs.push(offset, offset + 1)
  }
  return runs
}

const singles = (losses: readonly Loss[]): string[] =>
  losses
    .flatMap(({ member, lease, from, to, reason }) =>
      Array.from({ length: to - from }, (_, i) => `${from + i} ${lease} ${member} ${reason}`),
    )
    .toSorted()

describe('the lease table does what the naive model does', () => {
  it.each([
    ['shared', false, 0],
    ['ordered, three keys', true, 3],
    ['ordered, forty keys', true, 40],
    ['ordered, no keys', true, 0],
  ])(
    '%s',
    (_, ordered, keys) => {
      fc.assert(
        fc.property(fc.array(step(true), { minLength: 10, maxLength: 80, size: 'max' }), (steps) => {
          const pair = new Pair(ordered, keys)
          for (const each of steps) pair.run(each)
        }),
        { numRuns: rounds(150, 50) },
      )
    },
    60_000,
  )
})
