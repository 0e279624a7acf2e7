import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeCheckpoint, encodeCheckpoint } from './checkpoint.ts'
import { chunkOffsets, DoneSet } from './done-set.ts'

describe('the set of what is done', () => {
  it.each([5, chunkOffsets - 1, chunkOffsets, chunkOffsets + 3])(
    'forgets what lies behind the new end %i',
    (end) => {
      const set = new DoneSet(4)
      for (const offset of [end - 1, end, end + 1, 2 * chunkOffsets]) set.add(offset)
      set.takeChanges()
      expect(set.cut(end)).toBe(true)
      expect([end - 1, end, end + 1, 2 * chunkOffsets].map((offset) => set.has(offset))).toEqual([
        true,
        false,
        false,
        false,
      ])
      expect([...set.takeChanges().keys()]).toContain(2)
      expect(set.cut(end)).toBe(false)
    },
  )

  it('lowers its floor to the end', () => {
    const set = new DoneSet(chunkOffsets + 7)
    expect(set.cut(chunkOffsets + 2)).toBe(true)
    expect(set.floor).toBe(chunkOffsets + 2)
  })

  it('knows what was added, its floor, and comes back from its chunks', () => {
    // Places around the borders of chunks, in any order.
    const offset = fc
      .tuple(fc.nat(3), fc.integer({ min: -4, max: 4 }))
      .map(([chunk, by]) => Math.max(0, chunk * chunkOffsets + by))
    fc.assert(
      fc.property(fc.array(offset), fc.nat(10), (offsets, floor) => {
        const set = new DoneSet(floor)
        const stored = new Map<number, Uint8Array>()
        for (const [i, one] of offsets.entries()) {
          set.add(one)
          if (i % 3 !== 0) continue
          for (const [number, bits] of set.takeChanges()) {
            if (bits === undefined) stored.delete(number)
            else stored.set(number, bits)
          }
        }
        for (const [number, bits] of set.takeChanges()) {
          if (bits === undefined) stored.delete(number)
          else stored.set(number, bits)
        }
        const done = new Set(offsets)
        let wanted = floor
        while (done.has(wanted)) wanted++
        expect(set.floor).toBe(wanted)
        const again = new DoneSet(set.floor)
        for (const [number, bits] of stored) again.load(number, bits)
        for (const one of [...offsets, ...offsets.map((each) => each + 1)]) {
          expect(set.has(one)).toBe(one < wanted || done.has(one))
          expect(again.has(one)).toBe(set.has(one))
        }
        expect(again.floor).toBe(wanted)
      }),
    )
  })

  it('lets go of chunks below the floor, and tells again what could not be stored', () => {
    const set = new DoneSet(0)
    for (let offset = 0; offset < chunkOffsets + 1; offset++) set.add(offset)
    const changes = set.takeChanges()
    expect([...changes].map(([number, bits]) => [number, bits === undefined])).toEqual([
      [0, true],
      [1, false],
    ])
    expect(set.takeChanges().size).toBe(0)
    set.giveBack(changes)
    expect([...set.takeChanges().keys()]).toEqual([0, 1])
    set.raise(3 * chunkOffsets)
    expect(set.floor).toBe(3 * chunkOffsets)
    expect([...set.takeChanges()]).toEqual([[1, undefined]])
  })
})

describe('the checkpoint', () => {
  const doubt = { topicId: '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20', partition: 3, fromOffset: 99 }

  it('comes back as it was', () => {
    for (const checkpoint of [
      { floor: 0, doubts: [] },
      { floor: 2 ** 40, doubts: [doubt, { ...doubt, partition: 0 }] },
    ]) {
      expect(decodeCheckpoint(encodeCheckpoint(checkpoint))).toEqual(checkpoint)
    }
  })

  it('that is damaged is refused', () => {
    const texts = [
      '',
      '{}',
      '[]',
      '{"version":2,"floor":0,"doubts":[]}',
      '{"version":1,"floor":-1,"doubts":[]}',
      '{"version":1,"floor":0,"doubts":[["x",0,0]]}',
      '{"version":1,"floor":0,"doubts":[[]]}',
    ]
    for (const text of texts) {
      expect(() => decodeCheckpoint(new TextEncoder().encode(text)), text).toThrow(
        expect.objectContaining({ code: 'RTK_STORE_CORRUPT' }),
      )
    }
  })
})
