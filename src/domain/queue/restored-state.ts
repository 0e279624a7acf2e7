/** What a checkpoint says of messages that have not been admitted yet, as admission reaches them. */
import { addSettled, addTried, type QueueCheckpoint, type TriedRun } from './checkpoint.ts'

/** The part of a checkpoint that is still ahead. */
export class RestoredState {
  readonly #settled: readonly number[]
  readonly #tried: readonly TriedRun[]
  #settledAt = 0
  #triedAt = 0

  constructor(checkpoint: QueueCheckpoint | undefined) {
    this.#settled = checkpoint?.settled ?? []
    this.#tried = checkpoint?.tried ?? []
  }

  /** Settled runs that begin at `offset` or behind it. Ask with ascending offsets. */
  runsFrom(offset: number): number {
    this.settledUntil(offset)
    return (this.#settled.length - this.#settledAt) / 2 - (this.nextSettled < offset ? 1 : 0)
  }

  /** The end of the settled run that `offset` is in; `offset` when it is in none. Ask with ascending offsets. */
  settledUntil(offset: number): number {
    while (this.#settledAt < this.#settled.length && this.#settled[this.#settledAt + 1] <= offset) {
      this.#settledAt += 2
    }
    const inside = this.#settledAt < this.#settled.length && this.#settled[this.#settledAt] <= offset
    return inside ? this.#settled[this.#settledAt + 1] : offset
  }

  /** True when an offset that is still ahead is settled. */
  isSettled(offset: number): boolean {
    for (let i = this.#settledAt; i < this.#settled.length && this.#settled[i] <= offset; i += 2) {
      if (offset < this.#settled[i + 1]) return true
    }
    return false
  }

  /** Where the next settled run begins, after `settledUntil` with the same offset. */
  get nextSettled(): number {
    return this.#settled[this.#settledAt] ?? Number.POSITIVE_INFINITY
  }

  /** The tried runs, or their parts, in [from, to); each is given once. Ask with ascending ranges. */
  *triedIn(from: number, to: number): Generator<TriedRun, void, undefined> {
    for (; this.#triedAt < this.#tried.length; this.#triedAt++) {
      const run = this.#tried[this.#triedAt]
      if (run.from >= to) return
      if (run.to > from) yield { ...run, from: Math.max(run.from, from), to: Math.min(run.to, to) }
      if (run.to > to) return
    }
  }

  /** Adds what is from `offset` on to a checkpoint. */
  appendTo(settled: number[], tried: TriedRun[], offset: number): void {
    for (let i = this.#settledAt; i < this.#settled.length; i += 2) {
      const from = Math.max(offset, this.#settled[i])
      const to = this.#settled[i + 1]
      if (from < to) addSettled(settled, from, to)
    }
    for (let i = this.#triedAt; i < this.#tried.length; i++) {
      const run = this.#tried[i]
      if (run.to > offset) addTried(tried, { ...run, from: Math.max(run.from, offset) })
    }
  }
}
