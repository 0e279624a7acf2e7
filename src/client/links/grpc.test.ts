/** The link over gRPC against a real broker, and its errors against what may come. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Metadata, status } from '@grpc/grpc-js'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, Harness, platform } from '../../../adapters/grpc/testing/harness.ts'
import { tls } from '../../../adapters/grpc/testing/tls.ts'
import * as proto from '../../../proto/index.ts'
import {
  type BatchDelivery,
  type BatchSink,
  type Credentials,
  type PartitionOffset,
  RatatoskrError,
  recordsFrom,
} from '../../ports/index.ts'
import type { Link } from '../link.ts'
import { openGrpcLink } from './grpc.ts'
import { restoreError } from './grpc-errors.ts'

const MIB = 1024 * 1024
const none: Credentials = { kind: 'none' }

let harness: Harness
let link: Link

const open = (url: string, credentials: Credentials = none, signal?: AbortSignal): Promise<Link> =>
  openGrpcLink(new URL(url), { credentials, platform, signal, frameBytesMax: 16 * MIB })

beforeEach(async () => {
  harness = await Harness.start({ broker: { autoCreateTopics: false } })
  link = await open(harness.address.url)
  await link.createTopic('orders', { partitions: 2 })
})

afterEach(async () => {
  await link.close()
  await harness.stop()
})

/** A sink that notes what it is told, and can be full. */
class NotingSink implements BatchSink {
  readonly calls: string[] = []
  readonly deliveries: BatchDelivery[] = []
  readonly over = Promise.withResolvers<RatatoskrError | undefined>()
  records = 0
  onDelivery: (delivery: BatchDelivery) => void | Promise<void> = () => undefined
  #changed = Promise.withResolvers<void>()

  assigned(partitions: readonly PartitionOffset[]): void {
    this.#note(`assigned ${partitions.map(({ partition, offset }) => `${partition}@${offset}`).join(' ')}`)
  }

  deliver(delivery: BatchDelivery): void | Promise<void> {
    this.deliveries.push(delivery)
    this.records += recordsFrom(delivery.bytes, delivery.fromOffset)
    this.#note(`deliver ${delivery.partition}@${delivery.fromOffset}-${delivery.nextOffset}`)
    return this.onDelivery(delivery)
  }

  ended(reason: RatatoskrError | undefined): void {
    this.#note(`ended ${reason?.code}`)
    this.over.resolve(reason)
  }

  async until(done: () => boolean): Promise<void> {
    while (!done()) await this.#changed.promise
  }

  #note(call: string): void {
    this.calls.push(call)
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }
}

const fromStart = { from: 'earliest', credit: { bytes: 8 * MIB } } as const

