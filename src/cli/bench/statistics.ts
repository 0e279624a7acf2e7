/** The arithmetic of results: medians, ranges, percentiles, ratios between contestants of the same round. */

export type Range = readonly [least: number, most: number]

/** The value in the middle, or the mean of the two in the middle. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export const rangeOf = (values: readonly number[]): Range => [Math.min(...values), Math.max(...values)]

/**
 * The least value that at least this part of all is not above (nearest rank); 0 of nothing.
 * @param sorted ascending
 */
export function percentile(sorted: Float64Array, part: number): number {
  if (sorted.length === 0) return 0
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)]
}

/**
 * The median of the ratios of each round. What slows a machine down for a while slows both contestants of a round, and so
 * leaves their ratio alone, while a quotient of two medians may compare a good minute with a bad one.
 */
export function ratioByRound(ours: readonly number[], theirs: readonly number[]): number {
  const rounds = Math.min(ours.length, theirs.length)
  return median(Array.from({ length: rounds }, (_, round) => ours[round] / theirs[round]))
}

/** Four digits that count: more would promise what no run repeats. */
export const rounded = (value: number): number => (value === 0 ? 0 : Number(value.toPrecision(4)))
