/** The link over gRPC against a real broker: what it can be asked. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { batchOf, Harness, platform } from '../../../adapters/grpc/testing/harness.ts'
import { RatatoskrError, recordsFrom } from '../../ports/index.ts'
import type { Link } from '../link.ts'
import { MIB, open } from './testing/grpc-kit.ts'

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

  it('leaves room for other calls while much waits to be sent', async () => {
    const payload = new Uint8Array(8 * MIB - 100)
    const publishing = [0, 1, 2, 3].map(() => link.publishBatch('orders', 0, batchOf(payload)))
    expect(await link.topicExists('orders')).toBe(true)
    expect((await Promise.all(publishing)).map(({ baseOffset }) => baseOffset)).toEqual([0, 1, 2, 3])
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
