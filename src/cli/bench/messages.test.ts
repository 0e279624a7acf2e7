import { describe, expect, it } from 'vitest'
import type { RecordCursor } from '../../ports/index.ts'
import { addUp, latencyOf, MessageChecker, MessageMaker } from './messages.ts'

const takeRecord = (checker: MessageChecker, payload: Uint8Array): void => {
  const bytes = payload.slice()
  checker.open(bytes)
  checker.check({ bytes, valueStart: 0, valueEnd: bytes.length } as RecordCursor)
}

describe.each([
  ['records of a batch', takeRecord],
  ['single messages', (checker: MessageChecker, payload: Uint8Array) => checker.take(payload)],
])('MessageChecker, %s', (_, take) => {
  it('finds nothing wrong with what comes whole and in order', () => {
    const maker = new MessageMaker(100)
    const checker = new MessageChecker(100)
    for (let i = 0; i < 100; i++) take(checker, maker.next())
    expect(checker.findings(100)).toEqual({
      received: 100,
      lost: 0,
      duplicated: 0,
      disordered: 0,
      damaged: 0,
    })
  })

  it('counts what is missing, what comes twice or late, and what is damaged', () => {
    const maker = new MessageMaker(100)
    const checker = new MessageChecker(100)
    const messages = Array.from({ length: 10 }, () => maker.next().slice())
    for (const place of [0, 1, 5, 5, 3, 3]) take(checker, messages[place])
    take(checker, messages[4].subarray(0, 99))
    take(checker, messages[4].with(99, 0))
    // 2 and 4 are missing in between, 6 to 9 at the end.
    expect(checker.findings(10)).toEqual({ received: 8, lost: 6, duplicated: 2, disordered: 1, damaged: 2 })
  })

  it('takes the latency of every message that has a time of its own, from when it was due', () => {
    const maker = new MessageMaker(100)
    const checker = new MessageChecker(100, 1)
    const overdueMs = 5_000
    checker.windowBegin()
    const dueMs = performance.timeOrigin + performance.now() - overdueMs
    for (let i = 0; i < 3; i++) take(checker, maker.makeDue(dueMs))
    expect(checker.samples).toHaveLength(3)
    expect(checker.windowEnd().latencyMs.p50).toBeGreaterThanOrEqual(overdueMs)
    checker.windowBegin()
    expect(checker.windowEnd()).toMatchObject({ messages: 0, latencyMs: { p50: 0, max: 0 } })
  })
})

describe('latencyOf', () => {
  it('gives percentiles by nearest rank, of values in any order', () => {
    const samples = Float64Array.from({ length: 1_000 }, (_, i) => 1_000 - i)
    expect(latencyOf(samples)).toEqual({ p50: 500, p99: 990, p999: 999, max: 1_000 })
    expect(latencyOf(Float64Array.from([3, 1, 2]))).toEqual({ p50: 2, p99: 3, p999: 3, max: 3 })
  })
})

it('findings of several consumers add up', () => {
  const one = { received: 1, lost: 2, duplicated: 3, disordered: 4, damaged: 5 }
  expect(addUp([one, one])).toEqual({ received: 2, lost: 4, duplicated: 6, disordered: 8, damaged: 10 })
})
