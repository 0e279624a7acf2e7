import { describe, expect, it } from 'vitest'
import { QueueBench } from './testing/queue-bench.ts'
import { QueueSink } from './testing/queue-sink.ts'

const shared = { sharing: 'shared' } as const
const codes = (results: readonly ({ readonly code: string } | undefined)[]): (string | undefined)[] =>
  results.map((result) => result?.code)

describe('leases', () => {
  it('are settled by an ack, and their messages never come again', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    const sink = await bench.join({ config: shared })
    expect(sink.offsets).toEqual([0, 1, 2])
    expect(sink.batches[0]).toMatchObject({ attempt: 1, redelivered: false, leaseMs: 30_000 })
    expect(await bench.describe()).toMatchObject({ lag: 3, partitions: [{ inFlight: 3, ackedOffset: 0 }] })
    expect(await sink.ack(0)).toEqual([undefined])
    expect(await bench.describe()).toMatchObject({ lag: 0, partitions: [{ inFlight: 0, ackedOffset: 3 }] })
    await bench.pass(100_000)
    expect(sink.offsets).toEqual([0, 1, 2])
  })

  it('end at the ack timeout to the millisecond, with attempt 2 and word to their holder', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    await bench.pass(29_999)
    expect(sink.batches).toHaveLength(1)
    await bench.pass(1)
    expect(sink.batches.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual([
      [1, false],
      [2, true],
    ])
    const { lease } = sink.batches[0]
    expect(sink.losses).toEqual([{ reason: 'timeout', ranges: [{ partition: 0, lease, from: 0, to: 1 }] }])
    expect(codes(await sink.ack(0))).toEqual(['RTK_LEASE_LOST'])
    expect(sink.batches[1].lease).toBeGreaterThan(lease)
    expect(await sink.ack(1)).toEqual([undefined])
  })

  it('last longer by an extension, from when it is asked for', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const sink = await bench.join({ config: shared })
    await bench.pass(20_000)
    expect(await sink.settle(0, 'extend', { to: 1 })).toEqual([undefined])
    await bench.pass(10_000)
    expect(sink.offsets).toEqual([0, 1, 1])
    await bench.pass(19_999)
    expect(sink.offsets).toEqual([0, 1, 1])
    await bench.pass(1)
    expect(sink.offsets).toEqual([0, 1, 1, 0])
  })

  it.each([
    [{ kind: 'fixed', delayMs: 700 }, [700, 700, 700]],
    [{ kind: 'linear', delayMs: 400, maxMs: 1_000 }, [400, 800, 1_000]],
    [{ kind: 'exponential', delayMs: 100, maxMs: 300, jitter: 0 }, [100, 200, 300]],
    [{ kind: 'exponential', delayMs: 100, maxMs: 10_000, jitter: 0.5 }, [75, 150, 300]], // the bench's random is 0.5
    [{ kind: 'list', delaysMs: [5, 50] }, [5, 50, 50]],
  ] as const)('a message that failed comes again after %j', async (retry, delaysMs) => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: { ...shared, retry } })
    for (const [i, delayMs] of delaysMs.entries()) {
      expect(await sink.settle(i, 'nack')).toEqual([undefined])
      await bench.pass(delayMs - 1)
      expect(sink.batches).toHaveLength(i + 1)
      await bench.pass(1)
      expect(sink.batches.map(({ attempt }) => attempt)).toHaveLength(i + 2)
      expect(sink.batches[i + 1].attempt).toBe(i + 2)
    }
  })

  it('a failure may say when the message comes again', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    await sink.settle(0, 'nack', { delayMs: 86_400_000 })
    expect(await bench.describe()).toMatchObject({ lag: 1, partitions: [{ delayed: 1, inFlight: 0 }] })
    await bench.pass(86_399_999)
    expect(sink.batches).toHaveLength(1)
    await bench.pass(1)
    expect(sink.batches).toHaveLength(2)
  })

  it('what is released comes again at once, and the attempt does not count', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    await sink.settle(0, 'release')
    await bench.pass(0)
    expect(sink.batches.map(({ attempt }) => attempt)).toEqual([1, 1])
  })

  it('are settled in ranges, each in its own way; a settlement says how much of its range was held', async () => {
    const bench = await QueueBench.start()
    await bench.publish(6)
    const sink = await bench.join({ config: { ...shared, retry: { kind: 'fixed', delayMs: 10 } } })
    expect(await sink.settle(0, 'ack', { from: 0, to: 2 })).toEqual([undefined])
    expect(await sink.settle(0, 'nack', { from: 3, to: 4 })).toEqual([undefined])
    expect(await sink.settle(0, 'extend', { from: 5, to: 6, extendMs: 60_000 })).toEqual([undefined])
    await bench.pass(30_000)
    expect(sink.offsets.slice(6)).toEqual([3, 2, 4])
    const [lost] = await sink.settle(0, 'ack', { from: 0, to: 6 })
    expect(lost).toMatchObject({ code: 'RTK_LEASE_LOST', details: { settled: 1 } })
    expect(await bench.describe()).toMatchObject({ lag: 3 })
  })

  it('up to a place are acknowledged by whoever holds the last of them, and only his', async () => {
    const bench = await QueueBench.start()
    const one = await bench.join({ config: shared, credit: { messages: 2 } })
    const other = await bench.join({ credit: { messages: 1 } })
    for (let i = 0; i < 3; i++) await bench.publish(1)
    await bench.pass(0)
    expect([one.offsets, other.offsets]).toEqual([[0, 2], [1]])
    expect(codes(await one.settle(0, 'ackUpTo', { from: 0, to: 3 }))).toEqual(['RTK_LEASE_LOST'])
    expect(await bench.describe()).toMatchObject({ lag: 3 })
    expect(await one.settle(1, 'ackUpTo', { from: 0, to: 3 })).toEqual([undefined])
    expect(await one.settle(1, 'ackUpTo', { from: 0, to: 3 })).toEqual([undefined])
    expect(await bench.describe()).toMatchObject({ lag: 1, partitions: [{ ackedOffset: 1, inFlight: 1 }] })
  })

  it('are given to others when their member is gone', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const first = await bench.join({ config: shared })
    const second = await bench.join()
    expect(second.batches).toEqual([])
    await first.subscription.close()
    await bench.pass(0)
    expect(first.ends).toEqual([undefined])
    expect(second.offsets).toEqual([0, 1])
    expect(second.batches[0].attempt).toBe(2)
  })

  it('are refused to whoever makes them up', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    const { lease } = sink.batches[0]
    expect(codes(await sink.settle(0, 'ack', { lease: lease + 1 }))).toEqual(['RTK_LEASE_LOST'])
    expect(codes(await sink.settle(0, 'ack', { lease: 0 }))).toEqual(['RTK_LEASE_LOST'])
    for (const wrong of [{ from: 3, to: 2 }, { lease: -1 }, { delayMs: -1 }, { extendMs: 0 }]) {
      await expect(sink.settle(0, 'nack', wrong)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
    await expect(sink.settle(0, 'ack', { partition: 7 })).rejects.toMatchObject({
      code: 'RTK_PARTITION_NOT_FOUND',
    })
    expect(await bench.describe()).toMatchObject({ partitions: [{ inFlight: 1 }] })
  })
})

