/** Subscribers that do not keep up: what each overflow policy does, to the message, and what it costs. */
import { describe, expect, it } from 'vitest'
import type { Overflow } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import {
  DeliveryBench,
  gate,
  MessageSinkDouble,
  plenty,
  range,
  SinkDouble,
} from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const size = batchOf(1).length
const oldest: Overflow = { policy: 'dropOldest', messagesMax: 3 }
const newest: Overflow = { policy: 'dropNewest', messagesMax: 3 }
const disconnect: Overflow = { policy: 'disconnect', messagesMax: 3 }

/** A batch subscriber whose sink has taken one message and is full; `open` lets it go on. */
async function stalled(bench: DeliveryBench, overflow: Overflow) {
  const full = gate()
  const sink = new SinkDouble()
  sink.onDeliver = () => full.promise
  await bench.subscribe({ overflow, credit: plenty }, sink)
  bench.publish(1)
  await bench.settle()
  expect(sink.ranges).toEqual(['0:0-1'])
  const open = async (): Promise<void> => {
    sink.onDeliver = () => {}
    full.resolve()
    await bench.settle()
  }
  return { sink, open }
}

/** Publishes `count` batches of one message. */
const publishEach = (bench: DeliveryBench, count: number, partition = 0): void => {
  for (let i = 0; i < count; i++) bench.publish(1, partition)
}

