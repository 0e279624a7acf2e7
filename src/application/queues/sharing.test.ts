import { describe, expect, it } from 'vitest'
import { QueueBench } from './testing/queue-bench.ts'
import type { QueueSink } from './testing/queue-sink.ts'

describe('shared', () => {
  it('has more members than partitions, who take turns', async () => {
    const bench = await QueueBench.start()
    const sinks: QueueSink[] = []
    for (let i = 0; i < 3; i++) sinks.push(await bench.join({ config: { sharing: 'shared' } }))
    for (let i = 0; i < 9; i++) {
      await bench.publish(1)
      await bench.pass(0)
    }
    expect(sinks.map(({ offsets }) => offsets.length)).toEqual([3, 3, 3])
    expect(sinks.flatMap(({ offsets }) => offsets).sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('whoever waits longest with little credit is served like the others', async () => {
    const bench = await QueueBench.start()
    await bench.publish(12)
    const sinks: QueueSink[] = []
    for (let i = 0; i < 3; i++) {
      sinks.push(await bench.join({ config: { sharing: 'shared' }, credit: { messages: 1 } }))
    }
    for (let round = 0; round < 3; round++) {
      for (const sink of sinks) sink.subscription.grant({ messages: 1 })
      await bench.pass(0)
    }
    expect(sinks.map(({ offsets }) => offsets.length)).toEqual([4, 4, 4])
  })
})

describe('a backlog', () => {
  it.each(['shared', 'keyShared'] as const)('is %s by all who wait, at once', async (sharing) => {
    const bench = await QueueBench.start()
    const sinks: QueueSink[] = []
    for (let i = 0; i < 8; i++) sinks.push(await bench.join({ config: { sharing } }))
    await bench.publishKeys(...Array.from({ length: 400 }, (_, i) => `k${i % 30}`))
    for (let i = 0; i < 10; i++) await bench.pass(0)
    const counts = sinks.map(({ offsets }) => offsets.length)
    expect(counts.reduce((sum, count) => sum + count)).toBe(400)
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(25)
    expect(Math.max(...counts)).toBeLessThanOrEqual(100)
  })

  it('goes to the only one who waits in one piece', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join({ config: { sharing: 'shared' } })
    const without = await bench.join({ credit: { messages: 0 } })
    await bench.publish(400)
    await bench.pass(0)
    expect([sink.batches.length, without.batches.length]).toEqual([1, 0])
  })
})

describe('partitioned', () => {
  it('gives each partition to one member, and all of them to somebody', async () => {
    const bench = await QueueBench.start({ partitions: 4 })
    const first = await bench.join({ member: 'a' })
    expect(first.assignments.at(-1)).toEqual([0, 1, 2, 3])
    const second = await bench.join({ member: 'b' })
    expect(first.assignments.at(-1)).toHaveLength(2)
    expect(second.assignments.at(-1)).toHaveLength(2)
    await second.subscription.close()
    expect(first.assignments.at(-1)).toEqual([0, 1, 2, 3])
    expect(await bench.describe()).toMatchObject({ members: [{ member: 'a', partitions: [0, 1, 2, 3] }] })
  })

  it('a partition that moves waits until its owner has settled what he has; the others go on', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    for (const partition of [0, 1]) await bench.publish(1, { partition })
    const first = await bench.join({ member: 'a' })
    expect(first.batches.map(({ partition }) => partition)).toEqual([0, 1])
    const second = await bench.join({ member: 'b' })
    for (const partition of [0, 1]) await bench.publish(1, { partition })
    await bench.pass(0)
    expect(second.batches).toEqual([])
    expect(second.assignments).toEqual([[]])
    expect(first.batches.map(({ partition }) => partition)).toEqual([0, 1, 0])
    await first.ack(1)
    await bench.pass(0)
    expect(second.assignments.at(-1)).toEqual([1])
    expect(first.assignments.at(-1)).toEqual([0])
    expect(second.batches).toMatchObject([{ partition: 1, firstOffset: 1 }])
  })

  it('a partition that moves is handed on when the leases end by themselves', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    await bench.publish(1, { partition: 1 })
    const first = await bench.join({ member: 'a' })
    const second = await bench.join({ member: 'b' })
    await bench.pass(29_999)
    expect(second.batches).toEqual([])
    await bench.pass(1)
    expect(first.losses).toHaveLength(1)
    expect(second.batches).toMatchObject([{ partition: 1, attempt: 2 }])
  })

  it('who comes back under a name keeps its partitions, and the one before it is out', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    await bench.publish(1, { partition: 0 })
    const first = await bench.join({ member: 'a' })
    const other = await bench.join({ member: 'b' })
    const owned = other.assignments.at(-1)
    const again = await bench.join({ member: 'a' })
    expect(first.ends[0]).toMatchObject({ code: 'RTK_LEASE_LOST' })
    expect(other.assignments.at(-1)).toEqual(owned)
    expect(again.batches).toMatchObject([{ partition: 0, attempt: 2 }])
  })

  it('shares out partitions that the topic gets', async () => {
    const bench = await QueueBench.start({ partitions: 1 })
    const first = await bench.join({ member: 'a' })
    const second = await bench.join({ member: 'b' })
    expect(second.assignments).toEqual([[]])
    await bench.session.alterTopic('orders', { partitions: 2 })
    expect([first.assignments.at(-1), second.assignments.at(-1)]).toEqual([[0], [1]])
    await bench.publish(1, { partition: 1 })
    await bench.pass(0)
    expect(second.offsets).toEqual([0])
  })

  it('a message that failed holds the later ones of its key back, and only them', async () => {
    const bench = await QueueBench.start()
    await bench.publishKeys('a', 'b', 'a', 'c')
    const sink = await bench.join({
      credit: { messages: 1 },
      config: { retry: { kind: 'fixed', delayMs: 1_000 } },
    })
    await sink.settle(0, 'nack')
    sink.subscription.grant({ messages: 10 })
    await bench.pass(0)
    expect(sink.offsets).toEqual([0, 1, 3])
    await bench.pass(1_000)
    expect(sink.offsets).toEqual([0, 1, 3, 0, 2])
  })

  it('a message that failed takes the later ones of its key back that were given out already', async () => {
    const bench = await QueueBench.start()
    await bench.publishKeys('a', 'b', 'a')
    const sink = await bench.join({ config: { retry: { kind: 'fixed', delayMs: 1_000 } } })
    expect(sink.offsets).toEqual([0, 1, 2])
    const { lease } = sink.batches[0]
    await sink.settle(0, 'nack', { from: 0, to: 1 })
    expect(sink.losses).toEqual([{ reason: 'order', ranges: [{ partition: 0, lease, from: 2, to: 3 }] }])
    await bench.pass(1_000)
    expect(sink.offsets.slice(3)).toEqual([0, 2])
    expect(sink.batches.at(-1)).toMatchObject({ firstOffset: 2, attempt: 1 })
  })

  it('a lease that ends takes the later ones of its key back, and that is told first', async () => {
    const bench = await QueueBench.start()
    await bench.publishKeys('a', 'a')
    const sink = await bench.join({ config: { ackTimeoutMs: 1_000 }, credit: { messages: 1 } })
    await bench.pass(500)
    sink.subscription.grant({ messages: 1 })
    await bench.pass(500)
    expect(sink.losses.map(({ reason, ranges }) => [reason, ranges[0].from])).toEqual([
      ['order', 1],
      ['timeout', 0],
    ])
  })
})

