import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, gate, plenty, range, SinkDouble, someone } from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const earliest = { from: 'earliest', credit: plenty } as const

describe('a subscription to batches', () => {
  it('gets what is there and what comes', async () => {
    const bench = new DeliveryBench()
    bench.publish(3)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-3'])
    bench.publish(2)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-3', '0:3-5'])
    expect(sink.assignments).toEqual([[{ partition: 0, offset: 0 }]])
  })

  it('begins at the end when nothing is said, with what is published during the call', async () => {
    const bench = new DeliveryBench()
    bench.publish(3)
    const subscribing = bench.subscribe({ credit: plenty })
    bench.publish(1)
    const sink = await subscribing
    await bench.settle()
    expect(sink.ranges).toEqual(['0:3-4'])
  })

  it.each([
    ['an offset within a batch', { offset: 2 }, ['0:2-5', '1:2-5']],
    ['the end', { offset: 5 }, []],
    ['a time', { timestampMs: 3 }, ['0:3-5', '1:3-5']],
    ['an offset for each', { offsets: [{ partition: 1, offset: 4 }] }, ['0:0-5', '1:4-5']],
    [
      'an offset for one',
      { offsets: [{ partition: 0, offset: 1 }], otherwise: 'latest' } as const,
      ['0:1-5'],
    ],
  ])('begins at %s', async (_, from, ranges) => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(5, 0)
    bench.publish(5, 1)
    const sink = await bench.subscribe({ from, credit: plenty })
    await bench.settle()
    expect(sink.ranges.sort()).toEqual(ranges)
  })

  it('refuses an offset that the log does not hold, with the offsets that it does', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    bench.publish(6)
    bench.topic.partitions[0].truncateBefore(4)
    for (const requested of [3, 11]) {
      const refused = await bench.subscribe({ from: { offset: requested } }).catch((error) => error)
      expect(refused).toMatchObject({
        code: 'RTK_OFFSET_OUT_OF_RANGE',
        details: { partition: 0, requested, startOffset: 4, stableOffset: 10 },
      })
    }
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(0)
  })

  it.each([
    [{ from: { offset: -1 } }, 'RTK_INVALID_ARGUMENT'],
    [{ from: { offset: 0.5 } }, 'RTK_INVALID_ARGUMENT'],
    [{ from: { timestampMs: Number.NaN } }, 'RTK_INVALID_ARGUMENT'],
    [{ from: {} as never }, 'RTK_INVALID_ARGUMENT'],
    [{ from: 'oldest' as never }, 'RTK_INVALID_ARGUMENT'],
    [{ from: { offsets: [], otherwise: 'middle' as never } }, 'RTK_INVALID_ARGUMENT'],
    [{ from: { offsets: [{ partition: 7, offset: 0 }] } }, 'RTK_PARTITION_NOT_FOUND'],
    [{ partitions: [1] }, 'RTK_PARTITION_NOT_FOUND'],
    [{ partitions: [] }, 'RTK_INVALID_ARGUMENT'],
    [{ partitions: [0, 0] }, 'RTK_INVALID_ARGUMENT'],
    [{ group: 'g', partitions: [0] }, 'RTK_INVALID_ARGUMENT'],
    [{ credit: { bytes: -1 } }, 'RTK_INVALID_ARGUMENT'],
    [{ credit: { messages: 1.5 } }, 'RTK_INVALID_ARGUMENT'],
  ])('refuses %j', async (options, code) => {
    const bench = new DeliveryBench()
    expect(await codeOf(() => bench.subscribe(options))).toBe(code)
    expect(bench.delivery.totals.subscriptions).toBe(0)
    expect(bench.hooks.events).toEqual([])
  })

  it('reads only the partitions that it names', async () => {
    const bench = new DeliveryBench({ partitions: 3 })
    const sink = await bench.subscribe({ ...earliest, partitions: [2, 0] })
    for (const partition of [0, 1, 2]) bench.publish(1, partition)
    bench.topic.addPartition()
    bench.publish(1, 3)
    await bench.settle()
    expect(sink.ranges.sort()).toEqual(['0:0-1', '2:0-1'])
  })

  it('takes in partitions that are added, from their first message', async () => {
    const bench = new DeliveryBench()
    const sink = await bench.subscribe({ credit: plenty })
    bench.topic.addPartition()
    bench.publish(2, 1)
    await bench.settle()
    expect(sink.ranges).toEqual(['1:0-2'])
    expect(sink.owned).toEqual([0, 1])
  })

  it('takes in one that is added while it looks for where to begin', async () => {
    const bench = new DeliveryBench()
    const subscribing = bench.subscribe({ from: { timestampMs: 0 }, credit: plenty })
    bench.topic.addPartition()
    bench.publish(2, 1)
    const sink = await subscribing
    await bench.settle()
    expect(sink.ranges).toEqual(['1:0-2'])
  })

  it('hands the very same bytes to all who stand at the same place, read once', async () => {
    const bench = new DeliveryBench()
    const sinks = await Promise.all(range(0, 50).map(() => bench.subscribe({ credit: plenty })))
    await bench.settle()
    expect(bench.topic.partitions[0].watcherCount).toBe(1)
    bench.publish(2)
    await bench.settle()
    expect(bench.topic.partitions[0].reads).toBe(1)
    for (const sink of sinks) expect(sink.deliveries[0].bytes).toBe(sinks[0].deliveries[0].bytes)
  })

  it('reads for itself when its credit is another', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 3; i++) bench.publish(1)
    const large = await bench.subscribe(earliest)
    const small = await bench.subscribe({ from: 'earliest', credit: { bytes: batchOf(1).length } })
    await bench.settle()
    expect([large.ranges, small.ranges]).toEqual([['0:0-3'], ['0:0-1']])
  })

  it('goes round them in the same way when one is added during a read', async () => {
    const bench = new DeliveryBench({ partitions: 2, limits: { deliveryBytesMax: 1 } })
    const read = gate()
    for (const partition of bench.topic.partitions) partition.slow = read.promise
    for (let i = 0; i < 4; i++) for (const partition of [0, 1]) bench.publish(1, partition)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    bench.topic.addPartition()
    read.resolve()
    await bench.settle()
    expect(sink.deliveries.map(({ partition }) => partition)).toEqual([0, 1, 0, 1, 0, 1, 0, 1])
  })

  it('goes round its partitions, so that a long one does not keep the others waiting', async () => {
    const bench = new DeliveryBench({ partitions: 2, limits: { deliveryBytesMax: 1 } })
    for (let i = 0; i < 5; i++) bench.publish(1, 0)
    for (let i = 0; i < 2; i++) bench.publish(1, 1)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    expect(sink.deliveries.map(({ partition }) => partition)).toEqual([0, 1, 0, 1, 0, 0, 0])
  })
})

