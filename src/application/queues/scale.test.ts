import { describe, expect, it } from 'vitest'
import type { LeasedBatch } from '../../ports/index.ts'
import { rounds } from '../../testing/rounds.ts'
import { batchOf } from '../testing/broker-bench.ts'
import { QueueBench } from './testing/queue-bench.ts'

const millionMs = 120_000

/** Messages of one byte, in batches of 10,000. */
async function publishMany(bench: QueueBench, count: number): Promise<void> {
  const texts = new Array<string>(10_000).fill('x')
  for (let i = 0; i < count; i += texts.length) await bench.session.publishBatch('orders', 0, batchOf(texts))
}

const many = rounds(1_000_000, 200_000)

describe(`${many.toLocaleString('en')} messages`, () => {
  it('can be leased at once, settled one by one, and cost at most 200 bytes each', {
    timeout: millionMs,
  }, async () => {
    const bench = await QueueBench.start()
    bench.bench.hooks.observing = false
    await publishMany(bench, many)
    let leased = 0
    const leases: LeasedBatch[] = []
    const sink = await bench.join({
      config: { sharing: 'shared', inFlightMax: many, ackTimeoutMs: 3_600_000 },
      credit: {},
    })
    sink.onDeliver = (batch) => {
      leased += batch.recordCount
      leases.push({ ...batch, bytes: new Uint8Array() })
      sink.batches.length = 0
    }
    const before = process.memoryUsage()
    sink.subscription.grant({ messages: many })
    for (let i = 0; i < 2_000 && leased < many; i++) await bench.pass(0)
    const after = process.memoryUsage()
    expect(leased).toBe(many)
    expect(await bench.describe()).toMatchObject({ partitions: [{ inFlight: many }] })
    const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
    expect(bytes / many).toBeLessThan(200)
    for (const { partition, lease, firstOffset, lastOffset } of leases) {
      for (let from = firstOffset; from <= lastOffset; from++) {
        sink.subscription.settle([{ partition, lease, from, to: from + 1, action: 'ack' }])
      }
    }
    expect(await bench.describe()).toMatchObject({
      lag: 0,
      partitions: [{ inFlight: 0, ackedOffset: many }],
    })
  })
})

describe('a checkpoint that takes long', () => {
  it('is made in slices, and stores what was settled meanwhile with the next one', async () => {
    const bench = await QueueBench.start()
    bench.bench.hooks.observing = false
    await publishMany(bench, 100_000)
    const sink = await bench.join({
      config: { sharing: 'shared', inFlightMax: 200_000, ackTimeoutMs: 3_600_000 },
      credit: {},
    })
    sink.subscription.grant({ messages: 100_000 })
    await bench.pass(0)
    const { clock } = bench.bench
    const monotonic = clock.monotonic.bind(clock)
    let spentMs = 0
    clock.monotonic = () => monotonic() + spentMs++ // each look at the clock takes its time
    let settled = 0
    const held = sink.batches
    const settle = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++, settled++) {
        const { partition, lease } = held.find(({ lastOffset }) => lastOffset >= settled) ?? held[0]
        await sink.subscription.settle([{ partition, lease, from: settled, to: settled + 1, action: 'ack' }])
      }
    }
    await settle(50_000)
    await bench.pass(100)
    await settle(10_000)
    await bench.pass(1_000)
    await bench.crash()
    const again = await bench.join({ credit: {} })
    again.subscription.grant({ messages: 100_000 })
    await bench.pass(0)
    const offsets = again.batches.flatMap(({ firstOffset, lastOffset }) => [firstOffset, lastOffset])
    expect([Math.min(...offsets), Math.max(...offsets)]).toEqual([60_000, 99_999])
  })
})

describe('a consumer that stands still', () => {
  it('makes the broker read nothing, whatever is behind it', async () => {
    const bench = await QueueBench.start()
    await publishMany(bench, 100_000)
    const sink = await bench.join({ config: { sharing: 'shared' }, credit: { messages: 10 } })
    await bench.pass(5_000)
    let reads = 0
    bench.bench.logs.onRead = () => void reads++
    for (let i = 0; i < 100; i++) await publishMany(bench, 10_000)
    await bench.pass(5_000)
    expect(reads).toBe(0)
    expect(sink.offsets).toHaveLength(10)
  })
})
