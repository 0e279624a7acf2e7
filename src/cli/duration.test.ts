import { describe, expect, it } from 'vitest'
import { durationMs } from './duration.ts'

describe('a duration', () => {
  it.each([
    ['1ms', 1],
    ['1500ms', 1_500],
    ['5s', 5_000],
    ['1.1s', 1_100],
    ['10m', 600_000],
    ['0.5h', 1_800_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
  ])('%s is %i ms', (text, ms) => {
    expect(durationMs('--ttl', text)).toBe(ms)
  })

  it.each([
    '',
    '5',
    's',
    '-5s',
    '+5s',
    '0s',
    '0.5ms',
    '1.0001s',
    '5 s',
    '5sec',
    '1e3s',
    '5S',
    '999999999999d',
    '.5s',
  ])('is not %j', (text) => {
    expect(() => durationMs('--ttl', text)).toThrow(
      expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining('--ttl') }),
    )
  })
})
