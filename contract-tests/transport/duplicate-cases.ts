/** What is published again: told to be stored already, with the place of the first, and not stored twice. */
import { BatchBuilder, markAfterGap, portableCrc32c, utf8 } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import { type TransportContext, textMessage } from './context.ts'

const id = '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20'

function numbered(baseSequence: number, text: string): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  builder.add({ payload: utf8(text), timestampMs: 0 })
  return builder.build({ producerId: 7, epoch: 0, baseSequence })
}

export const duplicateCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'stores a message whose id comes again within the window once, and says where',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      const config = { partitions: 2, dedupWindowMs: 60_000 }
      await probe.createTopic('orders', config)
      expect((await probe.describeTopic('orders')).config).toMatchObject(config)
      const first = await probe.publish('orders', textMessage('a', { id, partition: 1 }))
      expect(first).toEqual({ id, partition: 1, offset: 0, durability: 'memory' })
      const again = await probe.publish('orders', textMessage('b', { id, partition: 0 }))
      expect(again).toEqual({ ...first, duplicate: true })
      const results = await probe.publishMany('orders', [
        textMessage('c', { id, partition: 0 }),
        textMessage('d', { partition: 0 }),
      ])
      expect(results[0]).toEqual({ ...first, duplicate: true })
      expect(results[1]).toMatchObject({ partition: 0, offset: 0 })
      expect(results[1]).not.toHaveProperty('duplicate')
      expect((await probe.topicStats('orders')).messageCount).toBe(2)
    },
  },
  {
    name: 'stores a numbered batch that comes again once, and refuses one that is not the next',
    async run(context) {
      const { connect, transport } = await context.broker()
      if (!transport.supports.batches) return
      const probe = await connect()
      await probe.createTopic('orders')
      expect(await probe.publishBatch('orders', 0, numbered(0, 'a'))).not.toHaveProperty('duplicate')
      expect(await probe.publishBatch('orders', 0, numbered(1, 'b'))).toMatchObject({ baseOffset: 1 })
      expect(await probe.publishBatch('orders', 0, numbered(0, 'a'))).toMatchObject({
        baseOffset: 0,
        duplicate: true,
      })
      await expectCode(() => probe.publishBatch('orders', 0, numbered(5, 'f')), 'RTK_SEQUENCE_OUT_OF_ORDER')
      expect((await probe.topicStats('orders')).messageCount).toBe(2)
    },
  },
  {
    name: 'stores a numbered batch after a gap, and what the gap left out no more',
    async run(context) {
      const { connect, transport } = await context.broker()
      if (!transport.supports.batches) return
      const probe = await connect()
      await probe.createTopic('orders')
      await probe.publishBatch('orders', 0, numbered(0, 'a'))
      const later = numbered(3, 'd')
      await expectCode(() => probe.publishBatch('orders', 0, later), 'RTK_SEQUENCE_OUT_OF_ORDER')
      markAfterGap(later, portableCrc32c)
      expect(await probe.publishBatch('orders', 0, later)).toMatchObject({ baseOffset: 1 })
      expect(await probe.publishBatch('orders', 0, numbered(3, 'd'))).toMatchObject({
        baseOffset: 1,
        duplicate: true,
      })
      await expectCode(() => probe.publishBatch('orders', 0, numbered(1, 'b')), 'RTK_SEQUENCE_OUT_OF_ORDER')
      expect(await probe.publishBatch('orders', 0, numbered(4, 'e'))).toMatchObject({ baseOffset: 2 })
      expect((await probe.topicStats('orders')).messageCount).toBe(3)
    },
  },
]
