/** The format MESSAGES of `Consume`, `Fetch` and `FetchGroup`, by bare gRPC calls. */
import { gzipSync } from 'node:zlib'
import { type Client, type ClientDuplexStream, status } from '@grpc/grpc-js'
import { BatchBuilder, derivedMessageId, utf8, utf8Text } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noConfig } from './testing/bare-calls.ts'
import { batchOf, call, Harness, platform, Received, rawStream } from './testing/harness.ts'

const topics = proto.TopicServiceService
const messages = proto.MessageServiceService
const groups = proto.GroupServiceService
const { DELIVERY_FORMAT_BATCHES: asBatches, DELIVERY_FORMAT_MESSAGES: asMessages } = proto.DeliveryFormat

let harness: Harness
let client: Client

beforeEach(async () => {
  harness = await Harness.start({ broker: { autoCreateTopics: false } })
  client = harness.client()
  await call(client, topics.createTopic, {
    topic: 'orders',
    config: { ...noConfig, partitions: 2 },
  })
})

afterEach(() => harness.stop())

const publish = (batches: Uint8Array, partition = 0) =>
  call(client, messages.publishRecordBatch, { topic: 'orders', partition, durability: 0, batches })

const textsOf = (list: readonly proto.Message[] = []): string[] =>
  list.map(({ payload }) => utf8Text(payload))

const fetch = async (more: Partial<proto.FetchRequest>): Promise<proto.FetchedBatches> => {
  const request = { topic: 'orders', partition: 0, format: asMessages, ...more }
  return (await call(client, messages.fetch, request)).batches as proto.FetchedBatches
}

