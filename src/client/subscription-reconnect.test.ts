/** Subscriptions over a connection that breaks: nothing missing, nothing twice, gaps told. */
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { batchOf, numbers, setup } from './testing/subscribing.ts'

it('hands out every message once and in order, wherever the connection is cut', async () => {
  const step = fc.record({ store: fc.nat(3), cut: fc.boolean(), advanceMs: fc.nat(400), fail: fc.nat(2) })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      const { client, broker, clock } = await setup(2)
      const seen: string[][] = [[], []]
      const gaps: unknown[] = []
      await client.subscribe(
        'orders',
        async (message) => {
          await Promise.resolve()
          seen[message.partition].push(message.text())
        },
        { from: 'earliest', onGap: (gap) => gaps.push(gap) },
      )
      const stored: string[][] = [[], []]
      for (const { store, cut, advanceMs, fail } of steps) {
        for (let i = 0; i < store; i++) {
          const partition = i % 2
          const texts = numbers(stored[partition].length, 3)
          stored[partition].push(...texts)
          broker.store('orders', partition, batchOf(...texts))
        }
        if (cut) {
          broker.openFailures = fail
          broker.cut()
        }
        if (advanceMs > 0) await clock.advance(advanceMs)
      }
      await clock.advance(30_000)
      expect(seen).toEqual(stored)
      expect(gaps).toEqual([])
      await client.close()
    }),
    { numRuns: 80 },
  )
})

it('goes on with what there is, and says so, when retention was faster than the reconnect', async () => {
  const { client, broker, clock } = await setup()
  const seen: string[] = []
  const gaps: unknown[] = []
  await client.subscribe('orders', (message) => void seen.push(message.text()), {
    from: 'earliest',
    onGap: (gap) => gaps.push(gap),
  })
  broker.store('orders', 0, batchOf('a'))
  await clock.advance(0)
  broker.openFailures = 1
  broker.cut()
  broker.store('orders', 0, batchOf('b'))
  broker.store('orders', 0, batchOf('c'))
  broker.find('orders').partitions[0].start = 2
  await clock.advance(5_000)
  expect(seen).toEqual(['a', 'c'])
  expect(gaps).toEqual([{ partition: 0, expectedOffset: 1, offset: 2, reason: 'gone' }])
})

it('reads a topic that replaced its predecessor from the start', async () => {
  const { client, broker, clock } = await setup()
  const seen: string[] = []
  await client.subscribe('orders', (message) => void seen.push(message.text()))
  broker.store('orders', 0, batchOf('old 0', 'old 1'))
  await clock.advance(0)
  broker.cut()
  broker.topic('orders', 1, '11111111-0000-4000-8000-000000000000')
  broker.store('orders', 0, batchOf('new 0', 'new 1', 'new 2'))
  await clock.advance(5_000)
  expect(seen).toEqual(['old 0', 'old 1', 'new 0', 'new 1', 'new 2'])
})

it('ends when the topic is gone after a reconnect', async () => {
  const { client, broker, clock } = await setup()
  const subscription = await client.subscribe('orders', () => {})
  broker.cut()
  broker.topics.delete('orders')
  await clock.advance(5_000)
  expect(await subscription.closed).toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
})

it('subscribes once, however often the connection is cut while it does', async () => {
  const { client, broker, clock } = await setup()
  const seen: string[] = []
  const opening = client.subscribe('orders', (message) => void seen.push(message.text()), {
    timeoutMs: 60_000,
  })
  for (let i = 0; i < 5; i++) {
    for (let ticks = 0; ticks < i; ticks++) await Promise.resolve()
    broker.cut()
    await clock.advance(1_000)
  }
  await clock.advance(10_000)
  await opening
  broker.store('orders', 0, batchOf('a', 'b'))
  await clock.advance(0)
  expect(broker.subscriptions.size).toBe(1)
  expect(seen).toEqual(['a', 'b'])
})

it('has all of its credit again after a reconnect, also what was given back while it subscribed', async () => {
  const { client, broker, clock } = await setup()
  const batch = batchOf('x'.repeat(100))
  const batches = await client.batches('orders', { from: 'earliest', prefetchBytes: 4 * batch.length })
  const iterator = batches[Symbol.asyncIterator]()
  for (let i = 0; i < 4; i++) broker.store('orders', 0, batch.slice())
  const [link] = broker.links
  expect([...broker.subscriptions][0].creditBytes).toBe(0)
  let answer = (): void => {}
  const { open } = broker
  broker.open = () => {
    const next = open.call(broker)
    const { subscribe } = next
    next.subscribe = async (...asked) => {
      const subscription = await subscribe(...asked)
      await new Promise<void>((resolve) => {
        answer = resolve
      })
      return subscription
    }
    return next
  }
  link.cut()
  await clock.advance(1_000)
  for (let i = 0; i < 4; i++) await iterator.next()
  answer()
  await clock.advance(0)
  expect([...broker.subscriptions][0].creditBytes).toBe(4 * batch.length)
})
