/** Reading a subscription by iterating or taking, and the credit that holds the broker back. */
import { describe, expect, it } from 'vitest'
import { batchOf, numbers, setup } from './testing/subscribing.ts'

describe('an iterator', () => {
  it('closes the subscription when it is left', async () => {
    const { client, broker } = await setup()
    broker.store('orders', 0, batchOf('a', 'b', 'c'))
    const seen: string[] = []
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    for await (const message of subscription) {
      seen.push(message.text())
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['a', 'b'])
    expect(broker.subscriptions.size).toBe(0)
  })

  it('waits for messages and ends when the subscription is closed', async () => {
    const { client, broker, settle } = await setup()
    const subscription = await client.subscribe('orders')
    const seen: string[] = []
    const reading = (async () => {
      for await (const message of subscription) seen.push(message.text())
      return 'done'
    })()
    await settle()
    broker.store('orders', 0, batchOf('a'))
    await settle()
    broker.store('orders', 0, batchOf('b'))
    await settle()
    await subscription.close()
    expect(await reading).toBe('done')
    expect(seen).toEqual(['a', 'b'])
  })

  it('throws the reason when the subscription fails', async () => {
    const { client, broker } = await setup()
    const subscription = await client.subscribe('orders')
    const reading = subscription[Symbol.asyncIterator]().next()
    broker.deleteTopic('orders')
    await expect(reading).rejects.toMatchObject({ code: 'RTK_TOPIC_DELETED' })
    expect(await subscription.closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
    await subscription.close()
  })

  it('survives the loss of the connection', async () => {
    const { client, broker, clock } = await setup()
    const events: string[] = []
    const subscription = await client.subscribe('orders', {
      from: 'earliest',
      onDisconnect: (reason) => events.push(reason.code),
      onReconnect: () => events.push('again'),
    })
    const iterator = subscription[Symbol.asyncIterator]()
    broker.store('orders', 0, batchOf('a'))
    expect((await iterator.next()).value?.text()).toBe('a')
    const next = iterator.next()
    broker.openFailures = 2
    broker.cut()
    broker.store('orders', 0, batchOf('b'))
    await clock.advance(5_000)
    expect((await next).value?.text()).toBe('b')
    expect(events).toEqual(['RTK_DISCONNECTED', 'again'])
  })

  it('is not offered beside a handler', async () => {
    const { client } = await setup()
    const subscription = await client.subscribe('orders', () => {})
    expect(() => subscription[Symbol.asyncIterator]()).toThrow(TypeError)
  })

  it('can be pulled from instead: up to so many, waiting so long', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf(...numbers(0, 10)))
    const subscription = await client.subscribe('orders', { from: 'earliest', ack: 'manual' })
    await clock.advance(0)
    const first = await subscription.take(4)
    expect(first.map((message) => message.offset)).toEqual([0, 1, 2, 3])
    for (const message of first) await message.ack()
    await subscription.flush()
    expect((await subscription.take(100)).length).toBe(6)
    const none = subscription.take(1, { waitMs: 200 })
    await clock.advance(200)
    expect(await none).toEqual([])
    const some = subscription.take(1, { waitMs: 200 })
    await clock.advance(100)
    broker.store('orders', 0, batchOf('late'))
    expect((await some).map((message) => message.text())).toEqual(['late'])
    const cancel = new AbortController()
    const cancelled = subscription.take(1, { waitMs: 200, signal: cancel.signal })
    cancel.abort()
    await expect(cancelled).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
  })
})

describe('credit', () => {
  it('is given once, and again as messages are taken; unread ones hold the broker back', async () => {
    const { client, broker, settle } = await setup()
    for (let i = 0; i < 100; i++) broker.store('orders', 0, batchOf('x'.repeat(1_000)))
    const subscription = await client.subscribe('orders', { from: 'earliest', prefetchBytes: 10_000 })
    await settle()
    const [held] = broker.subscriptions
    expect(held.positions.get(0)).toBeLessThan(12)
    const iterator = subscription[Symbol.asyncIterator]()
    for (let i = 0; i < 100; i++) {
      expect((await iterator.next()).value?.offset).toBe(i)
      expect((held.positions.get(0) ?? 0) - i).toBeLessThan(14)
    }
  })

  it('comes back in quarters, and what is less than that in a moment: not with each message, and all of it', async () => {
    const { client, broker, clock } = await setup()
    const subscription = await client.subscribe('orders', { from: 'earliest', prefetchBytes: 10_000 })
    const [held] = broker.subscriptions
    const iterator = subscription[Symbol.asyncIterator]()
    const missing: number[] = []
    for (let i = 0; i < 3; i++) {
      broker.store('orders', 0, batchOf('x'.repeat(1_000)))
      await iterator.next()
      missing.push(10_000 - held.creditBytes)
    }
    expect(missing).toEqual([expect.closeTo(1_080, -2), expect.closeTo(2_160, -2), 0])
    broker.store('orders', 0, batchOf('x'))
    await iterator.next()
    expect(held.creditBytes).toBeLessThan(10_000)
    await clock.advance(10)
    expect(held.creditBytes).toBe(10_000)
    await subscription.close()
    expect(clock.pending).toBe(0)
  })

  it('is taken along when the connection is lost', async () => {
    const { client, broker, clock } = await setup()
    for (let i = 0; i < 50; i++) broker.store('orders', 0, batchOf('x'.repeat(1_000)))
    const subscription = await client.subscribe('orders', { from: 'earliest', prefetchBytes: 10_000 })
    for (let i = 0; i < 5; i++) {
      await clock.advance(1_000)
      broker.cut()
    }
    await clock.advance(1_000)
    const [held] = broker.subscriptions
    expect(held.positions.get(0)).toBeLessThan(12)
    const iterator = subscription[Symbol.asyncIterator]()
    for (let i = 0; i < 50; i++) expect((await iterator.next()).value?.offset).toBe(i)
  })
})
