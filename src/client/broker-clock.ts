/**
 * The broker's clock as a client reckons it: messages expire by the broker's clock, and a client's own may be wrong by
 * hours, or be set while it runs. A link asks for the time when it is opened and goes on from there by the monotonic clock.
 * The answer is taken for the time half way between question and answer, so what is reckoned is off by at most half of
 * that round trip. What a broker's clock is set by later is learned with the next link.
 */
import type { Clock } from '../ports/index.ts'

/** The broker's time now, in whole Unix milliseconds. */
export type BrokerNow = () => number

/**
 * @param askedAtMs when the broker was asked, by the monotonic clock
 * @param timeMs what it has just answered; a broker that does not tell has, for all we know, the time of this machine
 */
export function brokerClock(clock: Clock, askedAtMs: number, timeMs: unknown): BrokerNow {
  if (typeof timeMs !== 'number' || !Number.isSafeInteger(timeMs) || timeMs <= 0) return () => clock.now()
  const originMs = timeMs - (askedAtMs + clock.monotonic()) / 2
  return () => Math.floor(originMs + clock.monotonic())
}
