/** Chooses among runs of batches whose offsets contradict each other, as when a block was written to a wrong place. */
import type { Run } from './place.ts'

export interface WeighedRun {
  readonly run: Run
  readonly weight: number
}

interface Best<T extends WeighedRun> {
  readonly last: T
  readonly weight: number
  readonly before: Best<T> | undefined
}

/** The runs that together have the most weight while their offsets rise. @param all in order of positions */
export function heaviest<T extends WeighedRun>(all: readonly T[]): readonly T[] {
  // By end offset, each heavier than those before it: the rest is of no use to any run that comes.
  const bests: Best<T>[] = []
  for (const one of all) {
    const { start, end } = one.run
    const before = bests[countTo(bests, start.offset) - 1]
    const weight = one.weight + (before?.weight ?? 0)
    let from = countTo(bests, end.offset)
    if (from > 0 && bests[from - 1].weight >= weight) continue
    let to = from
    while (to < bests.length && bests[to].weight <= weight) to++
    if (from > 0 && bests[from - 1].last.run.end.offset === end.offset) from--
    bests.splice(from, to - from, { last: one, weight, before })
  }
  const chosen: T[] = []
  for (let best = bests.at(-1); best !== undefined; best = best.before) chosen.push(best.last)
  return chosen.reverse()
}

/** How many of those that are in order of their end offsets end at an offset or before it. */
function countTo(bests: readonly Best<WeighedRun>[], offset: number): number {
  let [low, high] = [0, bests.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (bests[middle].last.run.end.offset <= offset) low = middle + 1
    else high = middle
  }
  return low
}
