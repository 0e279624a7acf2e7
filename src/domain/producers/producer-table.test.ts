import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  batchesPerProducerMax,
  type KnownBatch,
  nextSequence,
  ProducerTable,
  type SequencedBatch,
} from './producer-table.ts'
import { decodeProducers, encodeProducers, producersPerSnapshotMax } from './snapshot.ts'

const known = (batch: SequencedBatch, baseOffset: number): KnownBatch => ({
  ...batch,
  baseOffset,
  durability: undefined,
  settled: undefined,
})
const batchOf = (baseSequence: number, recordCount = 1, epoch = 0, producerId = 1): SequencedBatch => ({
  producerId,
  epoch,
  baseSequence,
  recordCount,
})
const bounds = { producersMax: 3, expiryMs: 1_000 }

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('the table of producers', () => {
  it('decides as a list of all that is stored does', () => {
    const step = fc.record({
      producerId: fc.nat(1),
      epoch: fc.nat(2),
      back: fc.integer({ min: -20, max: 1 }),
      recordCount: fc.integer({ min: 1, max: 3 }),
      fails: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 90 }), (steps) => {
        const table = new ProducerTable({ producersMax: 10, expiryMs: 1_000_000 })
        const log: KnownBatch[] = []
        for (const { producerId, epoch, back, recordCount, fails } of steps) {
          const own = log.filter((one) => one.producerId === producerId)
          const last = own.at(-1)
          const remembered = own.filter((one) => one.epoch === last?.epoch).slice(-batchesPerProducerMax)
          const next = last === undefined || last.epoch < epoch ? 0 : last.baseSequence + last.recordCount
          const again = back < 0 ? own.at(back) : undefined
          const batch = again ?? { producerId, epoch, baseSequence: next + Math.max(0, back), recordCount }
          const found = remembered.find(
            (one) => one.epoch === batch.epoch && one.baseSequence === batch.baseSequence,
          )
          const same = found?.recordCount === batch.recordCount ? found : undefined
          const expected =
            last !== undefined && batch.epoch < last.epoch
              ? 'RTK_PRODUCER_FENCED'
              : same === undefined && batch.baseSequence !== (last?.epoch === batch.epoch ? next : 0)
                ? 'RTK_SEQUENCE_OUT_OF_ORDER'
                : undefined
          let answer: KnownBatch | undefined
          expect(codeOf(() => (answer = table.check(batch, 0)))).toBe(expected)
          if (expected !== undefined) continue
          expect(answer?.baseOffset).toBe(same?.baseOffset)
          if (same !== undefined) continue
          const stored = known(batch, log.length)
          if (fails) {
            stored.settled = Promise.resolve()
            table.add(stored, 0)
            table.failed(stored)
          } else {
            table.add(stored, 0)
            log.push(stored)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  it('goes round after 2^31 - 1', () => {
    const table = new ProducerTable(bounds)
    table.add(known(batchOf(2 ** 31 - 2, 5), 0), 0)
    expect(nextSequence(2 ** 31 - 2, 5)).toBe(3)
    expect(codeOf(() => table.check(batchOf(2), 0))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(table.check(batchOf(3), 0)).toBeUndefined()
    expect(table.check(batchOf(2 ** 31 - 2, 5), 0)?.baseOffset).toBe(0)
  })

  it('lets a batch after a gap be ahead, and nothing that was before it be stored any more', () => {
    const table = new ProducerTable(bounds)
    expect(table.check(batchOf(7, 2), 0, true)).toBeUndefined() // the first was given up
    table.add(known(batchOf(7, 2), 0), 0)
    expect(codeOf(() => table.check(batchOf(10), 0))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(table.check(batchOf(10), 0, true)).toBeUndefined()
    table.add(known(batchOf(10), 2), 0)
    for (const late of [batchOf(0, 7), batchOf(9)]) {
      expect(codeOf(() => table.check(late, 0, false))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
      expect(codeOf(() => table.check(late, 0, true))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    }
    expect([false, true].map((afterGap) => table.check(batchOf(7, 2), 0, afterGap)?.baseOffset)).toEqual([
      0, 0,
    ])
    expect(table.check(batchOf(11), 0)).toBeUndefined()
  })

  it('undoes what fails, with all that its producer sent behind it', () => {
    const table = new ProducerTable(bounds)
    const [first, second, third] = [0, 1, 2].map((at) => known(batchOf(at), at))
    table.add(first, 0)
    for (const batch of [second, third]) {
      batch.settled = Promise.resolve()
      table.add(batch, 0)
    }
    expect(table.check(batchOf(2), 0)).toBe(third)
    table.failed(second)
    expect(codeOf(() => table.check(batchOf(3), 0))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(table.check(batchOf(1), 0)).toBeUndefined()
    table.failed(third)
    table.failed(first)
    expect(table.size).toBe(0)
  })

  it('gives an older epoch its place back when the first batch of a newer one fails', () => {
    const table = new ProducerTable(bounds)
    table.add(known(batchOf(0), 0), 0)
    const newer = known(batchOf(0, 1, 1), 1)
    newer.settled = Promise.resolve()
    table.add(newer, 0)
    expect(codeOf(() => table.check(batchOf(1), 0))).toBe('RTK_PRODUCER_FENCED')
    table.failed(newer)
    expect(table.check(batchOf(1), 0)).toBeUndefined()
  })

  it('forgets who is silent for exactly as long as it may, and who was silent longest when it is full', () => {
    const table = new ProducerTable(bounds)
    table.add(known(batchOf(0), 0), 0)
    expect(table.check(batchOf(1), 999)).toBeUndefined()
    expect(codeOf(() => table.check(batchOf(1), 1_000))).toBe('RTK_SEQUENCE_OUT_OF_ORDER')
    expect(table.size).toBe(0)
    for (const producerId of [1, 2, 3, 1, 4]) {
      const next = producerId === 1 ? table.size : 0
      table.add(known(batchOf(next > 1 ? 1 : 0, 1, 0, producerId), 0), 1_000)
    }
    expect([...table.states()].map(({ producerId }) => producerId)).toEqual([3, 1, 4])
  })

  it.each([batchOf(-1), batchOf(0, 1, -1), batchOf(0, 1, 0, -2), batchOf(0, 1, 0, 2 ** 60)])(
    'refuses the impossible %j',
    (batch) => {
      expect(codeOf(() => new ProducerTable(bounds).check(batch, 0))).toBe('RTK_BATCH_MALFORMED')
    },
  )

  it('comes back from its snapshot as it was, and from nothing else', () => {
    const table = new ProducerTable(bounds)
    for (let at = 0; at < 18; at++) table.add(known(batchOf(at, 1, 3, 2 ** 40), at * 2), 5)
    const underWay = known(batchOf(0, 1, 0, 9), 20)
    underWay.settled = Promise.resolve()
    table.add(underWay, 6)
    const snapshot = { upTo: 2 ** 35, producers: [...table.states()] }
    expect(snapshot.producers.map(({ batches }) => batches.length)).toEqual([16])
    const bytes = encodeProducers(snapshot)
    expect(decodeProducers(bytes)).toEqual(snapshot)
    for (const wrong of [
      bytes.subarray(1),
      bytes.subarray(0, 40),
      new Uint8Array(0),
      Uint8Array.of(...bytes, 0),
    ])
      expect(decodeProducers(wrong)).toBeUndefined()
  })

  it('of as many producers as there may be, keeps in a value of 1 MiB the last five batches of each', () => {
    const table = new ProducerTable({ producersMax: producersPerSnapshotMax, expiryMs: 1_000 })
    for (let producerId = 0; producerId < producersPerSnapshotMax; producerId++)
      for (let at = 0; at < 16; at++) table.add(known(batchOf(at, 1, 0, producerId), at), 0)
    const states = [...table.states()]
    const bytes = encodeProducers({ upTo: 16, producers: states })
    expect(bytes.length).toBeLessThanOrEqual(1024 * 1024)
    const kept = states.map((state) => ({ ...state, batches: state.batches.slice(-5) }))
    expect(decodeProducers(bytes)).toEqual({ upTo: 16, producers: kept })
  })
})
