/** The key scenarios of the broker as a whole, a named test each, and the counts and positions that it must keep exact. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EmbeddedBroker } from 'ratatoskr'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { type ClientMessage, connect, type Subscription } from 'ratatoskr/client'
import { publishAndAssertDelivery, startTestBroker } from 'ratatoskr/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ServerProcess } from '../../contract-tests/batteries/harness/server-process.ts'

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

async function take(subscription: Subscription, count: number): Promise<ClientMessage[]> {
  const messages: ClientMessage[] = []
  while (messages.length < count) messages.push(...(await subscription.take(count, { waitMs: 10_000 })))
  return messages
}

const textsOf = (messages: readonly ClientMessage[]): string[] => messages.map((message) => message.text())

describe('the key scenarios', () => {
  it('publish and subscribe: what one publishes another gets', async () => {
    await using broker = await startTestBroker()
    const messages = ['a', { payload: 'b', key: 'k', headers: { h: 'v' } }, new Uint8Array([0, 255])]
    await publishAndAssertDelivery({ topic: 'orders', messages, publisher: broker, subscriber: broker })
  })

  it('multiple subscribers: each of three gets every one of a hundred messages, in order', async () => {
    await using broker = await startTestBroker()
    const subscriptions = [
      await broker.subscribe('orders'),
      await broker.subscribe('orders'),
      await broker.subscribe('orders'),
    ]
    for (const payload of numbers(100)) await broker.publish('orders', payload)
    for (const subscription of subscriptions) {
      expect(textsOf(await take(subscription, 100))).toEqual(numbers(100))
      expect(await subscription.take(1)).toEqual([])
    }
    expect(broker.stats()).toMatchObject({ messagesPublished: 100, messagesDelivered: 300 })
  })

  it('topic isolation: a subscriber sees nothing of another topic, whose subscriber sees nothing of this', async () => {
    await using broker = await startTestBroker()
    const topics = ['orders', 'orders.eu', 'Orders', 'other/orders']
    const subscriptions = await Promise.all(topics.map((topic) => broker.subscribe(topic)))
    for (const [i, topic] of topics.entries()) {
      for (const text of numbers(10)) await broker.publish(topic, `${i}:${text}`)
    }
    for (const [i, subscription] of subscriptions.entries()) {
      expect(textsOf(await take(subscription, 10))).toEqual(numbers(10).map((text) => `${i}:${text}`))
      expect(await subscription.take(1)).toEqual([])
    }
    await broker.deleteTopic('orders')
    expect((await broker.listTopics()).map(({ name }) => name).sort()).toEqual([
      'Orders',
      'orders',
      'orders.eu',
    ])
    expect(await subscriptions[0].closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
    expect((await broker.topicStats('other/orders')).messageCount).toBe(10)
  })

  it('load: four producers, two groups and two readers, 20,000 messages, none lost and none doubled', async () => {
    await using broker = await startTestBroker()
    await broker.createTopic('load', { partitions: 4 })
    const total = 20_000
    const readers: { readonly seen: string[]; readonly done: Promise<void> }[] = []
    const read = async (group?: string, members = 1): Promise<void> => {
      const seen: string[] = []
      const done = Promise.withResolvers<void>()
      for (let i = 0; i < members; i++) {
        const handler = (message: ClientMessage) => {
          seen.push(message.text())
          if (seen.length === total) done.resolve()
        }
        await broker.subscribe('load', handler, { group, from: 'earliest' })
      }
      readers.push({ seen, done: done.promise })
    }
    await read('one', 2)
    await read('two', 3)
    await read()
    await read()
    const produce = async (name: number) => {
      await using producer = broker.producer({ batchBytesMax: 4_096 })
      const messages = numbers(total / 4).map((text) => ({ payload: `${name}:${text}`, key: text }))
      return await producer.addAll('load', messages)
    }
    const receipts = await Promise.all([0, 1, 2, 3].map(produce))
    expect(receipts.map(({ messageCount }) => messageCount)).toEqual([5_000, 5_000, 5_000, 5_000])
    await Promise.all(readers.map(({ done }) => done))
    for (const { seen } of readers) expect(new Set(seen).size).toBe(total)
    expect(readers.map(({ seen }) => seen.length)).toEqual([total, total, total, total])
    expect((await broker.topicStats('load')).messageCount).toBe(total)
  })
})

describe('over a restart on disk', () => {
  let directory: string
  const restarted = async (broker?: EmbeddedBroker): Promise<EmbeddedBroker> => {
    await broker?.stop()
    return startTestBroker({ storage: diskStorage({ directory }) })
  }

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ratatoskr-scenarios-'))
  })
  afterEach(() => rm(directory, { recursive: true, force: true }))

  it('crash recovery: after kill -9 topics, messages, ids and offsets are the same as before', async () => {
    await using before = await ServerProcess.start({ directory })
    const publisher = await connect(before.urls.grpc)
    await publisher.createTopic('orders', { partitions: 2, retentionMs: 86_400_000 })
    const sent = numbers(1_000).map((payload, i) => ({ payload, partition: i % 2, headers: { i: payload } }))
    const receipts = await publisher.publishMany('orders', sent)
    const described = await publisher.describeTopic('orders')
    await before.crash()
    await publisher.close({ timeoutMs: 100 })
    await using after = await ServerProcess.start({ directory })
    await using reader = await connect(after.urls.ws)
    expect(await reader.describeTopic('orders')).toEqual(described)
    await using subscription = await reader.subscribe('orders', { from: 'earliest' })
    const found = new Map((await take(subscription, 1_000)).map((message) => [message.id, message]))
    for (const [i, receipt] of receipts.entries()) {
      if ('error' in receipt) throw receipt.error
      const { partition, offset } = receipt
      expect(found.get(receipt.id)).toMatchObject({ partition, offset })
      expect(found.get(receipt.id)?.text()).toBe(`${i}`)
    }
  })

  it('a group goes on behind what it acknowledged, with its lag exact', async () => {
    let broker = await restarted()
    await broker.createTopic('orders', { partitions: 2 })
    for (const [i, payload] of numbers(20).entries())
      await broker.publish('orders', payload, { partition: i % 2 })
    const first = await broker.subscribe('orders', { group: 'g', ack: 'manual' })
    for (const message of await take(first, 20)) if (message.offset < 3) message.ack()
    await first.close()
    expect((await broker.describeGroup('orders', 'g')).lag).toBe(14)
    broker = await restarted(broker)
    await using _ = broker
    const group = await broker.describeGroup('orders', 'g')
    expect([group.lag, group.state]).toEqual([14, 'empty'])
    expect(group.partitions.map(({ committedOffset, lag }) => [committedOffset, lag])).toEqual([
      [3, 7],
      [3, 7],
    ])
    const second = await broker.subscribe('orders', { group: 'g' })
    const rest = await take(second, 14)
    expect(rest.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
      [3, 4, 5, 6, 7, 8, 9].flatMap((offset) => [offset, offset]),
    )
  })

  it('a group that fetches and commits resumes where it committed', async () => {
    let broker = await restarted()
    for (const payload of numbers(10)) await broker.publish('orders', payload)
    expect((await broker.fetch('orders', { offset: 0, max: 4 })).length).toBe(4)
    await broker.commit('orders', 'pullers', [{ partition: 0, offset: 4, metadata: 'after the fourth' }])
    broker = await restarted(broker)
    await using _ = broker
    const [partition] = (await broker.describeGroup('orders', 'pullers')).partitions
    expect(partition).toMatchObject({ committedOffset: 4, metadata: 'after the fourth', lag: 6 })
    const next = await broker.fetch('orders', { offset: partition.committedOffset, max: 2 })
    expect(next.map(({ offset }) => offset)).toEqual([4, 5])
  })
})

describe('a broker', () => {
  it('gives a subscriber who was away what he missed, and one who was there everything at once', async () => {
    await using broker = await startTestBroker()
    const away = await broker.subscribe('orders', { group: 'away' })
    const there = await broker.subscribe('orders', { group: 'there' })
    await broker.publish('orders', 'first')
    for (const subscription of [away, there]) for (const message of await take(subscription, 1)) message.ack()
    await away.close()
    for (const payload of numbers(100)) await broker.publish('orders', payload)
    expect(textsOf(await take(there, 100))).toEqual(numbers(100))
    const back = await broker.subscribe('orders', { group: 'away' })
    expect(textsOf(await take(back, 100))).toEqual(numbers(100))
  })

  it('replays a group from an offset, a time, the earliest and the latest message', async () => {
    await using broker = await startTestBroker()
    for (const [i, payload] of numbers(10).entries())
      await broker.publish('orders', payload, { timestampMs: 1_000 + 10 * i })
    const positions = [
      ['earliest', 0],
      [{ offset: 7 }, 7],
      [{ timestampMs: 1_035 }, 4],
      [{ offsets: [{ partition: 0, offset: 2 }] }, 2],
      ['latest', 10],
    ] as const
    await using client = await broker.client()
    await client.createQueue('orders', 'g')
    for (const [position, offset] of positions) {
      expect(await broker.seek('orders', 'g', position)).toEqual([{ partition: 0, offset }])
      expect((await broker.describeGroup('orders', 'g')).lag).toBe(10 - offset)
      const subscription = await broker.subscribe('orders', { group: 'g' })
      if (offset < 10) expect((await take(subscription, 1))[0].offset).toBe(offset)
      else expect(await subscription.take(1)).toEqual([])
      await subscription.close()
    }
  })

  it('makes topics on the way, or refuses to, as it is told', async () => {
    await using making = await startTestBroker()
    await making.publish('published', 'x')
    await making.subscribe('subscribed')
    expect((await making.listTopics()).map(({ name }) => name)).toEqual(['published', 'subscribed'])
    await using refusing = await startTestBroker({ autoCreateTopics: false })
    await expect(refusing.publish('published', 'x')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    await expect(refusing.subscribe('subscribed')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    expect(await refusing.listTopics()).toEqual([])
  })

  it('counts exactly: after publishing, subscribing, acknowledging, closing and deleting', async () => {
    await using broker = await startTestBroker()
    await broker.createTopic('orders', { partitions: 2 })
    const counts = async () => {
      const { messageCount, subscriberCount } = await broker.topicStats('orders')
      const { topics, partitions, subscriptions, messagesPublished, messagesDelivered } = broker.stats()
      return {
        messageCount,
        subscriberCount,
        topics,
        partitions,
        subscriptions,
        messagesPublished,
        messagesDelivered,
      }
    }
    const empty = { messageCount: 0, subscriberCount: 0, topics: 1, partitions: 2, subscriptions: 0 }
    expect(await counts()).toEqual({ ...empty, messagesPublished: 0, messagesDelivered: 0 })
    const one = await broker.subscribe('orders', { group: 'g' })
    const two = await broker.subscribe('orders')
    for (const [i, payload] of numbers(7).entries())
      await broker.publish('orders', payload, { partition: i % 2 })
    for (const subscription of [one, two]) for (const message of await take(subscription, 7)) message.ack()
    const busy = { messageCount: 7, subscriberCount: 2, topics: 1, partitions: 2, subscriptions: 2 }
    expect(await counts()).toEqual({ ...busy, messagesPublished: 7, messagesDelivered: 14 })
    await one.close()
    expect(await counts()).toMatchObject({ ...busy, subscriberCount: 1, subscriptions: 1 })
    await two.close()
    expect(await counts()).toMatchObject({ ...busy, subscriberCount: 0, subscriptions: 0 })
    expect(broker.health()).toEqual({
      status: 'ok',
      ready: true,
      uptimeMs: expect.any(Number),
      components: expect.any(Array),
    })
    await broker.deleteTopic('orders')
    expect(broker.stats()).toMatchObject({ topics: 0, partitions: 0, messagesPublished: 7 })
    await broker.stop()
    expect(broker.health()).toMatchObject({ status: 'stopped', ready: false })
  })
})
