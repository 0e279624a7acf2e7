/** Produce and Consume by bare gRPC streams. */
import { type Client, type ClientDuplexStream, status } from '@grpc/grpc-js'
import { BatchBuilder, baseOffsetOf, endOffsetOf } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { noConfig } from './testing/bare-calls.ts'
import { batchOf, call, Harness, platform, Received, rawStream } from './testing/harness.ts'

const topics = proto.TopicServiceService
const brokers = proto.BrokerServiceService
const MIB = 1024 * 1024

const bytes = (count: number): proto.Credit => ({ bytes: count, messages: 0 })

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

interface Ended {
  readonly code: number
  readonly rtk: unknown
}

/** What a stream gives, decoded, and how it ends. */
function watch<Response>(stream: ClientDuplexStream<Buffer, Buffer>, decode: (bytes: Buffer) => Response) {
  const received = new Received<Response>()
  stream.on('data', (bytes: Buffer) => received.add(decode(bytes)))
  const ended = new Promise<Ended>((resolve) => {
    stream.on('error', (error) => received.fail(error))
    stream.on('status', ({ code, metadata }) => resolve({ code, rtk: metadata.get('ratatoskr-code')[0] }))
  })
  return { received, ended }
}

function openProduce(on = client) {
  const stream = rawStream(on, '/ratatoskr.v1.MessageService/Produce')
  const send = (correlationId: number, batches: Uint8Array, more: Partial<proto.ProduceRequest> = {}) =>
    stream.write(
      Buffer.from(
        proto.ProduceRequest.encode({
          correlationId,
          topic: 'orders',
          partition: 0,
          durability: 0,
          batches,
          ...more,
        }).finish(),
      ),
    )
  return { stream, send, ...watch(stream, proto.ProduceResponse.decode) }
}

function openConsume(on = client) {
  const stream = rawStream(on, '/ratatoskr.v1.MessageService/Consume')
  const send = (request: proto.ConsumeRequest) =>
    stream.write(Buffer.from(proto.ConsumeRequest.encode(request).finish()))
  return { stream, send, ...watch(stream, proto.decodeConsumeResponse) }
}

const opening = (more: Partial<proto.OpenSubscription> = {}): proto.ConsumeRequest => ({
  open: {
    topic: 'orders',
    group: '',
    member: '',
    from: { edge: proto.Edge.EDGE_EARLIEST },
    partitions: [],
    credit: bytes(8 * MIB),
    format: proto.DeliveryFormat.DELIVERY_FORMAT_UNSPECIFIED,
    overflow: undefined,
    ...more,
  },
})

const subscriberCount = async (): Promise<number> =>
  (await call(client, topics.getTopicStats, { topic: 'orders' })).subscriberCount

