/** Handlers of a subscription: acknowledging, failing, how many run at once, and what they are given. */
import { describe, expect, it } from 'vitest'
import { utf8 } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import { batchOf, numbers, setup } from './testing/subscribing.ts'

describe('a handler', () => {
  it('gives a message back by throwing: it comes again after a pause, before later ones', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a', 'b'))
    const seen: [string, number][] = []
    await client.subscribe(
      'orders',
      async (message) => {
        seen.push([message.text(), message.attempt])
        if (message.text() === 'a' && message.attempt < 3) throw new Error('not yet')
      },
      { from: 'earliest', retry: { kind: 'fixed', delayMs: 100 } },
    )
    await clock.advance(0)
    expect(seen).toEqual([['a', 1]])
    await clock.advance(1_000)
    expect(seen).toEqual([
      ['a', 1],
      ['a', 2],
      ['a', 3],
      ['b', 1],
    ])
  })

  it('waits as long before a message comes again as a function says', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a'))
    const times: number[] = []
    await client.subscribe(
      'orders',
      () => {
        times.push(clock.monotonic())
        throw new Error('not yet')
      },
      { from: 'earliest', retry: (attempt) => attempt * 10, onFailed: 'skip' },
    )
    await clock.advance(1_000)
    expect(times).toEqual([0, 10, 30, 60])
  })

  it('ends the subscription when a retry function says nothing sensible', async () => {
    const { client, broker, settle } = await setup()
    broker.store('orders', 0, batchOf('a'))
    const subscription = await client.subscribe('orders', () => Promise.reject(new Error('no')), {
      from: 'earliest',
      retry: () => -1,
    })
    await settle()
    expect(await subscription.closed).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  })

  it('ends the subscription when a message fails too often', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('fine', 'bad', 'never seen'))
    const cause = new Error('broken')
    let calls = 0
    const subscription = await client.subscribe(
      'orders',
      (message) => {
        calls++
        if (message.text() !== 'fine') throw cause
      },
      { from: 'earliest', retriesMax: 2 },
    )
    await clock.advance(60_000)
    expect(await subscription.closed).toMatchObject({
      code: 'RTK_HANDLER_FAILED',
      cause,
      details: { partition: 0, offset: 1, attempts: 3 },
    })
    expect(calls).toBe(4)
    expect(broker.subscriptions.size).toBe(0)
  })

  it('passes over a failed message when told to, and says so', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('bad', 'good'))
    const errors: [string, string | undefined][] = []
    const seen: string[] = []
    await client.subscribe(
      'orders',
      (message) => {
        if (message.text() === 'bad') throw new Error('broken')
        seen.push(message.text())
      },
      {
        from: 'earliest',
        retriesMax: 0,
        onFailed: 'skip',
        onError: (error, message) => errors.push([error.code, message?.text()]),
      },
    )
    await clock.advance(1_000)
    expect(seen).toEqual(['good'])
    expect(errors).toEqual([['RTK_HANDLER_FAILED', 'bad']])
  })

  it('runs for one message of a partition at a time, for partitions at once, and for no more than told', async () => {
    for (const [concurrency, expected] of [
      [undefined, 3],
      [2, 2],
    ] as const) {
      const { client, broker, settle } = await setup(3)
      for (const partition of [0, 1, 2]) broker.store('orders', partition, batchOf('a', 'b'))
      const open = new Map<ClientMessage, () => void>()
      let most = 0
      await client.subscribe(
        'orders',
        (message) =>
          new Promise<void>((resolve) => {
            open.set(message, resolve)
            most = Math.max(most, open.size)
            const partitions = [...open.keys()].map((one) => one.partition)
            expect(new Set(partitions).size).toBe(partitions.length)
          }),
        { from: 'earliest', concurrency },
      )
      let handled = 0
      for (; handled < 6; handled++) {
        await settle()
        const [message, resolve] = [...open][0]
        open.delete(message)
        resolve()
      }
      expect(most).toBe(expected)
    }
  })

  it('with ack: manual settles only by the methods of the message', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a', 'b', 'c'))
    const seen: ClientMessage[] = []
    const errors: unknown[] = []
    await client.subscribe('orders', (message) => void seen.push(message), {
      from: 'earliest',
      ack: 'manual',
      onFailed: 'skip',
      onError: (error, message) => errors.push([error.code, message?.offset]),
    })
    await clock.advance(1_000)
    expect(seen.map((message) => message.text())).toEqual(['a', 'b', 'c'])
    await seen[0].ack()
    void seen[2].nack({ delayMs: 50 })
    void seen[2].ack()
    expect(seen[2].settled).toBe(true)
    await clock.advance(49)
    expect(seen.length).toBe(3)
    await clock.advance(1)
    expect(seen[3]).toMatchObject({
      offset: 2,
      attempt: 2,
      redelivered: true,
      lease: 0,
      leaseProof: undefined,
    })
    await seen[3].extend(5)
    await seen[3].release()
    await clock.advance(0)
    expect(seen[4]).toMatchObject({ offset: 2, attempt: 2 })
    void seen[4].terminate('no use')
    expect(errors).toEqual([['RTK_HANDLER_FAILED', 2]])
  })

  it('is given no more than maxInFlight unsettled messages', async () => {
    const { client, broker, settle } = await setup()
    broker.store('orders', 0, batchOf(...numbers(0, 20)))
    const seen: ClientMessage[] = []
    await client.subscribe('orders', (message) => void seen.push(message), {
      from: 'earliest',
      ack: 'manual',
      maxInFlight: 5,
    })
    await settle()
    expect(seen.length).toBe(5)
    seen[3].ack()
    seen[4].ack()
    await settle()
    expect(seen.length).toBe(7)
  })

  it('decodes text, JSON, key and headers', async () => {
    const { client, settle } = await setup()
    const seen: ClientMessage[] = []
    await client.subscribe('orders', (message) => void seen.push(message))
    await client.publish('orders', '{"total":7}', { key: 'k', headers: { type: 'order', more: utf8('x') } })
    await client.publish('orders', 'no json', { timestampMs: 5 })
    await settle()
    expect(seen[0].json<{ total: number }>().total).toBe(7)
    expect(seen[0].keyText()).toBe('k')
    expect(seen[0].key).toEqual(utf8('k'))
    expect([seen[0].header('type'), seen[0].header('nothing')]).toEqual(['order', undefined])
    expect(seen[0].headers.length).toBe(2)
    expect(seen[0]).toMatchObject({ topic: 'orders', partition: 0, offset: 0, attempt: 1 })
    expect(seen[0].id).toMatch(/^[0-9a-f-]{36}$/)
    expect([seen[1].timestampMs, seen[1].keyText(), seen[1].payload]).toEqual([5, undefined, utf8('no json')])
    expect(() => seen[1].json()).toThrow(expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }))
  })
})

it('survives callbacks that throw', async () => {
  const { client, broker, clock } = await setup()
  const seen: string[] = []
  const boom = () => {
    throw new Error('a bug of the caller')
  }
  await client.subscribe('orders', (message) => void seen.push(message.text()), {
    from: 'earliest',
    onAssigned: boom,
    onDisconnect: boom,
    onReconnect: boom,
  })
  broker.cut()
  broker.store('orders', 0, batchOf('a'))
  await clock.advance(5_000)
  expect(seen).toEqual(['a'])
})
