/** What a sweep finds to have expired, and what finding it costs. */
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { BatchBuilder, type Message, RatatoskrError, type Session, utf8 } from '../ports/index.ts'
import { PartitionDouble } from './delivery/testing/topic-double.ts'
import { Expiry } from './expiry.ts'
import { BrokerBench, message, settled } from './testing/broker-bench.ts'

const expansion = { codecs: new Map(), bytesMax: 1_000_000 }

class Bench {
  readonly clock = new ManualClock()
  readonly partition = new PartitionDouble(0)
  readonly expiry = new Expiry(this.clock, expansion)

  /** Publishes a batch of one message for each time to live; undefined never expires. */
  publish(...ttls: readonly (number | undefined)[]): void {
    const builder = new BatchBuilder({ checksum: () => 0 })
    for (const ttlMs of ttls) {
      const expiresAtMs = ttlMs === undefined ? undefined : this.clock.now() + ttlMs
      builder.add({ payload: utf8('x'), timestampMs: 1, expiresAtMs })
    }
    this.partition.publish(builder.build())
  }

  liveFrom(): Promise<number> {
    return this.expiry.liveFrom(this.partition)
  }
}

describe('what has expired at the start of a log', () => {
  it('ends at the first message that has not', async () => {
    const bench = new Bench()
    bench.publish(10, 20)
    bench.publish(10, 30, 10)
    bench.publish(10)
    expect(await bench.liveFrom()).toBe(0)
    await bench.clock.advance(9)
    expect(await bench.liveFrom()).toBe(0)
    await bench.clock.advance(1)
    expect(await bench.liveFrom()).toBe(1)
    await bench.clock.advance(10)
    expect(await bench.liveFrom()).toBe(3)
    await bench.clock.advance(10)
    expect(await bench.liveFrom()).toBe(6)
    bench.publish(undefined, 1)
    await bench.clock.advance(1)
    expect(await bench.liveFrom()).toBe(6)
  })

  it('is found without a read while the message that the last walk ended at lives', async () => {
    const bench = new Bench()
    bench.publish(10, 5_000, 10)
    await bench.clock.advance(10)
    expect(await bench.liveFrom()).toBe(1)
    const { reads } = bench.partition
    for (let sweep = 0; sweep < 10; sweep++) {
      bench.publish(1)
      await bench.clock.advance(100)
      expect(await bench.liveFrom()).toBe(1)
    }
    expect(bench.partition.reads).toBe(reads)
    await bench.clock.advance(5_000)
    expect(await bench.liveFrom()).toBe(13)
  })

  it('costs a topic whose messages never expire one read', async () => {
    const bench = new Bench()
    expect(await bench.liveFrom()).toBe(0)
    for (let sweep = 0; sweep < 10; sweep++) {
      bench.publish(undefined)
      expect(await bench.liveFrom()).toBe(0)
    }
    expect(bench.partition.reads).toBe(1)
  })

  it('is looked for at the start again when retention has let go of the place', async () => {
    const bench = new Bench()
    bench.publish(undefined)
    bench.publish(10)
    bench.publish(undefined)
    await bench.clock.advance(10)
    expect(await bench.liveFrom()).toBe(0)
    bench.partition.startOffset = 1
    expect(await bench.liveFrom()).toBe(2)
  })

  it('is nothing of what is lost to damage while the message after it lives', async () => {
    const bench = new Bench()
    bench.publish(10)
    for (let i = 0; i < 3; i++) bench.publish(100)
    await bench.clock.advance(10)
    bench.partition.gaps = [{ from: 1, to: 3 }]
    expect(await bench.liveFrom()).toBe(1)
    await bench.clock.advance(90)
    expect(await bench.liveFrom()).toBe(4)
    bench.partition.gaps = [{ from: 1, to: 4 }]
    const all = new Expiry(bench.clock, expansion)
    expect(await all.liveFrom(bench.partition)).toBe(1)
  })

  it('passes over what is lost to damage, and nothing else that cannot be read', async () => {
    const bench = new Bench()
    for (let i = 0; i < 4; i++) bench.publish(10)
    bench.publish(undefined)
    await bench.clock.advance(10)
    bench.partition.gaps = [{ from: 1, to: 3 }]
    expect(await bench.liveFrom()).toBe(4)
    const failing = new Bench()
    failing.publish(10)
    failing.partition.failures.push(new RatatoskrError('RTK_STORE_FAILED', 'private'))
    await expect(failing.liveFrom()).rejects.toThrow('private')
  })

  it('ends at a batch that cannot be decoded', async () => {
    const bench = new Bench()
    bench.publish(10)
    const builder = new BatchBuilder({
      checksum: () => 0,
      compression: { id: 1, compress: (bytes) => new Uint8Array(gzipSync(bytes)) },
    })
    builder.add({ payload: utf8('x'), timestampMs: 1, expiresAtMs: 1 })
    bench.partition.publish(builder.build())
    await bench.clock.advance(10)
    expect(await bench.liveFrom()).toBe(1)
  })
})

describe('a sweep of the broker', () => {
  const sweepMs = 60_000
  const minute = 60_000

  async function read(session: Session): Promise<number[]> {
    const found: Message[] = []
    await session.subscribeMessages(
      'orders',
      { from: 'earliest', credit: { messages: 1_000 } },
      { deliver: (one) => void found.push(one), ended: () => {} },
    )
    await settled()
    return found.map(({ offset }) => offset)
  }

  async function startOf(session: Session): Promise<number> {
    return (await session.describeTopic('orders')).partitions[0].startOffset
  }

  it.each(['limits', 'workqueue'] as const)(
    'lets go of what has expired before the policy %s would',
    async (retention) => {
      const bench = new BrokerBench()
      const session = await bench.start()
      await session.createTopic('orders', { retention })
      for (let i = 0; i < 4; i++) {
        await session.publish('orders', message('x', { ttlMs: (i + 1) * minute }))
      }
      await session.publish('orders', message('stays'))
      await session.publish('orders', message('x', { ttlMs: minute }))
      await bench.clock.advance(sweepMs / 2)
      expect(await startOf(session)).toBe(0)
      await bench.clock.advance(2 * minute)
      expect(await startOf(session)).toBe(2)
      expect(await read(session)).toEqual([2, 3, 4])
      await bench.clock.advance(10 * minute)
      expect(await startOf(session)).toBe(4)
      expect(await read(session)).toEqual([4])
    },
  )

  it('lets go of nothing in the sweep after the wall clock was set', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    await session.publish('orders', message('x', { ttlMs: 100 * minute }))
    await session.publish('orders', message('x'))
    bench.clock.jumpTo(bench.clock.now() + 200 * minute)
    await bench.clock.advance(sweepMs)
    expect(await startOf(session)).toBe(0)
    await bench.clock.advance(sweepMs)
    expect(await startOf(session)).toBe(1)
  })
})
