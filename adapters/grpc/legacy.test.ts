/** The legacy service, by a client that proto-loader makes of the .proto, and byte by byte. */
import { join } from 'node:path'
import { BinaryReader, BinaryWriter } from '@bufbuild/protobuf/wire'
import {
  type ClientReadableStream,
  credentials,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { utf8 } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { call, Harness, Received } from './testing/harness.ts'

const file = join(import.meta.dirname, '..', '..', 'proto', 'ratatoskr', 'legacy.proto')
const { ratatoskr } = loadPackageDefinition(loadSync(file, { keepCase: true, longs: Number, defaults: true }))
const { MessageBroker } = ratatoskr as unknown as { MessageBroker: ServiceClientConstructor }

type Reply = Record<string, never>
interface LegacyMessage {
  readonly id: string
  readonly topic: string
  readonly payload: Buffer
  readonly metadata: Record<string, string>
  readonly timestamp: number
}

let harness: Harness
let client: InstanceType<ServiceClientConstructor>

beforeEach(async () => {
  harness = await Harness.start()
  client = new MessageBroker(harness.target, credentials.createInsecure())
})

afterEach(async () => {
  client.close()
  await harness.stop()
})

const ask = (rpc: string, request: object): Promise<Reply> =>
  new Promise((resolve, reject) => {
    client[rpc](request, (error: ServiceError | null, reply: Reply) =>
      error ? reject(error) : resolve(reply),
    )
  })

/** A subscription that stands: its headers have come. */
async function subscribe(topic: string, subscriberId: string) {
  const stream = client.Subscribe({
    topic,
    subscriber_id: subscriberId,
  }) as ClientReadableStream<LegacyMessage>
  const received = new Received<LegacyMessage>()
  const ended = new Promise<{ code: number; details: string }>((resolve) => {
    stream.on('status', resolve)
  })
  stream.on('data', (message: LegacyMessage) => received.add(message))
  stream.on('error', (error) => received.fail(error))
  await new Promise<void>((resolve) => {
    stream.once('metadata', () => resolve())
    stream.once('error', () => resolve())
  })
  return { stream, received, ended }
}

describe('the legacy service', () => {
  it('creates, lists, finds and deletes topics, and tells expected failures in the reply', async () => {
    expect(await ask('CreateTopic', { name: 'orders' })).toEqual({
      topic: 'orders',
      created: true,
      error: '',
    })
    expect(await ask('CreateTopic', { name: 'orders' })).toEqual({
      topic: 'orders',
      created: false,
      error: expect.stringContaining('exists'),
    })
    expect(await ask('CreateTopic', { name: 'not valid' })).toMatchObject({
      created: false,
      error: expect.stringContaining('249'),
    })
    expect(await ask('ListTopics', {})).toEqual({ topics: ['orders'] })
    expect(await ask('TopicExists', { name: 'orders' })).toEqual({ exists: true })
    expect(await ask('TopicExists', { name: 'nothing' })).toEqual({ exists: false })
    expect(await ask('TopicExists', { name: '../x' })).toEqual({ exists: false })
    expect(await ask('DeleteTopic', { name: 'orders' })).toEqual({ success: true, error: '' })
    expect(await ask('DeleteTopic', { name: 'orders' })).toEqual({
      success: false,
      error: expect.any(String),
    })
  })

  it('publishes, and answers with the id and the time', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const before = Date.now()
    const reply = await ask('Publish', { topic: 'orders', payload: utf8('hello'), metadata: { a: 'b' } })
    expect(reply).toMatchObject({
      success: true,
      error: '',
      message_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    })
    expect(reply.timestamp).toBeGreaterThanOrEqual(before)
    expect(reply.timestamp).toBeLessThanOrEqual(Date.now())
    expect(await ask('GetStats', { topic: 'orders' })).toEqual({
      topic: 'orders',
      message_count: 1,
      subscriber_count: 0,
      error: '',
    })
  })

  it('never creates a topic by publishing or subscribing', async () => {
    const request = { topic: 'nowhere', payload: utf8('x'), metadata: {} }
    expect(await ask('Publish', request)).toMatchObject({
      success: false,
      message_id: '',
      error: expect.stringContaining('nowhere'),
    })
    expect(await ask('PublishBatch', { topic: 'nowhere', messages: [request, request] })).toMatchObject({
      success_count: 0,
      error_count: 2,
      results: [{ success: false }, { success: false }],
    })
    const { ended } = await subscribe('nowhere', 'me')
    expect(await ended).toMatchObject({ code: status.NOT_FOUND })
    expect(await ask('GetStats', { topic: 'nowhere' })).toMatchObject({
      error: expect.stringContaining('nowhere'),
    })
    expect(await ask('ListTopics', {})).toEqual({ topics: [] })
  })

  it('publishes a batch, each message on its own', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const reply = await ask('PublishBatch', {
      topic: 'orders',
      messages: [
        { topic: 'orders', payload: utf8('1') },
        { payload: utf8('2') },
        { payload: utf8('3'), metadata: { 'rtk-id': 'mine' } },
        { topic: 'invoices', payload: utf8('4') },
      ],
    })
    expect(reply).toMatchObject({
      success_count: 2,
      error_count: 2,
      results: [
        { success: true },
        { success: true },
        { success: false, error: expect.stringContaining('rtk-') },
        { success: false, error: expect.stringContaining('invoices') },
      ],
    })
    expect(await ask('GetStats', { topic: 'orders' })).toMatchObject({ message_count: 2 })
  })

  it('refuses reserved metadata in the reply', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const reply = await ask('Publish', { topic: 'orders', payload: utf8('x'), metadata: { 'rtk-id': 'y' } })
    expect(reply).toMatchObject({ success: false, error: expect.stringContaining('rtk-') })
  })

  it('streams only what is published after subscribing, and ends with Unsubscribe', async () => {
    await ask('CreateTopic', { name: 'orders' })
    await ask('Publish', { topic: 'orders', payload: utf8('before') })
    const { received, ended } = await subscribe('orders', 'reader-1')
    expect(await ask('GetStats', { topic: 'orders' })).toMatchObject({
      subscriber_count: 1,
      message_count: 1,
    })
    const { message_id, timestamp } = await ask('Publish', {
      topic: 'orders',
      payload: utf8('after'),
      metadata: { trace: 'ü', __proto__: 'x' },
    })
    const [message] = await received.atLeast(1)
    expect(message).toMatchObject({ id: message_id, topic: 'orders', timestamp, metadata: { trace: 'ü' } })
    expect(message.payload.toString()).toBe('after')
    const unknown = await ask('Unsubscribe', { topic: 'orders', subscription_ref: 'someone' })
    expect(unknown).toMatchObject({ success: false, error: expect.stringContaining('someone') })
    expect(await ask('Unsubscribe', { topic: 'orders', subscription_ref: 'reader-1' })).toEqual({
      success: true,
      error: '',
    })
    expect(await ended).toMatchObject({ code: status.OK })
    expect(received.items).toHaveLength(1)
    expect(await ask('GetStats', { topic: 'orders' })).toMatchObject({ subscriber_count: 0 })
    expect(await ask('Unsubscribe', { topic: 'orders', subscription_ref: 'reader-1' })).toMatchObject({
      success: false,
    })
  })

  it('streams more messages than it grants at once, in order', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const { received, stream } = await subscribe('orders', '')
    const count = 3_000
    for (let from = 0; from < count; from += 500) {
      const messages = Array.from({ length: 500 }, (_, i) => ({ payload: utf8(String(from + i)) }))
      await ask('PublishBatch', { topic: 'orders', messages })
    }
    const messages = await received.atLeast(count)
    expect(messages.map((message) => message.payload.toString())).toEqual(
      Array.from({ length: count }, (_, i) => String(i)),
    )
    stream.cancel()
  })

  it('lets a subscriber that comes again take the place of its former self', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const first = await subscribe('orders', 'same')
    const second = await subscribe('orders', 'same')
    expect(await first.ended).toMatchObject({ code: status.CANCELLED })
    await ask('Publish', { topic: 'orders', payload: utf8('x') })
    await second.received.atLeast(1)
    expect(first.received.items).toHaveLength(0)
    await ask('Unsubscribe', { topic: 'orders', subscription_ref: 'same' })
    expect(await second.ended).toMatchObject({ code: status.OK })
  })

  it('ends the subscription of a client that cancels', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const { stream, ended } = await subscribe('orders', 'gone')
    stream.cancel()
    await ended
    await expect
      .poll(async () => (await ask('GetStats', { topic: 'orders' })).subscriber_count, { interval: 5 })
      .toBe(0)
  })

  it('ends subscriptions when the topic is deleted, and when the broker stops', async () => {
    await ask('CreateTopic', { name: 'orders' })
    await ask('CreateTopic', { name: 'other' })
    const deleted = await subscribe('orders', 'a')
    const stopped = await subscribe('other', 'b')
    await ask('DeleteTopic', { name: 'orders' })
    expect(await deleted.ended).toMatchObject({ code: status.NOT_FOUND })
    await harness.broker.stop()
    expect(await stopped.ended).toMatchObject({ code: status.UNAVAILABLE })
  })

  it('answers an oversized message with a status', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const payload = new Uint8Array(9 * 1024 * 1024)
    await expect(ask('Publish', { topic: 'orders', payload })).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    })
    const huge = new Uint8Array(17 * 1024 * 1024)
    await expect(ask('Publish', { topic: 'orders', payload: huge })).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
    })
  })
})

