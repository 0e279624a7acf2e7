/** What subscribers, members and fetches see of records that are lost to damage, and of a medium that fails to read. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, MessageSinkDouble, plenty, range, someone } from './testing/delivery-bench.ts'

const unreadable = (offset: number): RatatoskrError =>
  new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium failed', { details: { offset } })

/** Twenty messages in batches of two, of which `gaps` are lost. */
function damagedBench(...gaps: readonly { from: number; to: number }[]): DeliveryBench {
  const bench = new DeliveryBench()
  for (let i = 0; i < 10; i++) bench.publish(2)
  bench.topic.partitions[0].gaps = gaps
  return bench
}

const poll = (bench: DeliveryBench, positions?: { partition: number; offset: number }[]) =>
  bench.delivery.fetchGroup(bench.topic, { group: 'billing', member: 'one', positions }, someone)

describe('records lost to damage', () => {
  it.each([
    ['in the middle', [{ from: 4, to: 10 }], [...range(0, 4), ...range(10, 20)]],
    ['at the start', [{ from: 0, to: 6 }], range(6, 20)],
    ['at the end', [{ from: 14, to: 20 }], range(0, 14)],
    [
      'twice',
      [
        { from: 2, to: 4 },
        { from: 4, to: 8 },
        { from: 12, to: 14 },
      ],
      [...range(0, 2), ...range(8, 12), ...range(14, 20)],
    ],
  ])('%s: subscribers get all the rest, in order', async (_where, gaps, left) => {
    const bench = damagedBench(...gaps)
    const stream = await bench.subscribe({ from: 'earliest', credit: plenty })
    const member = await bench.member('one')
    const single = await bench.subscribeMessages(
      { from: 'earliest', credit: plenty },
      new MessageSinkDouble(),
    )
    await bench.settle()
    expect(stream.offsetsOf(0)).toEqual(left)
    expect(member.offsetsOf(0)).toEqual(left)
    expect(single.offsets).toEqual(left)
    expect([...stream.ends, ...member.ends, ...single.ends]).toEqual([])
    bench.publish(1)
    await bench.settle()
    expect(stream.offsetsOf(0)).toEqual([...left, 20])
  })

  it('are told of once for each gap, and counted for each subscriber', async () => {
    const bench = damagedBench({ from: 4, to: 10 }, { from: 14, to: 16 })
    await bench.subscribe({ from: { offset: 6 }, credit: plenty })
    await bench.subscribe({ from: 'earliest', credit: plenty })
    await bench.settle()
    expect(bench.errors).toEqual([
      {
        message: 'records are lost to damage; subscribers go on after them',
        fields: { topic: 'orders', partition: 0, from: 4, to: 10 },
      },
      {
        message: 'records are lost to damage; subscribers go on after them',
        fields: { topic: 'orders', partition: 0, from: 14, to: 16 },
      },
    ])
    expect(bench.delivery.totals.messagesSkipped).toBe(6 + 2 + 4 + 2)
  })

  it('are passed by commits', async () => {
    const bench = damagedBench({ from: 4, to: 10 })
    const member = await bench.member('one')
    await bench.settle()
    await member.commit({ partition: 0, offset: 4 })
    await member.commit({ partition: 0, offset: 12 })
    const { partitions } = await bench.delivery.describeGroup(bench.topic, 'billing')
    expect(partitions).toMatchObject([{ committedOffset: 12, lag: 8 }])
  })

  it('are passed over by members that poll, once in the counts however often they say where they stand', async () => {
    const bench = damagedBench({ from: 4, to: 20 })
    expect(await poll(bench)).toMatchObject([{ fromOffset: 0, nextOffset: 4 }])
    for (let i = 0; i < 3; i++) expect(await poll(bench, [{ partition: 0, offset: 4 }])).toEqual([])
    expect(bench.delivery.totals.messagesSkipped).toBe(16)
    bench.publish(1)
    expect(await poll(bench, [{ partition: 0, offset: 4 }])).toMatchObject([
      { fromOffset: 20, nextOffset: 21 },
    ])
    expect(bench.errors).toHaveLength(1)
  })

  it('are an error with both offsets for a fetch that asks for one of them', async () => {
    const bench = damagedBench({ from: 4, to: 10 })
    const fetch = (offset: number) => bench.delivery.fetch(bench.topic, { partition: 0, offset })
    expect(await fetch(0)).toMatchObject({ fromOffset: 0, nextOffset: 4 })
    await expect(fetch(4)).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      details: { offset: 4, nextOffset: 10 },
    })
    await expect(fetch(7)).rejects.toMatchObject({ details: { offset: 7, nextOffset: 10 } })
    expect(await fetch(10)).toMatchObject({ fromOffset: 10, nextOffset: 20 })
    expect(bench.delivery.totals.messagesSkipped).toBe(0)
  })
})

