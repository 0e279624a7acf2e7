import { expect, it } from 'vitest'
import { positionOf } from './position.ts'

it.each([
  ['earliest', 'earliest'],
  ['latest', 'latest'],
  ['0', { offset: 0 }],
  ['999999999999999', { offset: 999_999_999_999_999 }],
  ['@0', { timestampMs: 0 }],
  ['@1700000000000', { timestampMs: 1_700_000_000_000 }],
  ['@2026-01-02', { timestampMs: Date.UTC(2026, 0, 2) }],
  ['@2026-01-02T03:04:05Z', { timestampMs: Date.UTC(2026, 0, 2, 3, 4, 5) }],
  ['@2026-01-02T03:04:05.678+01:00', { timestampMs: Date.UTC(2026, 0, 2, 2, 4, 5, 678) }],
])('reads %s', (text, position) => expect(positionOf('--from', text)).toEqual(position))

it.each([
  '',
  'yesterday',
  '-1',
  '1.5',
  '1e3',
  '@',
  '@noon',
  '@-1',
  '@room 5',
  '@2026-13-01',
  '9999999999999999',
])('refuses %j', (text) =>
  expect(() => positionOf('--to', text)).toThrow(
    expect.objectContaining({
      code: 'RTK_INVALID_ARGUMENT',
      message: expect.stringContaining('--to takes earliest'),
    }),
  ),
)
