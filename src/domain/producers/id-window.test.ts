import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { IdWindow } from './id-window.ts'

const idOf = (number: number): Uint8Array => {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(12, number)
  return id
}

describe('a window of ids', () => {
  it('remembers for exactly as long as it is', () => {
    const ids = new IdWindow(1_000, 10)
    ids.place(ids.claim(idOf(1), 0, 50), 3, 7)
    const entry = ids.find(idOf(1), 0, 1_049)
    expect([ids.partitionOf(entry), ids.offsetOf(entry)]).toEqual([3, 7])
    expect(ids.find(idOf(1), 0, 1_050)).toBe(-1)
  })

  it('keeps what is on its way however long it takes, and frees what is not stored', () => {
    const ids = new IdWindow(1_000, 10)
    const entry = ids.claim(idOf(1), 0, 0)
    expect(ids.find(idOf(1), 0, 9_000)).toBe(entry)
    expect(ids.offsetOf(entry)).toBe(-1)
    ids.release(entry)
    expect(ids.find(idOf(1), 0, 0)).toBe(-1)
  })

  it('finds what a map finds, whatever comes and goes', () => {
    const step = fc.record({ id: fc.nat(40), waitMs: fc.nat(300), fails: fc.boolean() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 900 }), (steps) => {
        const ids = new IdWindow(1_000, 100_000)
        const model = new Map<number, { atMs: number; offset: number }>()
        let nowMs = 0
        for (const [offset, { id, waitMs, fails }] of steps.entries()) {
          nowMs += waitMs
          const entry = ids.find(idOf(id), 0, nowMs)
          const known = model.get(id)
          if (known !== undefined && nowMs - known.atMs < 1_000) {
            expect(ids.offsetOf(entry)).toBe(known.offset)
            continue
          }
          expect(entry).toBe(-1)
          const claimed = ids.claim(idOf(id), 0, nowMs)
          if (fails) ids.release(claimed)
          else ids.place(claimed, 0, offset)
          if (fails) model.delete(id)
          else model.set(id, { atMs: nowMs, offset })
        }
      }),
    )
  })

  it('holds as many as it may, and forgets the oldest first', () => {
    const ids = new IdWindow(1_000, 1_000)
    for (let id = 0; id < 1_500; id++) ids.place(ids.claim(idOf(id), 0, 0), 0, id)
    expect([ids.size, ids.forgotten]).toEqual([1_000, 500])
    for (let id = 0; id < 1_500; id++) expect(ids.find(idOf(id), 0, 0) === -1).toBe(id < 500)
  })
})
