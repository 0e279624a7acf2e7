/** Commits of a group: stored before they settle, never backwards, by the owner alone. */
import { describe, expect, it } from 'vitest'
import { DeliveryBench, range } from '../delivery/testing/delivery-bench.ts'
import { batchOf } from '../delivery/testing/topic-double.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { commit, describeGroup } from './testing/billing-group.ts'

describe('committing', () => {
  it('settles when it is stored, tells observers, and survives a restart', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(5, 0)
    bench.publish(5, 1)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 3, metadata: 'three' }, { partition: 1, offset: 5 })
    expect(bench.hooks.of('messageAcked')).toEqual([
      { topic: 'orders', partition: 0, group: 'billing', offset: 3 },
      { topic: 'orders', partition: 1, group: 'billing', offset: 5 },
    ])
    await bench.restart()
    expect(await describeGroup(bench)).toEqual({
      topic: 'orders',
      group: 'billing',
      state: 'empty',
      members: [],
      partitions: [
        { partition: 0, committedOffset: 3, metadata: 'three', stableOffset: 5, lag: 2, member: undefined },
        { partition: 1, committedOffset: 5, metadata: '', stableOffset: 5, lag: 0, member: undefined },
      ],
      lag: 2,
    })
  })

  it('carries the leader epoch of what was read', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    bench.publish(1)
    await bench.settle()
    bench.topic.partitions[0].publish(batchOf(1), 7)
    await bench.settle()
    await a.commit({ partition: 0, offset: 2 })
    const stored = await bench.state.get(`groups/${bench.topic.id}/billing/0`)
    expect(JSON.parse(new TextDecoder().decode(stored?.value))).toEqual({
      offset: 2,
      leaderEpoch: 7,
      metadata: '',
      committedAtMs: bench.clock.now(),
    })
  })

  it('never goes back, and an equal commit changes only its metadata', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 4, metadata: 'm' })
    await a.commit({ partition: 0, offset: 2, metadata: 'older' })
    expect((await describeGroup(bench)).partitions[0]).toMatchObject({ committedOffset: 4, metadata: 'm' })
    await a.commit({ partition: 0, offset: 4, metadata: 'newer' })
    expect((await describeGroup(bench)).partitions[0]).toMatchObject({
      committedOffset: 4,
      metadata: 'newer',
    })
    expect(bench.hooks.of('messageAcked')).toHaveLength(1)
  })

  it('less than a commit under way settles, or fails, with it', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const a = await bench.member('a')
    await bench.settle()
    bench.state.onChange = () => {
      throw new Error('private')
    }
    const codes = [4, 2].map((offset) => codeOf(() => a.commit({ partition: 0, offset })))
    expect(await Promise.all(codes)).toEqual(['RTK_STORE_FAILED', 'RTK_STORE_FAILED'])
    bench.state.onChange = () => {}
    await a.commit({ partition: 0, offset: 3 })
    expect((await describeGroup(bench)).partitions[0].committedOffset).toBe(3)
  })

  it('is for the owner alone', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(5, 0)
    bench.publish(5, 1)
    const a = await bench.member('a')
    await bench.settle()
    const b = await bench.member('b')
    expect(await codeOf(() => a.commit({ partition: 0, offset: 1 }, { partition: 1, offset: 1 }))).toBe(
      'RTK_LEASE_LOST',
    )
    expect(await codeOf(() => b.commit({ partition: 0, offset: 1 }))).toBe('RTK_LEASE_LOST')
    expect(await codeOf(() => commit(bench, 1, 'b'))).toBe('RTK_LEASE_LOST')
    expect(await codeOf(() => commit(bench, 1))).toBe('RTK_LEASE_LOST')
    expect(await codeOf(() => commit(bench, 1, 'nobody'))).toBe('RTK_GROUP_NOT_FOUND')
    expect((await describeGroup(bench)).lag, 'nothing of a refused commit is done').toBe(10)
    await commit(bench, 2, 'a')
    expect((await describeGroup(bench)).lag).toBe(8)
  })

  it('without a member is for groups that have none, and makes the group', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    await commit(bench, 2)
    expect(await bench.delivery.listGroups(bench.topic)).toEqual(['billing'])
    const a = await bench.member('a')
    await bench.settle()
    expect(a.ranges).toEqual(['0:2-5'])
  })

  it.each([
    [{ partition: 0, offset: 6 }, 'RTK_OFFSET_OUT_OF_RANGE'],
    [{ partition: 0, offset: 1 }, 'RTK_OFFSET_OUT_OF_RANGE'],
    [{ partition: 0, offset: -1 }, 'RTK_INVALID_ARGUMENT'],
    [{ partition: 0, offset: 1.5 }, 'RTK_INVALID_ARGUMENT'],
    [{ partition: 1, offset: 3 }, 'RTK_PARTITION_NOT_FOUND'],
    [{ partition: 0, offset: 3, metadata: 5 as never }, 'RTK_INVALID_ARGUMENT'],
    [{ partition: 0, offset: 3, metadata: 'ééé' }, 'RTK_LIMIT_EXCEEDED'],
  ])('refuses %j', async (offset, code) => {
    const bench = new DeliveryBench({ limits: { commitMetadataBytesMax: 5 } })
    bench.publish(2)
    bench.publish(3)
    bench.topic.partitions[0].truncateBefore(2)
    expect(await codeOf(() => bench.delivery.commit(bench.topic, { group: 'g', offsets: [offset] }))).toBe(
      code,
    )
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
  })

  it('of a consumer that retention has overtaken is progress all the same', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    bench.publish(5)
    const a = await bench.member('a')
    await bench.settle()
    bench.topic.partitions[0].truncateBefore(5)
    await a.commit({ partition: 0, offset: 3 })
    expect((await describeGroup(bench)).partitions[0]).toMatchObject({ committedOffset: 3, lag: 5 })
    const b = await bench.member('a')
    await bench.settle()
    expect(b.ranges).toEqual(['0:5-10'])
  })

  it('goes on after a log lost its tail, though more had been committed', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    bench.publish(5)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 10 })
    bench.topic.partitions[0].cutAfter(5)
    await bench.restart()
    const b = await bench.member('a')
    bench.publish(3)
    await bench.settle()
    expect(b.ranges).toEqual(['0:5-8'])
    await b.commit({ partition: 0, offset: 8 })
    expect(await describeGroup(bench)).toMatchObject({ lag: 0, partitions: [{ committedOffset: 8 }] })
  })

  it('are kept for members that join while the partition could not be opened yet', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 6 })
    await bench.restart()
    const [partition] = bench.topic.partitions
    partition.state = 'recovering'
    partition.endOffset = 0 // nothing is known of a log that was never opened
    const b = await bench.member('b')
    expect(await describeGroup(bench)).toMatchObject({ lag: 0, partitions: [{ committedOffset: 6 }] })
    partition.endOffset = 10
    partition.become('online')
    await bench.settle()
    expect(b.offsetsOf(0)).toEqual(range(6, 10))
  })

  it('after the end of a subscription is refused, and without a group always', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    await a.subscription.close()
    expect(await codeOf(() => a.commit({ partition: 0, offset: 0 }))).toBe('RTK_CLOSED')
    const alone = await bench.subscribe()
    expect(await codeOf(() => alone.commit({ partition: 0, offset: 0 }))).toBe('RTK_INVALID_ARGUMENT')
  })
})
