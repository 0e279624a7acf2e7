/** How far the delivery bound is ahead of deliveries, and that nothing is ever delivered beyond what is stored. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../testing/rounds.ts'
import { LeaseTable } from './lease-table.ts'

const tableFrom = (restored?: ReturnType<LeaseTable['checkpoint']>): LeaseTable => {
  const epoch = (restored?.epoch ?? 0) + 1
  return new LeaseTable({ ordered: false, epoch, start: 0, retriesMax: 3, restored })
}

/** Delivers up to so many, and acknowledges them. @returns up to where */
function deliver(table: LeaseTable, count: number): number {
  let to = 0
  for (let left = count; left > 0; ) {
    const run = table.next(1, left, 0)
    if (run === undefined) break
    const lease = table.lease(run.from, run.to, 1, 0, 1_000)
    table.settle('ack', lease, run.from, run.to, 0)
    left -= run.to - run.from
    to = run.to
  }
  return to
}

describe('the delivery bound', () => {
  it('is a few messages ahead in a slow group, also after a burst', () => {
    const table = tableFrom()
    table.admit(100_000)
    table.stored(table.checkpoint())
    expect(deliver(table, 20_000)).toBe(1_024)
    for (let i = 0; i < 3; i++) {
      table.stored(table.checkpoint())
      deliver(table, 10_000)
    }
    let delivered = deliver(table, 1)
    for (let i = 0; i < 12; i++) {
      table.stored(table.checkpoint())
      delivered = deliver(table, 5)
    }
    const { deliveryBound } = table.checkpoint()
    expect(deliveryBound - delivered).toBe(64)
  })

  it('is far ahead in a fast one: no write is made for it between two checkpoints', () => {
    const table = tableFrom()
    table.admit(120_000)
    table.stored(table.checkpoint())
    let urgent = 0
    for (let interval = 0; interval < 100; interval++) {
      for (let i = 0; i < 10; i++) {
        deliver(table, 100) // ten thousand a second, in intervals of 100 ms
        if (table.needsBound) {
          urgent++
          table.stored(table.checkpoint())
        }
      }
      table.stored(table.checkpoint())
    }
    expect(urgent).toBeLessThanOrEqual(1)
  })

  it('is never passed, whatever is delivered while it is being stored, or stored not at all', () => {
    const step = fc.record({
      what: fc.constantFrom('deliver', 'deliver', 'make', 'store', 'crash'),
      count: fc.oneof(fc.nat(20), fc.nat(3_000)),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: 'max' }), (steps) => {
        let table = tableFrom()
        table.admit(30_000)
        let stored = table.checkpoint()
        table.stored(stored)
        let made: typeof stored | undefined
        let delivered = 0
        for (const { what, count } of steps) {
          if (what === 'deliver') delivered = Math.max(delivered, deliver(table, count))
          else if (what === 'make') made ??= table.checkpoint()
          else if (what === 'store' && made !== undefined) {
            stored = made
            table.stored(stored)
            made = undefined
          } else if (what === 'crash') {
            made = undefined
            table = tableFrom(stored)
            table.admit(30_000)
            stored = table.checkpoint()
            table.stored(stored)
          }
          expect(delivered).toBeLessThanOrEqual(stored.deliveryBound)
        }
      }),
      { numRuns: rounds(60, 20) },
    )
  })
})
