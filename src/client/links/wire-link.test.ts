import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { startRig } from '../../../adapters/websocket/testing/rig.ts'
import { type Credentials, messagesOf, RatatoskrError } from '../../ports/index.ts'
import { batchOf, Kept, openLink, platform, rigWithOrders, source, text } from './testing/link-kit.ts'
import { openWebSocketLink as openGlobal } from './websocket.ts'
import { openWebSocketLink as openNode } from './websocket-node.ts'

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