describe('keyShared', () => {
  it('leases the messages of a key to one member at a time, in order', async () => {
    const bench = await QueueBench.start()
    const config = { sharing: 'keyShared' } as const
    const first = await bench.join({ config, credit: { messages: 1 } })
    const second = await bench.join({ credit: { messages: 10 } })
    await bench.publishKeys('a', 'a', 'b')
    await bench.pass(0)
    expect([first.offsets, second.offsets]).toEqual([[0], [2]])
    await first.ack(0)
    await bench.pass(0)
    expect(second.offsets).toEqual([2, 1])
  })

  it('keeps each key in order over many members, failures and timeouts', async () => {
    const bench = await QueueBench.start()
    const config = { sharing: 'keyShared', retry: { kind: 'fixed', delayMs: 50 }, retriesMax: -1 } as const
    const sinks: QueueSink[] = []
    const done: string[] = []
    const keys = Array.from({ length: 60 }, (_, i) => 'abcdef'[(i * 7) % 6])
    for (let i = 0; i < 4; i++) sinks.push(await bench.join({ config, credit: { messages: 2 } }))
    await bench.publishKeys(...keys)
    let turn = 0
    for (let step = 0; step < 600 && done.length < 60; step++) {
      await bench.pass(10)
      for (const sink of sinks) {
        for (const [place, batch] of sink.batches.splice(0).entries()) {
          sink.batches.length = 0
          expect(place).toBeLessThan(2)
          for (let offset = batch.firstOffset; offset <= batch.lastOffset; offset++) {
            const action = turn++ % 5 === 3 ? 'nack' : 'ack'
            const { partition, lease } = batch
            const [result] = await sink.subscription.settle([
              { partition, lease, from: offset, to: offset + 1, action },
            ])
            if (result === undefined && action === 'ack') done.push(`${keys[offset]}${offset}`)
          }
          sink.subscription.grant({ messages: batch.recordCount })
        }
      }
    }
    expect(done).toHaveLength(60)
    for (const key of 'abcdef') {
      const offsets = done.filter((one) => one.startsWith(key)).map((one) => Number(one.slice(1)))
      expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
    }
  })
})
