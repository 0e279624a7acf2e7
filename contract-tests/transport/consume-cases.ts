/** Reading: push with credit, pull, groups and their offsets, peers that are slow or leave. */
import { expect } from 'vitest'
import { type ContractCase, expectCode, within } from '../suite.ts'
import { Collector, settle, type TransportContext, textMessage, texts } from './context.ts'
import type { TransportProbe } from './probe.ts'

async function publishTexts(
  probe: TransportProbe,
  topic: string,
  list: readonly string[],
  more: object = {},
): Promise<void> {
  await probe.publishMany(
    topic,
    list.map((text) => textMessage(text, more)),
  )
}

export const consumeCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'pushes what is there and then what comes, in order',
    async run(context) {
      const { connect } = await context.broker()
      const [producer, consumer] = [await connect(), await connect()]
      await producer.createTopic('orders')
      await publishTexts(producer, 'orders', texts(20))
      const collector = new Collector(consumer, 'orders', { from: 'earliest' })
      await collector.atLeast(20)
      await publishTexts(producer, 'orders', texts(20, 20))
      await collector.atLeast(40)
      expect(collector.texts).toEqual(texts(40))
      expect(collector.messages.map(({ offset }) => offset)).toEqual(Array.from({ length: 40 }, (_, i) => i))
    },
  },
  {
    name: 'begins where it is told: earliest, latest, an offset, a time, an offset for each partition',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      for (const [i, text] of texts(10).entries())
        await probe.publish('orders', textMessage(text, { timestampMs: 1_000 + i * 10 }))
      const first = async (from: NonNullable<ConstructorParameters<typeof Collector>[2]>['from']) => {
        const collector = new Collector(probe, 'orders', { from })
        const [message] = await collector.atLeast(1)
        await (await collector.subscription).close()
        return message.offset
      }
      expect(await first('earliest')).toBe(0)
      expect(await first({ offset: 4 })).toBe(4)
      expect(await first({ timestampMs: 1_065 })).toBe(7)
      expect(await first({ offsets: [{ partition: 0, offset: 9 }] })).toBe(9)
      const live = new Collector(probe, 'orders', { from: 'latest' })
      await live.subscription
      await probe.publish('orders', textMessage('new'))
      expect((await live.atLeast(1))[0].offset).toBe(10)
      await expectCode(
        () => new Collector(probe, 'orders', { from: { offset: 99 } }).subscription,
        'RTK_OFFSET_OUT_OF_RANGE',
      )
    },
  },
  {
    name: 'gives every subscription without a group every message',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders', { partitions: 2 })
      const collectors = [
        new Collector(probe, 'orders'),
        new Collector(await connect(), 'orders'),
        new Collector(await connect(), 'orders'),
      ]
      await Promise.all(collectors.map(({ subscription }) => subscription))
      for (const [i, text] of texts(100).entries())
        await probe.publish('orders', textMessage(text, { partition: i % 2 }))
      for (const collector of collectors)
        expect(
          [...(await collector.atLeast(100))].map(({ partition, offset }) => `${partition}:${offset}`).sort(),
        ).toHaveLength(100)
    },
  },
  {
    name: 'never pushes beyond the credit that was granted',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.credit) return
      const probe = await connect()
      await probe.createTopic('orders')
      for (const text of texts(10)) await probe.publish('orders', textMessage(text))
      const collector = new Collector(probe, 'orders', { from: 'earliest', credit: 3 })
      await collector.atLeast(3)
      await settle(probe, 'orders')
      expect(collector.messages).toHaveLength(3)
      const subscription = await collector.subscription
      subscription.grant(2)
      await collector.atLeast(5)
      await settle(probe, 'orders')
      expect(collector.texts).toEqual(texts(5))
    },
  },
  {
    name: 'lets nobody wait for a subscriber that does not read',
    async run(context) {
      const { broker, connect } = await context.broker()
      const [producer, slow, quick] = [await connect(), await connect(), await connect()]
      await producer.createTopic('orders')
      let release = () => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const stuck = new Collector(slow, 'orders', { from: 'earliest' }, () => held)
      const fine = new Collector(quick, 'orders', { from: 'earliest' })
      await Promise.all([stuck.subscription, fine.subscription])
      const payload = new Uint8Array(64 * 1024)
      for (let i = 0; i < 200; i++) await producer.publish('orders', { payload })
      await fine.atLeast(200, 10_000)
      expect(broker.health().status).toBe('ok')
      release()
      await stuck.atLeast(200, 10_000)
      expect(stuck.messages.map(({ offset }) => offset)).toEqual([...stuck.messages.keys()])
    },
  },
  {
    name: 'delivers nothing after close has resolved, also with messages in flight',
    async run(context) {
      const { connect } = await context.broker()
      const [producer, consumer] = [await connect(), await connect()]
      await producer.createTopic('orders')
      await publishTexts(producer, 'orders', texts(500))
      const collector = new Collector(consumer, 'orders', { from: 'earliest' })
      await collector.atLeast(1)
      await (await collector.subscription).close()
      const seen = collector.messages.length
      expect(await within(collector.end, 5_000, 'the end')).toBeUndefined()
      await publishTexts(producer, 'orders', texts(10))
      await settle(consumer, 'orders')
      expect(collector.messages).toHaveLength(seen)
    },
  },
  {
    name: 'fetches at an offset, waits for what is not there yet, and refuses what never was',
    async run(context) {
      const { connect } = await context.broker()
      const [producer, consumer] = [await connect(), await connect()]
      await producer.createTopic('orders')
      expect(await consumer.fetch('orders', 0, 'earliest')).toEqual([])
      const waiting = consumer.fetch('orders', 0, 'latest', 5_000)
      await settle(producer, 'orders')
      await producer.publish('orders', textMessage('now'))
      expect((await waiting).map(({ offset }) => offset)).toEqual([0])
      await publishTexts(producer, 'orders', ['a', 'b'])
      expect((await consumer.fetch('orders', 0, 1)).map(({ offset }) => offset)).toEqual([1, 2])
      expect(await consumer.fetch('orders', 0, 3)).toEqual([])
      await expectCode(() => consumer.fetch('orders', 0, 4), 'RTK_OFFSET_OUT_OF_RANGE')
      await expectCode(() => consumer.fetch('orders', 1, 0), 'RTK_PARTITION_NOT_FOUND')
    },
  },
  {
    name: 'resumes by offset on a new connection, without gap or duplicate',
    async run(context) {
      const { connect } = await context.broker()
      const producer = await connect()
      await producer.createTopic('orders')
      await publishTexts(producer, 'orders', texts(30))
      const first = await connect()
      const before = new Collector(first, 'orders', { from: 'earliest' })
      await before.atLeast(10)
      await first.close()
      const next = before.messages.length
      await publishTexts(producer, 'orders', texts(10, 30))
      const after = new Collector(await connect(), 'orders', { from: { offset: next } })
      await after.atLeast(40 - next)
      expect([...before.texts, ...after.texts]).toEqual(texts(40))
    },
  },
  {
    name: 'shares the partitions of a group, and goes on at what was committed',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.groups) {
        const probe = await connect()
        await expectCode(
          () => new Collector(probe, 'orders', { group: 'billing' }).subscription,
          'RTK_NOT_SUPPORTED',
        )
        return
      }
      const producer = await connect()
      await producer.createTopic('orders', { partitions: 2 })
      const one = new Collector(await connect(), 'orders', { group: 'billing' })
      const two = new Collector(await connect(), 'orders', { group: 'billing' })
      const members = await Promise.all([one.subscription, two.subscription])
      for (const [i, text] of texts(20).entries())
        await producer.publish('orders', textMessage(text, { partition: i % 2 }))
      await Promise.all([one.atLeast(10), two.atLeast(10)])
      expect(new Set(one.messages.map(({ partition }) => partition)).size).toBe(1)
      expect([...one.texts, ...two.texts].sort()).toEqual([...texts(20)].sort())
      await members[0].commit([{ partition: one.messages[0].partition, offset: 6, metadata: 'note' }])
      const described = await producer.describeGroup('orders', 'billing')
      expect(described.lag).toBe(4 + 10)
      expect(described.partitions[one.messages[0].partition]).toMatchObject({
        committedOffset: 6,
        metadata: 'note',
        lag: 4,
      })
      await Promise.all(members.map((member) => member.close()))
      const heir = new Collector(await connect(), 'orders', { group: 'billing' })
      await heir.atLeast(14)
      expect(
        heir.messages
          .filter(({ partition }) => partition === one.messages[0].partition)
          .map(({ offset }) => offset),
      ).toEqual([6, 7, 8, 9])
    },
  },
  {
    name: 'refuses commits of members that do not own the partition, and offsets that never were',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.groups) return
      const probe = await connect()
      await probe.createTopic('orders', { partitions: 2 })
      const one = await new Collector(await connect(), 'orders', { group: 'billing' }).subscription
      const two = await new Collector(await connect(), 'orders', { group: 'billing' }).subscription
      await probe.publish('orders', textMessage('a', { partition: 0 }))
      const { members } = await probe.describeGroup('orders', 'billing')
      const owns = (member: string) =>
        members.find((entry) => entry.member === member)?.partitions.includes(0)
      const [owner, other] = owns(one.member) ? [one, two] : [two, one]
      await expectCode(() => other.commit([{ partition: 0, offset: 1 }]), 'RTK_LEASE_LOST')
      await expectCode(() => owner.commit([{ partition: 0, offset: 99 }]), 'RTK_OFFSET_OUT_OF_RANGE')
      await owner.commit([{ partition: 0, offset: 1 }])
      await expectCode(
        () => probe.commit('orders', 'billing', [{ partition: 0, offset: 0 }]),
        'RTK_LEASE_LOST',
      )
      await expectCode(() => probe.describeGroup('orders', 'nobody'), 'RTK_GROUP_NOT_FOUND')
      expect((await probe.describeGroup('orders', 'billing')).partitions[0].committedOffset).toBe(1)
    },
  },
  {
    name: 'keeps messages for a group whose members are away',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.groups) return
      const producer = await connect()
      await producer.createTopic('orders')
      const first = new Collector(await connect(), 'orders', { group: 'billing', from: 'latest' })
      await (await first.subscription).close()
      await publishTexts(producer, 'orders', texts(100))
      const back = new Collector(await connect(), 'orders', { group: 'billing', from: 'latest' })
      await back.atLeast(100)
      expect(back.texts).toEqual(texts(100))
    },
  },
  {
    name: 'bounds subscribers of a topic by code',
    async run(context) {
      const { connect } = await context.broker({ limits: { subscribersPerTopicMax: 2 } })
      const probe = await connect()
      await probe.createTopic('orders')
      await new Collector(await connect(), 'orders').subscription
      await new Collector(await connect(), 'orders').subscription
      const third = await connect()
      await expectCode(() => new Collector(third, 'orders').subscription, 'RTK_LIMIT_EXCEEDED')
    },
  },
]
