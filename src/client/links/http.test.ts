import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type RigOptions, startRig } from '../../../adapters/http/testing/rig.ts'
import { encodeDeliverHeader } from '../../ports/index.ts'
import { openHttpLink } from './http.ts'
import { batchOf, Kept, openLink, platform, text } from './testing/link-kit.ts'

async function rigWithLink(options?: RigOptions) {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  return { ...rig, link: await openLink(openHttpLink, rig.url) }
}

/** Something that speaks HTTP and is no broker, or a bad one; it lets in whoever asks for a session. */
async function impostor(answer: RequestListener): Promise<string> {
  const server = createServer((request, response) => {
    if (request.url === '/v1/session') response.end('{}')
    else answer(request, response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function frame(...parts: (string | Uint8Array)[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part as string)))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}
const subscribed = frame('{"event":"subscribed","subscription":"s1","member":""}')

const from = { from: 'earliest' } as const

describe('calls of an HTTP link', () => {
  it('restores errors with code, message and details', async () => {
    const { link } = await rigWithLink()
    await expect(link.describeTopic('missing')).rejects.toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
      retryable: false,
      message: expect.stringContaining('missing'),
    })
    await expect(link.publishBatch('orders', 7, batchOf(['a']))).rejects.toMatchObject({
      code: 'RTK_PARTITION_NOT_FOUND',
    })
    await expect(link.fetch('orders', { partition: 0, offset: 5 })).rejects.toMatchObject({
      code: 'RTK_OFFSET_OUT_OF_RANGE',
    })
  })

  it('refuses names that would make another path, without asking', async () => {
    const { link, broker } = await rigWithLink()
    await expect(async () => link.deleteTopic('..')).rejects.toMatchObject({ code: 'RTK_TOPIC_NAME_INVALID' })
    for (const group of ['..', '.', '', 'a/b'])
      await expect(async () => link.deleteGroup('orders', group)).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    expect(await broker.topicExists('orders')).toBe(true)
  })

  it('sends its credentials', async () => {
    const token = 'a-token-of-some-length-0123'
    const security = staticTokens({
      tokens: { [token]: { name: 'anna', allow: [{ actions: ['*'], topics: ['*'] }] } },
    })
    const { url } = await startRig({ broker: { security } })
    const link = await openLink(openHttpLink, url, { credentials: { kind: 'bearer', token } })
    expect(await link.listTopics()).toEqual([])
    await expect(openLink(openHttpLink, url)).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    const basic = { kind: 'basic', username: 'anna', password: 'x' } as const
    await expect(openLink(openHttpLink, url, { credentials: basic })).rejects.toMatchObject({
      code: 'RTK_UNAUTHENTICATED',
    })
  })

  it('says that nobody answers, and that somebody else does', async () => {
    const { url, transport } = await startRig()
    await transport.stop(1_000)
    await expect(openLink(openHttpLink, url)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    const page = await impostor((_request, response) => response.writeHead(404).end('<h1>no</h1>'))
    const moved = await impostor((_request, response) =>
      response.writeHead(302, { location: 'http://192.0.2.1/' }).end(),
    )
    for (const other of [page, moved]) {
      const link = await openLink(openHttpLink, other)
      await expect(link.listTopics()).rejects.toMatchObject({ code: 'RTK_FRAME_MALFORMED' })
    }
  })

  it('refuses answers above its limit', async () => {
    const url = await impostor((_request, response) => response.end('x'.repeat(10_000)))
    const link = await openHttpLink(new URL(url), {
      credentials: { kind: 'none' },
      platform,
      frameBytesMax: 5_000,
    })
    await expect(link.listTopics()).rejects.toMatchObject({ code: 'RTK_FRAME_MALFORMED' })
    await link.close()
  })

  it('fetches what comes in many pieces, byte for byte', async () => {
    const { link } = await rigWithLink()
    const sent = batchOf([Buffer.alloc(900_000, 'abc').toString()])
    await link.publishBatch('orders', 0, sent.slice())
    const { bytes, nextOffset } = await link.fetch('orders', { partition: 0, offset: 'earliest' })
    expect([bytes.length, nextOffset]).toEqual([sent.length, 1])
    expect(Buffer.compare(bytes.subarray(61), sent.subarray(61))).toBe(0)
  })

  it('cancels a call, and lives on', async () => {
    const { link } = await rigWithLink()
    const abort = new AbortController()
    const waiting = link.fetch(
      'orders',
      { partition: 0, offset: 0, waitMs: 50_000 },
      { signal: abort.signal },
    )
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    expect(await link.topicExists('orders')).toBe(true)
  })

  it('asks for no wait that the platform would cut', async () => {
    const asked: string[] = []
    const url = await impostor((request, response) => {
      asked.push(request.url ?? '')
      response.end()
    })
    const link = await openLink(openHttpLink, url)
    await link.fetch('orders', { partition: 0, offset: 'latest', waitMs: 3_600_000, bytesMax: 10 })
    expect(asked[0]).toBe('/v1/topics/orders/messages?partition=0&offset=latest&waitMs=240000&bytesMax=10')
  })

  it('rejects with RTK_CLOSED what is in flight at close, and what comes after', async () => {
    const { link } = await rigWithLink()
    const waiting = link.fetch('orders', { partition: 0, offset: 0, waitMs: 50_000 })
    const refused = expect(waiting).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await link.close()
    await refused
    await expect(link.listTopics()).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    expect(await link.closed).toBeUndefined()
    await link.close()
  })
})

describe('subscriptions of an HTTP link', () => {
  it('delivers, commits and closes', async () => {
    const { link, broker } = await rigWithLink()
    await link.publishBatch('orders', 0, batchOf(['a', 'b']))
    const sink = new Kept()
    const subscription = await link.subscribe(
      'orders',
      { ...from, group: 'g', credit: { bytes: 1_000 } },
      sink,
    )
    await sink.count(2)
    expect(sink.messages.map(text)).toEqual(['a', 'b'])
    await subscription.commit([{ partition: 0, offset: 2 }])
    expect((await link.describeGroup('orders', 'g')).lag).toBe(0)
    await subscription.close()
    expect(sink.events.at(-1)).toBe('ended undefined')
    expect((await broker.topicStats('orders')).subscriberCount).toBe(0)
    await subscription.close()
  })

  it('has nothing to commit without a group', async () => {
    const { link } = await rigWithLink()
    const subscription = await link.subscribe('orders', from, new Kept())
    await expect(subscription.commit([{ partition: 0, offset: 0 }])).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
  })

  it.each([
    [{ offset: 1 }, ['b', 'c']],
    [{ timestampMs: 0 }, ['a', 'b', 'c']],
    [{ offsets: [{ partition: 0, offset: 2 }], otherwise: 'latest' }, ['c']],
  ] as const)('begins at %j', async (begin, expected) => {
    const { link } = await rigWithLink()
    await link.publishBatch('orders', 0, batchOf(['a', 'b', 'c']))
    const sink = new Kept()
    await link.subscribe('orders', { from: begin, partitions: [0], credit: { bytes: 10_000 } }, sink)
    await sink.count(expected.length)
    expect(sink.messages.map(text)).toEqual(expected)
  })

  it('delivers nothing without credit, and goes on when it comes', async () => {
    const { link } = await rigWithLink()
    const batch = batchOf(['x'.repeat(1_000)])
    const sink = new Kept()
    const subscription = await link.subscribe('orders', from, sink)
    await link.publishBatch('orders', 0, batch.slice())
    await link.topicStats('orders')
    expect(sink.deliveries).toEqual([])
    subscription.grant({ bytes: batch.length })
    await sink.count(1)
    await link.publishBatch('orders', 0, batch.slice())
    await link.topicStats('orders')
    expect(sink.deliveries).toHaveLength(1)
    subscription.grant({ bytes: 1 })
    subscription.grant({ bytes: batch.length - 1 })
    await sink.count(2)
  })

  it('reads no further than credit lasts, so that the broker stands still', async () => {
    const { link, broker } = await rigWithLink()
    const batch = batchOf([Buffer.alloc(500_000, 'x').toString()])
    for (let i = 0; i < 60; i++) await link.publishBatch('orders', 0, batch.slice())
    const sink = new Kept()
    const subscription = await link.subscribe('orders', { ...from, credit: { bytes: 1 } }, sink)
    await sink.count(1)
    await link.topicStats('orders')
    expect(broker.stats().messagesDelivered).toBeLessThan(50)
    subscription.grant({ bytes: 60 * batch.length })
    await sink.count(60)
  })

  it('ends with the reason that the broker gives', async () => {
    const { link, broker } = await rigWithLink()
    const sink = new Kept()
    await link.subscribe('orders', { ...from, credit: { bytes: 1 } }, sink)
    await broker.deleteTopic('orders')
    expect(await sink.end.promise).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
    expect(await link.topicExists('orders')).toBe(false)
  })

  it('stays through quiet times by heartbeats', async () => {
    const clock = new ManualClock()
    const { link, broker } = await rigWithLink({ platform: { clock }, transport: { heartbeatMs: 15_000 } })
    const sink = new Kept()
    await link.subscribe('orders', { ...from, credit: { bytes: 1_000 } }, sink)
    await clock.advance(15_000 * 50)
    await broker.publish('orders', 'x')
    await sink.count(1)
    expect(sink.events).toEqual(['assigned 0:0', 'x'])
  })

  it('ends its subscriptions at close', async () => {
    const { link, broker } = await rigWithLink()
    const sinks = [new Kept(), new Kept()]
    for (const sink of sinks) await link.subscribe('orders', from, sink)
    await link.close()
    for (const sink of sinks) expect(await sink.end.promise).toBeUndefined()
    await expect.poll(async () => (await broker.topicStats('orders')).subscriberCount).toBe(0)
  })

  it('closes although the broker does not answer', async () => {
    const clock = new ManualClock()
    const url = await impostor((request, response) => {
      if (request.method === 'GET') response.write(subscribed)
      else asked.resolve()
    })
    const asked = Promise.withResolvers<void>()
    const link = await openLink(openHttpLink, url, { platform: { ...platform, clock } })
    const sink = new Kept()
    const subscription = await link.subscribe('orders', from, sink)
    const closed = subscription.close()
    await asked.promise
    await clock.advance(10_000)
    await closed
    expect(await sink.end.promise).toBeUndefined()
  })

  it('tells of a broker that is gone, and settles closed', async () => {
    let cut = () => {}
    const url = await impostor((_request, response) => {
      response.write(subscribed)
      cut = () => response.destroy()
    })
    const link = await openLink(openHttpLink, url)
    const sink = new Kept()
    await link.subscribe('orders', from, sink)
    cut()
    expect(await sink.end.promise).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
  })

  it.each([
    ['nothing', [], 'RTK_FRAME_MALFORMED'],
    ['another event', [frame('{"event":"assigned"}')], 'RTK_FRAME_MALFORMED'],
    ['no frame', [Buffer.from('<html><body>')], 'RTK_FRAME_MALFORMED'],
  ])('refuses a stream that begins with %s', async (_what, chunks, code) => {
    const url = await impostor((_request, response) => {
      for (const chunk of chunks) response.write(chunk)
      response.end()
    })
    const link = await openLink(openHttpLink, url)
    await expect(link.subscribe('orders', from, new Kept())).rejects.toMatchObject({ code })
  })

  it.each([
    ['is cut', [subscribed], 'RTK_DISCONNECTED'],
    ['ends within a frame', [subscribed, frame('{"event":"ended"}').subarray(0, 9)], 'RTK_DISCONNECTED'],
    ['holds what is no frame', [subscribed, frame(Uint8Array.of(250, 1, 2))], 'RTK_FRAME_MALFORMED'],
    [
      'ends with an error',
      [subscribed, frame('{"event":"ended","error":{"code":"RTK_LEASE_LOST"}}')],
      'RTK_LEASE_LOST',
    ],
  ])('ends when its stream %s', async (_what, chunks, code) => {
    const url = await impostor((_request, response) => {
      for (const chunk of chunks) response.write(chunk)
      response.end()
    })
    const link = await openLink(openHttpLink, url)
    const sink = new Kept()
    await link.subscribe('orders', from, sink)
    expect(await sink.end.promise).toMatchObject({ code })
  })

  it('ends when its sink throws', async () => {
    const batch = batchOf(['a'])
    const url = await impostor((request, response) => {
      if (request.method === 'GET')
        response.write(Buffer.concat([subscribed, frame(encodeDeliverHeader(0, 0, 0, 1), batch)]))
      else response.writeHead(204).end()
    })
    const link = await openLink(openHttpLink, url)
    const sink = new Kept()
    sink.deliver = () => Promise.reject(new Error('full'))
    await link.subscribe('orders', { ...from, credit: { bytes: 1_000 } }, sink)
    expect(await sink.end.promise).toBeInstanceOf(Error)
  })
})
