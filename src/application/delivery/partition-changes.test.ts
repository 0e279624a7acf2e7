/** Partitions that recover, cannot be read, are damaged, or lose their beginning or end, as their subscribers see it. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { DeliveryBench, gate, plenty } from './testing/delivery-bench.ts'

const earliest = { from: 'earliest', credit: plenty } as const

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
