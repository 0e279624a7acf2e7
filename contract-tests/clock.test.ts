import { systemClock } from 'ratatoskr/adapters/node'
import type { Clock } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { clockCases, clockContract } from './clock.ts'
import { ManualClock } from './manual-clock.ts'
import { failuresOf } from './suite.ts'

const manual = async (clock: Clock = new ManualClock(), driver = clock as ManualClock) => ({
  subject: clock,
  elapse: (ms: number) => driver.advance(ms),
  teardown: async () => {},
})

clockContract('the manual clock', () => manual())

clockContract('the system clock', async () => ({
  subject: systemClock,
  elapse: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 2)),
  teardown: async () => {},
}))

/** A clock that is right but for what `fault` changes. */
const broken = (fault: (clock: ManualClock) => Partial<Clock>) => {
  const clock = new ManualClock()
  const right: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (delayMs, run) => clock.after(delayMs, run),
  }
  return manual({ ...right, ...fault(clock) }, clock)
}

describe('the clock contract catches a clock that', () => {
  it.each<readonly [string, (clock: ManualClock) => Partial<Clock>]>([
    ['tells seconds', (clock) => ({ now: () => Math.floor(clock.now() / 1_000) })],
    ['runs backwards', (clock) => ({ monotonic: () => -clock.monotonic() })],
    ['stands still', () => ({ monotonic: () => 0 })],
    ['runs timers early', (clock) => ({ after: (delayMs, run) => clock.after(delayMs / 2, run) })],
    [
      'runs what is due at once',
      (clock) => ({
        after: (delayMs, run) => {
          if (delayMs > 0) return clock.after(delayMs, run)
          run()
          return { [Symbol.dispose]: () => {} }
        },
      }),
    ],
    [
      'cannot cancel',
      (clock) => ({
        after: (delayMs, run) => {
          clock.after(delayMs, run)
          return { [Symbol.dispose]: () => {} }
        },
      }),
    ],
    [
      'wraps delays at 31 bits',
      (clock) => ({ after: (delayMs, run) => clock.after(delayMs >= 2 ** 31 ? 1 : delayMs, run) }),
    ],
    [
      'repeats its timers',
      (clock) => ({
        after: (delayMs, run) => {
          clock.after(delayMs, run)
          return clock.after(delayMs + 1, run)
        },
      }),
    ],
  ])('%s', async (_, fault) => {
    expect(await failuresOf(clockCases, () => broken(fault))).not.toHaveLength(0)
  })
})

describe('the manual clock', () => {
  it('stands still unless it is told to go on', async () => {
    const clock = new ManualClock(1_000)
    await Promise.resolve()
    expect([clock.now(), clock.monotonic()]).toEqual([1_000, 0])
  })

  it('shows each timer its own time', async () => {
    const clock = new ManualClock(0)
    const seen: number[] = []
    for (const delayMs of [30, 10, 20]) clock.after(delayMs, () => seen.push(clock.now()))
    await clock.advance(25)
    expect(seen).toEqual([10, 20])
    expect([clock.now(), clock.pending]).toEqual([25, 1])
  })

  it('keeps timers of the same time in the order they were asked for', async () => {
    const clock = new ManualClock()
    const order: number[] = []
    for (let i = 0; i < 5; i++) clock.after(10, () => order.push(i))
    await clock.advance(10)
    expect(order).toEqual([0, 1, 2, 3, 4])
  })

  it('lets promises settle between timers', async () => {
    const clock = new ManualClock(0)
    const seen: number[] = []
    const wait = (ms: number) => new Promise<void>((resolve) => clock.after(ms, resolve))
    const work = (async () => {
      for (let i = 0; i < 3; i++) {
        await Promise.resolve()
        await wait(10)
        seen.push(clock.now())
      }
    })()
    await clock.advance(35)
    await work
    expect(seen).toEqual([10, 20, 30])
  })

  it('moves the wall clock without moving timers', async () => {
    const clock = new ManualClock(10_000)
    let ran = false
    clock.after(10, () => {
      ran = true
    })
    clock.jumpTo(0)
    expect([clock.now(), clock.monotonic()]).toEqual([0, 0])
    clock.jumpTo(1_000_000)
    await clock.advance(9)
    expect(ran).toBe(false)
    await clock.advance(1)
    expect(ran).toBe(true)
    expect([clock.now(), clock.monotonic()]).toEqual([1_000_010, 10])
  })

  it('passes on what a timer throws, and goes on with the next', async () => {
    const clock = new ManualClock(0)
    let ran = false
    clock.after(1, () => {
      throw new Error('from the timer')
    })
    clock.after(2, () => {
      ran = true
    })
    await expect(clock.advance(10)).rejects.toThrow('from the timer')
    expect([clock.monotonic(), ran]).toEqual([1, false])
    await clock.advance(1)
    expect(ran).toBe(true)
  })

  it('refuses to go back, and to be advanced twice at a time', async () => {
    const clock = new ManualClock()
    await expect(clock.advance(-1)).rejects.toThrow(TypeError)
    await expect(clock.advance(Number.NaN)).rejects.toThrow(TypeError)
    const first = clock.advance(1)
    await expect(clock.advance(1)).rejects.toThrow(TypeError)
    await first
    expect(clock.monotonic()).toBe(1)
  })
})
