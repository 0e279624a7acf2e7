/** How fast something grows. */

export interface Point {
  readonly at: number
  readonly value: number
}

/** The slope of the straight line that lies closest to all points, by least squares; 0 when there is but one time, or none. */
export function slopeOf(points: readonly Point[]): number {
  const mean = (of: (point: Point) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const meanAt = mean(({ at }) => at)
  const meanValue = mean(({ value }) => value)
  const spread = mean(({ at }) => (at - meanAt) ** 2)
  return !(spread > 0) ? 0 : mean(({ at, value }) => (at - meanAt) * (value - meanValue)) / spread
}