describe('operations', () => {
  it('administer topics', async () => {
    expect(await link.createTopic('orders', { partitions: 2 })).toMatchObject({ created: false })
    const created = await link.createTopic('invoices', { retentionMs: -1, durability: 'memory' })
    expect(created).toMatchObject({ created: true, topic: { name: 'invoices', config: { retentionMs: -1 } } })
    expect(await link.describeTopic('invoices')).toEqual(created.topic)
    expect(await link.resolveTopic('invoices')).toEqual(created.topic)
    expect(
      (await link.alterTopic('invoices', { partitions: 3 })).partitions.map(({ state }) => state),
    ).toEqual(['online', 'online', 'online'])
    expect((await link.listTopics()).map(({ name }) => name)).toEqual(['invoices', 'orders'])
    expect(await link.topicExists('invoices')).toBe(true)
    await link.deleteTopic('invoices')
    expect(await link.topicExists('invoices')).toBe(false)
  })

  it('answer as the broker itself answers', async () => {
    await link.publishBatch('orders', 0, batchOf('a', 'b'))
    const embedded = (await harness.broker.describeTopic('orders')) as unknown
    expect(await link.describeTopic('orders')).toEqual(embedded)
    expect(await link.topicStats('orders')).toMatchObject({
      topic: 'orders',
      messageCount: 2,
      subscriberCount: 0,
    })
    expect(await link.brokerStats()).toMatchObject({ messagesPublished: 2, topics: 1 })
  })

  it('fetch', async () => {
    await link.publishBatch('orders', 0, batchOf('a', 'b', 'c'))
    const fetched = await link.fetch('orders', { partition: 0, offset: 1, bytesMax: 100 })
    expect(fetched).toMatchObject({
      partition: 0,
      fromOffset: 1,
      nextOffset: 3,
      startOffset: 0,
      stableOffset: 3,
    })
    expect(recordsFrom(fetched.bytes, 1)).toBe(2)
    const empty = await link.fetch('orders', { partition: 0, offset: 'latest', waitMs: 0 })
    expect(empty).toMatchObject({ fromOffset: 3, nextOffset: 3 })
    expect((await link.fetch('orders', { partition: 0, offset: 'earliest' })).fromOffset).toBe(0)
  })

  it('cancel a fetch by its signal', async () => {
    const controller = new AbortController()
    const request = { partition: 0, offset: 0, waitMs: 60_000 }
    const waiting = link.fetch('orders', request, { signal: controller.signal })
    await link.topicExists('orders')
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    const { signal } = controller
    await expect(link.fetch('orders', request, { signal })).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    const late = AbortSignal.timeout(10)
    await expect(link.fetch('orders', request, { signal: late })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
  })

  it('keep groups', async () => {
    await link.publishBatch('orders', 0, batchOf('a', 'b', 'c'))
    await link.commit('orders', { group: 'billing', offsets: [{ partition: 0, offset: 2, metadata: 'm' }] })
    expect(await link.listGroups('orders')).toEqual(['billing'])
    const group = await link.describeGroup('orders', 'billing')
    expect(group).toMatchObject({ topic: 'orders', group: 'billing', state: 'empty', members: [], lag: 1 })
    expect(group.partitions).toMatchObject([
      { partition: 0, committedOffset: 2, metadata: 'm', stableOffset: 3, lag: 1, member: undefined },
      { partition: 1, committedOffset: undefined },
    ])
    const sought = await link.seekGroup('orders', 'billing', { position: 'earliest', partitions: [0] })
    expect(sought).toEqual([{ partition: 0, offset: 0 }])
    await link.deleteGroup('orders', 'billing')
    expect(await link.listGroups('orders')).toEqual([])
  })

  it('know every kind of position', async () => {
    await link.publishBatch('orders', 0, batchOf('a', 'b'))
    const offsetOf0 = async (position: Parameters<Link['offsets']>[1]) =>
      (await link.offsets('orders', position)).find(({ partition }) => partition === 0)?.offset
    expect(await offsetOf0('earliest')).toBe(0)
    expect(await offsetOf0('latest')).toBe(2)
    expect(await offsetOf0({ timestampMs: 0 })).toBe(0)
    expect(await offsetOf0({ offsets: [{ partition: 0, offset: 1 }] })).toBe(1)
    expect(await offsetOf0({ offsets: [], otherwise: 'latest' })).toBe(2)
    await expect(link.offsets('orders', { offset: -1 })).rejects.toMatchObject({
      code: expect.stringMatching(/^RTK_/),
    })
  })

  it('restore the errors of the broker', async () => {
    const embedded = await harness.broker.describeTopic('nowhere').catch((error: RatatoskrError) => error)
    const restored = await link.describeTopic('nowhere').catch((error: unknown) => error)
    expect(restored).toBeInstanceOf(RatatoskrError)
    expect(restored).toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND', message: (embedded as Error).message })
  })

  it('refuse numbers that the protocol cannot hold', async () => {
    const partition = 2 ** 40
    await expect(link.fetch('orders', { partition, offset: 0 })).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    await expect(link.fetch('orders', { partition: 0, offset: 0.5 })).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
  })
})

describe('publishing', () => {
  it('keeps many batches in flight on one stream', async () => {
    const receipts = await Promise.all(
      Array.from({ length: 500 }, (_, i) => link.publishBatch('orders', i % 2, batchOf('a', 'b'))),
    )
    const offsets = receipts.filter(({ partition }) => partition === 1).map(({ baseOffset }) => baseOffset)
    expect(offsets).toEqual(Array.from({ length: 250 }, (_, i) => i * 2))
    expect(receipts[0]).toEqual({ partition: 0, baseOffset: 0, recordCount: 2, durability: 'memory' })
  })

  it('rejects a batch alone', async () => {
    const broken = batchOf('x')
    broken[30] ^= 1
    const results = await Promise.allSettled([
      link.publishBatch('orders', 0, broken),
      link.publishBatch('nowhere', 0, batchOf('x')),
      link.publishBatch('orders', 0, batchOf('x'), { durability: 'quorum' }),
      link.publishBatch('orders', -1, batchOf('x')),
      link.publishBatch('orders', 0, new Uint8Array(16 * MIB + 1)),
      link.publishBatch('orders', 0, batchOf('fine'), { durability: 'memory' }),
    ])
    expect(
      results.map((result) => (result.status === 'rejected' ? result.reason.code : result.value.baseOffset)),
    ).toEqual([
      'RTK_BATCH_CRC_MISMATCH',
      'RTK_TOPIC_NOT_FOUND',
      'RTK_DURABILITY_UNAVAILABLE',
      'RTK_INVALID_ARGUMENT',
      'RTK_BATCH_TOO_LARGE',
      0,
    ])
  })

  it('takes a batch of the largest size', async () => {
    const payload = platform.random.fill(new Uint8Array(8 * MIB - 100))
    await link.publishBatch('orders', 0, batchOf(payload))
    const { bytes } = await link.fetch('orders', { partition: 0, offset: 0 })
    expect(Buffer.from(bytes).includes(payload)).toBe(true)
  })

  it('stops waiting by the signal', async () => {
    const controller = new AbortController()
    const { signal } = controller
    const done = await link.publishBatch('orders', 0, batchOf('x'), { signal })
    expect(done.baseOffset).toBe(0)
    const waiting = link.publishBatch('orders', 0, batchOf('x'), { signal })
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(link.publishBatch('orders', 0, batchOf('x'), { signal })).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })
    expect((await link.publishBatch('orders', 0, batchOf('x'))).partition).toBe(0)
  })
})

