/** The delivery of a broker as a whole: all its subscribers, their limits, and its end. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, plenty, range, someone } from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const earliest = { from: 'earliest', credit: plenty } as const

describe('the broker', () => {
  it('R34: gives three subscribers each of a hundred messages: 300 deliveries', async () => {
    const bench = new DeliveryBench()
    const sinks = await Promise.all([1, 2, 3].map(() => bench.subscribe({ credit: plenty })))
    for (let i = 0; i < 100; i++) bench.publish(1)
    await bench.settle()
    for (const sink of sinks) expect(sink.offsetsOf(0)).toEqual(range(0, 100))
    expect(bench.delivery.totals).toMatchObject({ subscriptions: 3, messagesDelivered: 300 })
  })

  it('gives 500 subscribers each of 1,000 messages in four partitions, in order', async () => {
    const bench = new DeliveryBench({ partitions: 4 })
    const sinks = await Promise.all(range(0, 500).map(() => bench.subscribe({ credit: plenty })))
    for (let i = 0; i < 1_000; i++) {
      bench.publish(1, i % 4)
      if (i % 50 === 0) await bench.settle()
    }
    await bench.clock.advance(1_000)
    for (const sink of sinks) for (const p of [0, 1, 2, 3]) expect(sink.offsetsOf(p)).toEqual(range(0, 250))
    expect(bench.delivery.totals.messagesDelivered).toBe(500_000)
  })

  it('tells observers of each delivery', async () => {
    const bench = new DeliveryBench()
    bench.publish(3)
    const sink = await bench.subscribe({ ...earliest, from: { offset: 1 } })
    await bench.settle()
    expect(bench.hooks.of('messageDelivered')).toEqual([
      {
        topic: 'orders',
        partition: 0,
        group: undefined,
        subscriptionId: sink.subscription.id,
        fromOffset: 1,
        recordCount: 2,
        sizeBytes: batchOf(3).length,
      },
    ])
    expect(bench.delivery.totals).toEqual({
      subscriptions: 1,
      messagesDelivered: 2,
      messagesSkipped: 0,
      messagesDropped: 0,
      bytesDelivered: batchOf(3).length,
    })
  })

  it('asks guards before anything is registered', async () => {
    const bench = new DeliveryBench()
    bench.hooks.refusals.subscribe = () => {
      throw new RatatoskrError('RTK_HOOK_ERROR', 'no')
    }
    const calls = [
      () => bench.subscribe(),
      () => bench.subscribe({ group: 'g' }),
      () => bench.delivery.fetchGroup(bench.topic, { group: 'g' }, someone),
    ]
    for (const call of calls) expect(await codeOf(call)).toBe('RTK_HOOK_ERROR')
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(0)
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    expect(bench.hooks.events).toEqual([])
  })

  it('bounds the subscribers of a topic, pushed and polling together', async () => {
    const bench = new DeliveryBench({ limits: { subscribersPerTopicMax: 2 } })
    const first = await bench.subscribe()
    await bench.delivery.fetchGroup(bench.topic, { group: 'g' }, someone)
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(2)
    expect(await codeOf(() => bench.subscribe())).toBe('RTK_LIMIT_EXCEEDED')
    expect(await codeOf(() => bench.delivery.fetchGroup(bench.topic, { group: 'h' }, someone))).toBe(
      'RTK_LIMIT_EXCEEDED',
    )
    await first.subscription.close()
    expect(await codeOf(() => bench.subscribe())).toBeUndefined()
  })

  it('does not overrun that bound by subscribers that come at the same time', async () => {
    const bench = new DeliveryBench({ limits: { subscribersPerTopicMax: 2 } })
    const options = [{}, {}, {}, { group: 'g' }, { from: { timestampMs: 0 } }]
    const codes = await Promise.all(options.map((one) => codeOf(() => bench.subscribe(one))))
    expect(codes.filter((code) => code === 'RTK_LIMIT_EXCEEDED')).toHaveLength(3)
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(2)
  })

  it('ends all with the reason when the topic is deleted', async () => {
    const bench = new DeliveryBench()
    const alone = await bench.subscribe()
    const member = await bench.member('a')
    const other = await bench.member('b')
    const polling = bench.delivery.fetchGroup(bench.topic, { group: 'p', waitMs: 1_000 }, someone)
    const waiting = bench.delivery.fetch(bench.topic, { partition: 0, offset: 'latest', waitMs: 1_000 })
    const calls = [codeOf(() => polling), codeOf(() => waiting)]
    await bench.settle()
    expect(bench.state.keys).toHaveLength(2)
    await bench.delivery.topicDeleted(bench.topic, new RatatoskrError('RTK_TOPIC_DELETED', 'deleted'))
    expect(alone.endCodes).toEqual(['RTK_TOPIC_DELETED'])
    expect(member.endCodes).toEqual(['RTK_TOPIC_DELETED'])
    expect(other.endCodes).toEqual(['RTK_TOPIC_DELETED'])
    expect(other.assignments, 'nobody takes over').toEqual([[]])
    expect(await Promise.all(calls)).toEqual(['RTK_TOPIC_DELETED', 'RTK_TOPIC_DELETED'])
    expect(bench.state.keys).toEqual([])
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(0)
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
  })

  it('lets nobody in who was on his way when the topic was deleted', async () => {
    const bench = new DeliveryBench()
    const from = { timestampMs: 0 }
    const calls = [{ from }, { from, group: 'g' }].map((options) => codeOf(() => bench.subscribe(options)))
    await bench.delivery.topicDeleted(bench.topic, new RatatoskrError('RTK_TOPIC_DELETED', 'deleted'))
    expect(await Promise.all(calls)).toEqual(['RTK_TOPIC_DELETED', 'RTK_TOPIC_DELETED'])
    expect(bench.state.keys).toEqual([])
  })

  it('ends all when it stops, stores what was committed, and can start again', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const member = await bench.member('a')
    await bench.settle()
    const committed = member.commit({ partition: 0, offset: 3 })
    await bench.delivery.stop(new RatatoskrError('RTK_UNAVAILABLE', 'stopping'))
    await committed
    expect(member.endCodes).toEqual(['RTK_UNAVAILABLE'])
    expect(await codeOf(() => bench.subscribe())).toBe('RTK_UNAVAILABLE')
    await bench.delivery.load()
    await bench.delivery.start()
    expect(await bench.delivery.describeGroup(bench.topic, 'billing')).toMatchObject({ lag: 2 })
  })

  it('starves nobody else while it delivers a backlog to sinks that are never full', async () => {
    const bench = new DeliveryBench()
    const text = 'y'.repeat(1_000_000)
    for (let i = 0; i < 40; i++) bench.publish(1, 0, text)
    const sink = await bench.subscribe({ ...earliest, credit: { bytes: Number.POSITIVE_INFINITY } })
    for (let i = 0; i < 1_000; i++) await Promise.resolve()
    expect(sink.bytes).toBeGreaterThan(10_000_000)
    expect(sink.bytes).toBeLessThan(20_000_000)
    await bench.clock.advance(0)
    expect(sink.deliveries).toHaveLength(40)
  })
})

describe('offsets', () => {
  it('are found for every partition', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(3, 1)
    expect(await bench.delivery.offsets(bench.topic, 'latest')).toEqual([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 3 },
    ])
  })
})
