import { expect, it } from 'vitest'
import { pace } from './pace.ts'

/** Sends at 1,000 a second for 100 ms of a clock that goes on as `stepMs` says of the time, one step each turn. */
async function paced(stepMs: (nowMs: number) => number) {
  let nowMs = 0
  const sent: { dueMs: number; sentMs: number }[] = []
  const count = await pace(
    {
      perSecond: 1_000,
      nowMs: () => nowMs,
      turn: async () => {
        nowMs += stepMs(nowMs)
      },
      stopped: () => nowMs >= 100,
    },
    (dueMs) => sent.push({ dueMs, sentMs: nowMs }),
  )
  expect(count).toBe(sent.length)
  return sent
}

it('sends each message when it is due', async () => {
  const sent = await paced(() => 0.25)
  expect(sent).toHaveLength(100)
  expect(sent.every(({ dueMs, sentMs }) => sentMs === dueMs)).toBe(true)
})

it('a stall omits nothing: what became due meanwhile goes out at once, with the time at which it was due', async () => {
  const stallMs = 40
  const sent = await paced((nowMs) => (nowMs === 10 ? stallMs : 0.5))
  expect(sent).toHaveLength(100)
  expect(sent.map(({ dueMs }) => dueMs)).toEqual(Array.from({ length: 100 }, (_, place) => place))
  const late = sent.filter(({ dueMs, sentMs }) => sentMs > dueMs)
  // A sender that only measured from when it sent would have seen one late message, or none.
  expect(late).toHaveLength(stallMs - 1)
  expect(late[0]).toEqual({ dueMs: 11, sentMs: 50 })
})
