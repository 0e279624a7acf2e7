import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  DeliveryBench,
  gate,
  plenty,
  range,
  SinkDouble,
  someone,
} from '../delivery/testing/delivery-bench.ts'
import { batchOf } from '../delivery/testing/topic-double.ts'
import { codeOf } from '../testing/broker-bench.ts'

const describeGroup = (bench: DeliveryBench, group = 'billing') =>
  bench.delivery.describeGroup(bench.topic, group)
const commit = (bench: DeliveryBench, offset: number, member?: string, partition = 0) =>
  bench.delivery.commit(bench.topic, { group: 'billing', member, offsets: [{ partition, offset }] })

describe('members of a group', () => {
  it('share the partitions, and each message goes to one of them', async () => {
    const bench = new DeliveryBench({ partitions: 4 })
    const a = await bench.member('a')
    expect(a.owned).toEqual([0, 1, 2, 3])
    const b = await bench.member('b')
    expect([a.owned, b.owned]).toEqual([
      [0, 1],
      [2, 3],
    ])
    for (const partition of range(0, 4)) bench.publish(2, partition)
    await bench.settle()
    expect(a.ranges.sort()).toEqual(['0:0-2', '1:0-2'])
    expect(b.ranges.sort()).toEqual(['2:0-2', '3:0-2'])
    expect((await describeGroup(bench)).members).toEqual([
      { member: 'a', partitions: [0, 1] },
      { member: 'b', partitions: [2, 3] },
    ])
  })

  it('that are more than the partitions stand by', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    const b = await bench.member('b')
    expect(b.assignments).toEqual([[]])
    await a.subscription.close()
    expect(b.owned).toEqual([0])
  })

  it('go on undisturbed on partitions that do not move', async () => {
    const bench = new DeliveryBench({ partitions: 3 })
    for (const partition of range(0, 3)) bench.publish(2, partition)
    const a = await bench.member('a')
    await bench.settle()
    const b = await bench.member('b')
    await bench.settle()
    expect(a.assignments.at(-1)).toEqual([
      { partition: 0, offset: 2 },
      { partition: 1, offset: 2 },
    ])
    expect(a.ranges.sort(), 'nothing is read twice').toEqual(['0:0-2', '1:0-2', '2:0-2'])
    expect(b.ranges, 'what was not committed comes again').toEqual(['2:0-2'])
    const c = await bench.member('c')
    expect(a.owned).toEqual([0])
    expect(b.assignments, 'who loses nothing hears nothing').toHaveLength(1)
    expect(c.owned).toEqual([1])
  })

  it('take over at the committed offset', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 4 })
    const b = await bench.member('b')
    await a.subscription.close()
    await bench.settle()
    expect(b.assignments.at(-1)).toEqual([{ partition: 0, offset: 4 }])
    expect(b.ranges).toEqual(['0:4-10'])
  })

  it('take over at what is stored, not at what is being stored', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const a = await bench.member('a')
    const b = await bench.member('b')
    await bench.settle()
    const write = gate()
    bench.state.onChange = () => write.promise
    const committing = codeOf(() => a.commit({ partition: 0, offset: 4 }))
    await a.subscription.close()
    write.reject(new Error('private'))
    await bench.settle()
    expect(await committing).toBe('RTK_STORE_FAILED')
    expect(b.ranges).toEqual(['0:0-10'])
  })

  it('take over nothing that the one before still reads', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    bench.publish(2)
    const a = await bench.member('a')
    await bench.settle()
    const read = gate()
    partition.slow = read.promise
    bench.publish(2)
    await bench.settle()
    const again = await bench.member('b')
    bench.topic.addPartition()
    expect([a.owned, again.owned]).toEqual([[0], [1]])
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 3 }, partitions: [0] })
    read.resolve()
    await bench.settle()
    expect(a.ranges, 'what was read before the seek is dropped').toEqual(['0:0-2', '0:3-4'])
  })

  it('that come back under their name replace whoever held it', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(3, 0)
    const first = await bench.member('a')
    const other = await bench.member('b')
    await bench.settle()
    const again = await bench.member('a')
    await bench.settle()
    expect(first.endCodes).toEqual(['RTK_LEASE_LOST'])
    expect(again.owned).toEqual([0])
    expect(again.ranges).toEqual(['0:0-3'])
    expect(other.assignments).toHaveLength(1)
    expect(await codeOf(() => first.commit({ partition: 0, offset: 3 }))).toBe('RTK_LEASE_LOST')
    await first.subscription.close()
    expect((await describeGroup(bench)).members).toHaveLength(2)
  })

  it('that come back keep their partitions, and the others do not notice', async () => {
    const steps = fc.array(fc.tuple(fc.nat(3), fc.boolean()), { minLength: 3, maxLength: 14 })
    await fc.assert(
      fc.asyncProperty(steps, async (joins) => {
        const bench = new DeliveryBench({ partitions: 5 })
        const sinks = new Map<number, SinkDouble>()
        for (const [who, comes] of joins) {
          await sinks.get(who)?.subscription.close()
          if (comes) sinks.set(who, await bench.member(`${who}`))
          else sinks.delete(who)
        }
        for (const [who, sink] of sinks) {
          const heard = [...sinks.values()].map(({ assignments }) => assignments.length)
          const again = await bench.member(`${who}`)
          expect(again.owned).toEqual(sink.owned)
          expect([...sinks.values()].map(({ assignments }) => assignments.length)).toEqual(heard)
          sinks.set(who, again)
        }
      }),
      { numRuns: 200 },
    )
  })

  it('have names made up for them, each another', async () => {
    const bench = new DeliveryBench()
    const [a, b] = [await bench.subscribe({ group: 'g' }), await bench.subscribe({ group: 'g' })]
    expect(a.subscription.member).not.toBe(b.subscription.member)
    expect(a.subscription.member).toMatch(/^[A-Za-z0-9._-]+$/)
    expect(a.endCodes).toEqual([])
  })

  it('share out partitions that are added, from their first message, though all were away', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    bench.topic.addPartition()
    expect(a.owned).toEqual([0, 1])
    await a.subscription.close()
    bench.topic.addPartition()
    bench.publish(2, 2)
    const b = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await bench.settle()
    expect(b.ranges).toEqual(['2:0-2'])
  })

  it('read added partitions also when their first position cannot be stored', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    bench.state.onChange = () => {
      throw new Error('private')
    }
    bench.topic.addPartition()
    bench.publish(2, 1)
    await bench.settle()
    expect(a.ranges).toEqual(['1:0-2'])
    expect(bench.warnings).toHaveLength(1)
  })

  it('survive a stalled one: what is delivered to it moves on when it goes', async () => {
    const bench = new DeliveryBench()
    const stalled = new SinkDouble()
    stalled.onDeliver = () => gate().promise
    await bench.subscribe({ group: 'billing', member: 'a', credit: plenty }, stalled)
    const b = await bench.member('b')
    bench.publish(2)
    await bench.settle()
    await stalled.subscription.close()
    await bench.settle()
    expect(b.ranges).toEqual(['0:0-2'])
  })

  it('are taken out when their sink fails', async () => {
    const bench = new DeliveryBench()
    const bad = new SinkDouble()
    bad.onDeliver = () => Promise.reject(new Error('private'))
    await bench.subscribe({ group: 'billing', credit: plenty }, bad)
    const good = await bench.member('b')
    bench.publish(2)
    await bench.settle()
    expect(good.ranges).toEqual(['0:0-2'])
  })

  it('may leave when they are told of a rebalance', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    const a = new SinkDouble()
    await bench.subscribe({ group: 'billing', member: 'a', credit: plenty }, a)
    a.onAssigned = () => void a.subscription.close()
    const b = await bench.member('b')
    expect(a.endCodes).toEqual([undefined])
    expect(b.owned).toEqual([0, 1])
  })
})

