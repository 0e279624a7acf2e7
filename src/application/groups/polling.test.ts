import { describe, expect, it } from 'vitest'
import type { FetchedBatch, GroupFetchRequest } from '../../ports/index.ts'
import { DeliveryBench, gate, range, someone } from '../delivery/testing/delivery-bench.ts'
import { batchOf } from '../delivery/testing/topic-double.ts'
import { codeOf } from '../testing/broker-bench.ts'

const poll = (bench: DeliveryBench, request: Partial<GroupFetchRequest> = {}, signal?: AbortSignal) =>
  bench.delivery.fetchGroup(bench.topic, { group: 'billing', ...request }, someone, { signal })

const rangesOf = (batches: readonly FetchedBatch[]): string[] =>
  batches.map((one) => `${one.partition}:${one.fromOffset}-${one.nextOffset}`).sort()

const members = async (bench: DeliveryBench) =>
  (await bench.delivery.describeGroup(bench.topic, 'billing')).members.map(({ member }) => member)

/** A call whose outcome is looked at later. */
function later(call: Promise<readonly FetchedBatch[]>): { outcome: unknown } {
  const seen = { outcome: undefined as unknown }
  call.then(
    (batches) => (seen.outcome = rangesOf(batches)),
    (error) => (seen.outcome = error.code),
  )
  return seen
}

