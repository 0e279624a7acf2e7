/** Members of a group and the partitions that they share; listing, describing and deleting groups. */
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
import { codeOf } from '../testing/broker-bench.ts'
import { commit, describeGroup } from './testing/billing-group.ts'

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
