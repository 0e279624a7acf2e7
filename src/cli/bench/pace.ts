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

/** What a sender may be out of. */
interface Room {
  readonly isFull: boolean
  /** Settles when there is some again. */
  ready(): Promise<unknown> | undefined
}

/** Overdue messages that go out in a row before others get their turn. */
const burstMax = 256

/** The next turn of the event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Calls `send` with the time at which each message is due.
 * @param room what is waited for while it is full; the next is overdue then
 * @returns how many were sent
 */
export async function pace(
  { perSecond, nowMs, turn, stopped }: PaceOptions,
  send: (dueMs: number) => void,
  room?: Room,
): Promise<number> {
  const dueMs = dueBy(perSecond, nowMs())
  let sent = 0
  while (!stopped()) {
    if (room?.isFull === true) await room.ready()
    for (let burst = 0; burst < burstMax && room?.isFull !== true && dueMs(sent) <= nowMs(); burst++) {
      send(dueMs(sent++))
    }
    await turn()
  }
  return sent
}

/** The times of a schedule, one after the other as they come: what is overdue comes at once. */
export async function* dueTimes({ perSecond, nowMs, turn, stopped }: PaceOptions): AsyncGenerator<number> {
  const dueMs = dueBy(perSecond, nowMs())
  for (let place = 0; !stopped(); ) {
    for (let burst = 0; burst < burstMax && !stopped() && dueMs(place) <= nowMs(); burst++) {
      yield dueMs(place++)
    }
    await turn()
  }
}

const dueBy =
  (perSecond: number, beginMs: number) =>
  (place: number): number =>
    beginMs + (place * 1_000) / perSecond
