/**
 * Model check of the memory that workers share: the reader runs with any number of the writer's stores between any two of its
 * loads, and must see the standings that were written, each as a whole and none before one that it has seen.
 */
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { rounds } from '../../testing/rounds.ts'
import { type CellAccess, newCells, OffsetCells, type Standing } from './offset-cells.ts'

type Store = readonly [cell: number, value: number]

const states: readonly Standing['state'][] = ['recovering', 'online', 'failed']
const never = { startOffset: 0, stableOffset: 0, endOffset: 0, sizeBytes: 0, state: 'recovering' } as const

/** The n-th standing that is written, told from all others by each of its parts but the state. */
const standing = (n: number, far: number): Standing => ({
  startOffset: n,
  stableOffset: n + far,
  endOffset: n + 2 * far,
  sizeBytes: n * 2 ** 21 + far,
  state: states[n % states.length],
})

/** What the writer stores, in order, when nobody disturbs it: nobody else writes, so what it reads is its own. */
function storesOf(write: (cells: OffsetCells) => void, memory: SharedArrayBuffer): Store[] {
  const stores: Store[] = []
  const access: CellAccess = {
    load: Atomics.load,
    store: (cells, cell, value) => {
      stores.push([cell, value])
      return Atomics.store(cells, cell, value)
    },
  }
  write(new OffsetCells(memory, access))
  return stores
}

/** A reader's loads, with as many of the writer's stores before each as the next of `steps` says. */
function interleaved(stores: Store[], steps: readonly number[]): CellAccess {
  let at = 0
  return {
    load: (cells, cell) => {
      // With no steps left the writer stands still: a reader needs nothing of it to go on.
      for (let left = steps[at++] ?? 0; left > 0; left--) {
        const store = stores.shift()
        if (store !== undefined) Atomics.store(cells, ...store)
      }
      return Atomics.load(cells, cell)
    },
    store: Atomics.store,
  }
}

/** All rows of so many numbers, each at least the one before, up to `max`. */
function* risingPlaces(count: number, max: number, from = 0): Generator<number[]> {
  if (count === 0) yield []
  else {
    for (let first = from; first <= max; first++) {
      for (const rest of risingPlaces(count - 1, max, first)) yield [first, ...rest]
    }
  }
}

const steps = fc.array(fc.oneof({ weight: 3, arbitrary: fc.nat(2) }, { weight: 1, arbitrary: fc.nat(24) }), {
  maxLength: 120,
})
/** Below and beyond what 32 bits hold. */
const far = fc.constantFrom(1, 2 ** 31, 2 ** 32 - 1, 2 ** 40, 2 ** 51)

describe('where a partition stands, in shared memory', () => {
  it('is read as it was written, at whatever step of the writer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), far, steps, (count, far, steps) => {
        const stores = storesOf((cells) => {
          for (let n = 1; n <= count; n++) cells.write(standing(n, far))
        }, newCells())
        const reader = new OffsetCells(newCells(), interleaved(stores, steps))
        let newest = 0
        while (stores.length > 0) {
          const before = stores.length
          const read = reader.read()
          const n = read.startOffset
          expect(read).toEqual(n === 0 ? never : standing(n, far))
          expect(n).toBeGreaterThanOrEqual(newest)
          newest = n
          if (stores.length === before) break
        }
      }),
      { numRuns: rounds(5_000, 1_000) },
    )
  })

  it('tells the state as it was written: two reads, in all the ways in which they can fall among the stores', () => {
    // Each state follows those before it, so that one that was read too early or too late would be a step back.
    const order: readonly Standing['state'][] = ['recovering', 'failed', 'online']
    const all = storesOf((cells) => {
      for (const state of [order[1], order[1], order[2]]) cells.write({ ...standing(1, 1), state })
    }, newCells())
    const wrong: unknown[] = []
    for (const places of risingPlaces(4, all.length)) {
      const steps = places.map((place, i) => place - (places[i - 1] ?? 0))
      const reader = new OffsetCells(newCells(), interleaved([...all], steps))
      const [first, second] = [order.indexOf(reader.state), order.indexOf(reader.state)]
      if (first > second) wrong.push({ places, first, second })
    }
    expect(wrong).toEqual([])
  })

  it('stays whole when the owner ends between two steps, and another writer goes on', () => {
    fc.assert(
      fc.property(fc.nat(10), fc.nat(60), far, (count, done, far) => {
        const recorded = newCells()
        const memory = newCells()
        const stores = storesOf((cells) => {
          for (let n = 1; n <= count; n++) cells.write(standing(n, far))
        }, recorded)
        for (const store of stores.slice(0, done)) Atomics.store(new Int32Array(memory), ...store)
        const last = new OffsetCells(memory).read()
        expect(last).toEqual(last.startOffset === 0 ? never : standing(last.startOffset, far))
        new OffsetCells(memory).writeState('recovering')
        expect(new OffsetCells(memory).read()).toEqual({ ...last, state: 'recovering' })
        const restarted = new OffsetCells(memory)
        restarted.write(standing(100, far))
        expect(restarted.read()).toEqual(standing(100, far))
      }),
    )
  })

  it('is read as it was written by another thread that writes all the time', async () => {
    const memory = newCells()
    const writes = 300_000
    const writer = new Worker(
      `const { workerData: { url, memory, writes } } = require('node:worker_threads')
       import(url).then(({ OffsetCells }) => {
         const cells = new OffsetCells(memory)
         for (let n = 1; n <= writes; n++) {
           cells.write({ startOffset: n, stableOffset: 2 * n, endOffset: 2 ** 33 * n, sizeBytes: 4 * n, state: n % 2 === 0 ? 'online' : 'failed' })
         }
       })`,
      { eval: true, workerData: { url: new URL('./offset-cells.ts', import.meta.url).href, memory, writes } },
    )
    try {
      const ended = new Promise((resolve, reject) => writer.once('exit', resolve).once('error', reject))
      const cells = new OffsetCells(memory)
      const seen = new Set<number>()
      const torn: Standing[] = []
      let newest = 0
      while (newest < writes) {
        for (let reads = 0; reads < 5_000; reads++) {
          const read = cells.read()
          const n = read.startOffset
          const whole =
            n === 0 ||
            (read.stableOffset === 2 * n &&
              read.endOffset === 2 ** 33 * n &&
              read.sizeBytes === 4 * n &&
              read.state === (n % 2 === 0 ? 'online' : 'failed'))
          if (!whole || n < newest) torn.push(read)
          newest = n
          seen.add(n)
        }
        await new Promise(setImmediate)
      }
      await ended
      expect(torn).toEqual([])
      expect(seen.size).toBeGreaterThan(2)
    } finally {
      await writer.terminate()
    }
  })
})