describe('Fetch', () => {
  it('gives whole messages instead of batches', async () => {
    const id = '0b4c1c50-0000-4000-8000-00000000abcd'
    const headers = [
      { name: 'a', value: utf8('1') },
      { name: 'a', value: new Uint8Array([0xff]) },
    ]
    const sent = { payload: utf8('hello'), key: utf8('k'), headers, id, timestampMs: 1_234, partition: 1 }
    await call(client, messages.publish, { topic: 'orders', message: sent, durability: 0 })
    const fetched = await fetch({ partition: 1, offset: 0 })
    expect(fetched).toMatchObject({
      partition: 1,
      fromOffset: 0,
      nextOffset: 1,
      startOffset: 0,
      stableOffset: 1,
    })
    expect(fetched.batches).toHaveLength(0)
    const [message] = fetched.messages
    expect(message).toMatchObject({ id, topic: 'orders', partition: 1, offset: 0, timestampMs: 1_234 })
    expect([...(message.key ?? [])]).toEqual([...sent.key])
    expect(message.headers.map(({ name, value }) => [name, [...value]])).toEqual([
      ['a', [49]],
      ['a', [255]],
    ])
    expect(textsOf([message])).toEqual(['hello'])
  })

  it('says when messages expire, and leaves out those that have', async () => {
    const message = { payload: utf8('x'), headers: [], partition: 0 }
    const send = (more: Partial<proto.OutgoingMessage>) =>
      call(client, messages.publish, {
        topic: 'orders',
        message: { ...message, ...more },
        durability: 0,
      })
    const expiresAtMs = platform.clock.now() + 60_000
    await send({ expiresAtMs })
    await send({ ttlMs: 60_000 })
    await send({})
    await send({ expiresAtMs: 1 })
    const found = await fetch({ offset: 0 })
    expect(found.messages.map((one) => [one.offset, one.expiresAtMs])).toEqual([
      [0, expiresAtMs],
      [1, expect.any(Number)],
      [2, undefined],
    ])
    expect(Math.abs((found.messages[1].expiresAtMs ?? 0) - expiresAtMs)).toBeLessThan(30_000)
    const group = {
      topic: 'orders',
      group: 'g',
      member: 'm',
      from: undefined,
      positions: [],
      format: asMessages,
    }
    const { batches } = await call(client, groups.fetchGroup, group)
    expect(batches.flatMap((one) => one.messages.map(({ offset }) => offset))).toEqual([0, 1, 2])
    expect(batches[0].nextOffset).toBe(4)
    expect(await fetch({ offset: 3 })).toMatchObject({ messages: [], nextOffset: 4 })
    for (const bad of [{ ttlMs: 0 }, { ttlMs: -1 }, { expiresAtMs: -1 }, { ttlMs: 1, expiresAtMs: 1 }]) {
      await expect(send(bad)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
    }
    const { results } = await call(client, messages.publishBatch, {
      topic: 'orders',
      messages: [{ ...message, ttlMs: 0 }, message],
      durability: 0,
    })
    expect(results.map(({ error }) => error?.code)).toEqual(['RTK_INVALID_ARGUMENT', undefined])
  })

  it('tells no key from an empty one, and derives the id of a message without', async () => {
    const builder = new BatchBuilder({ checksum: platform.checksum })
    builder.add({ payload: utf8('without'), timestampMs: 1 })
    builder.add({ payload: new Uint8Array(0), key: new Uint8Array(0), timestampMs: 2 })
    await publish(builder.build())
    const [without, empty] = (await fetch({ offset: 0 })).messages
    expect([without.key, empty.key?.length, empty.payload.length]).toEqual([undefined, 0, 0])
    const topic = (await call(client, topics.getTopic, { topic: 'orders' })).topic as proto.Topic
    expect(without.id).toBe(derivedMessageId(topic.id, 0, 0))
    expect(empty.id).toBe(derivedMessageId(topic.id, 0, 1))
  })

  it('begins at the offset within a batch, and goes on at the next one', async () => {
    await publish(batchOf('a', 'b', 'c'))
    await publish(batchOf('d'))
    const first = await fetch({ offset: 1, bytesMax: 1 })
    expect([textsOf(first.messages), first.nextOffset]).toEqual([['b', 'c'], 3])
    const second = await fetch({ offset: first.nextOffset })
    expect([textsOf(second.messages), second.nextOffset]).toEqual([['d'], 4])
    const third = await fetch({ offset: second.nextOffset })
    expect([textsOf(third.messages), third.nextOffset]).toEqual([[], 4])
  })

  it.each([0 as const, asBatches])('gives batches in the format %i', async (format) => {
    await publish(batchOf('a'))
    const fetched = await fetch({ offset: 0, format })
    expect(fetched.batches.length).toBeGreaterThan(61)
    expect(fetched.messages).toEqual([])
  })

  it('expands compressed batches', async () => {
    await publish(gzipped(batchOf('a', 'b')))
    const fetched = await fetch({ offset: 1 })
    expect([textsOf(fetched.messages), fetched.nextOffset]).toEqual([['b'], 2])
  })

  it('refuses a format that is none', async () => {
    await expect(fetch({ offset: 0, format: 3 as never })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/format must be .*, got 3/),
    })
  })
})

describe('FetchGroup', () => {
  it('gives messages, no more than asked for, and goes on after them', async () => {
    await publish(batchOf('a', 'b', 'c'))
    const take = async (messagesMax: number): Promise<string[]> => {
      const { batches } = await call(client, groups.fetchGroup, {
        topic: 'orders',
        group: 'billing',
        member: 'one',
        positions: [],
        from: { edge: proto.Edge.EDGE_EARLIEST },
        messagesMax,
        format: asMessages,
      })
      expect(batches.every((fetched) => fetched.batches.length === 0)).toBe(true)
      const last = batches.at(-1)
      if (last !== undefined) expect(last.messages.at(-1)?.offset).toBe(last.nextOffset - 1)
      return batches.flatMap((fetched) => textsOf(fetched.messages))
    }
    expect(await take(2)).toEqual(['a', 'b'])
    expect(await take(2)).toEqual(['c'])
    expect(await take(2)).toEqual([])
  })
})

/** The same batch with its records compressed by gzip. */
function gzipped(batch: Uint8Array): Uint8Array {
  const whole = Buffer.concat([batch.subarray(0, 61), gzipSync(batch.subarray(61))])
  whole.writeInt32BE(whole.length - 12, 8)
  whole.writeInt16BE(1, 21)
  whole.writeUInt32BE(platform.checksum(whole.subarray(21)), 17)
  return whole
}

