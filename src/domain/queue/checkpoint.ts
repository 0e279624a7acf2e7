/** What is stored of a queue group's partition, so that its state outlives the broker. As bytes: see checkpoint-codec.ts. */

/** Most settled runs above the floor that are stored; the lease table hands out nothing fresh while there are more. */
export const settledRunsMax = 65_536

/** Most bytes that a checkpoint takes. */
export const checkpointBytesMax = 512 * 1024

/** Most tried runs that are stored: as many as there may be room for, at six bytes each. */
export const triedRunsMax = 87_000

/** Consecutive messages that were delivered before and are not settled, with everything about them equal. */
export interface TriedRun {
  readonly from: number
  readonly to: number
  /** Deliveries so far that count, at least 1; 0 only with `failing`. */
  readonly attempts: number
  /** Unix ms when they are due again; 0 when they are due, or were leased. */
  readonly dueMs: number
  /** Unix ms of the first and the last delivery; 0 without one. */
  readonly firstAtMs: number
  readonly lastAtMs: number
  /** True: they are on their way to the dead letters. */
  readonly failing: boolean
}

/** Why messages fail, in the order of their numbers in stored checkpoints, from 1. */
export const storedCauses = ['nack', 'terminate', 'timeout', 'left', 'expired', 'undecodable'] as const

/** Why a message that is on its way to the dead letters has failed. */
export interface StoredFailure {
  readonly offset: number
  readonly cause: (typeof storedCauses)[number]
  /** What a member said of it. */
  readonly error: string
}

/** The state of one partition of a queue group, as it is stored. */
export interface QueueCheckpoint {
  /** Everything below is settled. */
  readonly floor: number
  /** No lease of a greater epoch was ever handed out: a table that begins from this checkpoint takes a greater one. */
  readonly epoch: number
  /** No offset from here on was ever delivered. */
  readonly deliveryBound: number
  /** Settled runs above the floor, ascending: from, to, from, to, ... */
  readonly settled: readonly number[]
  /** Ascending. */
  readonly tried: readonly TriedRun[]
  /** Of failing messages, ascending by offset; not of all when there are many. */
  readonly failures?: readonly StoredFailure[] | undefined
}

/** Adds a settled run, which follows all others, to a list of them. */
export function addSettled(runs: number[], from: number, to: number): void {
  if (runs.length > 0 && runs[runs.length - 1] === from) runs[runs.length - 1] = to
  else runs.push(from, to)
}

/** Adds a tried run, which follows all others, to a list of them. */
export function addTried(runs: TriedRun[], run: TriedRun): void {
  const last = runs.at(-1)
  const same =
    last?.to === run.from &&
    last.attempts === run.attempts &&
    last.dueMs === run.dueMs &&
    last.firstAtMs === run.firstAtMs &&
    last.lastAtMs === run.lastAtMs &&
    last.failing === run.failing
  if (same) runs[runs.length - 1] = { ...last, to: run.to }
  else runs.push(run)
}
