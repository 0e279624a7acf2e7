import { describe, expect, it } from 'vitest'
import { QueueBench } from './testing/queue-bench.ts'

const shared = { sharing: 'shared' } as const
const sharings = ['shared', 'partitioned', 'keyShared'] as const

describe('what a log does not have any more', () => {
  it.each(sharings)('counts as settled where it is lost to damage, in a %s group', async (sharing) => {
    const bench = await QueueBench.start()
    for (let i = 0; i < 5; i++) await bench.publish(1)
    const [kept] = [...bench.bench.logs.kept.values()]
    kept.damaged = [{ from: 1, to: 3 }]
    const sink = await bench.join({ config: { sharing } })
    expect(sink.offsets).toEqual([0, 3, 4])
    expect(await bench.describe()).toMatchObject({ lag: 3 })
    expect(bench.bench.broker.stats().messagesSkipped).toBe(2)
    expect(bench.bench.logged('lost to damage').length).toBeGreaterThan(0)
  })

  it.each(sharings)('counts as settled where retention was faster, in a %s group', async (sharing) => {
    const bench = await QueueBench.start()
    for (let i = 0; i < 4; i++) await bench.publish(1)
    const sink = await bench.join({ config: { sharing }, credit: { messages: 1 } })
    const [kept] = [...bench.bench.logs.kept.values()]
    await kept.open?.truncateBefore(3)
    sink.subscription.grant({ messages: 5 })
    await bench.pass(0)
    expect(sink.offsets).toEqual([0, 3])
    await sink.ack(0)
    expect(await bench.describe()).toMatchObject({ lag: 1, partitions: [{ ackedOffset: 3 }] })
    expect(bench.bench.broker.stats().messagesSkipped).toBe(2)
  })

  it('is kept for the group in a work-queue topic', async () => {
    const bench = await QueueBench.start()
    await bench.session.alterTopic('orders', { retention: 'workqueue' })
    await bench.session.createQueue('orders', 'g', shared)
    for (let i = 0; i < 4; i++) await bench.publish(1)
    const sink = await bench.join({ credit: { messages: 3 } })
    await sink.settle(0, 'ack', { from: 1 })
    const startOffset = async () => (await bench.session.describeTopic('orders')).partitions[0].startOffset
    await sink.settle(0, 'extend', { extendMs: 100_000 })
    await bench.pass(60_000)
    expect(await startOffset()).toBe(0)
    await sink.settle(0, 'ack', { to: 1 })
    await bench.pass(60_000)
    expect(await startOffset()).toBe(3)
  })
})

describe('a log that lost its end', () => {
  it.each(sharings)('gives its offsets to new messages, which a %s group gets', async (sharing) => {
    const bench = await QueueBench.start()
    for (let i = 0; i < 4; i++) await bench.publish(1)
    const sink = await bench.join({ config: { sharing } })
    await sink.settle(0, 'ack', { from: 0, to: 1 })
    await sink.settle(0, 'ack', { from: 2, to: 4 })
    await bench.pass(100)
    const [kept] = [...bench.bench.logs.kept.values()]
    kept.batches = kept.batches.slice(0, 2) // the machine lost its power
    await bench.crash()
    await bench.publish(3)
    const again = await bench.join()
    expect(again.offsets.toSorted()).toEqual([1, 2, 3, 4])
    expect(again.batches.find(({ firstOffset }) => firstOffset >= 2)).toMatchObject({
      attempt: 1,
      redelivered: false,
    })
  })
})

describe('a log that fails', () => {
  it('is read again after a pause, and nothing is lost', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    let failures = 3
    bench.bench.logs.onRead = () => {
      if (failures-- > 0) throw new Error('the medium is slow')
    }
    const sink = await bench.join({ config: shared })
    await bench.pass(60_000)
    expect([...new Set(sink.offsets)]).toEqual([0, 1, 2])
  })
})

describe('a process that stands still', () => {
  it('is told of in the log, and members get their time anew', async () => {
    const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
    await bench.publish(1)
    const sink = await bench.join({ config: { ...shared, ackTimeoutMs: 5_500 } })
    await bench.pass(4_000)
    bench.stall(3_000)
    await bench.pass(0)
    expect(bench.bench.logged('this process stood still')).toMatchObject([{ fields: { stalledMs: 2_500 } }])
    expect(sink.ends).toEqual([])
    expect(await sink.ack(0)).toEqual([undefined]) // though its time was up by the clock
    await bench.pass(4_999)
    expect(sink.ends).toEqual([])
    await bench.pass(1)
    expect(sink.ends).toHaveLength(1)
  })
})
