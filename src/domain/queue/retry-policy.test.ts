import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RetryPolicy } from './queue-config.ts'
import { equalRetryPolicies, parseRetryPolicy, retryDelayMs, retryPolicyText } from './retry-policy.ts'

const delays = (policy: RetryPolicy, random = 0) =>
  [1, 2, 3, 4, 5].map((attempt) => retryDelayMs(policy, attempt, random))
const invalid = (message: string) =>
  expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(message) })

const timeMs = fc.nat(31_622_400_000)
const policy: fc.Arbitrary<RetryPolicy> = fc.oneof(
  fc.record({ kind: fc.constant('fixed' as const), delayMs: timeMs }),
  fc.tuple(timeMs, timeMs).map(([one, other]) => ({
    kind: 'linear' as const,
    delayMs: Math.min(one, other),
    maxMs: Math.max(one, other),
  })),
  fc.tuple(timeMs, timeMs, fc.integer({ min: 0, max: 100 })).map(([one, other, percent]) => ({
    kind: 'exponential' as const,
    delayMs: Math.min(one, other),
    maxMs: Math.max(one, other),
    jitter: percent / 100,
  })),
  fc.record({
    kind: fc.constant('list' as const),
    delaysMs: fc.array(timeMs, { minLength: 1, maxLength: 64 }),
  }),
)

describe('retryDelayMs', () => {
  it.each<[string, number, readonly number[]]>([
    ['fixed:1s', 0, [1_000, 1_000, 1_000, 1_000, 1_000]],
    ['linear:1s..3500ms', 0, [1_000, 2_000, 3_000, 3_500, 3_500]],
    ['exponential:200ms..2s~0', 0.9, [200, 400, 800, 1_600, 2_000]],
    ['exponential:200ms..2s', 0, [200, 400, 800, 1_600, 2_000]],
    ['exponential:200ms..2s', 0.5, [150, 300, 600, 1_200, 1_500]],
    ['exponential:200ms..2s', 0.999999, [100, 200, 400, 800, 1_000]],
    ['list:1s,5s,30s', 0, [1_000, 5_000, 30_000, 30_000, 30_000]],
  ])('%s with %d', (text, random, expected) => {
    expect(delays(parseRetryPolicy(text), random)).toEqual(expected)
  })

  it('is a whole number of milliseconds for any attempt', () => {
    fc.assert(
      fc.property(
        policy,
        fc.integer({ min: 1, max: 40_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (given, attempt, random) => {
          const delayMs = retryDelayMs(given, attempt, random)
          expect(Number.isSafeInteger(delayMs) && delayMs >= 0 && delayMs <= 31_622_400_000).toBe(true)
        },
      ),
    )
  })
})

describe('policies as objects and texts', () => {
  it('come back as they were, both ways', () => {
    fc.assert(
      fc.property(policy, (given) => {
        expect(parseRetryPolicy(retryPolicyText(given))).toEqual(given)
        expect(parseRetryPolicy(given)).toEqual(given)
        expect(equalRetryPolicies(given, parseRetryPolicy({ ...given }))).toBe(true)
      }),
    )
    expect(retryPolicyText(parseRetryPolicy('exponential:200ms..30s'))).toBe('exponential:200ms..30s')
    expect(retryPolicyText(parseRetryPolicy('list:0ms,90s,1d'))).toBe('list:0ms,90s,1d')
  })

  it.each<[unknown, string]>([
    [5, 'an object or a text'],
    ['soon', 'is written as "fixed:1s"'],
    ['fixed:1', 'a whole number with ms, s, m, h or d'],
    ['linear:1s', 'a shortest and a longest delay'],
    ['linear:3s..1s', 'retry.maxMs must be at least'],
    ['exponential:1s..2s~3', 'retry.jitter must be'],
    ['exponential:1s..2s~x', 'retry.jitter must be'],
    ['fixed:367d', 'retry.delayMs must be'],
    [{ kind: 'fixed', delayMs: 1, maxMs: 2 }, '"maxMs" is no field of a retry policy of kind fixed'],
    [{ kind: 'square' }, 'retry.kind must be one of'],
    [{ kind: 'list', delaysMs: [] }, 'a list of 1 to 64 delays'],
    [{ kind: 'list', delaysMs: [1, -1] }, 'retry.delaysMs[1] must be'],
  ])('refuses %j', (given, message) => {
    expect(() => parseRetryPolicy(given)).toThrow(invalid(message))
  })
})
