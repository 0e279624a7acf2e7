import { expect, it } from 'vitest'
import { slopeOf } from './slope.ts'

it('is that of the line through the points, whatever scatters about it', () => {
  expect(slopeOf([0, 1, 2, 3].map((at) => ({ at, value: 5 + 2 * at })))).toBeCloseTo(2)
  expect(slopeOf([1, -1, -1, 1].map((noise, at) => ({ at, value: 5 + 2 * at + noise })))).toBeCloseTo(2)
  expect(slopeOf([{ at: 1, value: 7 }])).toBe(0)
  expect(slopeOf([])).toBe(0)
})