describe('credit in bytes', () => {
  const size = batchOf(1).length

  it('delivers nothing without any', async () => {
    const bench = new DeliveryBench()
    bench.publish(1)
    const sink = await bench.subscribe({ from: 'earliest' })
    await bench.settle()
    expect(sink.ranges).toEqual([])
    expect(bench.topic.partitions[0].reads).toBe(0)
    sink.subscription.grant({ bytes: size })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1'])
  })

  it('delivers whole batches as far as they fit', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 5; i++) bench.publish(1)
    const sink = await bench.subscribe({ from: 'earliest', credit: { bytes: size * 3 - 1 } })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-2'])
    sink.subscription.grant({ bytes: size * 2 })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-2', '0:2-4'])
  })

  it('lets a batch larger than the window pass when nothing is outstanding', async () => {
    const bench = new DeliveryBench()
    bench.publish(1)
    bench.publish(1, 0, 'y'.repeat(1000))
    bench.publish(1)
    const sink = await bench.subscribe({ from: 'earliest', credit: { bytes: 200 } })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1'])
    const reads = bench.topic.partitions[0].reads
    await bench.clock.advance(10_000)
    expect(bench.topic.partitions[0].reads, 'waits without reading again').toBe(reads)
    sink.subscription.grant({ bytes: size })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1', '0:1-2'])
    sink.subscription.grant({ bytes: sink.deliveries[1].bytes.length - 200 })
    await bench.settle()
    expect(sink.ranges, 'below zero still counts').toEqual(['0:0-1', '0:1-2'])
    sink.subscription.grant({ bytes: 200 })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1', '0:1-2', '0:2-3'])
  })

  it('passes over a partition whose batch does not fit for one whose batch does', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(1, 1)
    const sink = await bench.subscribe({ from: 'earliest', credit: { bytes: size * 3 } })
    await bench.settle()
    bench.publish(1, 0, 'y'.repeat(1000))
    bench.publish(1, 1)
    await bench.settle()
    expect(sink.ranges).toEqual(['1:0-1', '1:1-2'])
    sink.subscription.grant({ bytes: size * 2 })
    await bench.settle()
    expect(sink.ranges).toEqual(['1:0-1', '1:1-2', '0:0-1'])
  })

  it('is cut to its limit, and refused when it is no number of bytes', async () => {
    const bench = new DeliveryBench({ limits: { creditBytesMax: size * 2 } })
    for (let i = 0; i < 5; i++) bench.publish(1)
    const sink = await bench.subscribe({ from: 'earliest', credit: { bytes: Number.POSITIVE_INFINITY } })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-2'])
    expect(await codeOf(() => sink.subscription.grant({ bytes: Number.NaN }))).toBe('RTK_INVALID_ARGUMENT')
  })
})

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

