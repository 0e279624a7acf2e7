/** Messages that wait at a member which says when it begins: whose loss counts, and whose does not. */
import { describe, expect, it } from 'vitest'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint-codec.ts'
import { LeaseTable } from './lease-table.ts'
import type { LeaseTableOptions } from './lease-types.ts'

const leaseMs = 30_000

function tableOf(options: Partial<LeaseTableOptions> = {}): LeaseTable {
  const table = new LeaseTable({ ordered: false, epoch: 1, start: 0, retriesMax: 3, ...options })
  table.stored(table.checkpoint())
  return table
}

/** Leases the next messages to a member that says when it begins. */
function take(table: LeaseTable, member: number, countMax = 100, nowMs = 0) {
  const run = table.next(member, countMax, nowMs)
  if (run === undefined) throw new TypeError('there is nothing to be had')
  return { ...run, lease: table.lease(run.from, run.to, member, nowMs, leaseMs, 0, false) }
}

describe('a member that is lost', () => {
  it('has failed with what it had begun, and with nothing else', () => {
    const table = tableOf()
    table.admit(500)
    for (let member = 1; member <= 20; member++) {
      expect(take(table, member, 500)).toMatchObject({
        from: 0,
        to: 500,
        attempt: 1,
        redelivered: member > 1,
      })
      expect(table.leave(member)).toBe(500)
    }
    expect(table.takeFailing()).toEqual([])
    expect(table.checkpoint().tried).toEqual([])
    const { lease } = take(table, 21, 500)
    expect(table.begin(lease, 7, 9)).toEqual({ settled: 2, repeated: 0, lost: 0 })
    table.leave(21)
    expect(table.checkpoint().tried).toMatchObject([{ from: 7, to: 9, attempts: 1 }])
    expect(take(table, 22)).toMatchObject({ from: 0, to: 7, attempt: 1, redelivered: true })
    expect(take(table, 22)).toMatchObject({ from: 7, to: 9, attempt: 2, redelivered: true })
  })

  it('buries what it has begun for the last time, and takes nobody along', () => {
    const table = tableOf({ retriesMax: 1 })
    table.admit(10)
    for (const member of [1, 2]) {
      const { lease } = take(table, member)
      expect(table.begin(lease, 0, 1).settled).toBe(1)
      table.leave(member)
    }
    expect(table.takeFailing()).toMatchObject([{ offset: 0, attempts: 2, cause: 'left' }])
    expect(take(table, 3)).toMatchObject({ from: 1, to: 10, attempt: 1 })
  })

  it('counts for all that it had when it does not say when it begins', () => {
    const table = tableOf()
    table.admit(3)
    const { from, to } = take(table, 1)
    table.leave(1)
    table.lease(from, to, 2, 0, leaseMs)
    table.leave(2)
    expect(take(table, 3)).toMatchObject({ from: 0, to: 3, attempt: 2 })
  })

  it('gives the later messages of a key back in their order', () => {
    const table = tableOf({ ordered: true, retriesMax: 0 })
    table.admit(4, Int32Array.of(5, 5, 6, 5))
    const { lease } = take(table, 1)
    table.begin(lease, 0, 1)
    table.leave(1)
    expect(table.takeFailing().map(({ offset }) => offset)).toEqual([0])
    expect(take(table, 2)).toMatchObject({ from: 2, to: 3, attempt: 1 })
    expect(table.next(3, 10, 0)).toBeUndefined()
    table.buried(0)
    expect(take(table, 3)).toMatchObject({ from: 1, to: 2, attempt: 1 })
    expect(table.next(4, 10, 0)).toBeUndefined()
  })
})

describe('begin', () => {
  it('is refused for what the lease does not hold, and changes nothing of it', () => {
    const table = tableOf()
    table.admit(4)
    const { lease } = take(table, 1)
    table.settle('ack', lease, 0, 1, 0)
    table.settle('nack', lease, 1, 2, 0, 1_000)
    expect(table.begin(lease, 1, 9)).toEqual({ settled: 2, repeated: 1, lost: 5 })
    expect(table.begin(lease + 1, 1, 2)).toEqual({ settled: 0, repeated: 0, lost: 1 })
    table.expire(leaseMs)
    expect(table.begin(lease, 1, 4)).toMatchObject({ settled: 0, lost: 2 })
  })

  it('is forgotten with its lease: the next holder begins anew', () => {
    const table = tableOf()
    table.admit(1)
    const { lease } = take(table, 1)
    table.begin(lease, 0, 1)
    table.leave(1)
    take(table, 2)
    table.leave(2)
    expect(take(table, 3)).toMatchObject({ attempt: 2 })
  })

  it('leaves what is released, or ends in time, as it was: the one uncounted, the other counted', () => {
    const table = tableOf()
    table.admit(2)
    const { lease } = take(table, 1)
    table.begin(lease, 0, 1)
    table.settle('release', lease, 0, 1, 0)
    table.expire(leaseMs)
    expect(take(table, 2, 1)).toMatchObject({ from: 0, attempt: 1 })
    expect(take(table, 2, 1)).toMatchObject({ from: 1, attempt: 2 })
  })
})

it('after a crash of the broker what was begun counts, and what waited at a member does not', () => {
  const table = tableOf()
  table.admit(4)
  const first = take(table, 1, 100, 5_000)
  table.begin(first.lease, 0, 1)
  table.settle('nack', first.lease, 2, 3, 6_000)
  expect(take(table, 1, 100, 7_000)).toMatchObject({ from: 2, attempt: 2 })
  const stored = decodeCheckpoint(encodeCheckpoint(table.checkpoint()))
  expect(stored.tried).toEqual([
    { from: 0, to: 1, attempts: 1, dueMs: 0, firstAtMs: 5_000, lastAtMs: 5_000, failing: false },
    { from: 2, to: 3, attempts: 1, dueMs: 0, firstAtMs: 5_000, lastAtMs: 5_000, failing: false },
  ])
  const again = tableOf({ epoch: 2, restored: stored })
  again.admit(4)
  expect(take(again, 1)).toMatchObject({ from: 0, to: 1, attempt: 2, redelivered: true })
  expect(take(again, 1)).toMatchObject({ from: 1, to: 2, attempt: 1, redelivered: true })
  expect(take(again, 1)).toMatchObject({ from: 2, to: 3, attempt: 2, redelivered: true })
  expect(take(again, 1)).toMatchObject({ from: 3, to: 4, attempt: 1, redelivered: true })
})
