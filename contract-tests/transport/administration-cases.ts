/** Topics, stats and groups as the protocol shows them. */
import { expect } from 'vitest'
import { type ContractCase, expectCode, within } from '../suite.ts'
import { Collector, type TransportContext, textMessage } from './context.ts'

export const administrationCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'creates, lists, describes, alters and deletes topics',
    async run(context) {
      const { transport, connect } = await context.broker()
      const probe = await connect()
      if (!transport.supports.administration) {
        await expectCode(() => probe.createTopic('orders'), 'RTK_NOT_SUPPORTED')
        return
      }
      expect(await probe.topicExists('orders')).toBe(false)
      expect((await probe.createTopic('orders', { partitions: 3, retentionMs: 60_000 })).created).toBe(true)
      expect((await probe.createTopic('orders', { partitions: 3, retentionMs: 60_000 })).created).toBe(false)
      expect(await probe.topicExists('orders')).toBe(true)
      expect(await probe.listTopics()).toEqual(['orders'])
      const described = await probe.describeTopic('orders')
      expect(described).toMatchObject({
        name: 'orders',
        namespace: 'default',
        config: { partitions: 3, retentionMs: 60_000 },
      })
      expect(
        described.partitions.map(({ partition, startOffset, endOffset }) => [
          partition,
          startOffset,
          endOffset,
        ]),
      ).toEqual([
        [0, 0, 0],
        [1, 0, 0],
        [2, 0, 0],
      ])
      const altered = await probe.alterTopic('orders', { partitions: 5, retentionMs: -1 })
      expect(altered.config).toMatchObject({ partitions: 5, retentionMs: -1 })
      await probe.deleteTopic('orders')
      expect(await probe.listTopics()).toEqual([])
    },
  },
  {
    name: 'gives topics settings for their queue groups',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.administration) return
      const probe = await connect()
      const all = {
        sharing: 'keyShared',
        ackTimeoutMs: 1_000,
        retriesMax: -1,
        retry: { kind: 'list', delaysMs: [1, 20] },
        deadLetterTopic: 'graveyard',
        deadLetterRetentionMs: 5_000,
        deadLetterExpired: true,
        inFlightMax: 7,
        checkpointIntervalMs: 8,
        groupExpiryMs: -1,
      } as const
      expect((await probe.createTopic('orders', { queue: all })).created).toBe(true)
      expect((await probe.describeTopic('orders')).config.queue).toEqual(all)
      const changed = await probe.alterTopic('orders', {
        queue: { retry: { kind: 'exponential', delayMs: 5, maxMs: 50, jitter: 0.25 }, retriesMax: 0 },
      })
      const retry = { kind: 'exponential', delayMs: 5, maxMs: 50, jitter: 0.25 }
      expect(changed.config.queue).toEqual({ ...all, retry, retriesMax: 0 })
      await probe.createTopic('plain')
      expect((await probe.describeTopic('plain')).config.queue).toBeUndefined()
      const some = await probe.alterTopic('plain', { queue: { retriesMax: 1 } })
      expect(some.config.queue).toEqual({ retriesMax: 1 })
      await expectCode(
        () => probe.createTopic('bad', { queue: { ackTimeoutMs: -5 } }),
        'RTK_INVALID_ARGUMENT',
      )
    },
  },
  {
    name: 'refuses what topics cannot be, by code',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.administration) return
      const probe = await connect()
      await probe.createTopic('orders')
      await expectCode(() => probe.createTopic('orders', { partitions: 2 }), 'RTK_TOPIC_EXISTS')
      await expectCode(() => probe.alterTopic('orders', { partitions: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(
        () => probe.createTopic('more', { partitions: 1_000_000 }),
        'RTK_INVALID_ARGUMENT',
        'RTK_LIMIT_EXCEEDED',
      )
      await expectCode(
        () => probe.createTopic('strong', { durability: 'fsync' }),
        'RTK_DURABILITY_UNAVAILABLE',
      )
      await expectCode(() => probe.describeTopic('missing'), 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => probe.deleteTopic('missing'), 'RTK_TOPIC_NOT_FOUND')
      expect(await probe.listTopics()).toEqual(['orders'])
    },
  },
  {
    name: 'refuses bad topic names everywhere, and creates nothing',
    async run(context) {
      const { broker, connect } = await context.broker()
      const probe = await connect()
      for (const name of [
        '',
        '.',
        '..',
        'a..b',
        '.a',
        'a.',
        'a b',
        'ünï',
        'a\u0000b',
        'a\nb',
        '../etc',
        '%2e',
        'a'.repeat(250),
        '*',
        '>',
      ]) {
        await expectCode(
          () => probe.publish(name, textMessage('x')),
          'RTK_TOPIC_NAME_INVALID',
          'RTK_INVALID_ARGUMENT',
        )
        await expectCode(() => probe.describeTopic(name), 'RTK_TOPIC_NAME_INVALID', 'RTK_INVALID_ARGUMENT')
      }
      await expectCode(
        () => probe.publish('_own', textMessage('x')),
        'RTK_TOPIC_NAME_INVALID',
        'RTK_PERMISSION_DENIED',
        'RTK_INVALID_ARGUMENT',
      )
      expect(await broker.listTopics()).toEqual([])
    },
  },
  {
    name: 'keeps namespaces apart',
    async run(context) {
      const { broker, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('team-a/orders')
      expect(await probe.topicExists('orders')).toBe(false)
      await probe.publish('team-a/orders', textMessage('a'))
      expect((await broker.topicStats('team-a/orders')).messageCount).toBe(1)
    },
  },
  {
    name: 'counts messages and subscribers exactly',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders', { partitions: 2 })
      await probe.publish('orders', textMessage('a', { partition: 0 }))
      await probe.publish('orders', textMessage('b', { partition: 1 }))
      const collector = new Collector(probe, 'orders')
      const subscription = await collector.subscription
      expect(await probe.topicStats('orders')).toMatchObject({ messageCount: 2, subscriberCount: 1 })
      await probe.publish('orders', textMessage('c', { partition: 0 }))
      await probe.publish('orders', textMessage('d', { partition: 1 }))
      await collector.atLeast(2)
      const { messageCount, messagesDelivered } = await probe.topicStats('orders')
      expect(messageCount).toBe(4)
      // A protocol without push may fetch more often than its caller takes.
      expect(messagesDelivered).toBeGreaterThanOrEqual(2)
      await subscription.close()
      expect(await probe.topicStats('orders')).toMatchObject({ messageCount: 4, subscriberCount: 0 })
    },
  },
  {
    name: 'tells subscribers that their topic was deleted',
    async run(context) {
      const { broker, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const collector = new Collector(probe, 'orders')
      await collector.subscription
      await broker.deleteTopic('orders')
      expect((await within(collector.end, 5_000, 'the end'))?.code).toBe('RTK_TOPIC_DELETED')
    },
  },
  {
    name: 'creates topics on publish and subscribe only when the broker may',
    async run(context) {
      const open = await (await context.broker()).connect()
      expect((await open.publish('made', textMessage('x'))).offset).toBe(0)
      await new Collector(open, 'made-too').subscription
      expect([...(await open.listTopics())].sort()).toEqual(['made', 'made-too'])
      const strict = await (await context.broker({ autoCreateTopics: false })).connect()
      await expectCode(() => strict.publish('made', textMessage('x')), 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => new Collector(strict, 'made').subscription, 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => strict.fetch('made', 0, 0), 'RTK_TOPIC_NOT_FOUND')
      expect(await strict.listTopics()).toEqual([])
    },
  },
]
