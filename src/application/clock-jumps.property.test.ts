/** Whatever the wall clock does, order and offsets are the log's: what is published is delivered once, in order. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { BrokerBench, message, settled } from './testing/broker-bench.ts'

const hourMs = 3_600_000

const step = fc.oneof(
  fc.record({ kind: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constant('jump' as const), hours: fc.integer({ min: -1_000, max: 1_000 }) }),
  fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 90_000 }) }),
)

it('order, offsets and seeks by time do not depend on a wall clock that jumps', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
      const bench = new BrokerBench()
      const session = await bench.start()
      await session.createTopic('orders', { retentionMs: -1 })
      const delivered: number[] = []
      await session.subscribeMessages(
        'orders',
        { group: 'billing', credit: { messages: 1_000 } },
        { deliver: ({ offset }) => void delivered.push(offset), ended: () => {} },
      )
      const stampedMs: number[] = []
      for (const next of steps) {
        if (next.kind === 'jump') bench.clock.jumpTo(bench.clock.now() + next.hours * hourMs)
        else if (next.kind === 'wait') await bench.clock.advance(next.ms)
        else {
          const messages = Array.from({ length: next.count }, () => message('x'))
          const results = await session.publishMany('orders', messages)
          for (const result of results) {
            expect(result).toMatchObject({ offset: stampedMs.length })
            stampedMs.push(bench.clock.now())
          }
        }
      }
      await settled()
      expect(delivered).toEqual(stampedMs.map((_, offset) => offset))
      for (const timestampMs of [0, ...stampedMs, Math.max(0, ...stampedMs) + 1]) {
        const first = stampedMs.findIndex((stamped) => stamped >= timestampMs)
        const [{ offset }] = await session.offsets('orders', { timestampMs })
        expect(offset).toBe(first === -1 ? stampedMs.length : first)
      }
      await bench.broker.stop()
    }),
    { numRuns: 100 },
  )
})
