import { describe, expect, it } from 'vitest'
import { rounds } from '../../testing/rounds.ts'
import type { QueueCheckpoint } from './checkpoint.ts'
import { LeaseTable } from './lease-table.ts'
import type { LeaseTableOptions } from './lease-types.ts'

const ackTimeoutMs = 30_000

function tableOf(options: Partial<LeaseTableOptions> = {}): LeaseTable {
  const table = new LeaseTable({ ordered: false, epoch: 1, start: 0, retriesMax: 3, ...options })
  table.stored(table.checkpoint())
  return table
}

/** Leases the next messages. */
function take(table: LeaseTable, member: number, countMax: number, nowMs: number) {
  const run = table.next(member, countMax, nowMs)
  if (run === undefined) return undefined
  return { ...run, lease: table.lease(run.from, run.to, member, nowMs, ackTimeoutMs) }
}

const keys = (...hashes: number[]) => Int32Array.from(hashes)

describe('schedules', () => {
  it('gives a message that is not acknowledged again after 30,000 ms, not after 29,999, as attempt 2', () => {
    const table = tableOf()
    table.admit(1)
    const first = take(table, 1, 10, 1_000)
    expect(first).toMatchObject({ from: 0, to: 1, attempt: 1, redelivered: false })
    expect(table.nextDueMs).toBe(31_000)
    expect(table.expire(30_999)).toBe(0)
    expect(table.next(2, 10, 30_999)).toBe(undefined)
    expect(table.expire(31_000)).toBe(1)
    expect(table.takeLosses()).toEqual([
      { member: 1, lease: first?.lease, from: 0, to: 1, reason: 'timeout' },
    ])
    expect(take(table, 2, 10, 31_000)).toMatchObject({ attempt: 2, redelivered: true })
  })

  it('gives a message that failed again when its delay is over, to the millisecond', () => {
    const table = tableOf()
    table.admit(1)
    const lease = take(table, 1, 1, 0)?.lease ?? 0
    expect(table.settle('nack', lease, 0, 1, 500, 1_250)).toEqual({ settled: 1, repeated: 0, lost: 0 })
    expect(table.nextDueMs).toBe(1_750)
    expect(table.delayed).toBe(1)
    expect(table.next(1, 1, 1_749)).toBe(undefined)
    expect(table.next(1, 1, 1_750)).toMatchObject({ from: 0, attempt: 2 })
  })

  it('lets a message fail with the delivery after its last retry, with its times', () => {
    const table = tableOf({ retriesMax: 1 })
    table.admit(1)
    table.settle('nack', take(table, 1, 1, 100)?.lease ?? 0, 0, 1, 200)
    const second = take(table, 1, 1, 300)?.lease ?? 0
    expect(table.settle('nack', second, 0, 1, 400)).toMatchObject({ settled: 1 })
    expect(table.takeFailing()).toEqual([
      { offset: 0, attempts: 2, firstAtMs: 100, lastAtMs: 300, cause: 'nack', lease: second },
    ])
    expect(table.takeFailing()).toEqual([])
    expect(table.floor).toBe(0)
    table.buryAgain(0)
    expect(table.takeFailing()).toMatchObject([{ offset: 0, attempts: 2, cause: 'restored' }])
    expect(table.buried(0)).toBe(true)
    expect(table.floor).toBe(1)
  })

  it('retries without end when retriesMax is -1', () => {
    const table = tableOf({ retriesMax: -1 })
    table.admit(1)
    for (let attempt = 1; attempt <= 40_000; attempt++) {
      const taken = take(table, 1, 1, attempt)
      table.settle('nack', taken?.lease ?? 0, 0, 1, attempt)
    }
    expect(table.failing).toBe(0)
    expect(table.next(1, 1, 0)).toMatchObject({ from: 0, redelivered: true })
  })

  it('moves the deadline of the messages that are extended, and only theirs', () => {
    const table = tableOf()
    table.admit(10)
    const lease = take(table, 1, 10, 0)?.lease ?? 0
    expect(table.extend(lease, 3, 5, 40_000)).toEqual({ settled: 2, repeated: 0, lost: 0 })
    expect(table.expire(30_000)).toBe(8)
    expect(table.takeLosses().map(({ from, to }) => [from, to])).toEqual([
      [0, 3],
      [5, 10],
    ])
    expect(table.holds(lease, 3)).toBe(true)
    expect(table.holds(lease, 5)).toBe(false)
    expect(table.settle('ack', lease, 2, 6, 31_000)).toEqual({ settled: 2, repeated: 0, lost: 2 })
    expect(table.nextDueMs).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('settling', () => {
  it('is idempotent for the last 1,024 leases', () => {
    const table = tableOf({ deliveryBoundStep: 2_000 })
    table.admit(2_000)
    const leases = Array.from({ length: 1_025 }, (_, offset) => {
      const lease = take(table, 1, 1, 0)?.lease ?? 0
      table.settle('ack', lease, offset, offset + 1, 0)
      return lease
    })
    expect(table.settle('ack', leases[1], 1, 2, 0)).toEqual({ settled: 0, repeated: 1, lost: 0 })
    expect(table.settle('ack', leases[0], 0, 1, 0)).toEqual({ settled: 0, repeated: 0, lost: 1 })
  })

  it('up to an offset is about the messages of the lease, or of the member', () => {
    const table = tableOf()
    table.admit(30)
    const [one, , three] = [take(table, 1, 10, 0), take(table, 2, 10, 0), take(table, 1, 10, 0)]
    expect(table.settle('ack', three?.lease ?? 0, 0, 25, 0)).toEqual({ settled: 5, repeated: 0, lost: 0 })
    expect(table.floor).toBe(0)
    expect(table.ackUpTo(1, 28, 0)).toBe(13)
    expect(table.settle('ack', one?.lease ?? 0, 0, 10, 0)).toMatchObject({ repeated: 10 })
    expect([table.floor, table.heldBy(1), table.heldBy(2), table.runs]).toEqual([10, 2, 10, 1])
  })

  it('does not count the attempt of what is released, but says that it may have been delivered', () => {
    const table = tableOf()
    table.admit(1)
    table.settle('release', take(table, 1, 1, 0)?.lease ?? 0, 0, 1, 0)
    expect(table.next(1, 1, 0)).toMatchObject({ attempt: 1, redelivered: true })
  })
})

describe('order of keys', () => {
  it('holds the later messages of a key back while one waits for its retry, and only them', () => {
    const table = tableOf({ ordered: true })
    table.admit(6, keys(7, 8, 7, 0, 8, 7))
    const taken = take(table, 1, 6, 0)
    expect(taken).toMatchObject({ from: 0, to: 6 })
    table.settle('nack', taken?.lease ?? 0, 0, 1, 0, 1_000)
    expect(table.takeLosses().map(({ from, reason }) => [from, reason])).toEqual([
      [2, 'order'],
      [5, 'order'],
    ])
    table.settle('ack', taken?.lease ?? 0, 1, 2, 0)
    expect(table.next(1, 10, 999)).toBe(undefined)
    expect(take(table, 1, 10, 1_000)).toMatchObject({ from: 0, to: 1, attempt: 2 })
    expect(take(table, 1, 10, 1_000)).toMatchObject({ from: 2, to: 3, attempt: 1, redelivered: true })
    expect(take(table, 1, 10, 1_000)).toMatchObject({ from: 5, to: 6, attempt: 1 })
  })

  it('gives the messages of a key to one member at a time', () => {
    const table = tableOf({ ordered: true })
    table.admit(4, keys(7, 7, 8, 7))
    const one = take(table, 1, 1, 0)
    expect(take(table, 2, 10, 0)).toMatchObject({ from: 2, to: 3 })
    expect(table.next(2, 10, 0)).toBe(undefined)
    expect(take(table, 1, 10, 0)).toMatchObject({ from: 1, to: 2 })
    table.settle('ack', one?.lease ?? 0, 0, 1, 0)
    expect(table.next(2, 10, 0)).toBe(undefined)
    expect(table.leave(1)).toBe(1)
    expect(take(table, 2, 10, 0)).toMatchObject({ from: 1, to: 2, attempt: 2 })
    expect(take(table, 2, 10, 0)).toMatchObject({ from: 3, to: 4, attempt: 1 })
  })

  it('holds a key back until the dead letter is stored', () => {
    const table = tableOf({ ordered: true })
    table.admit(2, keys(7, 7))
    table.settle('terminate', take(table, 1, 1, 0)?.lease ?? 0, 0, 1, 0)
    expect(table.next(1, 1, 0)).toBe(undefined)
    table.buried(0)
    expect(table.next(1, 1, 0)).toMatchObject({ from: 1, attempt: 1 })
  })
})

describe('a dead letter between two messages of its key', () => {
  it('gives the later one to the member that holds the earlier one', () => {
    const table = tableOf({ ordered: true })
    table.admit(3, keys(7, 7, 7))
    const [, second] = [take(table, 1, 1, 0), take(table, 1, 1, 0), take(table, 1, 1, 0)]
    table.settle('terminate', second?.lease ?? 0, 1, 2, 0)
    expect(table.takeLosses()).toMatchObject([{ from: 2, to: 3, reason: 'order' }])
    expect(table.next(1, 1, 0)).toBe(undefined)
    table.buried(1)
    expect(table.next(2, 1, 0)).toBe(undefined)
    expect(table.next(1, 1, 0)).toMatchObject({ from: 2, attempt: 1 })
  })
})

describe('delivery bound and checkpoints', () => {
  it('delivers nothing before a checkpoint is stored, and nothing beyond its bound', () => {
    const table = new LeaseTable({
      ordered: false,
      epoch: 4,
      start: 50,
      retriesMax: 3,
      deliveryBoundStep: 10,
    })
    table.admit(100)
    expect(table.next(1, 100, 0)).toBe(undefined)
    expect(table.needsBound).toBe(true)
    table.stored(table.checkpoint())
    expect(take(table, 1, 100, 0)).toMatchObject({ from: 50, to: 60, lease: 4 * 2 ** 22 + 1 })
    expect(table.next(1, 100, 0)).toBe(undefined)
    expect(table.needsBound).toBe(true)
    table.stored(table.checkpoint())
    expect(table.next(1, 100, 0)).toMatchObject({ from: 60, to: 70 })
  })

  it('takes few checkpoints to deliver very much', () => {
    const table = tableOf()
    let checkpoints = 1
    for (let to = 10_000; to <= 1_000_000; to += 10_000) {
      table.admit(to)
      while (take(table, 1, 10_000, 0) !== undefined);
      if (!table.needsBound) continue
      table.stored(table.checkpoint())
      checkpoints++
    }
    expect(checkpoints).toBeLessThan(45)
  })

  it('flags what lies below the stored bound as perhaps delivered, after a restart', () => {
    const before = tableOf({ deliveryBoundStep: 10 })
    before.admit(30)
    before.settle('ack', take(before, 1, 5, 0)?.lease ?? 0, 2, 4, 0)
    const restored: QueueCheckpoint = before.checkpoint()
    expect(restored).toMatchObject({ floor: 0, settled: [2, 4], deliveryBound: 15 })
    const table = tableOf({ epoch: 2, restored })
    table.admit(30)
    expect(take(table, 1, 30, 0)).toMatchObject({ from: 0, to: 2, attempt: 2, redelivered: true })
    expect(take(table, 1, 30, 0)).toMatchObject({ from: 4, to: 5, attempt: 2, redelivered: true })
    expect(take(table, 1, 30, 0)).toMatchObject({ from: 5, to: 15, attempt: 1, redelivered: true })
    expect(take(table, 1, 30, 0)).toMatchObject({ from: 15, to: 30, attempt: 1, redelivered: false })
  })

  it('keeps the due time of a retry over a restart', () => {
    const before = tableOf()
    before.admit(1)
    before.settle('nack', take(before, 1, 1, 0)?.lease ?? 0, 0, 1, 100, 90_000)
    const table = tableOf({ epoch: 2, restored: before.checkpoint() })
    table.admit(1)
    expect(table.nextDueMs).toBe(90_100)
    expect(table.next(1, 1, 90_099)).toBe(undefined)
    expect(table.next(1, 1, 90_100)).toMatchObject({ attempt: 2 })
  })

  it('hands out nothing fresh while there are 65,536 settled runs', () => {
    const table = tableOf({ deliveryBoundStep: 1_000_000 })
    table.admit(140_000)
    const lease = take(table, 1, 131_073, 0)?.lease ?? 0
    for (let offset = 1; offset < 131_073; offset += 2) table.settle('ack', lease, offset, offset + 1, 0)
    expect(table.runs).toBe(65_536)
    expect(table.next(2, 1, 0)).toBe(undefined)
    table.settle('nack', lease, 4, 5, 0)
    expect(take(table, 2, 1, 0)).toMatchObject({ from: 4, attempt: 2 })
    table.settle('ack', lease, 0, 1, 0)
    expect(table.next(2, 1, 0)).toMatchObject({ attempt: 1 })
  })
})

describe('memory', () => {
  const many = rounds(1_000_000, 200_000)
  it(`holds ${many.toLocaleString('en')} single leases, and comes back from them`, () => {
    const table = tableOf({ deliveryBoundStep: 10_000_000 })
    table.admit(many)
    const leases = new Float64Array(many)
    for (let offset = 0; offset < leases.length; offset++) {
      leases[offset] = table.lease(offset, offset + 1, 1 + (offset % 7), offset / 1_000, ackTimeoutMs)
    }
    expect(table.leased).toBe(many)
    expect(table.nextDueMs).toBe(ackTimeoutMs)
    for (let offset = 0; offset < leases.length; offset += 2)
      table.settle('ack', leases[offset], offset, offset + 1, 0)
    expect(table.expire(ackTimeoutMs + many / 1_000)).toBe(many / 2)
    expect(table.takeLosses()).toHaveLength(many / 2)
    expect([table.leased, table.waiting, table.runs]).toEqual([0, many / 2, many / 2 - 1])
    expect(table.next(1, 10, 0)).toMatchObject({ from: 1, to: 2, attempt: 2 })
  })
})

describe('seek', () => {
  it('forgets everything, and tells the holders', () => {
    const table = tableOf({ ordered: true })
    table.admit(10, keys(1, 2, 1, 2, 1, 2, 1, 2, 1, 2))
    const taken = take(table, 1, 4, 0)
    table.settle('nack', taken?.lease ?? 0, 0, 1, 0, 1_000)
    table.takeLosses()
    table.seek(0)
    expect(table.takeLosses()).toMatchObject([
      { lease: taken?.lease, from: 1, to: 2, reason: 'seek' },
      { lease: taken?.lease, from: 3, to: 4, reason: 'seek' },
    ])
    expect([table.unsettled, table.nextOffset, table.floor, table.heldBy(1), table.nextDueMs]).toEqual([
      0,
      0,
      0,
      0,
      Number.POSITIVE_INFINITY,
    ])
    expect(table.settle('ack', taken?.lease ?? 0, 1, 2, 0)).toMatchObject({ settled: 0, lost: 1 })
    table.admit(10, keys(1, 2, 1, 2, 1, 2, 1, 2, 1, 2))
    expect(table.next(2, 10, 0)).toMatchObject({ from: 0, to: 4, attempt: 1, redelivered: true })
  })
})
