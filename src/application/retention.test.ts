import { describe, expect, it } from 'vitest'
import type { Session } from '../ports/index.ts'
import { RatatoskrError } from '../ports/index.ts'
import { BrokerBench, batchOf } from './testing/broker-bench.ts'

const sweepMs = 60_000

/** Offsets of the first and after the last message that are left. */
async function leftOf(session: Session, topic = 'orders'): Promise<number[]> {
  const { partitions } = await session.describeTopic(topic)
  return [partitions[0].startOffset, partitions[0].stableOffset]
}

describe('retention', () => {
  it('lets go of what is older than the topic keeps, whole batches at a time', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: 10 * sweepMs })
    for (let minute = 0; minute < 5; minute++) {
      session.publishBatch('orders', 0, batchOf(['x', 'y'], bench.clock.now()))
      await bench.clock.advance(sweepMs)
    }
    expect(await leftOf(session)).toEqual([0, 10])
    await bench.clock.advance(7 * sweepMs)
    expect(await leftOf(session)).toEqual([4, 10])
    await bench.clock.advance(20 * sweepMs)
    // The last segment is being written and stays.
    expect(await leftOf(session)).toEqual([8, 10])
  })

  it('lets go of what is more than the topic keeps, and never of what it promised to keep', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: -1, retentionBytes: 200_000, segmentBytes: 65_536 })
    const payload = 'x'.repeat(50_000)
    for (let i = 0; i < 5; i++) session.publishBatch('orders', 0, batchOf([payload]))
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([0, 5]) // less than a segment too much
    for (let i = 0; i < 50; i++) session.publishBatch('orders', 0, batchOf([payload]))
    await bench.clock.advance(sweepMs)
    const { sizeBytes } = await session.topicStats('orders')
    expect(sizeBytes).toBeGreaterThanOrEqual(200_000)
    expect(sizeBytes).toBeLessThan(250_100)
  })

  it('keeps everything when told so', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: -1, retentionBytes: -1 })
    for (let i = 0; i < 3; i++) session.publishBatch('orders', 0, batchOf(['x'.repeat(100_000)]))
    await bench.clock.advance(100 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 3])
  })

  it('by age is left out on a store without a time index', async () => {
    const bench = new BrokerBench({ timeIndex: false })
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: 1 })
    for (let i = 0; i < 3; i++) session.publishBatch('orders', 0, batchOf(['x']))
    await bench.clock.advance(2 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 3])
    expect(bench.broker.health().status).toBe('ok')
  })

  it('goes on with the other topics when one fails, and tries that one again', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders', { retentionMs: 1 })
    await session.createTopic('other', { retentionMs: 1 })
    for (const name of ['orders', 'other']) {
      for (let i = 0; i < 3; i++) session.publishBatch(name, 0, batchOf(['x'], bench.clock.now()))
    }
    let sick = true
    bench.logs.onRead = ({ topicId }) => {
      if (sick && topicId === topic.id) throw new RatatoskrError('RTK_STORE_CORRUPT', 'planned')
    }
    await session.alterTopic('orders', { retentionBytes: 1, segmentBytes: 65_536 })
    for (let i = 0; i < 3; i++)
      session.publishBatch('orders', 0, batchOf(['x'.repeat(70_000)], bench.clock.now()))
    await bench.clock.advance(sweepMs)
    expect(bench.logged('retention failed')).toHaveLength(1)
    expect(await leftOf(session, 'other')).toEqual([2, 3])
    sick = false
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([5, 6])
  })

  it('stops with the broker', async () => {
    const bench = new BrokerBench()
    await bench.start()
    await bench.broker.stop()
    expect(bench.clock.pending).toBe(0)
  })
})
