import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocketServer } from 'ws'
import { type RigOptions, startRig } from '../../../adapters/websocket/testing/rig.ts'
import {
  BatchBuilder,
  type BatchDelivery,
  type BatchSink,
  binarySubprotocol,
  type Credentials,
  compressionOf,
  encodeProduced,
  type Message,
  messagesOf,
  type PartitionOffset,
  type Platform,
  RatatoskrError,
} from '../../ports/index.ts'
import type { Link, OpenLink } from '../link.ts'
import { openWebSocketLink as openGlobal } from './websocket.ts'
import { openWebSocketLink as openNode } from './websocket-node.ts'
import { wireLinkOpener } from './wire-link.ts'
import type { WireSocketEvents } from './wire-socket.ts'

const platform = nodePlatform({ logger: silentLogger })
const expansion = { codecs: platform.compression, bytesMax: 64 * 1024 * 1024 }
const source = { topic: 'orders', topicId: '', partition: 0, expansion }

interface OpenOptions {
  readonly credentials?: Credentials
  readonly platform?: Platform
  readonly signal?: AbortSignal
}

async function openLink(open: OpenLink, url: string, options: OpenOptions = {}): Promise<Link> {
  const link = await open(new URL(url), {
    credentials: { kind: 'none' },
    platform,
    frameBytesMax: 64 * 1024 * 1024,
    ...options,
  })
  onTestFinished(() => link.close())
  return link
}

function batchOf(texts: readonly string[], codec?: number): Uint8Array {
  const compression = codec === undefined ? undefined : platform.compression.get(codec)
  const builder = new BatchBuilder({ checksum: platform.checksum, compression })
  for (const text of texts) builder.add({ payload: new TextEncoder().encode(text), timestampMs: 1 })
  return builder.build()
}

/** A sink that keeps what it is told. */
class Kept implements BatchSink {
  readonly events: string[] = []
  readonly messages: Message[] = []
  readonly deliveries: BatchDelivery[] = []
  readonly end = Promise.withResolvers<RatatoskrError | undefined>()
  #wake: (() => void) | undefined

