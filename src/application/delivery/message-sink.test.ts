import { describe, expect, it } from 'vitest'
import { BatchBuilder, RatatoskrError, utf8 } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, gate, MessageSinkDouble, plenty, range } from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const earliest = { from: 'earliest', credit: plenty } as const

/** A batch that says it is compressed. */
function compressedBatch(count: number, codec: number): Uint8Array {
  const builder = new BatchBuilder({
    checksum: () => 0,
    compression: { id: codec, compress: (bytes) => bytes },
  })
  for (let i = 0; i < count; i++) builder.add({ payload: utf8('x'), timestampMs: i })
  return builder.build()
}

describe('a subscription to messages', () => {
  it('gets one message after the other, with all their fields', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(2, 0, (place) => `a${place}`)
    bench.publish(1, 1, 'b')
    const sink = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect(sink.texts.sort()).toEqual(['a0', 'a1', 'b'])
    expect(sink.messages[0]).toMatchObject({ topic: 'orders', key: undefined, headers: [] })
    expect(sink.messages[0].id).toMatch(/^[0-9a-f-]{14}8/)
  })

  it('begins within a batch', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const sink = await bench.subscribeMessages({ ...earliest, from: { offset: 3 } })
    await bench.settle()
    expect(sink.offsets).toEqual([3, 4])
  })

  it('never exceeds its credit, and goes on within the batch when there is more', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    bench.publish(5)
    const sink = await bench.subscribeMessages({
      from: 'earliest',
      credit: { messages: 2, bytes: 1_000_000 },
    })
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1])
    for (const more of [0, 1, 4]) {
      sink.subscription.grant({ messages: more, bytes: 1_000_000 })
      await bench.settle()
    }
    expect(sink.offsets).toEqual(range(0, 7))
    expect(bench.delivery.totals.messagesDelivered).toBe(7)
    sink.subscription.grant({ messages: 100 })
    await bench.settle()
    expect(sink.offsets).toEqual(range(0, 10))
    expect(bench.delivery.totals.bytesDelivered).toBe(2 * batchOf(5).length)
    const told = bench.hooks.of('messageDelivered')
    expect(told.reduce((sum, { recordCount }) => sum + recordCount, 0)).toBe(10)
    expect(told.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)).toBe(2 * batchOf(5).length)
  })

  it('gets more than one turn brings', async () => {
    const bench = new DeliveryBench()
    bench.publish(1_000)
    const sink = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect(sink.offsets).toEqual(range(0, 1_000))
  })

  it('waits for each message whose sink is full', async () => {
    const bench = new DeliveryBench()
    bench.publish(3)
    const sink = new MessageSinkDouble()
    const gates = [gate(), gate(), gate()]
    sink.onDeliver = ({ offset }) => gates[offset].promise
    await bench.subscribeMessages(earliest, sink)
    for (const i of [0, 1, 2]) {
      await bench.settle()
      expect(sink.offsets).toEqual(range(0, i + 1))
      gates[i].resolve()
    }
  })

  it('ends when its sink fails, and closes within a delivery', async () => {
    const bench = new DeliveryBench()
    bench.publish(3)
    const failing = new MessageSinkDouble()
    failing.onDeliver = ({ offset }) => {
      if (offset === 1) throw new Error('private')
    }
    await bench.subscribeMessages({ from: 'earliest' }, failing)
    const closing = new MessageSinkDouble()
    closing.onDeliver = ({ offset }) => {
      if (offset === 1) void closing.subscription.close()
    }
    await bench.subscribeMessages({ from: 'earliest' }, closing)
    for (const sink of [failing, closing]) sink.subscription.grant(plenty)
    await bench.settle()
    expect([failing.offsets, failing.endCodes]).toEqual([[0, 1], ['RTK_INTERNAL']])
    expect([closing.offsets, closing.endCodes]).toEqual([[0, 1], [undefined]])
  })

  it('goes elsewhere when its group is moved in the middle of a batch', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const sink = await bench.subscribeMessages({ group: 'g', credit: { messages: 4 } })
    await bench.settle()
    await bench.delivery.seekGroup(bench.topic, 'g', { position: { offset: 8 } })
    sink.subscription.grant({ messages: 4 })
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1, 2, 3, 8, 9])
    expect(sink.assignments.at(-1)).toEqual([{ partition: 0, offset: 8 }])
  })
})

describe('a batch that cannot be decoded', () => {
  it.each([
    ['for want of a codec', 'RTK_COMPRESSION_UNAVAILABLE', new Map()],
    [
      'for its size',
      'RTK_BATCH_TOO_LARGE',
      new Map([
        [
          4,
          {
            id: 4,
            name: 'zstd',
            compress: (bytes: Uint8Array) => bytes,
            decompress: () => {
              throw new RatatoskrError('RTK_BATCH_TOO_LARGE', 'too large')
            },
          },
        ],
      ]),
    ],
  ])('%s ends the subscription and says where to go on', async (_, code, codecs) => {
    const bench = new DeliveryBench({ codecs })
    bench.publish(2)
    bench.topic.partitions[0].publish(compressedBatch(3, 4))
    bench.publish(1)
    const sink = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect(sink.offsets).toEqual([0, 1])
    expect(sink.endCodes).toEqual([code])
    expect(sink.ends[0]?.details).toEqual({ partition: 0, offset: 2, nextOffset: 5 })
    expect(bench.hooks.of('subscriberFailed')).toMatchObject([{ error: { code } }])
    const next = await bench.subscribeMessages({ ...earliest, from: { offset: 5 } })
    await bench.settle()
    expect(next.offsets).toEqual([5])
  })

  it('because its records do not add up ends it after the ones that do', async () => {
    const bench = new DeliveryBench()
    const batch = batchOf(2)
    batch[61] = 0x7e // the first record claims to be longer than the batch
    bench.publish(1)
    bench.topic.partitions[0].publish(batch)
    const sink = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect(sink.offsets).toEqual([0])
    expect(sink.ends[0]).toMatchObject({
      code: 'RTK_BATCH_MALFORMED',
      details: { partition: 0, offset: 1, nextOffset: 3 },
    })
  })

  it('is still there for subscribers to batches', async () => {
    const bench = new DeliveryBench()
    bench.topic.partitions[0].publish(compressedBatch(3, 4))
    const sink = await bench.subscribe(earliest)
    await bench.settle()
    expect(sink.ranges).toEqual(['0:0-3'])
  })
})

describe('control batches', () => {
  it('are passed over', async () => {
    const bench = new DeliveryBench()
    const control = batchOf(2)
    control[22] |= 0x20
    bench.topic.partitions[0].publish(control)
    bench.publish(1)
    const sink = await bench.subscribeMessages(earliest)
    await bench.settle()
    expect(sink.offsets).toEqual([2])
  })
})

it('refuses a grant that is no number', async () => {
  const bench = new DeliveryBench()
  const sink = await bench.subscribeMessages()
  expect(await codeOf(() => sink.subscription.grant({ messages: -1 }))).toBe('RTK_INVALID_ARGUMENT')
})