describe('a log that is damaged as a whole', () => {
  it('keeps its subscribers until it is opened again', async () => {
    const bench = damagedBench()
    const [partition] = bench.topic.partitions
    const sink = await bench.subscribe({ from: 'earliest' })
    partition.onRead = () => {
      if (partition.reads > 1) return
      partition.state = 'recovering' // it failed in the middle of the read
      throw new RatatoskrError('RTK_STORE_CORRUPT', 'the files contradict each other')
    }
    sink.subscription.grant(plenty)
    await bench.settle()
    expect([sink.deliveries, sink.ends]).toEqual([[], []])
    partition.become('online')
    await bench.settle()
    expect(sink.offsetsOf(0)).toEqual(range(0, 20))
  })

  it('ends them when it is open and nobody says where it can be read again', async () => {
    const bench = damagedBench()
    bench.topic.partitions[0].failures.push(new RatatoskrError('RTK_STORE_CORRUPT', 'somewhere'))
    const sink = await bench.subscribe({ from: 'earliest', credit: plenty })
    await bench.settle()
    expect(sink.endCodes).toEqual(['RTK_STORE_CORRUPT'])
  })
})

describe('a medium that fails to read', () => {
  it('makes subscribers wait and try again, ever more seldom, and tells of it once', async () => {
    const bench = damagedBench()
    const [partition] = bench.topic.partitions
    for (let i = 0; i < 6; i++) partition.failures.push(unreadable(0))
    const sink = await bench.subscribe({ from: 'earliest', credit: plenty })
    await bench.settle()
    const reads = [partition.reads]
    for (const ms of [50, 100, 200, 400, 800]) {
      await bench.clock.advance(ms - 1)
      expect(partition.reads).toBe(reads.at(-1))
      await bench.clock.advance(1)
      reads.push(partition.reads)
    }
    expect(reads).toEqual([1, 2, 3, 4, 5, 6])
    await bench.clock.advance(1_600)
    expect(sink.offsetsOf(0)).toEqual(range(0, 20))
    expect(sink.ends).toEqual([])
    expect(bench.errors).toMatchObject([{ fields: { topic: 'orders', partition: 0, offset: 0 } }])
    partition.failures.push(unreadable(20))
    bench.publish(1)
    await bench.clock.advance(50)
    expect(bench.errors).toHaveLength(2)
    expect(sink.offsetsOf(0)).toEqual(range(0, 21))
  })

  it('keeps nobody from the other partitions', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(1, 0)
    bench.publish(1, 1)
    bench.topic.partitions[0].onRead = () => {
      throw unreadable(0)
    }
    const member = await bench.member('pushed', 'pushed')
    const single = await bench.subscribeMessages({ from: 'earliest', credit: plenty })
    await bench.clock.advance(10_000)
    expect([member.ranges, single.messages.map((one) => one.partition)]).toEqual([['1:0-1'], [1]])
    expect(await poll(bench)).toMatchObject([{ partition: 1 }])
    expect(await codeOf(() => poll(bench))).toBe('RTK_STORE_UNREADABLE')
    expect([...member.ends, ...single.ends]).toEqual([])
  })

  it('is told to a fetch', async () => {
    const bench = damagedBench()
    bench.topic.partitions[0].failures.push(unreadable(3))
    await expect(bench.delivery.fetch(bench.topic, { partition: 0, offset: 3 })).rejects.toMatchObject({
      code: 'RTK_STORE_UNREADABLE',
      retryable: true,
      details: { offset: 3 },
    })
  })
})
