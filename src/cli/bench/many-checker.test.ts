import { expect, it } from 'vitest'
import type { RecordCursor } from '../../ports/index.ts'
import { ManyChecker } from './many-checker.ts'
import { MessageMaker, placesOfMaker } from './messages.ts'

const recordOf = (bytes: Uint8Array) => ({ bytes, valueStart: 0, valueEnd: bytes.length }) as RecordCursor

it.each([
  ['single messages', (checker: ManyChecker, bytes: Uint8Array) => checker.take(bytes)],
  [
    'records',
    (checker: ManyChecker, bytes: Uint8Array) => {
      checker.open(bytes)
      checker.check(recordOf(bytes))
    },
  ],
])('keeps the messages of several makers apart, %s', (_, take) => {
  const checker = new ManyChecker(2, 100, false)
  const makers = [new MessageMaker(100), new MessageMaker(100, placesOfMaker)]
  const [first, second] = makers.map((maker) => Array.from({ length: 4 }, () => maker.next().slice()))
  for (const message of [second[0], first[0], first[1], second[1]]) take(checker, message)
  expect([checker.received, checker.receivedOf(0), checker.receivedOf(1)]).toEqual([4, 2, 2])
  expect(checker.findings([2, 2])).toEqual({
    received: 4,
    ...{ lost: 0, duplicated: 0, disordered: 0, damaged: 0 },
  })
  for (const message of [first[3], first[2], second[3], second[3]]) take(checker, message)
  const foreign = new MessageMaker(100, 2 * placesOfMaker).next()
  for (const other of [foreign, first[0].subarray(0, 5), second[2].with(99, 0)]) take(checker, other)
  expect(checker.findings([4, 4])).toMatchObject({ lost: 1, duplicated: 1, disordered: 1, damaged: 3 })
})

it('has the latencies of each', () => {
  const checker = new ManyChecker(2, 100, true)
  const second = new MessageMaker(100, placesOfMaker)
  checker.windowBegin()
  const dueMs = performance.timeOrigin + performance.now() - 1_000
  for (let i = 0; i < 3; i++) checker.take(second.makeDue(dueMs))
  expect(checker.samples.map((samples) => samples.length)).toEqual([0, 3])
  expect(checker.samples[1][2]).toBeGreaterThanOrEqual(1_000)
  checker.windowBegin()
  expect(checker.samples.map((samples) => samples.length)).toEqual([0, 0])
})
