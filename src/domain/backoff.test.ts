import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { backoffDelayMs } from './backoff.ts'

const options = { baseMs: 50, maxMs: 5_000 }

describe('backoffDelayMs', () => {
  it('doubles from base to maximum', () => {
    const longest = [0, 1, 2, 6, 7, 1_000].map((attempt) => backoffDelayMs(attempt, options, 1 - 2 ** -53))
    expect(longest.map(Math.round)).toEqual([50, 100, 200, 3_200, 5_000, 5_000])
  })

  it('never pauses for less than half of the bound, nor for more than it', () => {
    const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    fc.assert(
      fc.property(fc.nat(), random, (attempt, value) => {
        const bound = Math.min(options.maxMs, options.baseMs * 2 ** attempt)
        const delayMs = backoffDelayMs(attempt, options, value)
        expect(delayMs).toBeGreaterThanOrEqual(bound / 2)
        expect(delayMs).toBeLessThanOrEqual(bound)
      }),
    )
  })

  it('spreads with the randomness', () => {
    expect(backoffDelayMs(0, options, 0)).toBe(25)
    expect(backoffDelayMs(0, options, 0.5)).toBe(37.5)
  })
})
