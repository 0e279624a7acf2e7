/** What the simulation draws, all of it from a seed. */
import { seededDraw } from '../../seeded-draw.ts'

/** Draws from a seed. */
export class Dice {
  readonly next: () => number

  constructor(seed: number) {
    this.next = seededDraw(seed)
  }

  /** A whole number of at least `from` and at most `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1))
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.next() * from.length)]
  }
}
