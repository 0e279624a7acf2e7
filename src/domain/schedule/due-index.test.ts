import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DueIndex } from './due-index.ts'

interface Entry {
  readonly topic: string
  readonly id: number
  readonly due: number
  readonly order: number
}

const idOf = (n: number): Uint8Array => {
  const id = new Uint8Array(16)
  new DataView(id.buffer).setUint32(12, n)
  return id
}

const byDue = (one: Entry, other: Entry): number => one.due - other.due || one.order - other.order

const command = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      topic: fc.nat(3),
      id: fc.nat(20),
      due: fc.nat(30),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('pop' as const), now: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('remove' as const), topic: fc.nat(3), id: fc.nat(20) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('page' as const),
      topic: fc.nat(3),
      max: fc.integer({ min: 1, max: 4 }),
    }),
  },
)

describe('the index of what is due', () => {
  it('does what a sorted list does', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const index = new DueIndex()
        let model: Entry[] = []
        let order = 0
        for (const one of commands) {
          if (one.do === 'add') {
            const entry = { topic: `t${one.topic}`, id: one.id, due: one.due, order: order++ }
            index.add(entry.topic, idOf(one.id), 0, one.due, entry.order, entry.order, 7)
            model.push(entry)
          } else if (one.do === 'pop') {
            const wanted = model.filter(({ due }) => due <= one.now).sort(byDue)[0]
            const slot = index.popDue(one.now)
            expect(slot === -1 ? undefined : index.orderOf(slot)).toBe(wanted?.order)
            if (slot !== -1) index.remove(slot)
            model = model.filter((entry) => entry !== wanted)
          } else if (one.do === 'remove') {
            const topic = `t${one.topic}`
            const wanted = model
              .filter((entry) => entry.topic === topic && entry.id === one.id)
              .sort(byDue)[0]
            const slot = index.find(topic, idOf(one.id))
            expect(slot === -1 ? undefined : index.orderOf(slot)).toBe(wanted?.order)
            if (slot !== -1) index.remove(slot)
            model = model.filter((entry) => entry !== wanted)
          } else {
            const topic = `t${one.topic}`
            const wanted = model.filter((entry) => entry.topic === topic).sort(byDue)
            const found: number[] = []
            for (let after: { dueMs: number; order: number } | undefined; ; ) {
              const page = index.page(topic, after, one.max)
              expect(page.length).toBeLessThanOrEqual(one.max)
              found.push(...page.map((slot) => index.orderOf(slot)))
              const last = page.at(-1)
              if (last === undefined) break
              after = { dueMs: index.dueMsOf(last), order: index.orderOf(last) }
            }
            expect(found).toEqual(wanted.map((entry) => entry.order))
            expect(index.slotsOf(topic)).toHaveLength(wanted.length)
          }
          expect(index.size).toBe(model.length)
          expect(index.liveBytes).toBe(7 * model.length)
          expect(index.nextDueMs).toBe(Math.min(Number.POSITIVE_INFINITY, ...model.map(({ due }) => due)))
          expect([...index.topicIds].sort()).toEqual([...new Set(model.map(({ topic }) => topic))].sort())
        }
        const oldest = index.oldest(3).map((slot) => index.offsetOf(slot))
        expect(oldest).toEqual(
          model
            .map((entry) => entry.order)
            .sort((a, b) => a - b)
            .slice(0, 3),
        )
      }),
      { numRuns: 300 },
    )
  })

  it('grows, and finds everything again', () => {
    const index = new DueIndex()
    for (let n = 0; n < 5_000; n++) index.add('t', idOf(n), 0, 5_000 - n, n, n, 1)
    for (let n = 0; n < 5_000; n++) {
      const slot = index.find('t', idOf(n), n)
      expect([index.dueMsOf(slot), index.offsetOf(slot), index.topicIdOf(slot)]).toEqual([5_000 - n, n, 't'])
      expect(index.find('t', idOf(n), n + 1)).toBe(-1)
    }
    for (let n = 4_999; n >= 0; n--) expect(index.orderOf(index.popDue(5_000))).toBe(n)
    expect(index.popDue(5_000)).toBe(-1)
    expect(index.size).toBe(5_000)
  })

  it('keeps what was withdrawn out of the heap until it is put back', () => {
    const index = new DueIndex()
    const slots = [5, 3, 4, 1, 2].map((due, n) => index.add('t', idOf(n), 0, due, n, n, 1))
    index.withdraw(slots[3])
    expect(index.waits(slots[3])).toBe(false)
    expect(index.nextDueMs).toBe(2)
    expect(index.find('t', idOf(3))).toBe(slots[3])
    index.push(slots[3])
    expect(index.nextDueMs).toBe(1)
  })
})
