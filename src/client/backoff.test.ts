import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import { Backoff } from './backoff.ts'

const backoff = (random: number): Backoff =>
  new Backoff({ baseMs: 20, maxMs: 1_000 }, { next: () => random, fill: (bytes) => bytes, uuid: () => '' })
const asking = (retryAfterMs: string | number | null): RatatoskrError =>
  new RatatoskrError('RTK_OVERLOADED', 'from the test', { details: { retryAfterMs } })

describe('a pause', () => {
  it('grows until a success', () => {
    const one = backoff(1)
    expect([one.next(), one.next(), one.next()]).toEqual([20, 40, 80])
    one.reset()
    expect(one.next()).toBe(20)
  })

  it.each([
    [0, 400, 400],
    [0.5, 400, 500],
    [1, 5, 20],
    [0, 1e12, 60_000],
    [1, -400, 20],
    [1, null, 20],
    [1, '400', 20],
    [1, Number.NaN, 20],
  ])('with randomness %d after a refusal that asks for %s is %d', (random, asked, pauseMs) => {
    expect(backoff(random).next(asking(asked))).toBe(pauseMs)
  })
})
