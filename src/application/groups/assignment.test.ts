import fc from 'fast-check'
import { expect, it } from 'vitest'
import { assignPartitions } from './assignment.ts'

const countOf = <T>(list: readonly T[], one: T): number => list.filter((other) => other === one).length

it('gives nobody anything when nobody is there', () => {
  expect(assignPartitions(2, [], ['a', undefined])).toEqual([undefined, undefined])
})

it('moves only what balance demands', () => {
  expect(assignPartitions(4, ['a'], [])).toEqual(['a', 'a', 'a', 'a'])
  expect(assignPartitions(4, ['a', 'b'], ['a', 'a', 'a', 'a'])).toEqual(['a', 'a', 'b', 'b'])
  expect(assignPartitions(4, ['a', 'b', 'c'], ['a', 'a', 'b', 'b'])).toEqual(['a', 'a', 'b', 'c'])
  expect(assignPartitions(4, ['b', 'c'], ['a', 'a', 'b', 'c'])).toEqual(['b', 'c', 'b', 'c'])
  expect(assignPartitions(2, ['a', 'b', 'c'], ['c', undefined])).toEqual(['c', 'a'])
})

it('is balanced, complete, and as sticky as balance allows, for any input', () => {
  const members = fc.uniqueArray(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 8 })
  const previous = fc.array(fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }), { maxLength: 24 })
  fc.assert(
    fc.property(members, previous, (live, before) => {
      const owners = assignPartitions(before.length, live, before)
      const counts = live.map((member) => countOf(owners, member))
      expect(counts.reduce((sum, n) => sum + n, 0)).toBe(before.length)
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
      // Nobody could have kept more: who lost a partition holds a full share, and full shares are all given out.
      const quota = Math.floor(before.length / live.length)
      const largerShares = before.length % live.length
      const kept = owners.filter((owner, i) => owner === before[i]).length
      const held = live.map((member) => countOf(before, member))
      const best =
        held.reduce((sum, n) => sum + Math.min(n, quota), 0) +
        Math.min(held.filter((n) => n > quota).length, largerShares)
      expect(kept).toBe(best)
    }),
  )
})
