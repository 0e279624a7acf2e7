/**
 * Sending at a fixed rate without coordinated omission: every message has its time from the schedule, whether or not it
 * could be sent then. A sender that was held up sends what is overdue at once, and the delay counts in the latency of each.
 */

export interface PaceOptions {
  readonly perSecond: number
  /** Milliseconds of the clock that the messages carry. */
  readonly nowMs: () => number
  /** Resolves a turn of the event loop later: shorter than any timer. */
  readonly turn: () => Promise<unknown>
  readonly stopped: () => boolean
}

/** Overdue messages that go out in a row before others get their turn. */
const burstMax = 256

/**
 * Calls `send` with the time at which each message is due.
 * @returns how many were sent
 */
export async function pace(
  { perSecond, nowMs, turn, stopped }: PaceOptions,
  send: (dueMs: number) => void,
): Promise<number> {
  const beginMs = nowMs()
  const dueMs = (place: number): number => beginMs + (place * 1_000) / perSecond
  let sent = 0
  while (!stopped()) {
    for (let burst = 0; burst < burstMax && dueMs(sent) <= nowMs(); burst++) send(dueMs(sent++))
    await turn()
  }
  return sent
}