describe('a partition', () => {
  it('that recovers keeps its subscribers waiting', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    partition.become('recovering')
    bench.publish(1)
    await bench.settle()
    expect(sink.ranges).toEqual([])
    partition.become('online')
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1'])
  })

  it.each([new RatatoskrError('RTK_UNAVAILABLE', 'restarting'), new Error('private')])(
    'that cannot be read (%s) is read again after a pause that grows',
    async (failure) => {
      const bench = new DeliveryBench()
      const [partition] = bench.topic.partitions
      partition.failures.push(failure, failure, failure)
      bench.publish(1)
      const sink = await bench.subscribe(earliest)
      await bench.clock.advance(49)
      expect(partition.reads).toBe(1)
      await bench.clock.advance(1 + 100)
      expect(partition.reads).toBe(3)
      await bench.clock.advance(199)
      expect(sink.ranges).toEqual([])
      await bench.clock.advance(1)
      expect(sink.ranges).toEqual(['0:0-1'])
    },
  )

  it('that cannot be read although reads are slow is read again too', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    partition.slow = Promise.resolve()
    partition.failures.push(new Error('private'))
    bench.publish(1)
    const sink = await bench.subscribe(earliest)
    await bench.clock.advance(50)
    expect(sink.ranges).toEqual(['0:0-1'])
    expect(bench.warnings).toHaveLength(1)
  })

  it('that claims to hold something and gives nothing is not asked in a loop', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const sink = await bench.subscribe(earliest)
    partition.endOffset = 5
    partition.changed()
    await bench.clock.advance(1_000)
    expect(sink.ranges).toEqual([])
    expect(partition.reads).toBeLessThan(8)
  })

  it('that is damaged ends its subscribers, with the damage as reason', async () => {
    const bench = new DeliveryBench()
    bench.topic.partitions[0].failures.push(
      new RatatoskrError('RTK_STORE_CORRUPT', 'damaged', { details: { offset: 0 } }),
    )
    bench.publish(1)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    expect(sink.endCodes).toEqual(['RTK_STORE_CORRUPT'])
    expect(sink.ends[0]?.details).toEqual({ offset: 0 })
  })

  it('whose retention overtook a subscriber moves it to its start, and says so', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 4; i++) bench.publish(2)
    const sink = await bench.subscribe({ from: 'earliest' })
    bench.topic.partitions[0].truncateBefore(6)
    sink.subscription.grant(plenty)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:6-8'])
    expect(sink.assignments).toEqual([[{ partition: 0, offset: 0 }], [{ partition: 0, offset: 6 }]])
    expect(bench.warnings).toMatchObject([{ fields: { partition: 0, from: 0, to: 6 } }])
  })

  it('whose retention overtakes a read that is under way does the same', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const read = gate()
    partition.slow = read.promise
    for (let i = 0; i < 4; i++) bench.publish(2)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    partition.truncateBefore(6)
    read.resolve()
    await bench.settle()
    expect(sink.ranges).toEqual(['0:6-8'])
  })

  it('that lost its tail moves subscribers back to its end', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    bench.publish(2)
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    bench.topic.partitions[0].cutAfter(2)
    await bench.settle()
    bench.publish(1)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-4', '0:2-3'])
    expect(sink.assignments.at(-1)).toEqual([{ partition: 0, offset: 2 }])
  })
})

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
