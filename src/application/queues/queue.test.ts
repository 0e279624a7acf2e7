import { describe, expect, it } from 'vitest'
import { BrokerBench, message } from '../testing/broker-bench.ts'
import { QueueSink } from './testing/queue-sink.ts'

describe('queue group', () => {
  it('leases messages and settles them', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    await session.publishMany(
      'orders',
      ['a', 'b', 'c'].map((text) => message(text)),
    )
    const sink = new QueueSink()
    await sink.join(session, 'orders', {
      group: 'g',
      config: { sharing: 'shared' },
      credit: { messages: 10 },
    })
    await bench.clock.advance(0)
    expect(sink.offsets).toEqual([0, 1, 2])
    expect(await sink.ack(0)).toEqual([undefined])
    expect(await session.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
  })
})
