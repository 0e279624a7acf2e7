/**
 * The one test of the one API: everything here runs over every link, against a real broker, with the same outcome.
 */

import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { silentLogger } from 'ratatoskr/adapters/node'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBroker } from '../composition/create-broker.ts'
import type { EmbeddedBroker } from '../composition/embedded-broker.ts'
import { BatchBuilder, portableCrc32c, type Transport, utf8, utf8Text } from '../ports/index.ts'
import type { Client } from './client.ts'
import type { ClientMessage } from './client-message.ts'
import { connect } from './connect.ts'
import type { Subscription } from './subscription.ts'

interface Setup {
  readonly transports: () => readonly Transport[]
  readonly client: (broker: EmbeddedBroker) => Promise<Client>
}

const remote = (transport: () => Transport): Setup => ({
  transports: () => [transport()],
  client: (broker) => connect(broker.addresses[0].url, { platform: broker.platform }),
})

const links: readonly (readonly [name: string, setup: Setup])[] = [
  ['embedded', { transports: () => [], client: (broker) => broker.client() }],
  ['gRPC', remote(() => grpcTransport({ port: 0 }))],
  ['WebSocket', remote(() => webSocketTransport({ port: 0 }))],
  ['HTTP', remote(() => httpTransport({ port: 0 }))],
]

/** Takes that many messages, or fails with the test's own timeout. */
async function take(subscription: Subscription, count: number): Promise<ClientMessage[]> {
  const messages: ClientMessage[] = []
  const iterator = subscription[Symbol.asyncIterator]()
  while (messages.length < count) {
    const { value, done } = await iterator.next()
    if (done === true) break
    messages.push(value)
  }
  return messages
}

const textsOf = (messages: readonly ClientMessage[]): string[] => messages.map((message) => message.text())
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