describe('where a group begins', () => {
  it('is the first message by default, and the committed offset from then on, whatever is asked', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const a = await bench.member('a')
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-4'])
    await a.commit({ partition: 0, offset: 2 })
    await a.subscription.close()
    const b = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await bench.settle()
    expect(b.ranges).toEqual(['0:2-4'])
  })

  it('R33: is kept, so that a hundred messages published while all are away are there on return', async () => {
    const bench = new DeliveryBench()
    bench.publish(5)
    const live = await bench.subscribe({ credit: plenty })
    const away = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await away.subscription.close()
    for (let i = 0; i < 100; i++) bench.publish(1)
    await bench.settle()
    expect(live.offsetsOf(0)).toEqual(range(5, 105))
    await bench.restart()
    const back = await bench.subscribe({ group: 'billing', from: 'latest', credit: plenty })
    await bench.settle()
    expect(back.offsetsOf(0)).toEqual(range(5, 105))
  })

  it('is decided by the first of those who come together', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(4, 0)
    const joining = [
      bench.subscribe({ group: 'g', member: 'a', from: { timestampMs: 3 }, credit: plenty }),
      bench.subscribe({ group: 'g', member: 'b', from: 'earliest', credit: plenty }),
    ]
    const [a, b] = await Promise.all(joining)
    await bench.settle()
    expect([...a.ranges, ...b.ranges]).toEqual(['0:3-4'])
  })

  it('is no more looked for when a seek was faster', async () => {
    const bench = new DeliveryBench()
    bench.publish(6)
    const found = gate()
    bench.topic.partitions[0].offsetForTime = async () => {
      await found.promise
      return 1
    }
    const joining = bench.subscribe({ group: 'billing', from: { timestampMs: 1 }, credit: plenty })
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 4 } })
    found.resolve()
    const sink = await joining
    await bench.settle()
    expect(sink.ranges).toEqual(['0:4-6'])
  })

  it('is still looked for when another call finds the group unused', async () => {
    const bench = new DeliveryBench()
    const joining = bench.subscribe({ group: 'billing', member: 'a', from: { timestampMs: 0 } })
    expect(await codeOf(() => commit(bench, 7))).toBe('RTK_OFFSET_OUT_OF_RANGE')
    await joining
    expect((await describeGroup(bench)).members).toEqual([{ member: 'a', partitions: [0] }])
  })

  it('is refused when it is out of range, and nothing is left of the group', async () => {
    const bench = new DeliveryBench()
    expect(await codeOf(() => bench.subscribe({ group: 'g', from: { offset: 7 } }))).toBe(
      'RTK_OFFSET_OUT_OF_RANGE',
    )
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    expect(bench.hooks.of('subscriberJoined')).toEqual([])
  })

  it('must be stored: else nobody joins, and the next try begins anew', async () => {
    const bench = new DeliveryBench()
    bench.state.onChange = () => {
      throw new Error('private')
    }
    const joining = ['a', 'b'].map((member) => codeOf(() => bench.member(member)))
    expect(await Promise.all(joining)).toEqual(['RTK_STORE_FAILED', 'RTK_STORE_FAILED'])
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    bench.state.onChange = () => {}
    expect((await bench.member('a')).owned).toEqual([0])
  })
})

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

