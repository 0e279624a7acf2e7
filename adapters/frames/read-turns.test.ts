import { describe, expect, it } from 'vitest'
import { type Reading, ReadTurns } from './read-turns.ts'

const part = 64 * 1024

function looped() {
  let nowMs = 0
  const next: (() => void)[] = []
  const turns = new ReadTurns(
    () => nowMs,
    (run) => next.push(run),
  )
  const wentOn: string[] = []
  const readings = new Map<string, Reading>()
  const readingOf = (who: string): Reading => {
    let reading = readings.get(who)
    if (reading === undefined) {
      reading = { visitBytes: 0, visitMs: 0, goOn: () => void wentOn.push(who) }
      readings.set(who, reading)
    }
    return reading
  }
  return {
    /** Who went on since this was asked last. */
    wentOn: () => wentOn.splice(0),
    /** A read that takes so long. */
    read: (who: string, tookMs: number, { afterMs = 0, bytes = part, more = true } = {}): boolean => {
      nowMs += afterMs
      turns.begins()
      nowMs += tookMs
      return turns.mayGoOn(readingOf(who), bytes, more)
    },
    turn: () => next.splice(0).forEach((run) => void run()),
    turnsAsked: () => next.length,
  }
}

describe('reading', () => {
  it('goes on while it takes less than 2 ms, whoever reads', () => {
    const { read, turnsAsked } = looped()
    expect([read('a', 0.8), read('b', 0.8), read('a', 0.3)]).toEqual([true, true, true])
    expect(turnsAsked()).toBe(0)
  })

  it('yields when the turn is over, and goes on in the next', () => {
    const { read, turn, turnsAsked, wentOn } = looped()
    expect([read('a', 1), read('a', 1.1)]).toEqual([true, false])
    expect([turnsAsked(), wentOn()]).toEqual([1, []])
    turn()
    expect(wentOn()).toEqual(['a'])
    // The next turn has all of its time, and nobody else waits.
    expect([read('a', 1), read('a', 0.9), read('a', 0.2)]).toEqual([true, true, false])
  })

  it('goes round: while others wait each has its part, and so many a turn as it has time for', () => {
    const { read, turn, wentOn } = looped()
    expect(read('a', 2)).toBe(false)
    for (const who of ['b', 'c', 'd', 'e', 'f']) expect(read(who, 0.5)).toBe(false)
    const rounds: (readonly string[])[] = []
    for (let i = 0; i < 100; i++) {
      turn()
      const now = wentOn()
      for (const who of now) while (read(who, 0.5));
      rounds.push(now)
    }
    // By now it is known what a visit takes: four of 0.5 are a turn.
    const late = rounds.slice(-30)
    expect(new Set(late.map(({ length }) => length))).toEqual(new Set([4]))
    const order = late.flat()
    for (let i = 6; i < order.length; i++) expect(order[i]).toBe(order[i - 6])
  })

  it('is by bytes: one that reads little at a time has as much of a turn as others', () => {
    const { read } = looped()
    read('a', 2)
    expect(read('b', 0.01, { bytes: part / 2 })).toBe(true)
    expect(read('b', 0.01, { bytes: part / 2 - 1 })).toBe(true)
    expect(read('b', 0.01, { bytes: 1 })).toBe(false)
  })

  it('never keeps one waiting that has read all there was', () => {
    const { read, turnsAsked } = looped()
    read('flood', 5)
    expect(turnsAsked()).toBe(1)
    for (let i = 0; i < 10; i++) expect(read('quiet', 1, { bytes: 60_000, more: false })).toBe(true)
  })

  it('with pauses between is of turns of its own', () => {
    const { read } = looped()
    expect(Array.from({ length: 100 }, () => read('a', 1.9, { afterMs: 2 }))).not.toContain(false)
  })
})