  assigned(partitions: readonly PartitionOffset[]): void {
    this.events.push(
      `assigned ${partitions.map(({ partition, offset }) => `${partition}:${offset}`).join(' ')}`,
    )
    this.#wake?.()
  }

  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    for (const message of messagesOf(delivery.bytes, source, delivery.fromOffset)) {
      this.messages.push(message)
      this.events.push(text(message))
    }
    this.#wake?.()
  }

  ended(reason: RatatoskrError | undefined): void {
    this.events.push(`ended ${reason?.code}`)
    this.end.resolve(reason)
    this.#wake?.()
  }

  /** Resolves when there are this many messages. */
  async count(messages: number): Promise<void> {
    while (this.messages.length < messages) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

const text = (message: Message): string => new TextDecoder().decode(message.payload)

async function rigWithOrders(options?: RigOptions) {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  return rig
}

describe.each([
  ['ws of Node', openNode],
  ['the global WebSocket', openGlobal],
])('a link over %s', (_, open) => {
  it('carries every operation', async () => {
    const { url } = await startRig()
    const link = await openLink(open, url)
    expect(await link.createTopic('orders', { partitions: 1 })).toMatchObject({ created: true })
    expect(await link.createTopic('orders', { partitions: 1 })).toMatchObject({ created: false })
    expect((await link.listTopics()).map(({ name }) => name)).toEqual(['orders'])
    expect(await link.topicExists('orders')).toBe(true)
    expect(await link.describeTopic('orders')).toMatchObject({ name: 'orders', config: { partitions: 1 } })
    expect(await link.alterTopic('orders', { retentionMs: 9_000 })).toMatchObject({
      config: { retentionMs: 9_000 },
    })
    expect(await link.resolveTopic('orders')).toMatchObject({ name: 'orders' })
    expect(await link.publishBatch('orders', 0, batchOf(['a', 'b']))).toEqual({
      partition: 0,
      baseOffset: 0,
      recordCount: 2,
      durability: 'memory',
    })
    const fetched = await link.fetch('orders', { partition: 0, offset: 1 })
    expect(Object.keys(fetched).sort()).toEqual(
      ['bytes', 'fromOffset', 'nextOffset', 'partition', 'stableOffset', 'startOffset'].sort(),
    )
    expect(fetched).toMatchObject({ fromOffset: 1, nextOffset: 2, startOffset: 0, stableOffset: 2 })
    expect([...messagesOf(fetched.bytes, source, fetched.fromOffset)].map(text)).toEqual(['b'])
    await link.commit('orders', { group: 'g', offsets: [{ partition: 0, offset: 1, metadata: 'x' }] })
    expect(await link.listGroups('orders')).toEqual(['g'])
    expect(await link.describeGroup('orders', 'g')).toMatchObject({
      state: 'empty',
      partitions: [{ committedOffset: 1, metadata: 'x', lag: 1 }],
    })
    expect(await link.seekGroup('orders', 'g', { position: 'latest' })).toEqual([{ partition: 0, offset: 2 }])
    expect(await link.offsets('orders', 'earliest')).toEqual([{ partition: 0, offset: 0 }])
    expect(await link.topicStats('orders')).toMatchObject({ messageCount: 2 })
    expect(await link.brokerStats()).toMatchObject({ topics: 1 })
    await link.deleteGroup('orders', 'g')
    await link.deleteTopic('orders')
    await expect(link.describeTopic('orders')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
  })

  it('restores errors with code and kind', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(open, url)
    const broken = batchOf(['a'])
    broken[65] ^= 1
    await expect(link.publishBatch('orders', 0, broken)).rejects.toMatchObject({
      code: 'RTK_BATCH_CRC_MISMATCH',
      kind: 'invalid',
      retryable: false,
    })
    await expect(link.publishBatch('orders', 5, batchOf(['a']))).rejects.toBeInstanceOf(RatatoskrError)
    await expect(link.publishBatch('orders', 5, batchOf(['a']))).rejects.toMatchObject({
      code: 'RTK_PARTITION_NOT_FOUND',
    })
    await expect(
      link.publishBatch('orders', 0, batchOf(['a']), { durability: 'fsync' }),
    ).rejects.toMatchObject({
      code: 'RTK_DURABILITY_UNAVAILABLE',
    })
    await expect(link.subscribe('orders', { from: { offset: 99 } }, new Kept())).rejects.toMatchObject({
      code: 'RTK_OFFSET_OUT_OF_RANGE',
    })
    await expect(link.createTopic('a b')).rejects.toMatchObject({ code: 'RTK_TOPIC_NAME_INVALID' })
  })

  it('pipelines batches in order, of one byte and of a MiB', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(open, url)
    const payloads = Array.from({ length: 30 }, (_, n) =>
      n % 10 === 3 ? `${n}${'x'.repeat(1024 * 1024)}` : `${n}`,
    )
    const receipts = await Promise.all(
      payloads.map((payload) => link.publishBatch('orders', 0, batchOf([payload]))),
    )
    expect(receipts.map(({ baseOffset }) => baseOffset)).toEqual(payloads.map((_, n) => n))
    const sink = new Kept()
    await link.subscribe('orders', { from: 'earliest', credit: { bytes: 64 * 1024 * 1024 } }, sink)
    await sink.count(payloads.length)
    expect(sink.messages.map(text).every((got, n) => got === payloads[n])).toBe(true)
  })

  it('gives a subscription what its credit allows, and more when granted', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(open, url)
    for (const payload of ['a', 'b', 'c']) await link.publishBatch('orders', 0, batchOf([payload]))
    const sink = new Kept()
    const subscription = await link.subscribe('orders', { from: 'earliest' }, sink)
    expect(subscription).toMatchObject({ topic: 'orders', group: undefined, member: '' })
    expect(subscription.id).toMatch(/./)
    await link.topicStats('orders')
    expect(sink.events).toEqual(['assigned 0:0'])
    subscription.grant({ bytes: 1 })
    subscription.grant({ bytes: 10_000 })
    await sink.count(3)
    expect(sink.events).toEqual(['assigned 0:0', 'a', 'b', 'c'])
    await Promise.all([subscription.close(), subscription.close()])
    expect(sink.events.at(-1)).toBe('ended undefined')
    await link.publishBatch('orders', 0, batchOf(['d']))
    subscription.grant({ bytes: 10_000 })
    expect(await link.topicStats('orders')).toMatchObject({ subscriberCount: 0 })
    expect(sink.messages).toHaveLength(3)
  })

  it('commits as a member, and the next member goes on there', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(open, url)
    await link.publishBatch('orders', 0, batchOf(['a', 'b']))
    const first = new Kept()
    const one = await link.subscribe('orders', { group: 'g', member: 'one', credit: { bytes: 1_000 } }, first)
    expect(one).toMatchObject({ group: 'g', member: 'one' })
    await first.count(2)
    await one.commit([{ partition: 0, offset: 1 }])
    await one.close()
    await expect(one.commit([{ partition: 0, offset: 2 }])).rejects.toBeInstanceOf(RatatoskrError)
    const second = new Kept()
    await link.subscribe('orders', { group: 'g', member: 'two', credit: { bytes: 1_000 } }, second)
    await second.count(1)
    expect(second.events).toEqual(['assigned 0:1', 'b'])
  })

  it('ends subscriptions with the reason of the broker', async () => {
    const { url, broker } = await rigWithOrders()
    const link = await openLink(open, url)
    const sink = new Kept()
    await link.subscribe('orders', {}, sink)
    await broker.deleteTopic('orders')
    expect(await sink.end.promise).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
  })

  it('when lost rejects what is in flight, ends subscriptions and settles `closed`', async () => {
    const { url, transport } = await rigWithOrders()
    const link = await openLink(open, url)
    const sink = new Kept()
    await link.subscribe('orders', {}, sink)
    const fetching = link.fetch('orders', { partition: 0, offset: 0, waitMs: 60_000 })
    fetching.catch(() => {})
    await transport.stop(2_000)
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED', retryable: true })
    expect((await sink.end.promise)?.retryable).toBe(true)
    await expect(fetching).rejects.toMatchObject({ retryable: true })
    await expect(link.listTopics()).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(link.publishBatch('orders', 0, batchOf(['a']))).rejects.toMatchObject({
      code: 'RTK_DISCONNECTED',
    })
    await expect(
      open(new URL(url), { credentials: { kind: 'none' }, platform, frameBytesMax: 1 }),
    ).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
  })

  it('when closed ends subscriptions without a reason and refuses calls', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(open, url)
    const sink = new Kept()
    const subscription = await link.subscribe('orders', {}, sink)
    const fetching = link.fetch('orders', { partition: 0, offset: 0, waitMs: 60_000 })
    fetching.catch(() => {})
    await Promise.all([link.close(), link.close()])
    expect(await link.closed).toBeUndefined()
    expect(sink.events.at(-1)).toBe('ended undefined')
    await expect(fetching).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(link.listTopics()).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await subscription.close()
    expect(sink.events.filter((event) => event.startsWith('ended'))).toHaveLength(1)
  })

  it('resumes by offset on the next link, without gap or duplicate', async () => {
    const { url, broker, transport } = await rigWithOrders()
    const link = await openLink(open, url)
    const first = new Kept()
    const subscription = await link.subscribe('orders', { from: 'earliest', credit: { bytes: 100 } }, first)
    for (let n = 0; n < 20; n++) await link.publishBatch('orders', 0, batchOf([`${n}`]))
    subscription.grant({ bytes: 400 })
    await first.count(3)
    await transport.stop(2_000)
    await first.end.promise
    const next = first.deliveries.at(-1)?.nextOffset ?? 0
    const address = await transport.start(broker.facade, { failed: () => {} })
    const again = await openLink(open, address.url)
    const second = new Kept()
    const from = { offsets: [{ partition: 0, offset: next }] }
    await again.subscribe('orders', { from, credit: { bytes: 100_000 } }, second)
    await second.count(20 - next)
    expect([...first.messages, ...second.messages].map(text)).toEqual(
      Array.from({ length: 20 }, (_, n) => `${n}`),
    )
  })

  it('says who it is, and is told when that is not enough', async () => {
    const authenticator = {
      requiresCredentials: true,
      async authenticate(_peer: unknown, credentials: Credentials) {
        const known =
          (credentials.kind === 'bearer' && credentials.token === 'secret') ||
          (credentials.kind === 'basic' &&
            credentials.username === 'ann' &&
            credentials.password === 'secret')
        if (!known) throw new RatatoskrError('RTK_UNAUTHENTICATED', 'who are you?')
        return { name: 'ann', namespace: 'default' }
      },
    }
    const security = { authenticator, authorizer: { grants: async () => ({ allows: () => true }) } }
    const { url } = await startRig({ security })
    for (const credentials of [
      { kind: 'bearer', token: 'secret' },
      { kind: 'basic', username: 'ann', password: 'secret' },
    ] as const) {
      const link = await openLink(open, url, { credentials })
      expect(await link.listTopics()).toEqual([])
    }
    await expect(openLink(open, url)).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    await expect(openLink(open, url, { credentials: { kind: 'bearer', token: 'x' } })).rejects.toMatchObject({
      code: 'RTK_UNAUTHENTICATED',
    })
  })

  it('obeys signals: while it connects, publishes and fetches', async () => {
    const { url } = await rigWithOrders()
    await expect(openLink(open, url, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })
    const server = createServer().listen(0, '127.0.0.1')
    server.on('upgrade', () => controller.abort())
    const controller = new AbortController()
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    await expect(
      openLink(open, `ws://127.0.0.1:${port}`, { signal: controller.signal }),
    ).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })

    const link = await openLink(open, url)
    const signal = AbortSignal.abort(new DOMException('late', 'TimeoutError'))
    expect(() => link.publishBatch('orders', 0, batchOf(['a']), { signal })).toThrow('late')
    await expect(link.fetch('orders', { partition: 0, offset: 0 }, { signal })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    const waiting = new AbortController()
    const fetching = link.fetch(
      'orders',
      { partition: 0, offset: 0, waitMs: 60_000 },
      { signal: waiting.signal },
    )
    waiting.abort()
    await expect(fetching).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    expect(await link.topicStats('orders')).toMatchObject({ messageCount: 0 })
  })
})