describe('seeking', () => {
  it('R49: moves a running member, to an offset, a time, the beginning or the end', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(6, 0)
    bench.publish(6, 1)
    const a = await bench.member('a')
    await bench.settle()
    await a.commit({ partition: 0, offset: 6 }, { partition: 1, offset: 6 })
    const seek = (
      position: Parameters<typeof bench.delivery.seekGroup>[2]['position'],
      partitions?: number[],
    ) => bench.delivery.seekGroup(bench.topic, 'billing', { position, partitions })
    const ranges = async () => {
      await bench.settle()
      return a.deliveries
        .splice(0)
        .map((one) => `${one.partition}:${one.fromOffset}-${one.nextOffset}`)
        .sort()
    }
    await ranges()
    expect(await seek({ offset: 4 })).toEqual([
      { partition: 0, offset: 4 },
      { partition: 1, offset: 4 },
    ])
    expect(await ranges()).toEqual(['0:4-6', '1:4-6'])
    expect(a.assignments.at(-1)).toEqual([
      { partition: 0, offset: 4 },
      { partition: 1, offset: 4 },
    ])
    expect(await seek({ timestampMs: 5 }, [1])).toEqual([{ partition: 1, offset: 5 }])
    expect(await ranges()).toEqual(['1:5-6'])
    await seek('earliest')
    expect(await ranges()).toEqual(['0:0-6', '1:0-6'])
    expect((await describeGroup(bench)).lag).toBe(12)
    await seek('latest')
    expect(await ranges()).toEqual([])
    expect((await describeGroup(bench)).lag).toBe(0)
    await seek({ offsets: [{ partition: 1, offset: 3 }] })
    expect(await ranges(), 'partitions that are not named stay').toEqual(['1:3-6'])
    await seek({ offsets: [{ partition: 1, offset: 3 }], otherwise: 'earliest' })
    expect(await ranges()).toEqual(['0:0-6', '1:3-6'])
  })

  it('is not undone by commits of what was read before it', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const credit = { bytes: batchOf(10).length }
    const a = await bench.subscribe({ group: 'billing', member: 'a', credit })
    await bench.settle()
    const write = gate()
    bench.state.onChange = () => write.promise
    const seeking = bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 2 } })
    await bench.settle()
    const during = await codeOf(() => a.commit({ partition: 0, offset: 10 }))
    write.resolve()
    await seeking
    const after = await codeOf(() => a.commit({ partition: 0, offset: 10 }))
    expect([during, after]).toEqual(['RTK_LEASE_LOST', 'RTK_LEASE_LOST'])
    expect((await describeGroup(bench)).partitions[0].committedOffset).toBe(2)
    a.subscription.grant(credit)
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-10', '0:2-10'])
    await a.commit({ partition: 0, offset: 10 })
    expect((await describeGroup(bench)).lag).toBe(0)
  })

  it('overtakes a commit whose write is under way', async () => {
    const bench = new DeliveryBench()
    bench.publish(10)
    const a = await bench.member('a')
    await bench.settle()
    const committing = a.commit({ partition: 0, offset: 8 })
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 1 } })
    await committing
    expect((await describeGroup(bench)).partitions[0].committedOffset).toBe(1)
  })

  it('that cannot be stored changes nothing', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const a = await bench.member('a')
    await bench.settle()
    bench.state.onChange = () => {
      throw new Error('private')
    }
    const seek = () => bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset: 2 } })
    expect(await codeOf(seek)).toBe('RTK_STORE_FAILED')
    bench.state.onChange = () => {}
    await bench.settle()
    expect(a.ranges).toEqual(['0:0-4'])
    await a.commit({ partition: 0, offset: 4 })
    expect((await describeGroup(bench)).lag).toBe(0)
  })

  it('prepares a group that does not exist yet, and refuses what is out of range', async () => {
    const bench = new DeliveryBench()
    bench.publish(4)
    const seek = (offset: number) =>
      bench.delivery.seekGroup(bench.topic, 'billing', { position: { offset } })
    expect(await codeOf(() => seek(5))).toBe('RTK_OFFSET_OUT_OF_RANGE')
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
    await seek(3)
    const a = await bench.member('a')
    await bench.settle()
    expect(a.ranges).toEqual(['0:3-4'])
  })
})

