import { expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { Runner } from './runner.ts'
import { range } from './testing/delivery-bench.ts'

it('gives each of very many one turn for each time it was put in the ring, in order', async () => {
  const clock = new ManualClock()
  const rounds: number[] = []
  const runner = new Runner(clock, () => void rounds.push(order.length))
  const order: number[] = []
  const tasks = range(0, 10_000).map((i) => ({
    step: () => {
      order.push(i)
      if (order.length <= 10_000) runner.schedule(tasks[i])
    },
  }))
  for (const task of tasks) runner.schedule(task)
  expect(order, 'not within the call that put it there').toEqual([])
  await clock.advance(0)
  expect(order).toEqual([...range(0, 10_000), ...range(0, 10_000)])
  expect(rounds).toEqual([20_000])
})

it('ends a turn of the event loop whose sinks take their time', async () => {
  const clock = new ManualClock()
  let steps = 0
  const monotonic = () => steps * 4
  const slow = { now: () => 0, monotonic, after: clock.after.bind(clock) }
  const runner = new Runner(slow, () => {})
  const task = {
    step: () => {
      steps++
      runner.spent(1)
      if (steps < 9) runner.schedule(task)
    },
  }
  runner.schedule(task)
  for (let i = 0; i < 100; i++) await Promise.resolve()
  expect(steps).toBe(4)
  await clock.advance(0)
  expect(steps).toBe(9)
})

it('finishes its ring when it is stopped, without a timer left', async () => {
  const clock = new ManualClock()
  const runner = new Runner(clock, () => {})
  let steps = 0
  const task = {
    step: () => {
      steps++
      runner.spent(20_000_000)
      if (steps < 2) runner.schedule(task)
    },
  }
  runner.schedule(task)
  await Promise.resolve()
  expect([steps, clock.pending]).toEqual([1, 1])
  runner.stop()
  expect(steps).toBe(2)
  runner.stop()
  expect(clock.pending).toBe(0)
})
