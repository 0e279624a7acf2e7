/** Bounds of the whole broker: one more than allowed is a coded error, and room comes back. Two brokers share nothing. */
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { connect } from 'ratatoskr/client'
import { defaultLimits, type Limits, type Plugin } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { describe, expect, it } from 'vitest'
import { createBroker } from './create-broker.ts'

const exceeded = { code: 'RTK_LIMIT_EXCEEDED' }

describe('limits', () => {
  it('of topics: one more is refused, by whatever way it would be made, until one is deleted', async () => {
    await using broker = await startTestBroker({ limits: { topicsMax: 3 } })
    for (const topic of ['a', 'b', 'c']) await broker.createTopic(topic)
    await expect(broker.createTopic('d')).rejects.toMatchObject(exceeded)
    await expect(broker.publish('d', 'x')).rejects.toMatchObject(exceeded)
    await expect(broker.subscribe('d')).rejects.toMatchObject(exceeded)
    expect((await broker.createTopic('a')).created).toBe(false)
    await broker.deleteTopic('b')
    expect((await broker.publish('d', 'x')).offset).toBe(0)
    expect((await broker.listTopics()).map(({ name }) => name)).toEqual(['a', 'c', 'd'])
  })

  it('of subscribers of a topic: one more is refused until one leaves; another topic has its own', async () => {
    await using broker = await startTestBroker({ limits: { subscribersPerTopicMax: 2 } })
    const first = await broker.subscribe('orders')
    await broker.subscribe('orders', { group: 'g' })
    await expect(broker.subscribe('orders')).rejects.toMatchObject(exceeded)
    await expect(broker.subscribe('orders', { group: 'g' })).rejects.toMatchObject(exceeded)
    await broker.subscribe('others')
    expect((await broker.topicStats('orders')).subscriberCount).toBe(2)
    await first.close()
    await broker.subscribe('orders')
  })

  it.each([
    ['gRPC', grpcTransport],
    ['WebSocket', webSocketTransport],
    ['HTTP', httpTransport],
    ['TCP', tcpTransport],
  ])('of sessions, over %s: one more is refused', async (_name, make) => {
    // One session is the broker's own, of its embedded API.
    await using broker = await startTestBroker({
      transports: [make({ port: 0 })],
      limits: { sessionsMax: 1 },
    })
    const refused = connect(broker.addresses[0].url, { platform: broker.platform, reconnect: false })
    await expect(refused.then((client) => client.listTopics())).rejects.toMatchObject(exceeded)
    expect(broker.stats().sessions).toBe(1)
  })

  it('of sessions: there is room again when one ends', async () => {
    await using broker = await startTestBroker({ limits: { sessionsMax: 2 } })
    const first = await broker.client()
    await expect(broker.client()).rejects.toMatchObject(exceeded)
    await first.close()
    await using second = await broker.client()
    expect(await second.listTopics()).toEqual([])
  })

  it('of partitions, groups and subscriptions of a session', async () => {
    await using broker = await startTestBroker({
      limits: { partitionsPerTopicMax: 4, groupsPerTopicMax: 2, subscriptionsPerSessionMax: 3 },
    })
    await broker.createTopic('orders', { partitions: 4 })
    await expect(broker.createTopic('wide', { partitions: 5 })).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    for (const group of ['a', 'b']) await broker.commit('orders', group, [{ partition: 0, offset: 0 }])
    await expect(broker.commit('orders', 'c', [{ partition: 0, offset: 0 }])).rejects.toMatchObject(exceeded)
    expect(await broker.listGroups('orders')).toEqual(['a', 'b'])
    for (let i = 0; i < 3; i++) await broker.subscribe('orders')
    await expect(broker.subscribe('orders')).rejects.toMatchObject(exceeded)
  })

  it('have the defaults that were promised', () => {
    expect(defaultLimits).toMatchObject({ topicsMax: 1_000, subscribersPerTopicMax: 10_000 })
  })

  it.each<[object, string]>([
    [{ topicsMax: 0 }, 'RTK_CONFIG_INVALID'],
    [{ topicsMax: 1.5 }, 'RTK_CONFIG_INVALID'],
    [{ topicMax: 5 }, 'RTK_CONFIG_UNKNOWN_KEY'],
  ])('that are wrong keep a broker from being made: %j', async (limits, code) => {
    await expect(
      createBroker({ storage: memoryStorage(), limits: limits as Partial<Limits> }),
    ).rejects.toMatchObject({ code })
  })
})

describe('two brokers in one process', () => {
  it('share nothing: topics, sessions, limits, plugins, or each other’s end', async () => {
    const seen: string[] = []
    const watching = (name: string): Plugin => ({
      name: 'watching',
      setup: (context) =>
        void context.on('messagePublished', ({ topic }) => void seen.push(`${name} ${topic}`)),
      close: () => void seen.push(`${name} closed`),
    })
    const one = await startTestBroker({ plugins: [watching('one')], limits: { topicsMax: 1 } })
    await using two = await startTestBroker({ plugins: [watching('two')] })
    await one.publish('orders', 'x')
    await two.createTopic('invoices')
    await two.publish('orders', 'y')
    await expect(one.createTopic('invoices')).rejects.toMatchObject(exceeded)
    expect((await one.listTopics()).map(({ name }) => name)).toEqual(['orders'])
    expect((await two.listTopics()).map(({ name }) => name)).toEqual(['invoices', 'orders'])
    const ids = await Promise.all([one, two].map(async (broker) => (await broker.describeTopic('orders')).id))
    expect(ids[0]).not.toBe(ids[1])
    const { sessions } = two.stats()
    await one.client()
    expect(two.stats().sessions).toBe(sessions)
    await one.stop()
    expect(seen).toEqual(['one orders', 'two orders', 'one closed'])
    expect((await two.fetch('orders')).map(({ payload }) => Buffer.from(payload).toString())).toEqual(['y'])
    await expect(one.publish('orders', 'z')).rejects.toMatchObject({ code: 'RTK_UNAVAILABLE' })
  })
})
