import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../testing/rounds.ts'
import { checkpointBytesMax, type TriedRun, triedRunsMax } from './checkpoint.ts'
import { decodeCheckpoint, encodeCheckpoint, encodingSteps } from './checkpoint-codec.ts'
import { coarsened } from './checkpoint-of-table.ts'
import { LeaseTable } from './lease-table.ts'

const leaseMs = 30_000

function tableOf(count: number): LeaseTable {
  const table = new LeaseTable({ ordered: false, epoch: 1, start: 0, retriesMax: 3, deliveryBoundStep: 1e9 })
  table.stored(table.checkpoint())
  table.admit(count)
  return table
}

/** Leases every message alone. @returns the lease of each offset */
function leaseAll(table: LeaseTable, nowMs: (offset: number) => number = () => 0): number[] {
  const leases: number[] = []
  for (let at = table.floor; at < table.nextOffset; at++) {
    leases[at] = table.lease(at, at + 1, 1, nowMs(at), leaseMs)
  }
  return leases
}

const isIn = (runs: readonly number[], offset: number): boolean =>
  runs.some((from, i) => i % 2 === 0 && offset >= from && offset < runs[i + 1])

describe('a checkpoint that is made in steps', () => {
  const change = fc.record({
    what: fc.constantFrom('ack', 'nack', 'release', 'admit', 'step', 'step', 'step'),
    at: fc.nat(1_200),
    count: fc.integer({ min: 1, max: 200 }),
  })

  it('says nothing to be settled that is not, forgets nothing that was settled when it began, and no attempt of then', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), fc.nat(500), (changes, ackedBefore) => {
        const table = tableOf(1_000)
        const leases = leaseAll(table)
        table.settle('ack', leases[0], 0, 1, 0)
        for (let at = 500; at < 500 + ackedBefore; at += 3) table.settle('ack', leases[at], at, at + 1, 0)
        const wasOwed = Array.from({ length: 1_000 }, (_, offset) => table.owes(offset))
        const walk = table.beginCheckpoint()
        for (const { what, at, count } of changes) {
          if (what === 'step') walk.step(count)
          else if (what === 'admit') table.admit(table.nextOffset + count)
          else {
            for (let i = at; i < at + count; i++) table.settle(what as 'ack', leases[i] ?? 1, i, i + 1, 0, 50)
          }
        }
        const checkpoint = table.checkpoint(false, walk)
        for (let offset = 0; offset < table.nextOffset; offset++) {
          const isSettled = offset < checkpoint.floor || isIn(checkpoint.settled, offset)
          if (isSettled) expect(table.owes(offset)).toBe(false)
          else if (offset < 1_000) expect(wasOwed[offset]).toBe(true)
        }
        for (const { from, to, attempts } of checkpoint.tried) {
          expect([from >= checkpoint.floor, to <= table.nextOffset, attempts]).toEqual([true, true, 1])
        }
        expect(decodeCheckpoint(encodeCheckpoint(checkpoint))).toEqual(checkpoint)
      }),
      { numRuns: rounds(40, 15) },
    )
  })

  it('is void when the table begins anew', () => {
    const table = tableOf(1_000)
    const walk = table.beginCheckpoint()
    expect([walk.step(256), walk.isVoid]).toEqual([false, false])
    table.seek(0)
    expect(walk.isVoid).toBe(true)
  })

  it('takes many steps for many messages, in the making and in the encoding', () => {
    const table = tableOf(200_000)
    const leases = leaseAll(table)
    for (let at = 1; at < 100_000; at += 2) table.settle('ack', leases[at], at, at + 1, 0)
    const walk = table.beginCheckpoint()
    let steps = 1
    while (!walk.step(8_192)) steps++
    expect(steps).toBe(Math.ceil(200_000 / 8_192))
    expect([...encodingSteps(table.checkpoint(false, walk))].length).toBeGreaterThan(12)
  })
})

describe('more tried runs than can be stored', () => {
  /** Each message waits for another time. */
  function delayedTable(): LeaseTable {
    const table = tableOf(triedRunsMax + 1_000)
    const leases = leaseAll(table, (offset) => 1_000 + offset)
    for (const [at, lease] of leases.entries()) table.settle('nack', lease, at, at + 1, 500_000, 1 + at)
    return table
  }

  it('become one where they were tried equally often, with the latest due time', () => {
    const table = delayedTable()
    const { tried } = table.checkpoint(false, table.beginCheckpoint())
    const count = triedRunsMax + 1_000
    const lastAtMs = 1_000 + count - 1
    const dueMs = 500_000 + count
    expect(tried).toEqual([
      { from: 0, to: count, attempts: 1, failing: false, firstAtMs: 1_000, lastAtMs, dueMs },
    ])
    expect(table.checkpoint().tried).toHaveLength(count) // nothing is left out of what stays in memory
  })

  it('are left out from above when that is not enough', () => {
    const table = delayedTable()
    table.expire(10_000_000)
    for (let at = 0; at < table.nextOffset; at += 2) {
      const lease = table.lease(at, at + 1, 1, 10_000_000, leaseMs)
      table.settle('nack', lease, at, at + 1, 10_000_000, 1)
    }
    const checkpoint = table.checkpoint(false, table.beginCheckpoint())
    expect(checkpoint.tried).toHaveLength(triedRunsMax)
    expect(checkpoint.tried.slice(0, 2).map(({ attempts }) => attempts)).toEqual([2, 1])
    const bytes = encodeCheckpoint(checkpoint)
    expect(bytes.length).toBeLessThanOrEqual(checkpointBytesMax)
    const stored = decodeCheckpoint(bytes)
    expect(stored.tried).toEqual(checkpoint.tried.slice(0, stored.tried.length))
  })

  it('are the same when they are coarse already', () => {
    const run = { attempts: 1, dueMs: 0, firstAtMs: 1, lastAtMs: 1, failing: false }
    const runs: TriedRun[] = [
      { ...run, from: 0, to: 2 },
      { ...run, from: 3, to: 4 },
      { ...run, from: 4, to: 5, failing: true },
    ]
    expect(coarsened(runs)).toEqual(runs)
  })
})
