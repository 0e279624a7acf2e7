/** Messages that expire, as a client sees them: by the broker's clock, whatever its own says. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { BatchBuilder, messagesOf, portableCrc32c, utf8, utf8Text } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { joined } from './testing/queue.ts'
import { testPlatform } from './testing/test-platform.ts'

async function setup() {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.nowMs = 1_000
  broker.topic('orders')
  const client = await broker.client(testPlatform(clock))
  return { clock, broker, client }
}

/** Messages `a`, `b`, … of which each expires at its time; undefined never does. */
function batchOf(...times: readonly (number | undefined)[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  times.forEach((expiresAtMs, i) => {
    builder.add({ payload: utf8(String.fromCharCode(97 + i)), timestampMs: 1, expiresAtMs })
  })
  return builder.build()
}

const source = {
  topic: 'orders',
  topicId: '',
  partition: 0,
  expansion: { codecs: new Map(), bytesMax: 1_000 },
}

describe('a subscription', () => {
  it('gives what has not expired when its turn comes, and counts the rest', async () => {
    const { clock, broker, client } = await setup()
    broker.store('orders', 0, batchOf(1_000, undefined, 1_001, 2_000))
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    const take = async () => (await subscription.take(1)).map((message) => message.text())
    await clock.advance(0)
    expect(await take()).toEqual(['b'])
    broker.nowMs = 1_001
    expect(await take()).toEqual(['d'])
    expect(await take()).toEqual([])
    expect(subscription.expiredCount).toBe(2)
    await subscription.close()
  })

  it('shows when a message expires', async () => {
    const { clock, broker, client } = await setup()
    broker.store('orders', 0, batchOf(5_000, undefined))
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    await clock.advance(0)
    expect((await subscription.take(2)).map(({ expiresAtMs }) => expiresAtMs)).toEqual([5_000, undefined])
    await subscription.close()
  })

  it('in a group gives back what expired while it waited here: the broker knows what becomes of it', async () => {
    const seen: string[] = []
    const { member, settle, broker, subscription } = await joined((message) => void seen.push(message.text()))
    broker.nowMs = 1_000
    const batch = batchOf(1_000, undefined, 1_001)
    member.deliver(0, 0, batch)
    await settle()
    expect(seen).toEqual(['b', 'c'])
    expect(member.settled.sort()).toEqual(['ack 1-3', 'release 0-1'])
    expect(subscription.expiredCount).toBe(1)
  })

  it('does not give again what expired after it was given back', async () => {
    const { clock, broker, client } = await setup()
    broker.store('orders', 0, batchOf(2_000, undefined))
    const seen: string[] = []
    const subscription = await client.subscribe(
      'orders',
      (message: ClientMessage) => {
        seen.push(message.text())
        if (message.text() === 'a') throw new Error('not yet')
      },
      { from: 'earliest', retry: { kind: 'fixed', delayMs: 100 } },
    )
    await clock.advance(0)
    broker.nowMs = 2_000
    await clock.advance(1_000)
    expect(seen).toEqual(['a', 'b'])
    expect(subscription.expiredCount).toBe(1)
  })

  it('gives back the credit of what nobody was given', async () => {
    const { clock, broker, client } = await setup()
    const batch = batchOf(1, 1, 1)
    const seen: string[] = []
    const options = { from: 'earliest', prefetchBytes: batch.length } as const
    await client.subscribe('orders', (message) => void seen.push(message.text()), options)
    for (let i = 0; i < 20; i++) broker.store('orders', 0, batchOf(1, 1, 1))
    broker.store('orders', 0, batchOf(undefined))
    await clock.advance(0)
    expect(seen).toEqual(['a'])
    expect([...broker.subscriptions][0].creditBytes).toBe(batch.length)
  })
})

describe('batches and fetches', () => {
  it('pass over expired records, and leave the bytes as they are', async () => {
    const { clock, broker, client } = await setup()
    const batch = batchOf(1_000, undefined, 1_001)
    broker.store('orders', 0, batch)
    const subscription = await client.batches('orders', { from: 'earliest' })
    await clock.advance(0)
    for await (const delivery of subscription) {
      const offsets = Array.from(delivery.records(), (record) => record.offset)
      expect(offsets).toEqual([1, 2])
      expect([...messagesOf(delivery.bytes, source)]).toHaveLength(3)
      break
    }
    expect(subscription.expiredCount).toBe(1)
    const fetched = await client.fetch('orders')
    expect(fetched.map(({ payload }) => utf8Text(payload))).toEqual(['b', 'c'])
  })
})

describe('publishing', () => {
  it("counts a time to live by the broker's clock, and takes a moment as it is", async () => {
    const { clock, broker, client } = await setup()
    const seen: (number | undefined)[] = []
    broker.refuse = (_, bytes) => {
      for (const { expiresAtMs } of messagesOf(bytes, source)) seen.push(expiresAtMs)
      return undefined
    }
    const all = Promise.all([
      client.publish('orders', 'x', { ttlMs: 500 }),
      client.publish('orders', 'x', { expiresAtMs: 7 }),
      client.publish('orders', 'x'),
      client.publishMany('orders', [{ payload: 'x', ttlMs: 1 }]),
    ])
    await clock.advance(0)
    await all
    expect(seen).toEqual([1_500, 7, undefined, 1_001])
    seen.length = 0
    const producer = client.producer()
    const bulk = producer.addAll('orders', [
      { payload: utf8('x'), ttlMs: 2 },
      { payload: 'x', expiresAtMs: 3 },
      { payload: utf8('x') },
    ])
    await clock.advance(0)
    await producer.flush()
    await bulk
    expect(seen).toEqual([1_002, 3, undefined])
  })

  it.each([{ ttlMs: 0 }, { ttlMs: 1.5 }, { expiresAtMs: -1 }, { ttlMs: 1, expiresAtMs: 1 }])(
    'refuses %j',
    async (fields) => {
      const { clock, client } = await setup()
      const publishing = expect(client.publish('orders', 'x', fields)).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
      await clock.advance(0)
      await publishing
    },
  )
})
