import { expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { Deadlines } from './deadlines.ts'

const dueAt = (deadlineMs: number, expired: number[]) => ({
  deadlineMs,
  expire: () => {
    expired.push(deadlineMs)
  },
})

it('each expires at its time, whatever the order in which they came, and those that are settled do not', async () => {
  const clock = new ManualClock()
  const startMs = clock.monotonic()
  const deadlines = new Deadlines(clock)
  const expired: number[] = []
  const [late, early, settled, never] = [30, 10, 20, Number.POSITIVE_INFINITY].map((ms) =>
    dueAt(startMs + ms, expired),
  )
  for (const due of [late, early, settled, never]) deadlines.watch(due)
  deadlines.forget(settled)
  await clock.advance(9)
  expect(expired).toEqual([])
  await clock.advance(1)
  expect(expired).toEqual([early.deadlineMs])
  await clock.advance(1_000)
  expect(expired).toEqual([early.deadlineMs, late.deadlineMs])
})

it('one whose deadline was moved expires at the later time', async () => {
  const clock = new ManualClock()
  const startMs = clock.monotonic()
  const deadlines = new Deadlines(clock)
  let expired = 0
  const due = { deadlineMs: startMs + 10, expire: () => void expired++ }
  deadlines.watch(due)
  due.deadlineMs = startMs + 50
  await clock.advance(49)
  expect(expired).toBe(0)
  await clock.advance(1)
  expect(expired).toBe(1)
})

it('closed, it lets nothing expire', async () => {
  const clock = new ManualClock()
  const expired: number[] = []
  const deadlines = new Deadlines(clock)
  deadlines.watch(dueAt(clock.monotonic() + 10, expired))
  deadlines.close()
  await clock.advance(100)
  expect(expired).toEqual([])
})
