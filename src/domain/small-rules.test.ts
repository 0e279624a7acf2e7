/** The rules that take a few lines each: limits, durability, suggestions. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  durabilityLevels,
  durabilityNumber,
  durabilityOfNumber,
  isAtLeast,
  isDurability,
} from './durability.ts'
import { defaultLimits, type Limits, makeLimits } from './limits.ts'
import { nearestName, suggestion } from './suggest.ts'

describe('makeLimits', () => {
  it('is the defaults when nothing is said, frozen', () => {
    expect(makeLimits()).toEqual(defaultLimits)
    expect(Object.isFrozen(makeLimits({ topicsMax: 3 }))).toBe(true)
  })

  it('changes what is given', () => {
    expect(makeLimits({ topicsMax: 3 })).toEqual({ ...defaultLimits, topicsMax: 3 })
  })

  it.each<unknown>([0, -1, 1.5, '10', null, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])(
    'refuses %s',
    (value) => {
      expect(() => makeLimits({ topicsMax: value } as Partial<Limits>)).toThrow(
        expect.objectContaining({
          code: 'RTK_CONFIG_INVALID',
          message: expect.stringContaining('limits.topicsMax'),
        }),
      )
    },
  )

  it.each(['topicMax', 'constructor', 'toString'])('refuses %s, which is none', (name) => {
    expect(() => makeLimits({ [name]: 1 } as Partial<Limits>)).toThrow(
      expect.objectContaining({ code: 'RTK_CONFIG_UNKNOWN_KEY' }),
    )
  })

  it('has a unit in each name, or counts', () => {
    for (const name of Object.keys(defaultLimits)) expect(name).toMatch(/(Max|Ms)$/)
  })
})

describe('durability', () => {
  it('is ordered as the list is', () => {
    const level = fc.constantFrom(...durabilityLevels)
    fc.assert(
      fc.property(level, level, (one, other) => {
        expect(isAtLeast(one, other)).toBe(durabilityLevels.indexOf(one) >= durabilityLevels.indexOf(other))
        expect(durabilityOfNumber(durabilityNumber(one))).toBe(one)
      }),
    )
  })

  it('has the numbers that stand on binary wires', () => {
    expect(
      ['memory', 'os', 'interval', 'fsync', 'quorum'].map(
        (level) => isDurability(level) && durabilityNumber(level),
      ),
    ).toEqual([0, 1, 2, 3, 4])
    expect([-1, 5, 0.5].map(durabilityOfNumber)).toEqual([undefined, undefined, undefined])
  })

  it('is none of anything else', () => {
    for (const other of ['', 'Memory', 'length', 0, null, undefined]) expect(isDurability(other)).toBe(false)
  })
})

describe('suggestions', () => {
  const known = ['retentionMs', 'retentionBytes', 'partitions']

  it.each([
    ['retentionms', 'retentionMs'],
    ['retensionMs', 'retentionMs'],
    ['partition', 'partitions'],
    ['retention', 'retentionMs'],
  ])('%s: did you mean %s?', (typed, meant) => {
    expect(nearestName(typed, known)).toBe(meant)
    expect(suggestion(typed, known)).toBe(`did you mean ${meant}?`)
  })

  it.each(['durability', '', 'x'.repeat(1_000_000)])('says what there is when nothing is near', (typed) => {
    expect(suggestion(typed, known)).toBe('known are retentionMs, retentionBytes, partitions')
  })
})
