import { expect, it } from 'vitest'
import { median, percentile, rangeOf, ratioByRound, rounded } from './statistics.ts'

it('the median is the value in the middle, or the mean of the two there', () => {
  expect(median([9, 1, 5])).toBe(5)
  expect(median([9, 1, 5, 100])).toBe(7)
  expect(rangeOf([9, 1, 5])).toEqual([1, 9])
})

it('a percentile is the least value that so many are not above', () => {
  const sorted = Float64Array.from([10, 20, 30, 40])
  expect([0, 0.25, 0.26, 0.5, 0.99, 1].map((part) => percentile(sorted, part))).toEqual([
    10, 10, 20, 20, 40, 40,
  ])
  expect(percentile(new Float64Array(0), 0.5)).toBe(0)
})

it('ratios are taken within a round, so that a machine that is slow for a while spoils none', () => {
  // In the second round everything was ten times slower; the ratio of the medians would be 1.
  expect(ratioByRound([200, 20, 200], [100, 10, 20])).toBe(2)
  expect(ratioByRound([200, 20], [100, 10, 20])).toBe(2)
})

it('four digits are kept', () => {
  expect([0, 1.23456, 123456, 0.00012346].map(rounded)).toEqual([0, 1.235, 123500, 0.0001235])
})
