/**
 * A partition that fails and is started again, at any moment of a stream that flows (R26): what was acknowledged is there
 * under its offset, and every member goes on where its group has committed.
 */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { messagesOf, type Subscription, utf8Text } from '../../ports/index.ts'
import { BrokerBench, message, settled } from '../testing/broker-bench.ts'

const step = fc.record({
  act: fc.constantFrom('publish', 'publish', 'publish', 'fail', 'fail reading', 'wait', 'commit'),
  /** Appends are still under way when the next step comes. */
  slow: fc.boolean(),
})

it('no message that was acknowledged and no commit is lost when partitions restart in mid-stream', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const bench = new BrokerBench()
      const session = await bench.start()
      const { topic } = await session.createTopic('orders', { partitions: 2 })
      const expansion = { codecs: bench.platform.compression, bytesMax: 1_000_000 }
      const source = (partition: number) => ({ topic: 'orders', topicId: topic.id, partition, expansion })
      const acked = new Map<string, { partition: number; offset: number }>()
      const publishes: Promise<void>[] = []
      const reached = [0, 0]
      const committed = [0, 0]
      let subscription: Subscription | undefined
      subscription = await session.subscribe(
        'orders',
        { group: 'billing', credit: { bytes: 1_000_000 } },
        {
          deliver: ({ partition, fromOffset, nextOffset }) => {
            expect(fromOffset).toBeLessThanOrEqual(reached[partition]) // nothing is passed over
            reached[partition] = Math.max(reached[partition], nextOffset)
          },
          ended: (reason) => expect(reason).toBeUndefined(),
        },
      )
      for (const [place, { act, slow }] of steps.entries()) {
        const partition = place % 2
        bench.logs.onAppend = slow ? () => settled() : () => {}
        bench.logs.onRead = () => {}
        if (act === 'fail') {
          bench.logs.onAppend = (id) => {
            if (id.partition !== partition) return undefined
            if (slow) return settled().then(() => Promise.reject(new Error('EIO')))
            throw new Error('EIO')
          }
        }
        if (act === 'fail reading') {
          bench.logs.onRead = (id) => {
            if (id.partition === partition) throw new Error('EIO')
          }
        }
        if (act === 'wait') await bench.clock.advance(5_000)
        else if (act === 'commit') {
          const offset = reached[partition]
          await subscription.commit([{ partition, offset }])
          committed[partition] = offset
        } else {
          const text = `message ${place}`
          const published = session.publish('orders', message(text, { partition }))
          publishes.push(
            published.then(
              ({ offset }) => void acked.set(text, { partition, offset }),
              () => {},
            ),
          )
          // The append begins within this turn; whether it also ends there is for `slow` to say.
          if (slow) for (let turns = 0; turns < 5; turns++) await null
          else await settled()
        }
      }
      bench.logs.onAppend = () => {}
      bench.logs.onRead = () => {}
      await Promise.all(publishes)
      await bench.clock.advance(120_000)
      for (const [text, { partition, offset }] of acked) {
        const { bytes, fromOffset } = await session.fetch('orders', { partition, offset })
        const [found] = messagesOf(bytes, source(partition), fromOffset)
        expect([found.offset, utf8Text(found.payload)]).toEqual([offset, text])
        expect(reached[partition]).toBeGreaterThan(offset)
      }
      const { partitions } = await session.describeGroup('orders', 'billing')
      expect(partitions.map((one) => one.committedOffset)).toEqual(committed)
      expect(bench.broker.health().status).toBe('ok')
      await bench.broker.stop()
    }),
    { numRuns: 150 },
  )
})
