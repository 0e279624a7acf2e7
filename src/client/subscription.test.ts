/** Opening and closing a subscription. */
import { describe, expect, it } from 'vitest'
import { batchOf, setup } from './testing/subscribing.ts'

describe('closing a subscription', () => {
  it('waits for the running handler and calls no more', async () => {
    const { client, broker, settle } = await setup()
    broker.store('orders', 0, batchOf('a', 'b'))
    const handler = Promise.withResolvers<void>()
    const seen: string[] = []
    const subscription = await client.subscribe(
      'orders',
      (message) => {
        seen.push(message.text())
        return handler.promise
      },
      { from: 'earliest' },
    )
    await settle()
    let closed = false
    const closing = subscription.close().then(() => {
      closed = true
    })
    await settle()
    expect(closed).toBe(false)
    handler.resolve()
    await closing
    expect(seen).toEqual(['a'])
    broker.store('orders', 0, batchOf('c'))
    await settle()
    expect(seen).toEqual(['a'])
    expect(broker.subscriptions.size).toBe(0)
  })

  it('stops waiting at its deadline and tells the handler by the signal', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a'))
    let signal: AbortSignal | undefined
    const subscription = await client.subscribe(
      'orders',
      (message) => {
        signal = message.signal
        return new Promise(() => {})
      },
      { from: 'earliest' },
    )
    await clock.advance(0)
    const closing = expect(subscription.close({ timeoutMs: 300 })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    await clock.advance(300)
    await closing
    expect(signal?.aborted).toBe(true)
    expect(broker.subscriptions.size).toBe(0)
  })
})

it('checks its options', async () => {
  const { client, broker } = await setup()
  const cases = [
    { delivery: 'exactly-once' },
    { ack: 'never' },
    { onFailed: 'ignore' },
    { prefetchBytes: 0 },
    { maxInFlight: -1 },
    { retriesMax: 0.5 },
    { retry: { kind: 'often' } },
    { retry: { kind: 'fixed', delayMs: -1 } },
    { concurrency: 0 },
    { timeoutMs: -1 },
  ] as object[]
  for (const options of cases) {
    const call = client.subscribe('orders', () => {}, options)
    await expect(call, JSON.stringify(options)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  }
  for (const options of [{ prefetchBytes: 0 }, { group: 'g', commitIntervalMs: -1 }]) {
    await expect(client.batches('orders', options)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  }
  expect(broker.subscriptions.size).toBe(0)
  const subscription = await client.subscribe('orders', () => {})
  await expect(subscription.take(1)).rejects.toBeInstanceOf(TypeError)
})

it('leaves nothing behind when subscribing is cancelled', async () => {
  const { client, broker, clock } = await setup()
  for (let ticks = 0; ticks < 8; ticks++) {
    const cancel = new AbortController()
    const opening = client.subscribe('orders', () => {}, { signal: cancel.signal })
    for (let i = 0; i < ticks; i++) await Promise.resolve()
    cancel.abort()
    await opening.then(
      (subscription) => subscription.close(),
      (error) => expect(error.code).toBe('RTK_CANCELLED'),
    )
    await clock.advance(0)
    expect(broker.subscriptions.size).toBe(0)
  }
  await client.close()
  expect(clock.pending).toBe(0)
})