describe('a polling member', () => {
  it('R32: takes what is next, call by call, and goes on where it committed after a restart', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 4; i++) bench.publish(2)
    expect(rangesOf(await poll(bench, { messagesMax: 4 }))).toEqual(['0:0-4'])
    expect(rangesOf(await poll(bench, { messagesMax: 4 }))).toEqual(['0:4-8'])
    expect(await poll(bench)).toEqual([])
    await bench.delivery.commit(bench.topic, { group: 'billing', offsets: [{ partition: 0, offset: 4 }] })
    await bench.restart()
    expect(rangesOf(await poll(bench))).toEqual(['0:4-8'])
    expect(bench.hooks.of('messageDelivered').map(({ group, recordCount }) => [group, recordCount])).toEqual([
      ['billing', 4],
      ['billing', 4],
      ['billing', 4],
    ])
  })

  it('takes from all its partitions in turn, bytes within a soft bound and messages within an exact one', async () => {
    const bench = new DeliveryBench({ partitions: 3 })
    for (const partition of range(0, 3)) for (let i = 0; i < 2; i++) bench.publish(2, partition)
    const size = batchOf(2).length
    expect(rangesOf(await poll(bench, { bytesMax: 1 }))).toEqual(['0:0-2'])
    expect(rangesOf(await poll(bench, { bytesMax: size * 3 }))).toEqual(['1:0-4', '2:0-2'])
    expect(rangesOf(await poll(bench, { messagesMax: 3 }))).toEqual(['0:2-3', '2:2-4'])
    expect(rangesOf(await poll(bench, { messagesMax: 3 }))).toEqual(['0:3-4'])
    expect(await poll(bench)).toEqual([])
  })

  it('goes back to where it says that it stands: an answer was lost', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    bench.publish(2)
    await poll(bench)
    const again = await poll(bench, {
      positions: [
        { partition: 0, offset: 2 },
        { partition: 9, offset: 1 },
      ],
    })
    expect(rangesOf(again)).toEqual(['0:2-4'])
    expect(await codeOf(() => poll(bench, { positions: [{ partition: 0, offset: 5 }] }))).toBe(
      'RTK_OFFSET_OUT_OF_RANGE',
    )
  })

  it('goes back also while another call of it reads, whose messages then come again', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    bench.publish(2)
    bench.publish(2)
    await poll(bench, { messagesMax: 2 })
    const read = gate()
    partition.slow = read.promise
    const early = later(poll(bench, { waitMs: 1_000 }))
    await bench.settle()
    const back = later(poll(bench, { positions: [{ partition: 0, offset: 0 }], messagesMax: 2 }))
    read.resolve()
    await bench.settle()
    expect([early.outcome, back.outcome]).toEqual([undefined, ['0:0-2']])
    await bench.clock.advance(50)
    expect(early.outcome).toEqual(['0:2-4'])
  })

  it('is not kept from a seek by where it thinks that it stands', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    bench.publish(2)
    await poll(bench)
    await bench.delivery.seekGroup(bench.topic, 'billing', { position: 'earliest' })
    expect(rangesOf(await poll(bench, { positions: [{ partition: 0, offset: 4 }] }))).toEqual(['0:0-4'])
  })

  it('shares with others, pushed and polling', async () => {
    const bench = new DeliveryBench({ partitions: 3 })
    await poll(bench, { member: 'a' })
    await poll(bench, { member: 'b' })
    const c = await bench.member('c')
    for (const partition of range(0, 3)) bench.publish(1, partition)
    const taken = [...(await poll(bench, { member: 'a' })), ...(await poll(bench, { member: 'b' }))]
    await bench.settle()
    expect([...rangesOf(taken), ...c.ranges].sort()).toEqual(['0:0-1', '1:0-1', '2:0-1'])
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(3)
    expect(bench.hooks.of('subscriberJoined')).toHaveLength(3)
  })

  it('without a name is one with all others of its principal, and commits without a name', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    bench.publish(2)
    const both = await Promise.all([poll(bench, { messagesMax: 2 }), poll(bench, { messagesMax: 2 })])
    expect(both.map(rangesOf)).toEqual([['0:0-2'], ['0:2-4']])
    expect(await members(bench)).toEqual(['someone'])
    expect(bench.delivery.totals.subscriptions).toBe(1)
    await bench.delivery.commit(bench.topic, { group: 'billing', offsets: [{ partition: 0, offset: 3 }] })
    expect((await bench.delivery.describeGroup(bench.topic, 'billing')).lag).toBe(1)
  })

  it('does not give the same messages to two calls when reads are slow', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    partition.slow = Promise.resolve()
    for (let i = 0; i < 3; i++) bench.publish(1)
    const calls = await Promise.all(range(0, 4).map(() => poll(bench, { messagesMax: 1 })))
    expect(calls.flatMap(rangesOf).sort()).toEqual(['0:0-1', '0:1-2', '0:2-3'])
  })

  it('skips what retention deleted and partitions that are being opened again', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(2, 0)
    bench.publish(2, 0)
    bench.publish(2, 1)
    bench.topic.partitions[0].truncateBefore(2)
    bench.topic.partitions[1].become('recovering')
    expect(rangesOf(await poll(bench))).toEqual(['0:2-4'])
    bench.topic.partitions[1].become('online')
    expect(rangesOf(await poll(bench))).toEqual(['1:0-2'])
  })

  it('takes from the partitions that are well, and hears of a read that failed when there is nothing else', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    bench.publish(1, 0)
    bench.publish(1, 1)
    bench.topic.partitions[0].failures.push(new Error('private'), new Error('private'))
    expect(rangesOf(await poll(bench))).toEqual(['1:0-1'])
    await expect(poll(bench)).rejects.toThrow('private')
    expect(rangesOf(await poll(bench))).toEqual(['0:0-1'])
  })

  it.each([
    [{ bytesMax: 0 }, 'RTK_INVALID_ARGUMENT'],
    [{ messagesMax: 0.5 }, 'RTK_INVALID_ARGUMENT'],
    [{ waitMs: -1 }, 'RTK_INVALID_ARGUMENT'],
    [{ positions: [{ partition: 0, offset: -1 }] }, 'RTK_INVALID_ARGUMENT'],
    [{ from: { offset: 9 } }, 'RTK_OFFSET_OUT_OF_RANGE'],
  ])('is refused when it asks for %j, and joins nothing', async (request, code) => {
    const bench = new DeliveryBench()
    expect(await codeOf(() => poll(bench, request))).toBe(code)
    expect(bench.delivery.subscriberCount(bench.topic)).toBe(0)
    expect(await bench.delivery.listGroups(bench.topic)).toEqual([])
  })
})