describe('what the platform lacks', () => {
  it('batches come uncompressed to a platform without codecs, with the same messages', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const bare = await openLink(openGlobal, url, { platform: { ...platform, compression: new Map() } })
    const texts = Array.from({ length: 50 }, (_, n) => `message ${n} ${'z'.repeat(200)}`)
    await link.publishBatch('orders', 0, batchOf(texts, 1))
    await link.publishBatch('orders', 0, batchOf(['plain']))
    await link.publishBatch('orders', 0, batchOf(texts, 4))
    const [compressed, expanded] = [new Kept(), new Kept()]
    await link.subscribe('orders', { from: 'earliest', credit: { bytes: 100_000 } }, compressed)
    await bare.subscribe('orders', { from: 'earliest', credit: { bytes: 100_000 } }, expanded)
    await Promise.all([compressed.count(101), expanded.count(101)])
    expect(compressionOf(compressed.deliveries[0].bytes)).toBe(1)
    expect(expanded.deliveries.every(({ bytes }) => compressionOf(bytes) === 0)).toBe(true)
    expect(expanded.messages.map((m) => [m.offset, text(m)])).toEqual(
      compressed.messages.map((m) => [m.offset, text(m)]),
    )
  })

  it('credit for expanded batches pays for what the broker counted', async () => {
    const { url, broker } = await rigWithOrders()
    const bare = await openLink(openGlobal, url, { platform: { ...platform, compression: new Map() } })
    const texts = Array.from({ length: 100 }, () => 'z'.repeat(500))
    const stored = batchOf(texts, 1).length
    for (let n = 0; n < 3; n++) await bare.publishBatch('orders', 0, batchOf(texts, 1))
    const sink = new Kept()
    const subscription = await bare.subscribe('orders', { from: 'earliest', credit: { bytes: stored } }, sink)
    await sink.count(100)
    // Giving back what it got lets one more batch of the same size through, not as many as the expanded bytes would.
    subscription.grant({ bytes: sink.deliveries[0].bytes.length })
    await sink.count(200)
    await bare.brokerStats()
    expect(broker.stats().messagesDelivered).toBe(200)
  })
})

