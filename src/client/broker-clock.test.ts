import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { brokerClock } from './broker-clock.ts'

describe("the broker's clock", () => {
  it('is what the broker said half way between question and answer, and goes on from there', async () => {
    const clock = new ManualClock(5_000)
    await clock.advance(100)
    const askedAtMs = clock.monotonic()
    await clock.advance(41)
    const now = brokerClock(clock, askedAtMs, 1_000_000)
    expect(now()).toBe(1_000_020)
    await clock.advance(60_000)
    expect(now()).toBe(1_060_020)
  })

  it('does not notice that the clock of this machine is set', async () => {
    const clock = new ManualClock(5_000)
    const now = brokerClock(clock, clock.monotonic(), 1_000_000)
    clock.jumpTo(9_000_000)
    await clock.advance(5)
    expect(now()).toBe(1_000_005)
  })

  it.each([undefined, 0, -1, Number.NaN, '1000', null])(
    'is the own clock when the broker says %j',
    (timeMs) => {
      const clock = new ManualClock(5_000)
      const now = brokerClock(clock, 0, timeMs)
      clock.jumpTo(7_000)
      expect(now()).toBe(7_000)
    },
  )
})