describe('groups of a topic', () => {
  it('R50: tell their lag exactly, as it is now', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(7, 0)
    bench.publish(5, 1)
    await bench.delivery.commit(bench.topic, { group: 'billing', offsets: [{ partition: 0, offset: 3 }] })
    const { lag, state, partitions } = await describeGroup(bench)
    expect({ lag, state }).toEqual({ lag: 9, state: 'empty' })
    expect(partitions.map((one) => [one.committedOffset, one.lag])).toEqual([
      [3, 4],
      [undefined, 5],
    ])
    const a = await bench.member('a')
    bench.publish(2, 1)
    await bench.settle()
    await a.commit({ partition: 1, offset: 6 })
    expect(await describeGroup(bench)).toMatchObject({ lag: 5, state: 'stable', members: [{ member: 'a' }] })
  })

  it('are listed by name, and deleted when they have no members', async () => {
    const bench = new DeliveryBench()
    const a = await bench.member('a')
    await bench.member('z', 'accounts')
    expect(await bench.delivery.listGroups(bench.topic)).toEqual(['accounts', 'billing'])
    const remove = () => bench.delivery.deleteGroup(bench.topic, 'billing')
    expect(await codeOf(remove)).toBe('RTK_INVALID_ARGUMENT')
    await a.subscription.close()
    await remove()
    expect(await codeOf(remove)).toBe('RTK_GROUP_NOT_FOUND')
    expect(await codeOf(() => describeGroup(bench))).toBe('RTK_GROUP_NOT_FOUND')
    expect(bench.state.keys).toEqual([`groups/${bench.topic.id}/accounts/0`])
  })

  it('are not deleted while somebody is joining', async () => {
    const bench = new DeliveryBench()
    const joining = bench.subscribe({ group: 'billing', from: { timestampMs: 0 } })
    expect(await codeOf(() => bench.delivery.deleteGroup(bench.topic, 'billing'))).toBe(
      'RTK_INVALID_ARGUMENT',
    )
    await joining
  })

  it('stay when their deletion cannot be stored', async () => {
    const bench = new DeliveryBench()
    await commit(bench, 0)
    bench.state.onChange = () => {
      throw new Error('private')
    }
    expect(await codeOf(() => bench.delivery.deleteGroup(bench.topic, 'billing'))).toBe('RTK_STORE_FAILED')
    expect(await bench.delivery.listGroups(bench.topic)).toEqual(['billing'])
  })

  it('are bounded', async () => {
    const bench = new DeliveryBench({ limits: { groupsPerTopicMax: 1 } })
    await bench.member('a')
    expect(await codeOf(() => bench.member('a', 'other'))).toBe('RTK_LIMIT_EXCEEDED')
    expect(await codeOf(() => bench.delivery.fetchGroup(bench.topic, { group: 'other' }, someone))).toBe(
      'RTK_LIMIT_EXCEEDED',
    )
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(1)
    await bench.member('b')
  })
})
