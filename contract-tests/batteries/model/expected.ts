/** What the model says of settlements, counts and pauses. */
import type { QueueConfig } from 'ratatoskr/ports'

/** What a settlement must be answered with. */
export interface ExpectedResult {
  readonly settled: number
  readonly lost: number
  /** Messages that it has settled before, which may be forgotten: then they are lost. */
  readonly unsure: number
}

/** How many messages are what; from, to where a crash left doubts. */
export interface Counts {
  readonly lag: readonly [number, number]
  readonly inFlight: number
  readonly delayed: readonly [number, number]
}

/** How long a message waits that failed at an attempt. */
export function retryDelayMs(retry: QueueConfig['retry'], attempt: number): number {
  if (retry.kind === 'fixed') return retry.delayMs
  if (retry.kind === 'list') return retry.delaysMs[Math.min(attempt, retry.delaysMs.length) - 1]
  throw new TypeError(`the model knows no retries of kind ${retry.kind}`)
}
