/** Subscribing to batches: where a subscription begins, what it is given, and its credit. */
import { describe, expect, it } from 'vitest'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, gate, plenty, range, SinkDouble, someone } from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const earliest = { from: 'earliest', credit: plenty } as const

describe('many subscribers behind connections', () => {
  it('are given in one delivery what comes while others have their turn', async () => {
    const bench = new DeliveryBench()
    const who = { ...someone, remote: true }
    const subscribing = range(0, 40).map(() => bench.subscribe(earliest, new SinkDouble(), who))
    const sinks = await Promise.all(subscribing)
    await bench.settle()
    bench.publish(1)
    while (sinks[0].ranges.length === 0) await Promise.resolve()
    for (let i = 0; i < 100; i++) await Promise.resolve()
    const served = sinks.filter(({ ranges }) => ranges.length > 0).length
    expect(served).toBeLessThan(40)
    bench.publish(1)
    await bench.settle()
    const early = Array.from({ length: served }, () => ['0:0-1', '0:1-2'])
    const late = Array.from({ length: 40 - served }, () => ['0:0-2'])
    expect(sinks.map(({ ranges }) => ranges)).toEqual([...early, ...late])
    expect(bench.topic.partitions[0].reads).toBe(3)
  })
})

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

  it('goes on batch by batch when every one is larger than the window, and is granted again what it weighed', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 4; i++) bench.publish(1, 0, 'y'.repeat(1000))
    const sink = new SinkDouble()
    sink.onDeliver = ({ bytes }) => sink.subscription.grant({ bytes: bytes.length })
    await bench.subscribe({ from: 'earliest' }, sink)
    sink.subscription.grant({ bytes: 200 })
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-1', '0:1-2', '0:2-3', '0:3-4'])
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
