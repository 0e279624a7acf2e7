/** A log that fails and is opened again without its end, while members read: they go back, and late commits do not count. */
import { describe, expect, it } from 'vitest'
import { gate, SinkDouble } from '../delivery/testing/delivery-bench.ts'
import { BrokerBench, codeOf, message } from '../testing/broker-bench.ts'

async function lostTail(bench: BrokerBench, left: number): Promise<void> {
  const [kept] = [...bench.logs.kept.values()]
  bench.logs.onAppend = () => {
    throw new Error('EIO')
  }
  await bench.broker
    .connectEmbedded()
    .then((session) => session.publish('orders', message('refused')))
    .catch(() => {})
  kept.batches = kept.batches.slice(0, left)
  bench.logs.onAppend = () => {}
}

describe('a log that was opened again without its end', () => {
  it('has its groups and readers put back before anything is appended', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`))
    const credit = { messages: 100, bytes: 1_000_000 }
    const committed = new SinkDouble()
    committed.subscription = await session.subscribe(
      'orders',
      { group: 'g', from: 'earliest', credit },
      committed,
    )
    const reading = new SinkDouble()
    reading.subscription = await session.subscribe(
      'orders',
      { group: 'h', from: 'earliest', credit },
      reading,
    )
    const alone = new SinkDouble()
    alone.subscription = await session.subscribe('orders', { from: 'earliest', credit }, alone)
    await bench.clock.advance(10)
    await committed.commit({ partition: 0, offset: 5 })
    await reading.commit({ partition: 0, offset: 1 })

    await lostTail(bench, 2)
    await bench.clock.advance(60_000)
    expect(await session.describeTopic('orders')).toMatchObject({ partitions: [{ endOffset: 2 }] })
    expect(bench.logged('a log ends at 2, and a group had committed 5')).toHaveLength(1)
    expect((await session.describeGroup('orders', 'g')).partitions).toMatchObject([{ committedOffset: 2 }])
    expect((await session.describeGroup('orders', 'h')).partitions).toMatchObject([{ committedOffset: 1 }])
    for (let n = 0; n < 4; n++) await session.publish('orders', message(`new ${n}`))
    await bench.clock.advance(10)
    for (const sink of [committed, reading, alone])
      expect(sink.offsetsOf(0), sink.subscription.group).toEqual([0, 1, 2, 3, 4, 2, 3, 4, 5])
  })

  it('takes no commit of what was read before, and begins where it ends when the position cannot be stored', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`))
    const sink = new SinkDouble()
    const busy = gate()
    sink.onDeliver = () => busy.promise
    sink.subscription = await session.subscribe('orders', { group: 'g', from: 'earliest' }, sink)
    sink.subscription.grant({ messages: 100, bytes: 1_000_000 })
    await bench.clock.advance(10)
    await sink.commit({ partition: 0, offset: 4 })
    let failures = 2
    bench.state.onChange = () => {
      if (failures-- > 0) throw new Error('EIO')
    }
    await lostTail(bench, 2)
    await bench.clock.advance(60_000)
    expect(failures).toBeLessThan(0)
    for (let n = 0; n < 4; n++) await session.publish('orders', message(`new ${n}`))
    expect(await codeOf(() => sink.commit({ partition: 0, offset: 5 }))).toBe('RTK_LEASE_LOST')
    expect((await session.describeGroup('orders', 'g')).partitions).toMatchObject([{ committedOffset: 2 }])
  })
})