/** A Consume stream, decoded by the generated code as in other languages. */
function openConsume(on = client) {
  const stream: ClientDuplexStream<Buffer, Buffer> = rawStream(on, '/ratatoskr.v1.MessageService/Consume')
  const received = new Received<proto.ConsumeResponse>()
  const delivered = new Received<proto.Message>()
  stream.on('data', (bytes: Buffer) => {
    const response = proto.ConsumeResponse.decode(bytes)
    received.add(response)
    for (const message of response.messages?.messages ?? []) delivered.add(message)
  })
  const ended = new Promise<{ code: number; rtk: unknown }>((resolve) => {
    stream.on('error', (error) => received.fail(error))
    stream.on('status', ({ code, metadata }) => resolve({ code, rtk: metadata.get('ratatoskr-code')[0] }))
  })
  const send = (request: proto.ConsumeRequest) =>
    stream.write(Buffer.from(proto.ConsumeRequest.encode(request).finish()))
  const open = (more: Partial<proto.OpenSubscription> = {}) =>
    send({
      open: {
        topic: 'orders',
        group: '',
        member: '',
        from: { edge: proto.Edge.EDGE_EARLIEST },
        partitions: [],
        credit: { bytes: 0, messages: 1_000_000 },
        format: asMessages,
        overflow: undefined,
        ...more,
      },
    })
  return { stream, received, delivered, ended, send, open }
}