describe('a call that waits', () => {
  it('is answered by the first message of any of its partitions', async () => {
    const bench = new DeliveryBench({ partitions: 2 })
    const call = later(poll(bench, { waitMs: 1_000 }))
    await bench.clock.advance(500)
    expect(call.outcome).toBeUndefined()
    bench.publish(1, 1)
    await bench.settle()
    expect(call.outcome).toEqual(['1:0-1'])
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
  })

  it('is answered with nothing after its time', async () => {
    const bench = new DeliveryBench()
    const call = later(poll(bench, { waitMs: 1_000 }))
    await bench.clock.advance(999)
    expect(call.outcome).toBeUndefined()
    await bench.clock.advance(1)
    expect(call.outcome).toEqual([])
  })

  it('gets partitions that become its own meanwhile', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    const first = await bench.member('first')
    const call = later(poll(bench, { waitMs: 1_000 }))
    await bench.settle()
    expect(call.outcome).toBeUndefined()
    await first.subscription.close()
    await bench.settle()
    expect(call.outcome).toEqual(['0:0-2'])
  })

  it('is cancelled by its signal', async () => {
    const bench = new DeliveryBench()
    const controller = new AbortController()
    const call = later(poll(bench, { waitMs: 1_000 }, controller.signal))
    await bench.settle()
    controller.abort()
    await bench.settle()
    expect(call.outcome).toBe('RTK_CANCELLED')
    expect(await codeOf(() => poll(bench, { member: 'new' }, controller.signal))).toBe('RTK_CANCELLED')
    expect(await members(bench)).toEqual(['someone'])
  })

  it('ends with RTK_LEASE_LOST when a subscription takes over its name', async () => {
    const bench = new DeliveryBench()
    const call = later(poll(bench, { member: 'a', waitMs: 1_000 }))
    await bench.settle()
    const pushed = await bench.member('a')
    await bench.settle()
    expect(call.outcome).toBe('RTK_LEASE_LOST')
    expect(await members(bench)).toEqual(['a'])
    await poll(bench, { member: 'a' })
    expect(pushed.endCodes).toEqual(['RTK_LEASE_LOST'])
    expect(await members(bench)).toEqual(['a'])
  })

  it('gives nothing that moved to another member while it was read', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    bench.publish(2)
    const read = gate()
    partition.slow = read.promise
    const call = later(poll(bench, { member: 'a' }))
    await bench.settle()
    const pushed = await bench.member('a')
    read.resolve()
    await bench.settle()
    expect(call.outcome).toEqual([])
    expect(pushed.ranges).toEqual(['0:0-2'])
  })
})

describe('a silent member', () => {
  it('is a member no more after its time, to the millisecond, and its partitions move', async () => {
    const bench = new DeliveryBench({ limits: { memberTimeoutMs: 1_000 } })
    bench.publish(2)
    await poll(bench, { member: 'a' })
    const b = await bench.member('b')
    await bench.clock.advance(600)
    await poll(bench, { member: 'a' })
    await bench.clock.advance(999)
    expect(b.ranges).toEqual([])
    await bench.clock.advance(1)
    expect(b.ranges).toEqual(['0:0-2'])
    expect(await members(bench)).toEqual(['b'])
    expect(bench.hooks.of('subscriberLeft')).toMatchObject([{ error: { code: 'RTK_LEASE_LOST' } }])
    const late = { group: 'billing', member: 'a', offsets: [{ partition: 0, offset: 2 }] }
    expect(await codeOf(() => bench.delivery.commit(bench.topic, late))).toBe('RTK_GROUP_NOT_FOUND')
  })

  it('is not silent while a call of it waits, nor when it commits', async () => {
    const bench = new DeliveryBench({ limits: { memberTimeoutMs: 1_000 } })
    await poll(bench, { member: 'a' })
    const call = later(poll(bench, { member: 'a', waitMs: 5_000 }))
    await bench.clock.advance(4_999)
    expect(await members(bench)).toEqual(['a'])
    await bench.clock.advance(1)
    expect(call.outcome).toEqual([])
    await bench.clock.advance(900)
    await bench.delivery.commit(bench.topic, {
      group: 'billing',
      member: 'a',
      offsets: [{ partition: 0, offset: 0 }],
    })
    await bench.clock.advance(999)
    expect(await members(bench)).toEqual(['a'])
    await bench.clock.advance(1)
    expect(await members(bench)).toEqual([])
    expect(bench.clock.pending).toBe(0)
  })
})
