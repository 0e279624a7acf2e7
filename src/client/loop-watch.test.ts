import { expect, it } from 'vitest'
import { LoopWatch } from './loop-watch.ts'

/** A clock whose timers fire when the event loop is given a turn. */
function loopOfTest() {
  const loop = { nowMs: 0, waiting: [] as (() => void)[] }
  const clock = {
    now: () => loop.nowMs,
    monotonic: () => loop.nowMs,
    after: (_ms: number, run: () => void) => {
      loop.waiting.push(run)
      return { [Symbol.dispose]: () => {} }
    },
  }
  const turn = () => {
    for (const run of loop.waiting.splice(0)) run()
  }
  return { loop, turn, watch: new LoopWatch(clock) }
}

/** How many of so many calls, 0.1 ms each, were to wait. */
function pausesOf({ loop, watch }: ReturnType<typeof loopOfTest>, calls: number): number {
  let pauses = 0
  for (let call = 0; call < calls; call++) {
    loop.nowMs += 0.1
    if (watch.pause() !== undefined) pauses++
  }
  return pauses
}

it('asks nobody to wait while the loop has its turns', () => {
  const test = loopOfTest()
  for (let turn = 0; turn < 50; turn++) {
    expect(pausesOf(test, 90)).toBe(0)
    test.turn()
  }
})

it('asks everybody to wait for the next turn when there was none for 10 ms', async () => {
  const test = loopOfTest()
  expect(pausesOf(test, 64)).toBe(0) // sees that there is much to do
  expect(pausesOf(test, 100)).toBe(0)
  expect(pausesOf(test, 100)).toBeGreaterThan(60)
  const pause = test.watch.pause()
  expect(test.watch.pause()).toBe(pause)
  test.turn()
  await pause
  expect(pausesOf(test, 90)).toBe(0)
})
