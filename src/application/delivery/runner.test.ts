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

const microtasks = async (): Promise<void> => {
  for (let i = 0; i < 100; i++) await Promise.resolve()
}

it('gives few sinks behind connections something in a turn, and more when others take long', async () => {
  let nowMs = 0
  let nextTurn = (): void => {}
  const after = (_delayMs: number, run: () => void) => {
    nextTurn = run
    return { [Symbol.dispose]: () => {} }
  }
  const runner = new Runner({ now: () => 0, monotonic: () => nowMs, after }, () => {})
  let steps = 0
  const step = (): void => {
    steps++
    runner.spent(100, true)
  }
  for (let i = 0; i < 1_000; i++) runner.schedule({ step })
  await microtasks()
  const turns = [steps]
  for (const awayMs of [0, 5, 0, 1_000]) {
    nowMs += awayMs
    nextTurn()
    await microtasks()
    turns.push(steps)
  }
  expect(turns).toEqual([16, 32, 112, 128, 640])
})

it('gives sinks of this process as much as before', async () => {
  const clock = new ManualClock()
  const runner = new Runner(clock, () => {})
  let steps = 0
  const step = (): void => {
    steps++
    runner.spent(100)
  }
  for (let i = 0; i < 1_000; i++) runner.schedule({ step })
  await microtasks()
  expect(steps).toBe(1_000)
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