describe('a sink', () => {
  it('that is full gets nothing more, keeps nobody waiting, and then goes on in order', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const gate = Promise.withResolvers<void>()
    const full = new Kept()
    const { deliver } = full
    full.deliver = (delivery) => {
      void deliver.call(full, delivery)
      return full.deliveries.length === 1 ? gate.promise : undefined
    }
    const quick = new Kept()
    const credit = { bytes: 10_000 }
    await link.subscribe('orders', { credit }, full)
    await link.subscribe('orders', { credit }, quick)
    for (const payload of ['a', 'b', 'c']) await link.publishBatch('orders', 0, batchOf([payload]))
    await quick.count(3)
    expect(full.events).toEqual(['assigned 0:0', 'a'])
    gate.resolve()
    await full.count(3)
    expect(full.events).toEqual(['assigned 0:0', 'a', 'b', 'c'])
  })

  it.each([
    [
      'throws',
      () => {
        throw new RatatoskrError('RTK_OVERLOADED', 'no')
      },
    ],
    ['rejects', () => Promise.reject(new RatatoskrError('RTK_OVERLOADED', 'no'))],
  ])('that %s ends its subscription, here and at the broker', async (_, deliver) => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    sink.deliver = deliver
    await link.subscribe('orders', { credit: { bytes: 1_000 } }, sink)
    await link.publishBatch('orders', 0, batchOf(['a']))
    expect(await sink.end.promise).toMatchObject({ code: 'RTK_OVERLOADED' })
    await vi.waitFor(async () => {
      expect(await link.topicStats('orders')).toMatchObject({ subscriberCount: 0 })
    })
    expect(sink.events).toEqual(['assigned 0:0', 'ended RTK_OVERLOADED'])
  })

  it('that closes its subscription while it is called hears of nothing more', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    const { deliver } = sink
    sink.deliver = async (delivery) => {
      await deliver.call(sink, delivery)
      await subscription.close()
    }
    const subscription = await link.subscribe('orders', { credit: { bytes: 1_000 } }, sink)
    for (const payload of ['a', 'b']) await link.publishBatch('orders', 0, batchOf([payload]))
    expect(await sink.end.promise).toBeUndefined()
    expect(sink.events).toEqual(['assigned 0:0', 'a', 'ended undefined'])
  })

  it('that throws when it is told the end harms nobody', async () => {
    const { url } = await rigWithOrders()
    const link = await openLink(openNode, url)
    const sink = new Kept()
    sink.ended = () => {
      throw new Error('unwilling')
    }
    const other = new Kept()
    await link.subscribe('orders', {}, sink)
    await link.subscribe('orders', {}, other)
    await link.close()
    expect(await other.end.promise).toBeUndefined()
  })
})

