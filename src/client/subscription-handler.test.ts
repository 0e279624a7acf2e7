/** Handlers of a subscription: acknowledging, failing, how many run at once, and what they are given. */
import { describe, expect, it } from 'vitest'
import { utf8 } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import { batchOf, numbers, setup } from './testing/subscribing.ts'

describe('a handler', () => {
  it('acknowledges by returning, and the group goes on behind it', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a', 'b'))
    broker.store('orders', 0, batchOf('c'))
    const seen: string[] = []
    const subscription = await client.subscribe('orders', (message) => void seen.push(message.text()), {
      group: 'billing',
    })
    await clock.advance(100)
    expect(seen).toEqual(['a', 'b', 'c'])
    expect(broker.commits).toEqual([[{ partition: 0, offset: 3 }]])
    await subscription.close()
    expect(await subscription.closed).toBeUndefined()
  })

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
      { group: 'billing', retry: { baseMs: 100, maxMs: 100 } },
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
    expect(broker.commits.at(-1)).toEqual([{ partition: 0, offset: 2 }])
  })

  it('ends the subscription when a message fails too often, and commits nothing of it', async () => {
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
      { group: 'billing', retriesMax: 2 },
    )
    await clock.advance(60_000)
    expect(await subscription.closed).toMatchObject({
      code: 'RTK_HANDLER_FAILED',
      cause,
      details: { partition: 0, offset: 1, attempts: 3 },
    })
    expect(calls).toBe(4)
    expect(broker.commits.at(-1)).toEqual([{ partition: 0, offset: 1 }])
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
        group: 'billing',
        retriesMax: 0,
        onFailed: 'skip',
        onError: (error, message) => errors.push([error.code, message?.text()]),
      },
    )
    await clock.advance(1_000)
    expect(seen).toEqual(['good'])
    expect(errors).toEqual([['RTK_HANDLER_FAILED', 'bad']])
    expect(broker.commits.at(-1)).toEqual([{ partition: 0, offset: 2 }])
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

  it('with ack: manual settles only by ack() and nack()', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a', 'b', 'c'))
    const seen: ClientMessage[] = []
    await client.subscribe('orders', (message) => void seen.push(message), { group: 'g', ack: 'manual' })
    await clock.advance(1_000)
    expect(seen.map((message) => message.text())).toEqual(['a', 'b', 'c'])
    expect(broker.commits).toEqual([])
    seen[1].ack()
    await clock.advance(1_000)
    expect(broker.commits).toEqual([])
    seen[0].ack()
    seen[0].ack()
    await clock.advance(1_000)
    expect(broker.commits).toEqual([[{ partition: 0, offset: 2 }]])
    seen[2].nack({ delayMs: 50 })
    seen[2].ack()
    expect(seen[2].settled).toBe(true)
    await clock.advance(49)
    expect(seen.length).toBe(3)
    await clock.advance(1)
    expect(seen[3]).toMatchObject({ offset: 2, attempt: 2 })
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
