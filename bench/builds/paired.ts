/**
 * Two builds, run in turns: what is better or worse, how surely, and by how much at least.
 *
 * Each round gives a ratio of the two runs, and what slows the machine for a while slows both. If nothing had changed, each ratio
 * would lie above 1 as likely as below, whatever the noise is like: so the sign test says how likely so many on one side are by
 * chance, and the same count gives the interval that holds the true ratio. Neither supposes anything about the noise's form.
 */
import { median, rounded } from '../../src/cli/bench/statistics.ts'

/** What one run measured. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly value: number
  readonly better: 'more' | 'less'
}

export interface Finding {
  readonly figure: string
  readonly unit: string
  /** Medians of the runs of each build. */
  readonly before: number
  readonly after: number
  /** How many per cent worse the second is, the median of all rounds; below 0 it is better. */
  readonly worsePercent: number
  /** Holds the true one in at least 95 of 100 cases; wider, for want of rounds, it is all that was seen. */
  readonly intervalPercent: readonly [least: number, most: number]
  readonly rounds: number
  /** In which the second was worse. */
  readonly worseRounds: number
  /** How likely so many, or more, are on that side by chance. */
  readonly chance: number
  readonly verdict: 'better' | 'same' | 'worse'
}

/** What two builds came to in one scenario. */
export interface BuildsReport {
  readonly scenario: string
  readonly before: string
  readonly after: string
  readonly findings: readonly Finding[]
}

export interface Bounds {
  /** Less than so many per cent is no matter. */
  readonly percentMin: number
  /** More likely by chance than so is no finding. */
  readonly chanceMax: number
}

/** The fewest rounds that can show anything, when all of them agree. */
export const roundsMin = (chanceMax: number): number => Math.ceil(Math.log2(1 / chanceMax))

/** @param pairs figures of both builds, a round each */
export function findingsOf(
  pairs: readonly { readonly before: readonly Figure[]; readonly after: readonly Figure[] }[],
  bounds: Bounds,
): readonly Finding[] {
  const valuesOf = (side: 'before' | 'after', name: string): number[] =>
    pairs.map((pair) => pair[side].find((figure) => figure.name === name)?.value ?? Number.NaN)
  return (pairs[0]?.after ?? []).flatMap(({ name, unit, better }) => {
    const [before, after] = [valuesOf('before', name), valuesOf('after', name)]
    // What one of the builds does not report, and what is nothing, has no ratio.
    if (![...before, ...after].every((value) => Number.isFinite(value) && value > 0)) return []
    const ratios = before.map((value, round) =>
      better === 'less' ? after[round] / value : value / after[round],
    )
    return [
      {
        figure: name,
        unit,
        before: rounded(median(before)),
        after: rounded(median(after)),
        ...judged(ratios, bounds),
      },
    ]
  })
}

function judged(ratios: readonly number[], { percentMin, chanceMax }: Bounds) {
  const worseRounds = ratios.filter((ratio) => ratio > 1).length
  const betterRounds = ratios.filter((ratio) => ratio < 1).length
  const rounds = worseRounds + betterRounds
  const middle = median(ratios)
  const chance = Number(atLeast(Math.max(worseRounds, betterRounds), rounds).toPrecision(2))
  const sure = chance <= chanceMax
  const least = 1 + percentMin / 100
  const verdict =
    sure && worseRounds > betterRounds && middle >= least
      ? ('worse' as const)
      : sure && betterRounds > worseRounds && 1 / middle >= least
        ? ('better' as const)
        : ('same' as const)
  const intervalPercent = intervalOf(ratios).map(percent) as [number, number]
  return {
    worsePercent: percent(middle),
    intervalPercent,
    rounds: ratios.length,
    worseRounds,
    chance,
    verdict,
  }
}

const percent = (ratio: number): number => Number(((ratio - 1) * 100).toFixed(1))

/** How likely at least `count` of `rounds` fair coins show the same given side. */
export function atLeast(count: number, rounds: number): number {
  let ways = 1 // of choosing k of all
  let sum = 0
  for (let k = 0; k <= rounds; k++) {
    if (k >= count) sum += ways
    ways = (ways * (rounds - k)) / (k + 1)
  }
  return sum / 2 ** rounds
}

/** From the k-th least to the k-th largest ratio, with the largest k at which the true median is outside in 5 of 100 at most. */
function intervalOf(ratios: readonly number[]): readonly [number, number] {
  const sorted = ratios.toSorted((a, b) => a - b)
  const n = sorted.length
  let k = 1
  while (k + 1 <= n / 2 && 2 * atLeast(n - k, n) <= 0.05) k++
  return [sorted[k - 1], sorted[n - k]]
}
