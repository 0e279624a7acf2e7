/** Subscriptions over gRPC against a real broker, and how they and all else end with their link. */
import { once } from 'node:events'
import net from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, Harness } from '../../../adapters/grpc/testing/harness.ts'
import { RatatoskrError } from '../../ports/index.ts'
import type { Link } from '../link.ts'
import { fromStart, NotingSink, open } from './testing/grpc-kit.ts'

let harness: Harness
let link: Link

beforeEach(async () => {
  harness = await Harness.start({ broker: { autoCreateTopics: false } })
  link = await open(harness.address.url)
  await link.createTopic('orders', { partitions: 2 })
})

afterEach(async () => {
  await link.close()
  await harness.stop()
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