describe('Consume', () => {
  it('opens, assigns, and delivers messages in order with all their fields', async () => {
    const builder = new BatchBuilder({ checksum: platform.checksum })
    for (let i = 0; i < 500; i++) {
      builder.add({ payload: utf8(`m${i}`), key: utf8(`k${i}`), timestampMs: i, headers: [['h', utf8('v')]] })
    }
    await publish(builder.build())
    const { stream, received, delivered, ended, open } = openConsume()
    open({ partitions: [0] })
    const list = await delivered.atLeast(500)
    const [opened, assigned] = received.items
    expect(opened.opened?.topic).toBe('orders')
    expect(assigned.assigned?.partitions).toEqual([{ partition: 0, offset: 0 }])
    expect(received.items.some(({ delivery }) => delivery !== undefined)).toBe(false)
    expect(list.map(({ offset, timestampMs }) => [offset, timestampMs])).toEqual(
      Array.from({ length: 500 }, (_, i) => [i, i]),
    )
    expect(list[499]).toMatchObject({ topic: 'orders', partition: 0, headers: [{ name: 'h' }] })
    expect([utf8Text(list[499].key as Uint8Array), ...textsOf([list[499]])]).toEqual(['k499', 'm499'])
    // Packed: far fewer responses than messages.
    expect(received.items.length).toBeLessThan(100)
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('counts credit in messages, exactly, also within a batch', async () => {
    await publish(batchOf('a', 'b', 'c', 'd', 'e'))
    const { stream, received, delivered, send, open, ended } = openConsume()
    open({ credit: undefined, partitions: [0] })
    await received.atLeast(2)
    send({ credit: { bytes: 0, messages: 2 } })
    await delivered.atLeast(2)
    send({ credit: { bytes: 0, messages: 1 } })
    await delivered.atLeast(3)
    for (let i = 0; i < 3; i++) await call(client, topics.getTopic, { topic: 'orders' })
    expect(textsOf(delivered.items)).toEqual(['a', 'b', 'c'])
    send({ credit: { bytes: 0, messages: 10 } })
    expect(textsOf(await delivered.atLeast(5))).toEqual(['a', 'b', 'c', 'd', 'e'])
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('gives what comes while it waits at once', async () => {
    const { stream, received, delivered, open } = openConsume()
    open()
    await received.atLeast(2)
    for (const [index, text] of ['x', 'y'].entries()) {
      await publish(batchOf(text), index)
      expect(textsOf(await delivered.atLeast(index + 1)).at(-1)).toBe(text)
    }
    stream.cancel()
  })

  it('carries large messages, each in a response of its own', async () => {
    const payload = platform.random.fill(new Uint8Array(512 * 1024))
    for (let i = 0; i < 8; i++) await publish(batchOf(payload))
    const { stream, received, delivered, open } = openConsume()
    open({ partitions: [0] })
    const list = await delivered.atLeast(8)
    expect(list.every((message) => Buffer.from(message.payload).equals(payload))).toBe(true)
    const packs = received.items.flatMap((item) => item.messages?.messages.length ?? [])
    expect(Math.max(...packs)).toBe(1)
    stream.cancel()
  })

  it('commits as a member of its group', async () => {
    await publish(batchOf('a', 'b'))
    const { stream, received, delivered, send, open, ended } = openConsume()
    open({ group: 'billing', member: 'one' })
    const last = (await delivered.atLeast(2))[1]
    const offsets = [{ partition: last.partition, offset: last.offset + 1, metadata: '' }]
    send({ commit: { correlationId: 5, offsets } })
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
    expect(received.items.flatMap((item) => item.committed ?? [])).toEqual([
      { correlationId: 5, error: undefined },
    ])
    const group = await call(client, groups.getGroup, { topic: 'orders', group: 'billing' })
    expect(group.partitions[0].committedOffset).toBe(2)
  })

  it('delivers what it took before the end of the subscription', async () => {
    await publish(batchOf('a', 'b'))
    const { delivered, open, ended } = openConsume()
    open()
    await delivered.atLeast(2)
    await call(client, topics.deleteTopic, { topic: 'orders' })
    expect(await ended).toEqual({ code: status.NOT_FOUND, rtk: 'RTK_TOPIC_DELETED' })
  })

  it('gives all that counts as delivered, also what waited in its pack at the end', async () => {
    const slow = openConsume(harness.client())
    slow.open({ partitions: [0] })
    await slow.received.atLeast(2)
    slow.stream.pause()
    const payload = platform.random.fill(new Uint8Array(40 * 1024))
    for (let i = 0; i < 100; i++) await publish(batchOf(payload))
    await call(client, topics.deleteTopic, { topic: 'orders' })
    const { messagesDelivered } = await call(client, proto.BrokerServiceService.getBrokerStats, {})
    expect(messagesDelivered).toBeLessThan(100)
    slow.stream.resume()
    expect(await slow.ended).toEqual({ code: status.NOT_FOUND, rtk: 'RTK_TOPIC_DELETED' })
    expect(slow.delivered.items.map(({ offset }) => offset)).toEqual(
      Array.from({ length: messagesDelivered }, (_, offset) => offset),
    )
  })

  it.each<[string, Partial<proto.OpenSubscription>]>([
    ['credit in bytes', { credit: { bytes: 1, messages: 1 } }],
    ['credit below zero', { credit: { bytes: 0, messages: -1 } }],
    ['credit in messages for batches', { credit: { bytes: 0, messages: 1 }, format: asBatches }],
    ['a format that is none', { format: 7 as never }],
  ])('ends with an error at %s', async (_, more) => {
    const { open, ended } = openConsume()
    open(more)
    expect(await ended).toEqual({ code: status.INVALID_ARGUMENT, rtk: 'RTK_INVALID_ARGUMENT' })
  })

  it('ends with an error at later credit of the other unit', async () => {
    const { open, send, received, ended } = openConsume()
    open()
    await received.atLeast(2)
    send({ credit: { bytes: 1, messages: 0 } })
    expect(await ended).toEqual({ code: status.INVALID_ARGUMENT, rtk: 'RTK_INVALID_ARGUMENT' })
  })

  it('is held up by a consumer that does not read', async () => {
    const slow = openConsume(harness.client())
    slow.open()
    await slow.received.atLeast(2)
    slow.stream.pause()
    const payload = platform.random.fill(new Uint8Array(256 * 1024))
    for (let i = 0; i < 64; i++) await publish(batchOf(payload))
    const { bytesDelivered } = await call(client, proto.BrokerServiceService.getBrokerStats, {})
    // A client that does not read still takes 16 responses into its own buffers.
    expect(bytesDelivered).toBeLessThan(8 * 1024 * 1024)
    slow.stream.resume()
    expect((await slow.delivered.atLeast(64)).at(-1)?.offset).toBe(63)
    slow.stream.cancel()
  })
})
