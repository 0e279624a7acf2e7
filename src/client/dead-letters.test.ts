import { describe, expect, it } from 'vitest'
import type { RedriveRequest } from '../ports/index.ts'
import { purgeAll, redriveAll } from './dead-letters.ts'

/** A broker with so many letters that does at most `atOnce` of them a call. */
function brokerWith(letters: number, atOnce: number) {
  const calls: RedriveRequest[] = []
  const step = async (request: RedriveRequest) => {
    calls.push(request)
    const { after = 0, max = 1_000 } = request
    const redriven = Math.min(atOnce, max, letters - after)
    const next = after + redriven
    const counts = {
      deadLetterTopic: 'd',
      matched: redriven,
      redriven,
      purged: redriven,
      refused: 1,
      skipped: 2,
    }
    return next < letters ? { ...counts, next } : counts
  }
  return { calls, step }
}

describe('a redrive in many calls', () => {
  it('goes on until everything was looked at, and sums up', async () => {
    const { calls, step } = brokerWith(25, 10)
    const told: number[] = []
    const result = await redriveAll(step, { match: 'x' }, ({ redriven }) => told.push(redriven))
    expect(result).toEqual({ deadLetterTopic: 'd', matched: 25, redriven: 25, refused: 3, skipped: 6 })
    expect(told).toEqual([10, 20, 25])
    expect(calls.map(({ after }) => after)).toEqual([undefined, 10, 20])
    expect(calls.every(({ match, max }) => match === 'x' && max === 10_000)).toBe(true)
  })

  it('ends at its maximum', async () => {
    const { calls, step } = brokerWith(25, 10)
    expect(await redriveAll(step, { max: 15 }, () => {})).toMatchObject({ redriven: 15 })
    expect(calls.map(({ max }) => max)).toEqual([15, 5])
  })
})

describe('a purge in many calls', () => {
  it('goes on until everything was looked at, or its maximum is reached', async () => {
    expect(await purgeAll(brokerWith(25, 10).step, {})).toEqual({
      deadLetterTopic: 'd',
      purged: 25,
      skipped: 6,
    })
    expect(await purgeAll(brokerWith(25, 10).step, { max: 15 })).toMatchObject({ purged: 15 })
  })
})