describe('credit', () => {
  it('is never exceeded in messages', async () => {
    const bench = await QueueBench.start()
    await bench.publish(10)
    const sink = await bench.join({ config: shared, credit: { messages: 4 } })
    expect(sink.offsets).toEqual([0, 1, 2, 3])
    await sink.ack(0)
    await bench.pass(0)
    expect(sink.offsets).toHaveLength(4)
    sink.subscription.grant({ messages: 3 })
    await bench.pass(0)
    expect(sink.offsets).toEqual([0, 1, 2, 3, 4, 5, 6])
  })

  it('is never exceeded in bytes, but for one message larger than all of it', async () => {
    const bench = await QueueBench.start()
    await bench.publish(4)
    await bench.publish(1, { payload: new Uint8Array(5_000) })
    const sink = await bench.join({ config: shared, credit: { messages: 100, bytes: 300 } })
    expect(sink.offsets.length).toBeGreaterThan(0)
    let bytes = sink.batches.reduce((sum, one) => sum + one.bytes.length, 0)
    expect(bytes).toBeLessThanOrEqual(300)
    for (let i = 0; i < 20 && sink.offsets.length < 5; i++) {
      sink.subscription.grant({
        bytes: sink.batches.reduce((sum, one) => sum + one.bytes.length, 0) - bytes || 300,
      })
      bytes = sink.batches.reduce((sum, one) => sum + one.bytes.length, 0)
      await bench.pass(0)
    }
    expect(sink.offsets).toEqual([0, 1, 2, 3, 4])
    expect(sink.batches.at(-1)?.recordCount).toBe(1)
  })

  it('lets message by message through when each is larger than all of it, and is granted again what it weighed', async () => {
    const bench = await QueueBench.start()
    for (let i = 0; i < 4; i++) await bench.publish(1, { payload: new Uint8Array(1_000) })
    const sink = new QueueSink()
    sink.onDeliver = ({ bytes }) => sink.subscription.grant({ bytes: bytes.length })
    await bench.join({ config: shared, credit: undefined }, sink)
    sink.subscription.grant({ bytes: 200 })
    for (let i = 0; i < 10; i++) await bench.pass(0)
    expect(sink.offsets).toEqual([0, 1, 2, 3])
  })

  it('of the group as a whole is inFlightMax', async () => {
    const bench = await QueueBench.start()
    await bench.publish(10)
    const sink = await bench.join({ config: { ...shared, inFlightMax: 3 } })
    expect(sink.offsets).toEqual([0, 1, 2])
    await sink.settle(0, 'ack', { from: 0, to: 2 })
    await bench.pass(0)
    expect(sink.offsets).toEqual([0, 1, 2, 3, 4])
  })

  it('of the group is free again for any partition', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    for (const partition of [0, 1]) await bench.publish(2, { partition })
    const sink = await bench.join({ config: { ...shared, inFlightMax: 2 } })
    expect(sink.batches.map(({ partition }) => partition)).toEqual([0])
    await sink.ack(0)
    await bench.pass(0)
    expect(sink.batches.map(({ partition }) => partition)).toEqual([0, 1])
  })

  it('a sink whose promise is open gets nothing more, and others do', async () => {
    const bench = await QueueBench.start()
    const gate = Promise.withResolvers<void>()
    const slow = await bench.join({ config: shared, credit: { messages: 100 } })
    slow.onDeliver = () => gate.promise
    const fast = await bench.join()
    for (let i = 0; i < 4; i++) {
      await bench.publish(1)
      await bench.pass(0)
    }
    expect(slow.batches).toHaveLength(1)
    expect(fast.batches).toHaveLength(3)
    gate.resolve()
    await bench.publish(2)
    await bench.pass(0)
    expect(slow.offsets.length + fast.offsets.length).toBe(6)
  })
})