describe('subscriptions', () => {
  it('are assigned first, then delivered to, and silent once closed', async () => {
    await link.publishBatch('orders', 0, batchOf('a', 'b'))
    const sink = new NotingSink()
    const subscription = await link.subscribe('orders', fromStart, sink)
    expect(subscription).toMatchObject({ topic: 'orders', group: undefined, member: '' })
    expect(subscription.id).not.toBe('')
    await sink.until(() => sink.records === 2)
    expect(sink.calls).toEqual(['assigned 0@0 1@0', 'deliver 0@0-2'])
    await subscription.close()
    expect((await link.topicStats('orders')).subscriberCount).toBe(0)
    await link.publishBatch('orders', 0, batchOf('c'))
    subscription.grant({ bytes: 1 })
    await subscription.close()
    await expect(subscription.commit([])).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    expect(sink.calls.slice(2)).toEqual(['ended undefined'])
  })

  it('deliver within the credit, one call at a time, and take commits meanwhile', async () => {
    const sink = new NotingSink()
    const subscription = await link.subscribe('orders', { ...fromStart, group: 'g', member: 'm' }, sink)
    expect(subscription).toMatchObject({ group: 'g', member: 'm' })
    let open = 0
    sink.onDelivery = async ({ partition, nextOffset }) => {
      expect(++open).toBe(1)
      await subscription.commit([{ partition, offset: nextOffset }])
      subscription.grant({ bytes: 1_000 })
      open--
    }
    for (let i = 0; i < 20; i++) await link.publishBatch('orders', i % 2, batchOf(`m${i}`))
    await sink.until(() => sink.records === 20)
    await expect.poll(async () => (await link.describeGroup('orders', 'g')).lag, { interval: 5 }).toBe(0)
    await expect(subscription.commit([{ partition: 0, offset: 99 }])).rejects.toMatchObject({
      code: 'RTK_OFFSET_OUT_OF_RANGE',
    })
    await subscription.close()
    expect((await link.describeGroup('orders', 'g')).members).toEqual([])
  })

  it('deliver nothing more while the sink is full', async () => {
    const sink = new NotingSink()
    const full = Promise.withResolvers<void>()
    sink.onDelivery = () => full.promise
    const subscription = await link.subscribe('orders', { ...fromStart, partitions: [0] }, sink)
    await link.publishBatch('orders', 0, batchOf('a'))
    await sink.until(() => sink.records === 1)
    await link.publishBatch('orders', 0, batchOf('b'))
    await link.topicStats('orders')
    expect(sink.records).toBe(1)
    full.resolve()
    await sink.until(() => sink.records === 2)
    await subscription.close()
  })

  it('are closed from within a delivery', async () => {
    await link.publishBatch('orders', 0, batchOf('a'))
    await link.publishBatch('orders', 0, batchOf('b'))
    const sink = new NotingSink()
    const closed = Promise.withResolvers<void>()
    const opening = link.subscribe('orders', { ...fromStart, partitions: [0] }, sink)
    sink.onDelivery = async () => {
      await (await opening).close()
      closed.resolve()
    }
    await closed.promise
    expect(sink.calls.at(-1)).toBe('ended undefined')
    expect(sink.calls.filter((call) => call.startsWith('ended'))).toHaveLength(1)
  })

  it.each([
    ['throws', () => Promise.reject(new RatatoskrError('RTK_INVALID_ARGUMENT', 'no'))],
    [
      'rejects',
      () => {
        throw new RatatoskrError('RTK_INVALID_ARGUMENT', 'no')
      },
    ],
  ])('end when the sink %s', async (_, onDelivery) => {
    const sink = new NotingSink()
    sink.onDelivery = onDelivery
    await link.subscribe('orders', fromStart, sink)
    await link.publishBatch('orders', 0, batchOf('a'))
    expect(await sink.over.promise).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    await expect.poll(async () => (await link.topicStats('orders')).subscriberCount, { interval: 5 }).toBe(0)
  })

  it('end with the reason of the broker, after what was delivered', async () => {
    await link.publishBatch('orders', 0, batchOf('a'))
    const sink = new NotingSink()
    const full = Promise.withResolvers<void>()
    sink.onDelivery = () => full.promise
    await link.subscribe('orders', fromStart, sink)
    await sink.until(() => sink.records === 1)
    await link.deleteTopic('orders')
    expect(sink.calls.at(-1)).toBe('deliver 0@0-1')
    full.resolve()
    expect(await sink.over.promise).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
  })

  it('reject when they cannot stand', async () => {
    const sink = new NotingSink()
    const opening = link.subscribe('nowhere', fromStart, sink)
    await expect(opening).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    expect(sink.calls).toEqual([])
  })
})