describe('the overflow policy', () => {
  it.each([undefined, { policy: 'pause' } as const])('pause gives everything: %o', async (overflow) => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow, credit: { messages: 1 } })
    publishEach(bench, 1_000)
    await bench.settle()
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.offsets).toEqual(range(0, 1_000))
    expect(sink.drops).toEqual([])
    expect(bench.delivery.totals.messagesDropped).toBe(0)
  })

  it('dropOldest goes on with the newest messages, and counts what it left out', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, oldest)
    publishEach(bench, 10)
    await bench.settle()
    await open()
    expect(sink.drops).toEqual(['0:1-8'])
    expect(sink.offsetsOf(0)).toEqual([0, 8, 9, 10])
    expect(bench.delivery.totals).toMatchObject({ messagesDropped: 7, messagesDelivered: 4 })
    expect(bench.hooks.of('subscriberOverflowed')).toMatchObject([
      {
        subscriptionId: sink.subscription.id,
        topic: 'orders',
        partition: 0,
        policy: 'dropOldest',
        fromOffset: 1,
        toOffset: 8,
      },
    ])
    publishEach(bench, 1)
    await bench.settle()
    expect(sink.offsetsOf(0)).toEqual([0, 8, 9, 10, 11])
  })

  it('dropOldest cuts within a batch', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, oldest)
    bench.publish(50)
    await open()
    expect(sink.ranges).toEqual(['0:0-1', '0:48-51'])
    expect(sink.drops).toEqual(['0:1-48'])
  })

  it('dropNewest gives what was within the bound, and goes on with what comes once it has caught up', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, newest)
    publishEach(bench, 10)
    await open()
    expect(sink.offsetsOf(0)).toEqual([0, 1, 2, 3])
    expect(sink.drops).toEqual(['0:4-11'])
    expect(bench.delivery.totals).toMatchObject({ messagesDropped: 7, messagesDelivered: 4 })
    publishEach(bench, 2)
    await bench.settle()
    expect(sink.offsetsOf(0)).toEqual([0, 1, 2, 3, 11, 12])
  })

  it('dropNewest drops what comes until it has caught up, also when it goes on in small steps', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow: newest, credit: { messages: 1 } })
    publishEach(bench, 5)
    await bench.settle()
    expect(sink.offsets).toEqual([0])
    for (const _ of range(0, 2)) {
      sink.subscription.grant({ messages: 1 })
      await bench.settle()
      publishEach(bench, 10)
      await bench.settle()
    }
    expect(sink.drops).toEqual([])
    expect(bench.delivery.totals.messagesDropped).toBe(0)
    sink.subscription.grant({ messages: 2 })
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1, 2, 3])
    expect(sink.drops).toEqual(['0:4-25'])
    publishEach(bench, 1)
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1, 2, 3, 25])
    expect(bench.delivery.totals.messagesDropped).toBe(21)
  })

  it('dropNewest keeps to its bound within a batch, for batches and for messages', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, newest)
    const single = await bench.subscribeMessages({
      overflow: newest,
      from: 'earliest',
      credit: { messages: 1 },
    })
    await bench.settle()
    bench.publish(2)
    bench.publish(50, 0, (place) => `m${place}`)
    await open()
    single.subscription.grant(plenty)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1', '0:1-4'])
    expect(sink.deliveries[1].bytes.length).toBeLessThan(batchOf(50).length)
    expect(single.texts).toEqual(['x', 'x', 'x', 'm0'])
    expect([sink.drops, single.drops]).toEqual([['0:4-53'], ['0:4-53']])
    publishEach(bench, 1)
    await bench.settle()
    expect(single.offsets).toEqual([0, 1, 2, 3, 53])
  })

  it('disconnect ends the subscriber when it is over the bound, while it stands still', async () => {
    const bench = new DeliveryBench()
    const { sink } = await stalled(bench, disconnect)
    publishEach(bench, 3)
    await bench.settle()
    expect(sink.ends).toEqual([])
    publishEach(bench, 1)
    await bench.settle()
    expect(sink.ends).toMatchObject([
      { code: 'RTK_SUBSCRIBER_TOO_SLOW', details: { partition: 0, offset: 1, messagesBehind: 4 } },
    ])
    expect(bench.hooks.of('subscriberOverflowed')).toMatchObject([
      { policy: 'disconnect', fromOffset: 1, toOffset: 5 },
    ])
    expect(bench.hooks.of('subscriberLeft')).toMatchObject([{ error: { code: 'RTK_SUBSCRIBER_TOO_SLOW' } }])
    expect(bench.delivery.totals).toMatchObject({ messagesDropped: 0, subscriptions: 0 })
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
  })

  it('disconnect leaves alone whoever catches up in time', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow: disconnect, credit: { messages: 1 } })
    for (const _ of range(0, 20)) {
      publishEach(bench, 3)
      await bench.settle()
      sink.subscription.grant({ messages: 3 })
      await bench.settle()
    }
    expect(sink.ends).toEqual([])
    expect(sink.offsets).toEqual(range(0, 60))
  })

  it.each([oldest, newest, disconnect])(
    'does nothing to a subscriber that takes all: %o',
    async (overflow) => {
      const bench = new DeliveryBench()
      const sink = await bench.subscribe({ overflow, credit: plenty })
      const single = await bench.subscribeMessages({ overflow, credit: plenty })
      bench.publish(500)
      publishEach(bench, 500)
      await bench.settle()
      expect(sink.offsetsOf(0)).toEqual(range(0, 1_000))
      expect(single.offsets).toEqual(range(0, 1_000))
      expect([sink.drops, single.drops, sink.ends, single.ends]).toEqual([[], [], [], []])
      expect(bench.topic.partitions[0].watcherCount).toBe(1)
    },
  )

  it.each([oldest, disconnect])('does not count a pause that is over: %o', async (overflow) => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow, credit: { messages: 1 } })
    publishEach(bench, 1)
    await bench.settle()
    sink.subscription.grant(plenty)
    await bench.settle()
    publishEach(bench, 100)
    await bench.settle()
    expect(sink.offsets).toEqual(range(0, 101))
    expect(sink.ends).toEqual([])
  })

  it('begins with the first credit: who has none yet is not behind', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribe({ overflow: disconnect, from: 'earliest' })
    publishEach(bench, 100)
    await bench.settle()
    expect(sink.ends).toEqual([])
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.offsetsOf(0)).toEqual(range(0, 100))
  })

  it('drops nothing while the log is within the bound', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, oldest)
    publishEach(bench, 3)
    await open()
    expect(sink.offsetsOf(0)).toEqual(range(0, 4))
    expect(sink.drops).toEqual([])
  })

  it('lets go of the rest of a read that it had begun to hand over', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow: oldest, credit: { messages: 2 } })
    bench.publish(20)
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1])
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1, 17, 18, 19])
    expect(sink.drops).toEqual(['0:2-17'])
  })

  it('counts each partition by itself', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    const sink = await bench.subscribeMessages({ overflow: oldest, credit: { messages: 1 } })
    publishEach(bench, 1)
    await bench.settle()
    publishEach(bench, 9, 0)
    publishEach(bench, 3, 1)
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.drops).toEqual(['0:1-7'])
    expect(sink.messages.filter(({ partition }) => partition === 1)).toHaveLength(3)
    expect(sink.messages.filter(({ partition }) => partition === 0).map(({ offset }) => offset)).toEqual([
      0, 7, 8, 9,
    ])
  })

  it('counts a batch that does not fit the credit as standing still', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribe({ overflow: oldest, credit: { bytes: size * 10 } })
    publishEach(bench, 1)
    await bench.settle()
    bench.publish(1, 0, 'y'.repeat(5_000))
    await bench.settle()
    publishEach(bench, 5)
    sink.subscription.grant({ bytes: size * 10 })
    await bench.settle()
    expect(sink.offsetsOf(0)).toEqual([0, 4, 5, 6])
    expect(sink.drops).toEqual(['0:1-4'])
  })

  it('reckons bytes by the mean size of messages, and always allows one', async () => {
    const bench = new DeliveryBench()
    const some = await stalled(bench, { policy: 'dropOldest', bytesMax: size * 4 })
    publishEach(bench, 10)
    await some.open()
    expect(some.sink.drops).toEqual(['0:1-7'])
    const few = new DeliveryBench()
    const one = await stalled(few, { policy: 'dropOldest', bytesMax: 1, messagesMax: 100 })
    publishEach(few, 10)
    await one.open()
    expect(one.sink.drops).toEqual(['0:1-10'])
  })

  it('that drops keeps nothing and watches nothing while the subscriber stands still', async () => {
    const bench = new DeliveryBench()
    const { sink } = await stalled(bench, oldest)
    const { reads } = bench.topic.partitions[0]
    publishEach(bench, 1_000)
    await bench.settle()
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
    expect(bench.topic.partitions[0].reads).toBe(reads)
    expect(sink.drops).toEqual([])
  })

  it('does not touch a read that is under way', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    const sink = await bench.subscribe({ overflow: oldest, credit: { bytes: size * 10 } })
    publishEach(bench, 1)
    await bench.settle()
    bench.publish(1, 1, 'y'.repeat(5_000)) // does not fit: it stands still
    await bench.settle()
    const reading = gate()
    bench.topic.partitions[0].slow = reading.promise
    publishEach(bench, 1, 0)
    await bench.settle()
    publishEach(bench, 9, 0)
    sink.subscription.grant({ bytes: 1 })
    await bench.settle()
    reading.resolve()
    await bench.settle()
    expect(sink.offsetsOf(0).slice(0, 2)).toEqual([0, 1])
    expect(sink.drops).toEqual([])
  })

  it('does not count what comes while it can take more', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribeMessages({ overflow: oldest, credit: { messages: 10 } })
    publishEach(bench, 100)
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.offsets).toEqual(range(0, 100))
  })

  it('watches no partition any more once it is closed', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, disconnect)
    expect(bench.topic.partitions[0].watcherCount).toBe(1)
    await Promise.all([sink.subscription.close(), open()])
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
  })

  it('tells of nothing after the end, and ends when telling fails', async () => {
    const bench = new DeliveryBench()
    const { sink, open } = await stalled(bench, oldest)
    sink.onDropped = () => {
      throw new Error('private')
    }
    publishEach(bench, 10)
    await open()
    expect(sink.endCodes).toEqual(['RTK_INTERNAL'])
    expect(sink.offsetsOf(0)).toEqual([0])
    const closing = await stalled(new DeliveryBench(), oldest)
    await Promise.all([closing.sink.subscription.close(), closing.open()])
    expect(closing.sink.drops).toEqual([])
  })

  it.each<[string, object]>([
    ['no bound', { policy: 'dropOldest' }],
    ['a bound for pause', { policy: 'pause', messagesMax: 1 }],
    ['a bound of 0', { policy: 'dropOldest', messagesMax: 0 }],
    ['a bound that is no whole number', { policy: 'disconnect', bytesMax: 1.5 }],
    ['an unknown policy', { policy: 'spill', messagesMax: 1 }],
  ])('is refused with %s', async (_, overflow) => {
    const bench = new DeliveryBench()
    expect(await codeOf(() => bench.subscribe({ overflow: overflow as Overflow }))).toBe(
      'RTK_INVALID_ARGUMENT',
    )
  })

  it('does not go with a group, whose members get everything', async () => {
    const bench = new DeliveryBench()
    const overflow = oldest
    expect(await codeOf(() => bench.subscribe({ group: 'billing', overflow }))).toBe('RTK_INVALID_ARGUMENT')
    await bench.subscribe({ group: 'billing', overflow: { policy: 'pause' } })
  })
})

describe('a subscriber that stands still', () => {
  it.each([undefined, oldest, newest])('costs a fast one no turn and no read: %o', async (overflow) => {
    const turns = async (withSlow: boolean): Promise<{ reads: number; turns: string[] }> => {
      const bench = new DeliveryBench()
      if (withSlow) await stalled(bench, overflow ?? { policy: 'pause' })
      else bench.publish(1)
      const quick = new MessageSinkDouble()
      await bench.subscribeMessages({ credit: plenty }, quick)
      const before = bench.topic.partitions[0].reads
      const seen: string[] = []
      for (const _ of range(0, 100)) {
        publishEach(bench, 1)
        await Promise.resolve()
        await Promise.resolve()
        seen.push(String(quick.messages.length))
      }
      return { reads: bench.topic.partitions[0].reads - before, turns: seen }
    }
    expect(await turns(true)).toEqual(await turns(false))
  })
})