/** A link on a socket in this process, whose other end the test plays. */
async function linkOnDouble(clock = new ManualClock()) {
  const sent: (string | Uint8Array)[] = []
  let events: WireSocketEvents | undefined
  let closes = 0
  const open = wireLinkOpener(async (_url, options) => {
    events = options.events
    return {
      sendText(frame) {
        sent.push(frame)
        const { op, id } = JSON.parse(frame)
        if (op === 'hello') queueMicrotask(() => events?.text(JSON.stringify({ id, ok: {} })))
      },
      sendBinary: (frame) => void sent.push(frame),
      close: () => void closes++,
    }
  })
  const link = await open(new URL('double://here'), {
    credentials: { kind: 'none' },
    platform: { ...platform, clock },
    frameBytesMax: 1_000,
  })
  const said = (op: string) =>
    sent.filter((frame) => typeof frame === 'string' && JSON.parse(frame).op === op)
  return { link, clock, sent, said, events: events as unknown as WireSocketEvents, closes: () => closes }
}

describe('a broker', () => {
  it('that gives no sign of life is taken for lost', async () => {
    const { link, clock, said, events } = await linkOnDouble()
    await clock.advance(20_000)
    expect(said('ping')).toHaveLength(1)
    events.text('{"id":2,"ok":{}}')
    await clock.advance(20_000)
    expect(said('ping')).toHaveLength(2)
    await clock.advance(20_000)
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(clock.pending).toBe(0)
  })

  it.each<[string, (events: WireSocketEvents) => void]>([
    ['text that is no JSON', (events) => events.text('{')],
    ['JSON that is no object', (events) => events.text('null')],
    ['a malformed binary frame', (events) => events.binary(new Uint8Array(5))],
  ])('that sends %s is given up', async (_, send) => {
    const { link, events, closes } = await linkOnDouble()
    const waiting = link.listTopics()
    send(events)
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect((await link.closed)?.message).toContain('cannot be read')
    expect(closes()).toBe(1)
    send(events)
  })

  it('that says why it closes is quoted', async () => {
    const { link, events } = await linkOnDouble()
    events.text(
      JSON.stringify({ event: 'error', error: { code: 'RTK_FRAME_MALFORMED', message: 'too deep' } }),
    )
    events.closed('closed with code 1007')
    const reason = await link.closed
    expect(reason).toMatchObject({ code: 'RTK_DISCONNECTED', cause: { code: 'RTK_FRAME_MALFORMED' } })
    expect(reason?.message).toContain('too deep')
  })

  it('that answers nobody, or nothing known, changes nothing', async () => {
    const { link, events } = await linkOnDouble()
    const waiting = link.listTopics()
    events.text('{"id":99,"ok":{}}')
    events.text('{"event":"assigned","subscription":99,"partitions":[]}')
    events.text('{"event":"ended","subscription":99}')
    events.text('{"event":"news"}')
    events.binary(encodeProduced(99, 0, 0, 1, 'os'))
    events.text('{"id":2,"ok":{"topics":[]}}')
    expect(await waiting).toEqual([])
  })

  it('that does not close is not waited for without end', async () => {
    const { link, clock } = await linkOnDouble()
    const closing = link.close()
    await clock.advance(2_000)
    await closing
    expect(clock.pending).toBe(0)
  })

  it('that refuses the handshake is quoted; what is no broker is named', async () => {
    const rig = await startRig({ limits: { sessionsMax: 1 } })
    await rig.client()
    await expect(openLink(openNode, rig.url)).rejects.toMatchObject({ code: 'RTK_LIMIT_EXCEEDED' })
    const server = createServer()
    server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno'),
    )
    server.listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const refused = openLink(openNode, `ws://127.0.0.1:${port}`)
    await expect(refused).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(refused).rejects.toThrow('HTTP status 404')
  })

  it('that sends a frame above the bound is left', async () => {
    const server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: () => binarySubprotocol,
    })
    onTestFinished(() => void server.close())
    server.on('connection', (ws) => {
      ws.once('message', (data) => {
        ws.send(JSON.stringify({ id: JSON.parse(data.toString()).id, ok: {} }))
        ws.send(new Uint8Array(2_000))
      })
      ws.on('error', () => {})
    })
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const link = await openNode(new URL(`ws://127.0.0.1:${port}`), {
      credentials: { kind: 'none' },
      platform,
      frameBytesMax: 1_000,
    })
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
  })
})
