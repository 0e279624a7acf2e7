import { expect, it } from 'vitest'
import { dueTimes, pace } from './pace.ts'

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

it('who is out of room waits, and what became due meanwhile is overdue', async () => {
  let nowMs = 0
  let free = 3
  const sent: { dueMs: number; sentMs: number }[] = []
  const room = {
    get isFull() {
      return free === 0
    },
    ready: async () => {
      nowMs += 10
      free = 5
    },
  }
  const turn = async () => {
    nowMs++
  }
  await pace(
    { perSecond: 1_000, nowMs: () => nowMs, turn, stopped: () => nowMs >= 30 },
    (dueMs) => {
      sent.push({ dueMs, sentMs: nowMs })
      free--
    },
    room,
  )
  expect(sent.slice(0, 5)).toEqual([
    { dueMs: 0, sentMs: 0 },
    { dueMs: 1, sentMs: 1 },
    { dueMs: 2, sentMs: 2 },
    { dueMs: 3, sentMs: 13 },
    { dueMs: 4, sentMs: 13 },
  ])
})

it('the times of a schedule come when they are due, and at once when they are overdue', async () => {
  let nowMs = 0
  const turn = async () => {
    nowMs += nowMs === 2 ? 5 : 1
  }
  const came: { dueMs: number; nowMs: number }[] = []
  for await (const dueMs of dueTimes({
    perSecond: 1_000,
    nowMs: () => nowMs,
    turn,
    stopped: () => nowMs >= 9,
  })) {
    came.push({ dueMs, nowMs })
  }
  expect(came.map(({ dueMs }) => dueMs)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  expect(came.map((one) => one.nowMs)).toEqual([0, 1, 2, 7, 7, 7, 7, 7, 8])
})
