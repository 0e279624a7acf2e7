/** Randomness that follows from a seed, so that a run can be repeated. */

/** Numbers of at least 0 and below 1. */
export type Draw = () => number

/** Mulberry32: one multiplication chain over a 32-bit counter, well enough mixed for tests. Not for secrets. */
export function seededDraw(seed: number): Draw {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
