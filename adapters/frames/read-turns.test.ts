import { expect, it } from 'vitest'
import { ReadTurns } from './read-turns.ts'

function looped() {
  let nowMs = 0
  const next: (() => void)[] = []
  const turns = new ReadTurns(
    () => nowMs,
    (run) => next.push(run),
  )
  const wentOn: string[] = []
  return {
    wentOn,
    /** A read that takes so long. */
    read: (who: string, tookMs: number, afterMs = 0): boolean => {
      nowMs += afterMs
      turns.begins()
      nowMs += tookMs
      return turns.mayGoOn(() => wentOn.push(who))
    },
    turn: () => next.splice(0).forEach((run) => void run()),
    turnsAsked: () => next.length,
  }
}

it('reads on while it takes less than 5 ms, whoever reads', () => {
  const { read, turnsAsked } = looped()
  expect([read('a', 2), read('b', 2), read('a', 0.9)]).toEqual([true, true, true])
  expect(turnsAsked()).toBe(0)
})

it('yields when it has read for 5 ms, and goes on in the next turn with all who had to wait', () => {
  const { read, turn, turnsAsked, wentOn } = looped()
  expect([read('a', 3), read('b', 2), read('c', 1)]).toEqual([true, false, false])
  expect([turnsAsked(), wentOn]).toEqual([1, []])
  turn()
  expect(wentOn).toEqual(['b', 'c'])
  // The next turn has all of its time.
  expect([read('b', 4), read('c', 1), read('a', 1)]).toEqual([true, false, false])
})

it('reads with pauses between them are of turns of their own', () => {
  const { read } = looped()
  expect(Array.from({ length: 100 }, () => read('a', 4, 2))).not.toContain(false)
})
