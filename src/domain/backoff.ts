/** How long to pause before trying again: exponential, bounded, with jitter. Pure: the caller brings the randomness. */

/** Bounds of the pauses, in milliseconds. */
export interface BackoffOptions {
  /** The longest that the first pause may be. */
  readonly baseMs: number
  /** The longest that any pause may be. */
  readonly maxMs: number
}

/**
 * The pause before try number `attempt`, in milliseconds: between half of its bound and the bound, which doubles with
 * each attempt. The upper half keeps a minimum of rest; the spread keeps those who failed together from coming back together.
 * @param attempt failures in a row so far, less one: 0 for the first pause
 * @param random at least 0 and below 1
 */
export function backoffDelayMs(attempt: number, { baseMs, maxMs }: BackoffOptions, random: number): number {
  const boundMs = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 52))
  return (boundMs * (1 + random)) / 2
}
