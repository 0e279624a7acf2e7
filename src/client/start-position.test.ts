import { expect, it } from 'vitest'
import { checkPosition } from './start-position.ts'

it.each([
  'earliest',
  'latest',
  { offset: 3 },
  { timestampMs: 5 },
  { offsets: [] },
  { offsets: [{ partition: 0, offset: 3 }], otherwise: 'latest' },
] as const)('%j is a start position', (position) => {
  expect(() => checkPosition(position)).not.toThrow()
})

it.each([
  { foo: 1 },
  { timestamp: 5 },
  { offsets: 5 },
  { offsets: [null] },
  { offsets: [{}] },
  null,
  5,
  'x',
  {},
])('%j is none', (position) => {
  expect(() => checkPosition(position as never)).toThrow(
    expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
  )
})
