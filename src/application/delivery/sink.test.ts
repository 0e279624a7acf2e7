/** Sinks that are full, fail or close, and what is left of a subscription that ended. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { DeliveryBench, gate, plenty, range, SinkDouble } from './testing/delivery-bench.ts'

const earliest = { from: 'earliest', credit: plenty } as const

describe('a sink', () => {
  it('that is full gets nothing more, and nobody else waits for it', async () => {
    const bench = new DeliveryBench()
    const full = gate()
    const slow = new SinkDouble()
    slow.onDeliver = () => full.promise
    await bench.subscribe(earliest, slow)
    const quick = await bench.subscribe(earliest)
    for (let i = 0; i < 3; i++) {
      bench.publish(1)
      await bench.settle()
    }
    expect(slow.ranges).toEqual(['0:0-1'])
    expect(quick.ranges).toEqual(['0:0-1', '0:1-2', '0:2-3'])
    full.resolve()
    await bench.settle()
    expect(slow.ranges).toEqual(['0:0-1', '0:1-3'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new RatatoskrError('RTK_DISCONNECTED', 'gone')
      },
      'RTK_DISCONNECTED',
    ],
    ['rejects', () => Promise.reject(new Error('private')), 'RTK_INTERNAL'],
  ])('that %s ends its subscription and no other', async (_, fail, code) => {
    const bench = new DeliveryBench()
    const bad = new SinkDouble()
    bad.onDeliver = fail
    await bench.subscribe(earliest, bad)
    const good = await bench.subscribe(earliest)
    bench.publish(1)
    await bench.settle()
    bench.publish(1)
    await bench.settle()
    expect(bad.endCodes).toEqual([code])
    expect(bad.ranges).toEqual(['0:0-1'])
    expect(good.ranges).toEqual(['0:0-1', '0:1-2'])
    const { id } = bad.subscription
    expect(bench.hooks.of('subscriberFailed')).toMatchObject([{ subscriptionId: id, error: { code } }])
    expect(bench.hooks.of('subscriberLeft')).toMatchObject([{ subscriptionId: id, error: { code } }])
    expect(bench.delivery.totals.subscriptions).toBe(1)
  })

  it('that throws when it is told of its partitions ends its subscription', async () => {
    const bench = new DeliveryBench()
    const sink = new SinkDouble()
    sink.onAssigned = () => {
      throw new Error('private')
    }
    await bench.subscribe(earliest, sink)
    expect(sink.endCodes).toEqual(['RTK_INTERNAL'])
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(0)
  })

  it('that throws when it is told of its end harms nobody', async () => {
    const bench = new DeliveryBench()
    const sink = new SinkDouble()
    sink.ended = () => {
      throw new Error('private')
    }
    await bench.subscribe(earliest, sink)
    await sink.subscription.close()
    expect(bench.warnings.map(({ message }) => message)).toEqual(['a sink threw when it was told of its end'])
  })

  it('may close, grant and publish within a delivery, and is told of its end after it', async () => {
    const bench = new DeliveryBench()
    const sink = new SinkDouble()
    const order: string[] = []
    let closing: Promise<void> | undefined
    sink.onDeliver = ({ nextOffset }) => {
      order.push(`deliver ${nextOffset}`)
      if (nextOffset === 3) closing = sink.subscription.close()
      else {
        bench.publish(1)
        sink.subscription.grant({ bytes: 1000 })
      }
      order.push(`returned ${nextOffset}`)
    }
    sink.ended = () => void order.push('ended')
    await bench.subscribe(earliest, sink)
    bench.publish(1)
    await bench.settle()
    await closing
    expect(order).toEqual([
      'deliver 1',
      'returned 1',
      'deliver 2',
      'returned 2',
      'deliver 3',
      'returned 3',
      'ended',
    ])
  })

  it('may close and then throw: it ends once, as closed', async () => {
    const bench = new DeliveryBench()
    const sink = new SinkDouble()
    sink.onDeliver = () => {
      void sink.subscription.close()
      throw new Error('private')
    }
    await bench.subscribe(earliest, sink)
    bench.publish(1)
    await bench.settle()
    expect(sink.endCodes).toEqual([undefined])
    expect(bench.hooks.of('subscriberFailed')).toEqual([])
  })
})

describe('a sink that grants more and then is full', () => {
  it('gets nothing more either', async () => {
    const bench = new DeliveryBench({ limits: { deliveryBytesMax: 1 } })
    bench.publish(1)
    const sink = new SinkDouble()
    sink.onDeliver = () => {
      sink.subscription.grant({ bytes: 1 })
      return gate().promise
    }
    await bench.subscribe({ from: 'earliest' }, sink)
    bench.publish(1)
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1'])
    expect(sink.ends).toEqual([])
  })
})

describe('closing', () => {
  it('while a delivery is open resolves at once, and no call follows', async () => {
    const bench = new DeliveryBench()
    const full = gate()
    const sink = new SinkDouble()
    sink.onDeliver = () => full.promise
    await bench.subscribe(earliest, sink)
    bench.publish(1)
    await bench.settle()
    await sink.subscription.close()
    await sink.subscription.close()
    expect(sink.endCodes).toEqual([undefined])
    bench.publish(1)
    full.reject(new Error('late'))
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1'])
    expect(sink.endCodes).toEqual([undefined])
  })

  it.each(['arrives', 'fails'])('while a read is under way: what %s is dropped', async (how) => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const read = gate()
    partition.slow = read.promise
    const sink = await bench.subscribe(earliest)
    if (how === 'fails') partition.failures.push(new Error('private'))
    bench.publish(1)
    await bench.settle()
    expect(partition.reads).toBe(1)
    await sink.subscription.close()
    read.resolve()
    await bench.settle()
    expect(sink.ranges).toEqual([])
    expect(sink.endCodes).toEqual([undefined])
    expect(partition.watcherCount).toBe(0)
  })

  it('leaves nothing behind on an idle partition', async () => {
    const bench = new DeliveryBench()
    const stays = await bench.subscribe(earliest)
    const sinks = await Promise.all(range(0, 20).map(() => bench.subscribe(earliest)))
    await bench.settle()
    for (const sink of sinks) await sink.subscription.close()
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(1)
    bench.publish(1)
    await bench.settle()
    expect(stays.ranges).toEqual(['0:0-1'])
    await stays.subscription.close()
    await bench.settle()
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
    expect(bench.hooks.of('subscriberJoined')).toHaveLength(21)
    expect(bench.hooks.of('subscriberLeft')).toHaveLength(21)
  })
})

it('closing some of those who wait leaves the others waiting', async () => {
  const bench = new DeliveryBench()
  const sinks = await Promise.all(range(0, 5).map(() => bench.subscribe(earliest)))
  await bench.settle()
  for (const i of [0, 4, 1]) await sinks[i].subscription.close()
  bench.publish(1)
  await bench.settle()
  expect(sinks.map(({ ranges }) => ranges.length)).toEqual([0, 0, 1, 1, 0])
  for (const i of [3, 2]) await sinks[i].subscription.close()
  expect(bench.topic.partitions[0].watcherCount).toBe(0)
})