describe('Produce', () => {
  it('answers each batch with its offsets', async () => {
    const { stream, send, received, ended } = openProduce()
    send(7, batchOf('a', 'b'))
    send(8, batchOf('c'), { durability: proto.Durability.DURABILITY_MEMORY })
    send(9, batchOf('d'), { partition: 1 })
    const answers = [...(await received.atLeast(3))].sort((a, b) => a.correlationId - b.correlationId)
    const stored = { error: undefined, durability: 1, duplicate: false, duplicates: [] }
    expect(answers).toEqual([
      { ...stored, correlationId: 7, baseOffset: 0, recordCount: 2 },
      { ...stored, correlationId: 8, baseOffset: 2, recordCount: 1 },
      { ...stored, correlationId: 9, baseOffset: 0, recordCount: 1 },
    ])
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('answers an error for the batch alone and goes on', async () => {
    const { send, received, stream, ended } = openProduce()
    const broken = batchOf('x')
    broken[30] ^= 1
    send(1, broken)
    send(2, batchOf('x'), { topic: 'nowhere' })
    send(3, batchOf('x'), { partition: 9 })
    send(4, new Uint8Array(0))
    send(5, batchOf('x'), { durability: 77 as proto.Durability })
    send(6, batchOf('fine'))
    const answers = [...(await received.atLeast(6))].sort((a, b) => a.correlationId - b.correlationId)
    expect(answers.map(({ error }) => error?.code)).toEqual([
      'RTK_BATCH_CRC_MISMATCH',
      'RTK_TOPIC_NOT_FOUND',
      'RTK_PARTITION_NOT_FOUND',
      'RTK_BATCH_MALFORMED',
      'RTK_INVALID_ARGUMENT',
      undefined,
    ])
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('ends with RTK_FRAME_MALFORMED at bytes that are no request', async () => {
    const { stream, ended } = openProduce()
    stream.write(Buffer.from([0x0a, 0xff]))
    expect(await ended).toEqual({ code: status.INVALID_ARGUMENT, rtk: 'RTK_FRAME_MALFORMED' })
  })

  it('ends when a request is above the limit', async () => {
    const { stream, ended } = openProduce()
    stream.write(Buffer.alloc(17 * MIB))
    expect(await ended).toMatchObject({ code: status.RESOURCE_EXHAUSTED })
  })

  it('takes more than it keeps in flight', async () => {
    const { send, received, stream, ended } = openProduce()
    const count = 3_000
    for (let i = 0; i < count; i++) send(i, batchOf('x'))
    stream.end()
    const answers = await received.atLeast(count)
    expect(new Set(answers.map(({ correlationId }) => correlationId)).size).toBe(count)
    expect(answers.every(({ error }) => error === undefined)).toBe(true)
    expect(await ended).toMatchObject({ code: status.OK })
  })

  it('answers what is in flight before a stop', async () => {
    const { send, received, ended } = openProduce()
    send(1, batchOf('x'))
    await received.atLeast(1)
    await harness.broker.stop()
    expect(await ended).toEqual({ code: status.UNAVAILABLE, rtk: 'RTK_UNAVAILABLE' })
  })
})

describe('Consume', () => {
  async function publish(...batches: Uint8Array[]) {
    const producer = openProduce()
    for (const [i, batch] of batches.entries()) producer.send(i + 1, batch)
    await producer.received.atLeast(batches.length)
    producer.stream.end()
  }
  const deliveries = (responses: readonly proto.ConsumeResponse[]): proto.Delivery[] =>
    responses.flatMap(({ delivery }) => (delivery === undefined ? [] : [delivery]))

  it('opens, assigns, delivers, and ends with the half-closing of the client', async () => {
    await publish(batchOf('a', 'b'))
    const { send, received, stream, ended } = openConsume()
    send(opening())
    const [opened, assigned, first] = await received.atLeast(3)
    expect(opened.opened).toMatchObject({
      topic: 'orders',
      group: '',
      subscriptionId: expect.stringMatching(/.+/),
    })
    expect(assigned.assigned?.partitions).toEqual([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ])
    expect(first.delivery).toMatchObject({ partition: 0, fromOffset: 0, nextOffset: 2 })
    expect(await subscriberCount()).toBe(1)
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
    expect(await subscriberCount()).toBe(0)
  })

  it('delivers nothing without credit, and more with more', async () => {
    await publish(batchOf('a'), batchOf('b'))
    const { send, received, stream } = openConsume()
    send(opening({ credit: undefined, partitions: [0] }))
    await received.atLeast(2)
    await call(client, topics.getTopic, { topic: 'orders' })
    expect(received.items).toHaveLength(2)
    send({ credit: bytes(1) })
    await received.atLeast(3)
    send({ credit: bytes(MIB) })
    await expect.poll(() => deliveries(received.items).at(-1)?.nextOffset, { interval: 5 }).toBe(2)
    stream.cancel()
  })

  it('commits as a member of its group', async () => {
    await publish(batchOf('a', 'b'))
    const { send, received, stream, ended } = openConsume()
    send(opening({ group: 'billing', member: 'one' }))
    expect((await received.atLeast(1))[0].opened).toMatchObject({ group: 'billing', member: 'one' })
    const commit = (correlationId: number, offset: number, partition = 0) =>
      send({ commit: { correlationId, offsets: [{ partition, offset, metadata: 'm' }] } })
    commit(5, 2)
    commit(6, 99)
    const committed = () => received.items.flatMap((item) => item.committed ?? [])
    await expect.poll(() => committed().length, { interval: 5 }).toBe(2)
    const answers = committed().sort((a, b) => a.correlationId - b.correlationId)
    expect(answers.map(({ correlationId, error }) => [correlationId, error?.code])).toEqual([
      [5, undefined],
      [6, 'RTK_OFFSET_OUT_OF_RANGE'],
    ])
    stream.end()
    expect(await ended).toMatchObject({ code: status.OK })
    const group = await call(client, proto.GroupServiceService.getGroup, {
      topic: 'orders',
      group: 'billing',
    })
    expect(group).toMatchObject({ state: proto.GroupState.GROUP_STATE_EMPTY })
    expect(group.partitions[0]).toMatchObject({ committedOffset: 2, metadata: 'm' })
  })

  const commitOnly: proto.ConsumeRequest = { commit: { correlationId: 1, offsets: [] } }
  it.each<[string, (consumer: ReturnType<typeof openConsume>) => void, number, string]>([
    ['a first request other than open', ({ send }) => send(commitOnly), 3, 'RTK_INVALID_ARGUMENT'],
    ['an empty request', ({ send }) => send({}), 3, 'RTK_INVALID_ARGUMENT'],
    ['no request at all', ({ stream }) => stream.end(), 3, 'RTK_INVALID_ARGUMENT'],
    ['a second open', ({ send }) => [opening(), opening()].forEach(send), 3, 'RTK_INVALID_ARGUMENT'],
    ['negative credit', ({ send }) => send(opening({ credit: bytes(-1) })), 3, 'RTK_INVALID_ARGUMENT'],
    [
      'a topic that is not there',
      ({ send }) => send(opening({ topic: 'nowhere' })),
      5,
      'RTK_TOPIC_NOT_FOUND',
    ],
    [
      'an edge that is none',
      ({ send }) => send(opening({ from: { edge: 9 as never } })),
      3,
      'RTK_INVALID_ARGUMENT',
    ],
    [
      'bytes that are no request',
      ({ stream }) => stream.write(Buffer.from([0x0a, 0xff])),
      3,
      'RTK_FRAME_MALFORMED',
    ],
  ])('ends with an error at %s', async (_, act, code, rtk) => {
    const consumer = openConsume()
    act(consumer)
    expect(await consumer.ended).toEqual({ code, rtk })
    expect(await subscriberCount()).toBe(0)
  })

  it('ends with the reason when the topic is deleted', async () => {
    const { send, received, ended } = openConsume()
    send(opening())
    await received.atLeast(1)
    await call(client, topics.deleteTopic, { topic: 'orders' })
    expect(await ended).toEqual({ code: status.NOT_FOUND, rtk: 'RTK_TOPIC_DELETED' })
  })

  it('ends the subscription of a client that cancels, or is gone', async () => {
    const cancelled = openConsume()
    const otherClient = harness.client()
    const gone = openConsume(otherClient)
    for (const { send } of [cancelled, gone]) send(opening())
    await Promise.all([cancelled.received.atLeast(1), gone.received.atLeast(1)])
    expect(await subscriberCount()).toBe(2)
    cancelled.stream.cancel()
    await expect.poll(subscriberCount, { interval: 5 }).toBe(1)
    gone.stream.cancel()
    otherClient.close()
    await expect.poll(subscriberCount, { interval: 5 }).toBe(0)
  })

  it('keeps little outstanding for a consumer that does not read', async () => {
    const slow = openConsume(harness.client())
    slow.send(opening({ credit: bytes(64 * MIB) }))
    await slow.received.atLeast(1)
    slow.stream.pause()
    const payload = platform.random.fill(new Uint8Array(MIB))
    for (let i = 0; i < 32; i++) await publish(batchOf(payload))
    const { bytesDelivered } = await call(client, brokers.getBrokerStats, {})
    // A client that does not read still takes 16 responses into its own buffers.
    expect(bytesDelivered).toBeLessThan(24 * MIB)
    slow.stream.resume()
    await expect
      .poll(() => deliveries(slow.received.items).at(-1)?.nextOffset, { interval: 5, timeout: 10_000 })
      .toBe(32)
    slow.stream.cancel()
  })

  it('gives back the bytes that were published', async () => {
    const builder = new BatchBuilder({ checksum: platform.checksum })
    for (let i = 0; i < 500; i++) {
      const payload = platform.random.fill(new Uint8Array(1 + ((i * 37) % 2_000)))
      builder.add({ payload, timestampMs: i, headers: [['h', payload.subarray(0, 3)]] })
    }
    const sent = builder.build()
    await publish(batchOf('first'), sent)
    const { send, received, stream } = openConsume()
    send(opening({ from: { offset: 1 }, partitions: [0] }))
    await expect.poll(() => deliveries(received.items).at(-1)?.nextOffset, { interval: 5 }).toBe(501)
    const [delivery] = deliveries(received.items)
    expect(delivery).toMatchObject({ fromOffset: 1 })
    expect(baseOffsetOf(delivery.batches)).toBe(1)
    expect(endOffsetOf(delivery.batches)).toBe(501)
    // Base offset and leader epoch are the broker's; all else is as it was sent.
    expect(Buffer.from(delivery.batches.subarray(16)).equals(sent.subarray(16))).toBe(true)
    stream.cancel()
  })
})