describe('the end of a link', () => {
  it('by closing: what waits rejects with RTK_CLOSED', async () => {
    const sink = new NotingSink()
    await link.subscribe('orders', fromStart, sink)
    const waiting = link.fetch('orders', { partition: 0, offset: 0, waitMs: 60_000 })
    waiting.catch(() => undefined)
    await link.topicExists('orders')
    await link.close()
    await link.close()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(link.topicExists('orders')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(link.publishBatch('orders', 0, batchOf('x'))).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await expect(link.subscribe('orders', fromStart, sink)).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    expect(await sink.over.promise).toMatchObject({ code: 'RTK_CLOSED' })
    expect(await link.closed).toBeUndefined()
    const embedded = 1
    await expect.poll(() => harness.broker.stats().sessions, { interval: 5 }).toBeLessThanOrEqual(embedded)
  })

  /** A link through a wire that can be cut. */
  async function cuttable(): Promise<{ link: Link; cut: () => void; connections: () => number }> {
    const sockets: net.Socket[] = []
    let connections = 0
    const proxy = net.createServer((socket) => {
      connections++
      const onward = net.connect(harness.address.port, '127.0.0.1')
      for (const end of [socket, onward]) end.on('error', () => undefined)
      socket.pipe(onward).pipe(socket)
      sockets.push(socket, onward)
    })
    await once(proxy.listen(0, '127.0.0.1'), 'listening')
    const { port } = proxy.address() as net.AddressInfo
    const through = await open(`grpc://127.0.0.1:${port}`)
    const cut = () => {
      for (const socket of sockets) socket.resetAndDestroy()
      setImmediate(() => proxy.close())
    }
    return { link: through, cut, connections: () => connections }
  }

  it('by the loss of its connection: everything ends with RTK_DISCONNECTED, and nothing comes back', async () => {
    const { link: lost, cut, connections } = await cuttable()
    const sink = new NotingSink()
    const subscription = await lost.subscribe('orders', fromStart, sink)
    const waiting = [
      lost.fetch('orders', { partition: 0, offset: 0, waitMs: 60_000 }),
      lost
        .topicExists('orders')
        .then(() => lost.fetch('orders', { partition: 1, offset: 0, waitMs: 60_000 })),
    ]
    for (const promise of waiting) promise.catch(() => undefined)
    await lost.publishBatch('orders', 0, batchOf('x'))
    await lost.topicExists('orders')
    const inFlight = Promise.resolve(lost.publishBatch('orders', 0, batchOf('x')))
    inFlight.catch(() => undefined)
    cut()
    expect(await lost.closed).toMatchObject({ code: 'RTK_DISCONNECTED', retryable: true })
    expect(await sink.over.promise).toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(waiting[1]).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(inFlight).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(lost.topicExists('orders')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await subscription.close()
    await lost.close()
    expect(connections()).toBe(1)
  })

  it('by the stop of the broker: answers under way still come', async () => {
    const waiting = link.fetch('orders', { partition: 0, offset: 0, waitMs: 100 })
    const sink = new NotingSink()
    await link.subscribe('orders', fromStart, sink)
    await harness.transport.stop(5_000)
    expect((await waiting).nextOffset).toBe(0)
    expect(await sink.over.promise).toMatchObject({ code: 'RTK_UNAVAILABLE' })
    expect(await link.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
  })
})

describe('opening', () => {
  it('keeps a process alive that waits for it', async () => {
    const code = `
      import { nodePlatform } from 'ratatoskr/adapters/node'
      import { openGrpcLink } from './src/client/links/grpc.ts'
      const options = { credentials: { kind: 'none' }, platform: nodePlatform(), frameBytesMax: 1_000_000 }
      const link = await openGrpcLink(new URL('${harness.address.url}'), options)
      console.log(await link.topicExists('orders'))
    `
    const flags = ['--conditions=source', '--input-type=module', '--eval', code]
    const cwd = join(import.meta.dirname, '..', '..', '..')
    // It ends by itself too: a link that nobody waits for holds nothing.
    expect((await promisify(execFile)(process.execPath, flags, { cwd })).stdout).toBe('true\n')
  })

  it('fails when nobody listens', async () => {
    const server = net.createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as net.AddressInfo
    server.close()
    await expect(open(`grpc://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
  })

  it('is cancelled by its signal', async () => {
    const silent = net.createServer()
    await once(silent.listen(0, '127.0.0.1'), 'listening')
    const url = `grpc://127.0.0.1:${(silent.address() as net.AddressInfo).port}`
    const controller = new AbortController()
    const opening = open(url, none, controller.signal)
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(open(url, none, controller.signal)).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(open(url, none, AbortSignal.timeout(10))).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    silent.close()
  })

  it('fails with the wrong credentials, and gives the right ones', async () => {
    const authenticate = async (_peer: unknown, given: Credentials) => {
      const right =
        (given.kind === 'bearer' && given.token === 't') || (given.kind === 'basic' && given.password === 'p')
      if (right) return { name: 'me', namespace: 'default' }
      throw new RatatoskrError('RTK_UNAUTHENTICATED', 'wrong credentials')
    }
    const security = {
      authenticator: { requiresCredentials: true, authenticate },
      authorizer: { grants: async () => ({ allows: () => true }) },
    }
    const guarded = await Harness.start({ broker: { security } })
    const { url } = guarded.address
    await expect(open(url)).rejects.toMatchObject({
      code: 'RTK_UNAUTHENTICATED',
      message: 'wrong credentials',
    })
    const wrong: Credentials = { kind: 'bearer', token: 'x' }
    await expect(open(url, wrong)).rejects.toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    for (const right of [
      { kind: 'bearer', token: 't' },
      { kind: 'basic', username: 'ü', password: 'p' },
    ] as const) {
      const opened = await open(url, right)
      expect(await opened.listTopics()).toEqual([])
      await opened.close()
    }
    await guarded.stop()
  })

  it('asks for windows of 8 MiB', async () => {
    const server = http2.createServer()
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const sessions = once(server, 'session')
    const controller = new AbortController()
    const { port } = server.address() as net.AddressInfo
    const opening = open(`grpc://127.0.0.1:${port}`, none, controller.signal)
    opening.catch(() => undefined)
    const [session] = (await sessions) as [http2.ServerHttp2Session]
    await expect.poll(() => session.remoteSettings?.initialWindowSize, { interval: 5 }).toBe(8 * MIB)
    await expect.poll(() => session.state.remoteWindowSize, { interval: 5 }).toBe(8 * MIB)
    controller.abort()
    await expect(opening).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    session.destroy()
    server.close()
  })

  it('refuses a certificate that nobody trusts, and an address where TLS needs a name', async () => {
    const secure = await Harness.start({ transport: { tls } })
    const { port } = secure.address
    await expect(open(`grpcs://localhost:${port}`)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await expect(open(`grpcs://127.0.0.1:${port}`)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    await secure.stop()
  })
})

describe('restored errors', () => {
  const trailers = (error: Partial<proto.Error>): Metadata => {
    const metadata = new Metadata()
    const whole = { code: '', message: 'm', retryable: false, details: [], ...error }
    metadata.set('ratatoskr-error-bin', Buffer.from(proto.Error.encode(whole).finish()))
    return metadata
  }
  const restored = (code: status, details = '', metadata?: Metadata) =>
    restoreError({ code, details, metadata })

  it('have the code, the message and the details of the original', () => {
    const details = [
      { name: 'text', text: 'a' },
      { name: 'number', number: 1.5 },
      { name: 'flag', flag: false },
      { name: 'nothing' },
    ]
    const error = restored(status.NOT_FOUND, '', trailers({ code: 'RTK_TOPIC_NOT_FOUND', details }))
    expect(error).toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
      message: 'm',
      details: { text: 'a', number: 1.5, flag: false, nothing: null },
    })
  })

  it('stand for codes of a later version', () => {
    const later = restored(status.INTERNAL, '', trailers({ code: 'RTK_LATER', retryable: true }))
    expect(later).toMatchObject({ code: 'RTK_UNAVAILABLE', message: 'RTK_LATER: m' })
    expect(restored(status.INTERNAL, '', trailers({ code: 'RTK_LATER' })).code).toBe('RTK_INTERNAL')
  })

  it('stand for statuses without a code', () => {
    const foreign = new Metadata()
    foreign.set('ratatoskr-error-bin', Buffer.from([0xff, 0xff]))
    expect(restored(status.UNAVAILABLE, 'x', foreign).code).toBe('RTK_DISCONNECTED')
    expect(restored(status.DEADLINE_EXCEEDED).code).toBe('RTK_TIMEOUT')
    expect(restored(status.RESOURCE_EXHAUSTED).code).toBe('RTK_BATCH_TOO_LARGE')
    expect(restored(status.UNIMPLEMENTED).code).toBe('RTK_NOT_SUPPORTED')
    expect(restored(status.INTERNAL, 'Received RST_STREAM with code 2').code).toBe('RTK_DISCONNECTED')
    expect(restored(status.INTERNAL, 'Request message serialization failure: x').code).toBe(
      'RTK_INVALID_ARGUMENT',
    )
    expect(restored(status.INTERNAL, 'else').code).toBe('RTK_INTERNAL')
    expect(restored(status.DATA_LOSS).code).toBe('RTK_INTERNAL')
    expect(restored(99 as status).message).toContain('99')
  })
})
