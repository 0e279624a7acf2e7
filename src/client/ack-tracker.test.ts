import fc from 'fast-check'
import { expect, it } from 'vitest'
import { AckTracker } from './ack-tracker.ts'

it('has for watermark the first offset that is not acknowledged, in whatever order acknowledgements come', () => {
  const offsets = fc
    .uniqueArray(fc.nat(5_000), { minLength: 1, maxLength: 60 })
    .map((list) => list.sort((a, b) => a - b))
  fc.assert(
    fc.property(
      offsets.chain((list) =>
        fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: 0 }), fc.nat(3)),
      ),
      ([handed, acked, gap]) => {
        const tracker = new AckTracker(0)
        const end = (handed.at(-1) as number) + 1 + gap
        for (const [i, offset] of handed.entries()) tracker.handed(offset, handed[i + 1] ?? end)
        const done = new Set<number>()
        for (const offset of acked) {
          const before = tracker.watermark
          const rose = tracker.ack(offset)
          done.add(offset)
          const expected = handed.find((one) => !done.has(one)) ?? end
          expect(tracker.watermark).toBe(expected)
          expect(rose).toBe(tracker.watermark > before)
        }
      },
    ),
  )
})

it('keeps no memory of what is done', () => {
  const tracker = new AckTracker(0)
  for (let offset = 0; offset < 10_000; offset++) {
    tracker.handed(offset, offset + 1)
    tracker.ack(offset)
  }
  expect(tracker.watermark).toBe(10_000)
})
