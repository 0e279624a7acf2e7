/** The one test of the one API: everything here runs over every link, against a real broker, with the same outcome. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EmbeddedBroker } from '../composition/embedded-broker.ts'
import { utf8Text } from '../ports/index.ts'
import type { Client } from './client.ts'
import { batchOf, links, numbers, startBroker, take } from './testing/every-link.ts'

describe.each(links)('the client over %s', (_name, setup) => {
  let broker: EmbeddedBroker
  let client: Client

  beforeEach(async () => {
    broker = await startBroker(setup.transports())
    client = await setup.client(broker)
  })

  afterEach(async () => {
    await client.close()
    await broker.stop()
  })

  it('administers topics', async () => {
    expect((await client.createTopic('orders', { partitions: 3 })).created).toBe(true)
    expect((await client.createTopic('orders', { partitions: 3 })).created).toBe(false)
    const described = await client.describeTopic('orders')
    expect(described).toMatchObject({ namespace: 'default', name: 'orders', config: { partitions: 3 } })
    expect(described.partitions.map((one) => [one.partition, one.startOffset, one.endOffset])).toEqual([
      [0, 0, 0],
      [1, 0, 0],
      [2, 0, 0],
    ])
    expect((await client.listTopics()).map((topic) => topic.name)).toEqual(['orders'])
    expect([await client.topicExists('orders'), await client.topicExists('nothing')]).toEqual([true, false])
    expect((await client.alterTopic('orders', { partitions: 4, retentionMs: 60_000 })).config).toMatchObject({
      partitions: 4,
      retentionMs: 60_000,
    })
    await client.deleteTopic('orders')
    expect(await client.listTopics()).toEqual([])
  })

  it('creates a topic that is published to, or subscribed to', async () => {
    expect((await client.publish('published', 'x')).offset).toBe(0)
    const subscription = await client.subscribe('subscribed')
    await subscription.close()
    expect((await client.listTopics()).map((topic) => topic.name)).toEqual(['published', 'subscribed'])
  })

  it('reports the same errors', async () => {
    await client.createTopic('orders', { partitions: 2 })
    await client.publish('orders', 'x', { partition: 0 })
    const cases: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['RTK_TOPIC_NOT_FOUND', () => client.describeTopic('nothing')],
      ['RTK_TOPIC_NOT_FOUND', () => client.deleteTopic('nothing')],
      ['RTK_TOPIC_NAME_INVALID', () => client.createTopic('no spaces')],
      ['RTK_TOPIC_NAME_INVALID', () => client.publish('..', 'x')],
      ['RTK_TOPIC_EXISTS', () => client.createTopic('orders', { partitions: 5 })],
      ['RTK_INVALID_ARGUMENT', () => client.createTopic('bad', { partitions: 0 })],
      ['RTK_INVALID_ARGUMENT', () => client.alterTopic('orders', { partitions: 1 })],
      ['RTK_PARTITION_NOT_FOUND', () => client.publish('orders', 'x', { partition: 7 })],
      ['RTK_PARTITION_NOT_FOUND', () => client.fetch('orders', { partition: 7 })],
      ['RTK_OFFSET_OUT_OF_RANGE', () => client.fetch('orders', { partition: 0, offset: 99 })],
      ['RTK_OFFSET_OUT_OF_RANGE', () => client.subscribe('orders', { from: { offset: 99 } })],
      ['RTK_INVALID_ARGUMENT', () => client.subscribe('orders', { group: 'no spaces' })],
      ['RTK_GROUP_NOT_FOUND', () => client.describeGroup('orders', 'nobody')],
      ['RTK_GROUP_NOT_FOUND', () => client.deleteGroup('orders', 'nobody')],
      ['RTK_BATCH_MALFORMED', () => client.publishBatch('orders', 0, new Uint8Array(100))],
      ['RTK_BATCH_CRC_MISMATCH', () => client.publishBatch('orders', 0, damaged(batchOf('x')))],
      ['RTK_DURABILITY_UNAVAILABLE', () => client.publish('orders', 'x', { durability: 'quorum' })],
      ['RTK_HEADER_INVALID', () => client.publish('orders', 'x', { headers: { 'rtk-id': 'x' } })],
      ['RTK_MESSAGE_TOO_LARGE', () => client.publish('orders', new Uint8Array(8 * 1024 * 1024 + 1))],
    ]
    const codes: string[] = []
    for (const [, call] of cases)
      codes.push(
        await call().then(
          () => 'none',
          (error) => error.code,
        ),
      )
    expect(codes).toEqual(cases.map(([code]) => code))
  })

  it('refuses a lease that is none, and a group that is no text, and names the field', async () => {
    await client.createTopic('orders')
    const lease = { topic: 'orders', group: 'g', partition: 0, offset: 0, lease: 1 }
    const wrong: readonly (readonly [unknown, string])[] = [
      [5, 'lease must be'],
      [null, 'lease must be'],
      [{ topic: 'orders' }, 'lease.group'],
      [{ ...lease, group: 5 }, 'lease.group'],
      [{ ...lease, offset: 1.5 }, 'lease.offset'],
      [{ ...lease, lease: Number.NaN }, 'lease.lease'],
    ]
    for (const [one, says] of wrong) {
      const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(says) }
      const options = { lease: one as typeof lease }
      await expect(client.publish('orders', 'x', options)).rejects.toMatchObject(refused)
      await expect(client.publishMany('orders', [{ payload: 'x' }], options)).rejects.toMatchObject(refused)
      await expect(client.publishBatch('orders', 0, batchOf('x'), options)).rejects.toMatchObject(refused)
    }
    await expect(client.publish('orders', 'x', { lease })).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
    const lost = client.publishBatch('orders', 0, batchOf('x'), { lease })
    await expect(lost).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
    const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining('group') }
    const group = 5 as unknown as string
    await expect(client.createQueue('orders', group)).rejects.toMatchObject(refused)
    await expect(client.subscribe('orders', { group })).rejects.toMatchObject(refused)
    await expect(client.take('orders', group)).rejects.toMatchObject(refused)
  })

  it('refuses a durability that there is not, before anything is sent', async () => {
    await client.createTopic('orders')
    const one = [{ payload: 'x' }]
    for (const wrong of ['fsyncc', 5, ''] as unknown as readonly 'fsync'[]) {
      const call = { durability: wrong }
      const calls = [
        () => client.publish('orders', 'x', call),
        () => client.publishMany('orders', one, call),
        () => client.publishBatch('orders', 0, batchOf('x'), call),
        () => client.producer().addAll('orders', one, call),
        async () => client.producer(call).publish('orders', 'x'),
      ]
      for (const made of calls) {
        await expect(made()).rejects.toMatchObject({
          code: 'RTK_INVALID_ARGUMENT',
          message: expect.stringContaining('durability must be one of memory, os, interval, fsync, quorum'),
        })
      }
    }
    expect((await client.describeTopic('orders')).partitions[0].endOffset).toBe(0)
  })

  it('refuses settings of a topic that are no whole numbers, and names them', async () => {
    await client.createTopic('orders')
    const fields = ['partitions', 'retentionMs', 'retentionBytes', 'retentionMessages', 'segmentBytes']
    for (const field of [...fields, 'messageBytesMax']) {
      for (const wrong of [Number.NaN, 1.5, 'abc', '5', 5n, null, 2 ** 60]) {
        const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining(field) }
        await expect(client.createTopic('other', { [field]: wrong })).rejects.toMatchObject(refused)
        await expect(client.alterTopic('orders', { [field]: wrong })).rejects.toMatchObject(refused)
      }
    }
    for (const wrong of [{ durability: 5n }, { retention: 1 }, { other: 5n }, [], null, 'x']) {
      const config = wrong as unknown as { partitions: number }
      await expect(client.createTopic('other', config)).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    }
    expect((await client.listTopics()).map(({ name }) => name)).toEqual(['orders'])
  })

  it('keeps every field byte for byte', async () => {
    await client.createTopic('orders')
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i)
    const id = '3f0c5d5e-8a4b-4c52-9b1e-0123456789ab'
    await client.publish('orders', bytes, {
      id,
      key: bytes,
      timestampMs: 1_700_000_000_123,
      headers: [
        ['twice', bytes],
        ['twice', 'ü'],
        ['__proto__', 'x'],
        ['empty', ''],
      ],
    })
    await client.publish('orders', '')
    await client.publish('orders', new Uint8Array(1024 * 1024).fill(7), { key: '' })
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    const [first, empty, large] = await take(subscription, 3)
    expect(first).toMatchObject({
      id,
      topic: 'orders',
      partition: 0,
      offset: 0,
      timestampMs: 1_700_000_000_123,
    })
    expect(Buffer.compare(first.payload, bytes)).toBe(0)
    expect(Buffer.compare(first.key as Uint8Array, bytes)).toBe(0)
    expect(first.headers.map(([name]) => name)).toEqual(['twice', 'twice', '__proto__', 'empty'])
    expect(Buffer.compare(first.headers[0][1], bytes)).toBe(0)
    expect(first.headers.slice(1).map(([, value]) => utf8Text(value))).toEqual(['ü', 'x', ''])
    expect([empty.payload.length, empty.key, empty.headers]).toEqual([0, undefined, []])
    expect([large.payload.length, large.payload.every((byte) => byte === 7), large.key?.length]).toEqual([
      1024 * 1024,
      true,
      0,
    ])
    await subscription.close()
  })

  it('publishes one, many and batches, and says where they are', async () => {
    await client.createTopic('orders', { partitions: 2 })
    const one = await client.publish('orders', 'one', { partition: 1 })
    expect(one).toEqual({
      id: expect.stringMatching(/-4[0-9a-f]{3}-/),
      partition: 1,
      offset: 0,
      durability: 'memory',
    })
    const many = await client.publishMany('orders', [
      { payload: 'a', partition: 1 },
      { payload: 'b', partition: 1, key: 'k' },
      { payload: 'c', partition: 9 },
    ])
    expect(many.map((result) => ('error' in result ? result.error.code : result.offset))).toEqual([
      1,
      2,
      'RTK_PARTITION_NOT_FOUND',
    ])
    expect(await client.publishBatch('orders', 1, batchOf('x', 'y'))).toMatchObject({
      partition: 1,
      baseOffset: 3,
      recordCount: 2,
      durability: 'memory',
    })
    await using producer = client.producer({ lingerMs: 1, batchBytesMax: 4_096 })
    const bulk = await producer.addAll(
      'orders',
      numbers(500).map((payload) => ({ payload, partition: 0 })),
    )
    expect(bulk.messageCount).toBe(500)
    expect(await client.offsets('orders', 'latest')).toEqual([
      { partition: 0, offset: 500 },
      { partition: 1, offset: 5 },
    ])
    expect(await client.topicStats('orders')).toMatchObject({ topic: 'orders', messageCount: 505 })
    expect((await client.brokerStats()).topics).toBe(1)
  })

  it('fetches messages at an offset, and waits for them when asked to', async () => {
    await client.createTopic('orders')
    for (const text of numbers(5)) await client.publish('orders', text)
    const some = await client.fetch('orders', { offset: 2, max: 1 })
    expect(some.map((message) => [message.offset, utf8Text(message.payload)])).toEqual([[2, '2']])
    expect(await client.fetch('orders', { offset: 'latest' })).toEqual([])
    const waiting = client.fetch('orders', { offset: 'latest', waitMs: 10_000 })
    await client.fetch('orders') // the waiting one has gone before
    await client.publish('orders', 'late')
    expect((await waiting).map((message) => utf8Text(message.payload))).toEqual(['late'])
  })

  it('stores a partition in the order of publishing, however many batches are under way', async () => {
    await client.createTopic('orders')
    await using producer = client.producer({ batchBytesMax: 32_768, inFlightMax: 16 })
    const count = 10_000
    await producer.addAll(
      'orders',
      numbers(count).map((text) => ({ payload: text.padEnd(200, '.') })),
    )
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    const messages = await take(subscription, count)
    expect(messages.map((message) => parseInt(utf8Text(message.payload), 10))).toEqual(
      Array.from({ length: count }, (_, i) => i),
    )
    await subscription.close()
  })

  it('has deadlines and cancellation', async () => {
    await client.createTopic('orders')
    const cancel = new AbortController()
    const waiting = client.fetch('orders', { offset: 'latest', waitMs: 30_000, signal: cancel.signal })
    cancel.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(client.listTopics({ signal: cancel.signal })).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })
    expect((await client.listTopics()).length).toBe(1)
  })

  it('refuses calls after it was closed', async () => {
    await client.close()
    await expect(client.listTopics()).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(client.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(client.subscribe('orders')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
  })
})

function damaged(batch: Uint8Array): Uint8Array {
  batch[batch.length - 1] ^= 1
  return batch
}
