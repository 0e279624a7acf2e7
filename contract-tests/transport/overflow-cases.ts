/** Subscribers that fall behind further than they want to: each overflow policy's effect, to the message. */
import type { EmbeddedBroker } from 'ratatoskr'
import type { Overflow } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode, within } from '../suite.ts'
import { Collector, settle, type TransportContext, textMessage } from './context.ts'

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/**
 * A subscriber that reads nothing after its first message, and so much behind it that neither its credit nor the buffers of
 * the connection hold it all.
 */
async function fallenBehind(context: TransportContext, overflow: Overflow, count: number) {
  const { broker, transport, connect } = await context.broker()
  const [producer, consumer] = [await connect(), await connect()]
  await producer.createTopic('orders')
  // Where there is credit, one message is all it may get; elsewhere the connection has to be filled.
  const { credit } = transport.supports
  const payload = new Uint8Array(credit ? 100 : 128 * 1024)
  await producer.createTopic('warm-up')
  await producer.publish('warm-up', { payload }) // a probe learns what a batch of one weighs
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const collector = new Collector(
    consumer,
    'orders',
    { from: 'earliest', overflow, credit: credit ? 0 : 1_000_000 },
    credit ? undefined : () => held,
  )
  const subscription = await collector.subscription
  await producer.publish('orders', { payload })
  await consumer.publish('warm-up', { payload })
  if (credit) subscription.grant(1)
  await collector.atLeast(1)
  for (let i = 1; i < count; i++) await producer.publish('orders', { payload })
  await settle(producer, 'orders')
  const goOn = (): void => {
    release()
    if (credit) subscription.grant(1_000)
  }
  const dropped = (): number =>
    collector.drops.reduce((sum, { fromOffset, toOffset }) => sum + toOffset - fromOffset, 0)
  return { broker, producer, collector, credit, goOn, dropped }
}

const stalledCount = 200

/** Where several processes or threads serve, they tell one another of their counts now and then. */
const expectDropped = (broker: EmbeddedBroker, count: number): Promise<void> =>
  expect.poll(() => broker.stats().messagesDropped, { timeout: 5_000, interval: 20 }).toBe(count)

export const overflowCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'drops the oldest messages for a subscriber that wants it so, and tells it which',
    async run(context) {
      const overflow: Overflow = { policy: 'dropOldest', messagesMax: 5 }
      const { broker, producer, collector, goOn, dropped } = await fallenBehind(
        context,
        overflow,
        stalledCount,
      )
      goOn()
      const last = async (): Promise<void> => {
        while (collector.messages.at(-1)?.offset !== stalledCount - 1) {
          await collector.atLeast(collector.messages.length + 1)
        }
      }
      await within(last(), 10_000, 'the newest message')
      const offsets = collector.messages.map(({ offset }) => offset)
      expect(offsets.slice(-5), 'the newest are kept').toEqual(range(stalledCount - 5, stalledCount))
      expect(dropped(), 'each is delivered or told of').toBe(stalledCount - offsets.length)
      expect(dropped()).toBeGreaterThan(0)
      for (const { partition, fromOffset, toOffset } of collector.drops) {
        expect(partition).toBe(0)
        expect(offsets.filter((offset) => offset >= fromOffset && offset < toOffset)).toEqual([])
      }
      expect(offsets, 'in order').toEqual([...offsets].sort((a, b) => a - b))
      await expectDropped(broker, dropped())
      await producer.publish('orders', textMessage('next'))
      await collector.atLeast(offsets.length + 1)
      expect(collector.texts.at(-1)).toBe('next')
    },
  },
  {
    name: 'drops the newest messages for a subscriber that wants it so, and goes on once it has caught up',
    async run(context) {
      const overflow: Overflow = { policy: 'dropNewest', messagesMax: 5 }
      const { broker, producer, collector, credit, goOn, dropped } = await fallenBehind(
        context,
        overflow,
        stalledCount,
      )
      goOn()
      const caughtUp = async (): Promise<void> => {
        while (collector.messages.length + dropped() < stalledCount) await settle(producer, 'orders')
      }
      await within(caughtUp(), 10_000, 'all of them, or word of them')
      const offsets = collector.messages.map(({ offset }) => offset)
      expect(offsets.slice(0, 6), 'the first are kept').toEqual(range(0, 6))
      const [first] = collector.drops
      expect(first.fromOffset, 'one run up to the drop').toBe(offsets[first.fromOffset - 1] + 1)
      // Without credit the connection fills up more than once.
      if (credit) expect(collector.drops).toEqual([{ partition: 0, fromOffset: 6, toOffset: stalledCount }])
      await producer.publish('orders', textMessage('next'))
      await collector.atLeast(offsets.length + 1)
      await expectDropped(broker, dropped())
      expect(collector.texts.at(-1)).toBe('next')
    },
  },
  {
    name: 'disconnects a subscriber that wants it so, and nobody else',
    async run(context) {
      const overflow: Overflow = { policy: 'disconnect', messagesMax: 5 }
      const { broker, producer, collector, goOn, dropped } = await fallenBehind(
        context,
        overflow,
        stalledCount,
      )
      const left = async (): Promise<void> => {
        while (broker.stats().subscriptions > 0) await settle(producer, 'orders')
      }
      await within(left(), 10_000, 'the end of the subscription in the broker')
      goOn()
      const reason = await within(collector.end, 10_000, 'the end of the subscription')
      expect(reason?.code).toBe('RTK_SUBSCRIBER_TOO_SLOW')
      expect(dropped()).toBe(0)
      expect(broker.stats().messagesDropped).toBe(0)
      const other = new Collector(producer, 'orders', { from: 'earliest' })
      await other.atLeast(stalledCount, 10_000)
    },
  },
  {
    name: 'leaves a subscriber that keeps up alone, whatever its policy',
    async run(context) {
      const { broker, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const collectors = (['dropOldest', 'dropNewest', 'disconnect'] as const).map(
        (policy) => new Collector(probe, 'orders', { overflow: { policy, messagesMax: 1 } }),
      )
      await Promise.all(collectors.map(({ subscription }) => subscription))
      for (let i = 0; i < 50; i++) {
        await probe.publish('orders', textMessage(`m${i}`))
        for (const collector of collectors) await collector.atLeast(i + 1)
      }
      expect(collectors.map(({ drops, ended }) => [drops, ended])).toEqual(collectors.map(() => [[], false]))
      expect(broker.stats().messagesDropped).toBe(0)
    },
  },
  {
    name: 'refuses an overflow policy without a bound, with a group, and one that does not exist',
    async run(context) {
      const { connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const subscribing = (overflow: unknown, group?: string): Promise<unknown> =>
        new Collector(probe, 'orders', { group, overflow: overflow as Overflow }).subscription
      await expectCode(() => subscribing({ policy: 'dropOldest' }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => subscribing({ policy: 'dropOldest', messagesMax: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => subscribing({ policy: 'pause', messagesMax: 1 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => subscribing({ policy: 'spill', messagesMax: 1 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(
        () => subscribing({ policy: 'dropNewest', messagesMax: 1 }, 'billing'),
        'RTK_INVALID_ARGUMENT',
      )
    },
  },
]
