/** Runs of several contestants in turns: one each per round, in an order that moves on, so that none always has the same place. */
import type { Run } from './report.ts'

export interface Contestant {
  readonly name: string
  readonly version: string
  /** What its acknowledgement promises, in our words. */
  readonly durability: string
  run(): Promise<Run>
}

export interface Result {
  readonly contestant: Contestant
  /** One of each round. */
  readonly runs: readonly Run[]
}

/** @returns results in the order of the contestants */
export async function holdContest(
  contestants: readonly Contestant[],
  rounds: number,
  progress: (line: string) => void,
): Promise<readonly Result[]> {
  const results = contestants.map((contestant) => ({ contestant, runs: [] as Run[] }))
  for (let round = 0; round < rounds; round++) {
    for (const { contestant, runs } of orderOf(results, round)) {
      const run = await contestant.run()
      runs.push(run)
      const { messagesPerSecond, latencyMs } = run
      progress(
        `round ${round + 1} of ${rounds}, ${contestant.name}: ${messagesPerSecond} a second, p50 ${latencyMs.p50} ms, p99 ${latencyMs.p99} ms`,
      )
    }
  }
  return results
}

/** The same circle, begun one further in each round. */
export const orderOf = <T>(all: readonly T[], round: number): readonly T[] =>
  all.map((_, place) => all[(place + round) % all.length])
