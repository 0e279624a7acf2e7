import { describe, expect, it } from 'vitest'
import { seededDraw } from '../../contract-tests/seeded-draw.ts'
import { atLeast, type Figure, findingsOf, roundsMin } from './paired.ts'

const bounds = { percentMin: 1, chanceMax: 0.02 }
const figure = (value: number, better: 'more' | 'less' = 'less'): Figure => ({
  name: 'time',
  unit: 'us',
  value,
  better,
})
const one = (before: number[], after: number[], better?: 'more' | 'less', more = bounds) =>
  findingsOf(
    before.map((value, round) => ({
      before: [figure(value, better)],
      after: [figure(after[round], better)],
    })),
    more,
  )[0]

/** Runs of two builds on a machine that is slow for whole rounds at a time, and whose single runs scatter. */
function noisyRounds(random: () => number, rounds: number, worse: number) {
  const before: number[] = []
  const after: number[] = []
  for (let round = 0; round < rounds; round++) {
    const slow = 1 + 4 * random()
    before.push(slow * (0.8 + 0.4 * random()))
    after.push(worse * slow * (0.8 + 0.4 * random()))
  }
  return { before, after }
}

describe('two builds in turns', () => {
  it('are worse when nearly all rounds say so, and by enough', () => {
    expect(one([100, 200, 50, 100, 100, 80, 90, 300], [110, 220, 55, 110, 110, 88, 99, 330])).toEqual({
      figure: 'time',
      unit: 'us',
      before: 100,
      after: 110,
      worsePercent: 10,
      intervalPercent: [10, 10],
      rounds: 8,
      worseRounds: 8,
      chance: 0.0039,
      verdict: 'worse',
    })
  })

  it('are the same when it may be chance', () => {
    expect(
      one([100, 100, 100, 100, 100, 100, 100, 100], [130, 130, 130, 130, 130, 130, 90, 90]),
    ).toMatchObject({
      worsePercent: 30,
      worseRounds: 6,
      verdict: 'same',
      intervalPercent: [-10, 30],
    })
  })

  it('are the same when it is no matter', () => {
    const [before, after] = [Array<number>(8).fill(100), Array<number>(8).fill(104)]
    expect(one(before, after, 'less', { percentMin: 5, chanceMax: 0.02 }).verdict).toBe('same')
    expect(one(before, after, 'less', { percentMin: 4, chanceMax: 0.02 }).verdict).toBe('worse')
  })

  it('know which way is better', () => {
    const [low, high] = [Array<number>(8).fill(100), Array<number>(8).fill(150)]
    expect(one(low, high, 'more').verdict).toBe('better')
    expect(one(high, low, 'more')).toMatchObject({ verdict: 'worse', worsePercent: 50 })
    expect(one(high, low, 'less').verdict).toBe('better')
  })

  it('say nothing of what one of them does not report', () => {
    const pair = { before: [], after: [figure(3)] }
    expect(findingsOf([pair, pair], bounds)).toEqual([])
    expect(findingsOf([{ before: [figure(0)], after: [figure(1)] }], bounds)).toEqual([])
  })

  it('are not called worse for noise: 20 % of each run, five times as slow now and then', () => {
    const random = seededDraw(7)
    let red = 0
    for (let run = 0; run < 5_000; run++) {
      const { before, after } = noisyRounds(random, 8, 1)
      if (one(before, after, 'less', { percentMin: 20, chanceMax: 0.02 }).verdict === 'worse') red++
    }
    expect(red).toBeLessThanOrEqual(5)
  })

  it('are found to be worse in the same noise when they are, half as slow again', () => {
    const random = seededDraw(7)
    let found = 0
    for (let run = 0; run < 500; run++) {
      const { before, after } = noisyRounds(random, 8, 1.5)
      if (one(before, after, 'less', { percentMin: 20, chanceMax: 0.02 }).verdict === 'worse') found++
    }
    expect(found).toBeGreaterThan(450)
  })

  it('have an interval that holds the true difference in at least 95 of 100 cases', () => {
    const random = seededDraw(11)
    for (const rounds of [8, 13, 20]) {
      let held = 0
      for (let run = 0; run < 1_000; run++) {
        const { before, after } = noisyRounds(random, rounds, 1.1)
        const [least, most] = one(before, after).intervalPercent
        if (least <= 10 && 10 <= most) held++
      }
      expect(held).toBeGreaterThan(930)
    }
  })
})

it('a side of so many coins is as likely as the binomial says', () => {
  expect([atLeast(0, 8), atLeast(8, 8), atLeast(7, 8), atLeast(4, 4)]).toEqual([1, 1 / 256, 9 / 256, 1 / 16])
  expect([roundsMin(0.02), roundsMin(0.5)]).toEqual([6, 1])
})