describe('the legacy wire', () => {
  const raw = (rpc: string, request: Uint8Array): Promise<Buffer> =>
    call(
      harness.client(),
      {
        path: `/ratatoskr.MessageBroker/${rpc}`,
        requestStream: false,
        responseStream: false,
        requestSerialize: (bytes: Buffer) => bytes,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
        responseDeserialize: (bytes: Buffer) => bytes,
      },
      Buffer.from(request),
    )
  const text = (field: number, value: string): Uint8Array =>
    new BinaryWriter()
      .uint32((field << 3) | 2)
      .string(value)
      .finish()

  /** Field numbers with wire types, as they stand. */
  function fields(bytes: Uint8Array): string[] {
    const reader = new BinaryReader(bytes)
    const found: string[] = []
    while (reader.pos < reader.len) {
      const [field, type] = reader.tag()
      found.push(`${field}:${type}`)
      reader.skip(type, field)
    }
    return found
  }

  it('has the field numbers of the table', async () => {
    expect(fields(await raw('CreateTopic', text(1, 'orders')))).toEqual(['1:2', '2:0'])
    expect(fields(await raw('CreateTopic', text(1, 'orders')))).toEqual(['1:2', '3:2'])
    expect(fields(await raw('TopicExists', text(1, 'orders')))).toEqual(['1:0'])
    const entry = Buffer.concat([text(1, 'k'), text(2, 'v')])
    const publish = Buffer.concat([
      text(1, 'orders'),
      new BinaryWriter().uint32(18).bytes(utf8('p')).finish(),
      new BinaryWriter().uint32(26).bytes(entry).finish(),
    ])
    expect(fields(await raw('Publish', publish))).toEqual(['1:2', '2:0', '3:0'])
    expect(fields(await raw('Publish', text(1, 'nowhere')))).toEqual(['4:2'])
    const batch = Buffer.concat([
      text(1, 'orders'),
      new BinaryWriter().uint32(18).bytes(publish).finish(),
      new BinaryWriter().uint32(18).bytes(text(1, 'stray')).finish(),
    ])
    expect(fields(await raw('PublishBatch', batch))).toEqual(['1:2', '1:2', '2:0', '3:0'])
    expect(fields(await raw('GetStats', text(1, 'orders')))).toEqual(['1:2', '2:0'])
    expect(fields(await raw('GetStats', text(1, 'nowhere')))).toEqual(['1:2', '4:2'])
    expect(fields(await raw('ListTopics', new Uint8Array(0)))).toEqual(['1:2'])
    const ref = Buffer.concat([text(1, 'orders'), text(2, 'me')])
    expect(fields(await raw('Unsubscribe', ref))).toEqual(['2:2'])
    expect(fields(await raw('DeleteTopic', text(1, 'orders')))).toEqual(['1:0'])
    expect(fields(await raw('DeleteTopic', text(1, 'orders')))).toEqual(['2:2'])
  })

  it('has the field numbers of the table in messages', async () => {
    await ask('CreateTopic', { name: 'orders' })
    const stream = harness.client().makeServerStreamRequest<Buffer, Buffer>(
      '/ratatoskr.MessageBroker/Subscribe',
      (bytes) => bytes,
      (bytes) => bytes,
      Buffer.concat([text(1, 'orders'), text(2, 'me')]),
    )
    const message = new Promise<Buffer>((resolve) => stream.once('data', resolve))
    stream.on('error', () => undefined)
    await new Promise((resolve) => stream.once('metadata', resolve))
    await ask('Publish', { topic: 'orders', payload: utf8('p'), metadata: { k: 'v' } })
    expect(fields(await message)).toEqual(['1:2', '2:2', '3:2', '4:2', '5:0'])
    stream.cancel()
  })

  it('answers a malformed request with INVALID_ARGUMENT', async () => {
    await expect(raw('CreateTopic', new Uint8Array([0x0a, 0xff]))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })
})