describe.each(links)('the client over %s', (_name, setup) => {
  let broker: EmbeddedBroker
  let client: Client

  beforeEach(async () => {
    broker = await createBroker({
      storage: memoryStorage(),
      transports: setup.transports(),
      platform: { logger: silentLogger },
    })
    await broker.start()
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

  it('keeps what comes while a group is away, and hands it out when it is back', async () => {
    await client.createTopic('orders')
    const live = await client.subscribe('orders')
    const first = await client.subscribe('orders', { group: 'g' })
    await first.close()
    for (const text of numbers(100)) await client.publish('orders', text)
    expect(textsOf(await take(live, 100))).toEqual(numbers(100))
    const back = await client.subscribe('orders', { group: 'g', delivery: 'at-most-once' })
    expect(textsOf(await take(back, 100))).toEqual(numbers(100))
    expect((await client.describeGroup('orders', 'g')).partitions[0].committedOffset).toBe(100)
    for (const subscription of [live, back]) await subscription.close()
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

  it('hands every message to every subscription, from where it asked for', async () => {
    await client.createTopic('orders')
    for (const [i, text] of numbers(10).entries())
      await client.publish('orders', text, { timestampMs: 1_000 + i })
    const froms = [
      ['earliest', 0],
      [{ offset: 4 }, 4],
      [{ timestampMs: 1_007 }, 7],
      [{ offsets: [{ partition: 0, offset: 9 }] }, 9],
      ['latest', 10],
      [undefined, 10],
    ] as const
    const subscriptions = await Promise.all(froms.map(([from]) => client.subscribe('orders', { from })))
    await client.publish('orders', 'new')
    for (const [i, [, start]] of froms.entries()) {
      const messages = await take(subscriptions[i], 11 - start)
      expect(messages.map((message) => message.offset)).toEqual(
        Array.from({ length: 11 - start }, (_, offset) => start + offset),
      )
      await subscriptions[i].close()
    }
  })

  it('calls handlers: returning acknowledges, throwing brings the message again', async () => {
    await client.createTopic('orders')
    const seen: string[] = []
    const done = Promise.withResolvers<void>()
    const subscription = await client.subscribe(
      'orders',
      async (message) => {
        seen.push(`${message.text()}#${message.attempt}`)
        if (message.text() === 'b' && message.attempt === 1) throw new Error('not yet')
        if (message.text() === 'c') done.resolve()
      },
      { group: 'billing', retry: { baseMs: 1, maxMs: 1 } },
    )
    for (const text of ['a', 'b', 'c']) await client.publish('orders', text)
    await done.promise
    await subscription.close()
    expect(seen).toEqual(['a#1', 'b#1', 'b#2', 'c#1'])
    expect((await client.describeGroup('orders', 'billing')).partitions[0]).toMatchObject({
      committedOffset: 3,
      lag: 0,
    })
  })

  it('goes on where the group has committed, and leaves unacknowledged messages to the next', async () => {
    await client.createTopic('orders')
    for (const text of numbers(6)) await client.publish('orders', text)
    const first = await client.subscribe('orders', { group: 'g', ack: 'manual' })
    for (const message of await first.take(4, { waitMs: 5_000 })) if (message.offset < 2) message.ack()
    await first.close()
    const second = await client.subscribe('orders', { group: 'g' })
    expect(textsOf(await take(second, 4))).toEqual(['2', '3', '4', '5'])
    await second.close()
    expect(await client.listGroups('orders')).toEqual(['g'])
    expect(await client.seek('orders', 'g', 'earliest')).toEqual([{ partition: 0, offset: 0 }])
    await client.commit('orders', 'g', [{ partition: 0, offset: 5 }])
    const third = await client.subscribe('orders', { group: 'g' })
    expect(textsOf(await take(third, 1))).toEqual(['5'])
    await third.close()
    await client.deleteGroup('orders', 'g')
    expect(await client.listGroups('orders')).toEqual([])
  })

  it('shares partitions among the members of a group', async () => {
    await client.createTopic('orders', { partitions: 4 })
    const seen: string[][] = [[], []]
    const all = Promise.withResolvers<void>()
    const members: Subscription[] = []
    for (const own of seen) {
      members.push(
        await client.subscribe(
          'orders',
          (message) => {
            own.push(message.text())
            if (seen.flat().length === 40) all.resolve()
          },
          { group: 'g' },
        ),
      )
    }
    const description = await client.describeGroup('orders', 'g')
    expect(description.members.map((member) => member.partitions.length)).toEqual([2, 2])
    for (const [i, payload] of numbers(40).entries())
      await client.publish('orders', payload, { partition: i % 4 })
    await all.promise
    for (const member of members) await member.close()
    expect(seen.flat().sort()).toEqual(numbers(40).sort())
    expect(seen.map((own) => own.length)).toEqual([20, 20])
  })

  it('reads whole batches, also from the middle of one', async () => {
    await client.createTopic('orders')
    await client.publishBatch('orders', 0, batchOf('a', 'b', 'c'))
    const texts: string[] = []
    for await (const batch of await client.batches('orders', { from: { offset: 1 } })) {
      for (const record of batch.records()) {
        texts.push(utf8Text(record.bytes.subarray(record.valueStart, record.valueEnd)))
      }
      if (texts.length === 2) break
    }
    expect(texts).toEqual(['b', 'c'])
  })

  it('reads compressed batches', async () => {
    await client.createTopic('orders')
    for (const compression of ['gzip', 'zstd'] as const) {
      await using producer = client.producer({ compression })
      await producer.publishMany('orders', [{ payload: compression }, { payload: compression.repeat(100) }])
    }
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    expect(textsOf(await take(subscription, 4))).toEqual([
      'gzip',
      'gzip'.repeat(100),
      'zstd',
      'zstd'.repeat(100),
    ])
    await subscription.close()
  })

  it('never has more on its way than the credit given, and loses nothing by it', async () => {
    await client.createTopic('orders')
    await using producer = client.producer({ batchBytesMax: 8_192 })
    await producer.addAll(
      'orders',
      numbers(2_000).map((text) => ({ payload: text.padEnd(100, '.') })),
    )
    const subscription = await client.subscribe('orders', { from: 'earliest', prefetchBytes: 20_000 })
    const messages = await take(subscription, 2_000)
    expect(messages.map((message) => message.offset)).toEqual(Array.from({ length: 2_000 }, (_, i) => i))
    await subscription.close()
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

  it('ends a subscription whose topic is deleted', async () => {
    await client.createTopic('orders')
    const subscription = await client.subscribe('orders', () => {})
    await client.deleteTopic('orders')
    expect(await subscription.closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
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

/** A relay that can cut every connection that runs through it, as a broken network does. */
async function relayTo(url: string) {
  const { hostname, port } = new URL(url)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const upstream = createConnection({ host: hostname, port: Number(port) })
    for (const [one, other] of [
      [socket, upstream],
      [upstream, socket],
    ]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const own = new URL(url)
  own.port = `${(server.address() as AddressInfo).port}`
  return {
    url: own.href,
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

describe.each(links.slice(1))('a client over %s whose connection breaks', (_name, { transports }) => {
  it.each([undefined, 'billing'])('gets every message once and in order, in group %s', async (group) => {
    const broker = await createBroker({
      storage: memoryStorage(),
      transports: transports(),
      platform: { logger: silentLogger },
    })
    await broker.start()
    await broker.createTopic('orders', { partitions: 2 })
    const relay = await relayTo(broker.addresses[0].url)
    const client = await connect(relay.url, {
      platform: broker.platform,
      reconnect: { baseMs: 5, maxMs: 20 },
    })
    const seen: string[][] = [[], []]
    const all = Promise.withResolvers<void>()
    let disconnects = 0
    const subscription = await client.subscribe(
      'orders',
      (message) => {
        seen[message.partition].push(message.text())
        if (seen[0].length + seen[1].length >= 600) all.resolve()
      },
      {
        group,
        commitIntervalMs: 5,
        onDisconnect: () => disconnects++,
        onGap: (gap) => expect.unreachable(`${gap}`),
      },
    )
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 100; i++) {
        await broker.publish('orders', `${round * 50 + Math.floor(i / 2)}`, { partition: i % 2 })
      }
      if (round < 5) relay.cut()
    }
    await all.promise
    expect(seen).toEqual([numbers(300), numbers(300)])
    expect(disconnects).toBeGreaterThan(0)
    expect((await client.publish('orders', 'still works')).durability).toBe('memory')
    await subscription.close()
    await client.close()
    relay.close()
    await broker.stop()
  })
})

function batchOf(...texts: string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}

function damaged(batch: Uint8Array): Uint8Array {
  batch[batch.length - 1] ^= 1
  return batch
}
