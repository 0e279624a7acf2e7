import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { BatchBuilder, portableCrc32c, RatatoskrError, utf8 } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import type { ConnectOptions } from './connect-with.ts'
import { FakeBroker, testPlatform } from './testing/fake-broker.ts'

async function setup(partitions = 1, options: ConnectOptions = {}) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', partitions)
  const client = await broker.client(testPlatform(clock), options)
  /** Lets everything that needs no time happen. */
  const settle = () => clock.advance(0)
  return { clock, broker, client, settle }
}

const builder = new BatchBuilder({ checksum: portableCrc32c })

function batchOf(...texts: string[]): Uint8Array {
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}

const numbers = (from: number, count: number) => Array.from({ length: count }, (_, i) => `${from + i}`)

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

describe('an iterator', () => {
  it('acknowledges a message when the next is asked for, and not the last before a break', async () => {
    const { client, broker } = await setup()
    broker.store('orders', 0, batchOf('a', 'b', 'c'))
    const seen: string[] = []
    const subscription = await client.subscribe('orders', { group: 'billing' })
    for await (const message of subscription) {
      seen.push(message.text())
      if (seen.length === 2) break
    }
    expect(seen).toEqual(['a', 'b'])
    expect(broker.commits.at(-1)).toEqual([{ partition: 0, offset: 1 }])
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
    const subscription = await client.subscribe('orders', { group: 'billing', ack: 'manual' })
    await clock.advance(0)
    const first = await subscription.take(4)
    expect(first.map((message) => message.offset)).toEqual([0, 1, 2, 3])
    for (const message of first) message.ack()
    await subscription.commit()
    expect(broker.commits).toEqual([[{ partition: 0, offset: 4 }]])
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

describe('at-most-once', () => {
  it('commits before it hands out, and never repeats', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a', 'b'))
    const seen: [string, number][] = []
    await client.subscribe(
      'orders',
      (message) => {
        seen.push([message.text(), broker.commits.at(-1)?.[0].offset ?? -1])
        throw new Error('ignored')
      },
      { group: 'billing', delivery: 'at-most-once' },
    )
    await clock.advance(60_000)
    expect(seen).toEqual([
      ['a', 2],
      ['b', 2],
    ])
    broker.refuseCommit = () => new RatatoskrError('RTK_UNAVAILABLE', 'not now')
    broker.store('orders', 0, batchOf('c'))
    await clock.advance(1_000)
    expect(seen.length).toBe(2)
    broker.refuseCommit = () => undefined
    await clock.advance(1_000)
    expect(seen.at(-1)).toEqual(['c', 3])
  })

  it('hands out nothing when its commit is refused for good', async () => {
    const { client, broker, clock } = await setup()
    broker.refuseCommit = () => new RatatoskrError('RTK_PERMISSION_DENIED', 'no')
    broker.store('orders', 0, batchOf('a'))
    const subscription = await client.subscribe('orders', () => expect.unreachable(), {
      group: 'billing',
      delivery: 'at-most-once',
    })
    await clock.advance(1_000)
    expect(await subscription.closed).toMatchObject({ code: 'RTK_PERMISSION_DENIED' })
  })

  it('hands out no message twice, wherever the connection is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(20), { maxLength: 8 }), async (cuts) => {
        const { client, broker, clock } = await setup()
        const seen: string[] = []
        await client.subscribe('orders', (message) => void seen.push(message.text()), {
          group: 'billing',
          delivery: 'at-most-once',
        })
        for (let i = 0; i < 20; i++) {
          broker.store('orders', 0, batchOf(`${i}`))
          if (cuts.includes(i)) broker.cut()
          if (i % 3 === 0) await clock.advance(50)
        }
        await clock.advance(10_000)
        expect(new Set(seen).size).toBe(seen.length)
        expect(seen.at(-1)).toBe('19')
      }),
      { numRuns: 30 },
    )
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

describe('a group', () => {
  it('drops what waits of a partition that goes to another member, and signals its running handlers', async () => {
    const { client, broker, settle } = await setup(2)
    broker.store('orders', 0, batchOf('a'))
    broker.store('orders', 1, batchOf('b', 'c'))
    const revoked: number[] = []
    const assigned: number[] = []
    const running: ClientMessage[] = []
    await client.subscribe(
      'orders',
      (message) => {
        running.push(message)
        return new Promise(() => {})
      },
      {
        group: 'g',
        member: 'one',
        onRevoked: (partitions) => revoked.push(...partitions),
        onAssigned: (partitions) => assigned.push(...partitions.map((one) => one.partition)),
      },
    )
    await settle()
    expect(assigned).toEqual([0, 1])
    const other: string[] = []
    await client.subscribe('orders', (message) => void other.push(message.text()), {
      group: 'g',
      member: 'two',
    })
    await settle()
    expect(revoked).toEqual([1])
    expect(other).toEqual(['b', 'c'])
    const [kept, gone] = [...running].sort((a, b) => a.partition - b.partition)
    expect([kept.signal.aborted, gone.signal.aborted]).toEqual([false, true])
    gone.ack()
    expect(running.map((message) => message.text()).sort()).toEqual(['a', 'b'])
  })

  it('goes where a seek puts it, back and forth, while it runs', async () => {
    const { client, broker, settle } = await setup()
    broker.store('orders', 0, batchOf('0', '1'))
    broker.store('orders', 0, batchOf('2', '3'))
    const seen: string[] = []
    const gaps: number[] = []
    const subscription = await client.subscribe('orders', (message) => void seen.push(message.text()), {
      group: 'g',
      onGap: ({ offset }) => gaps.push(offset),
    })
    await settle()
    expect(seen).toEqual(['0', '1', '2', '3'])
    await subscription.commit()
    const [held] = broker.subscriptions
    held.seek(0, 1)
    await settle()
    expect(seen.slice(4)).toEqual(['1', '2', '3'])
    held.seek(0, 6)
    broker.store('orders', 0, batchOf('4', '5', '6', '7'))
    await settle()
    expect(seen.slice(7)).toEqual(['6', '7'])
    expect(gaps).toEqual([])
  })

  it('tries a commit again that could not be made, and reports one that never can', async () => {
    const { client, broker, clock } = await setup()
    const errors: string[] = []
    await client.subscribe('orders', () => {}, { group: 'g', onError: (error) => errors.push(error.code) })
    broker.refuseCommit = () => new RatatoskrError('RTK_UNAVAILABLE', 'not now')
    broker.store('orders', 0, batchOf('a'))
    await clock.advance(500)
    expect(broker.commits).toEqual([])
    broker.refuseCommit = () => undefined
    await clock.advance(500)
    expect(broker.commits).toEqual([[{ partition: 0, offset: 1 }]])
    broker.refuseCommit = () => new RatatoskrError('RTK_OFFSET_OUT_OF_RANGE', 'no')
    broker.store('orders', 0, batchOf('b'))
    await clock.advance(500)
    expect(errors).toEqual(['RTK_OFFSET_OUT_OF_RANGE'])
  })

  it('commits at once when many are acknowledged', async () => {
    const { client, broker, settle } = await setup()
    broker.store('orders', 0, batchOf(...numbers(0, 50)))
    await client.subscribe('orders', () => {}, {
      group: 'g',
      commitAckCount: 20,
      commitIntervalMs: 1_000_000,
    })
    await settle()
    expect(broker.commits.length).toBeGreaterThan(0)
  })

  it('ends when another consumer takes its name', async () => {
    const { client, broker } = await setup()
    const first = await client.subscribe('orders', { group: 'g', member: 'm' })
    expect(first.member).toBe('m')
    const second = await client.subscribe('orders', { group: 'g', member: 'm' })
    expect(await first.closed).toMatchObject({ code: 'RTK_LEASE_LOST' })
    expect(broker.subscriptions.size).toBe(1)
    await second.close()
  })
})

describe('closing a subscription', () => {
  it('waits for the running handler, commits what it acknowledged, and calls no more', async () => {
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
      { group: 'g' },
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
    expect(broker.commits.at(-1)).toEqual([{ partition: 0, offset: 1 }])
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
      { group: 'g' },
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

  it('works without a connection, at the deadline', async () => {
    const { client, broker, clock } = await setup()
    broker.store('orders', 0, batchOf('a'))
    const subscription = await client.subscribe('orders', () => {}, { group: 'g', commitIntervalMs: 10_000 })
    await clock.advance(0)
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    await clock.advance(10)
    const closing = subscription.close({ timeoutMs: 1_000 }).catch((error) => error.code)
    await clock.advance(1_000)
    expect(await closing).toBe('RTK_TIMEOUT')
    expect(await subscription.closed).toBeUndefined()
  })
})

it('hands out every message once and in order, wherever the connection is cut', async () => {
  const step = fc.record({ store: fc.nat(3), cut: fc.boolean(), advanceMs: fc.nat(400), fail: fc.nat(2) })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 25 }),
      fc.boolean(),
      async (steps, grouped) => {
        const { client, broker, clock } = await setup(2)
        const seen: string[][] = [[], []]
        const gaps: unknown[] = []
        await client.subscribe(
          'orders',
          async (message) => {
            await Promise.resolve()
            seen[message.partition].push(message.text())
          },
          { ...(grouped ? { group: 'g' } : { from: 'earliest' }), onGap: (gap) => gaps.push(gap) },
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
        if (grouped) {
          const { committed } = broker.find('orders')
          expect([committed.get('g/0'), committed.get('g/1')]).toEqual(stored.map((texts) => texts.length))
        }
      },
    ),
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
  expect(gaps).toEqual([{ partition: 0, expectedOffset: 1, offset: 2 }])
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

it('checks its options', async () => {
  const { client, broker } = await setup()
  const cases = [
    { delivery: 'exactly-once' },
    { ack: 'never' },
    { onFailed: 'ignore' },
    { prefetchBytes: 0 },
    { maxInFlight: -1 },
    { retriesMax: 0.5 },
    { group: 'g', commitIntervalMs: -1 },
    { group: 'g', commitAckCount: 0 },
    { concurrency: 0 },
    { timeoutMs: -1 },
  ] as object[]
  for (const options of cases) {
    const call = client.subscribe('orders', () => {}, options)
    await expect(call, JSON.stringify(options)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  }
  await expect(client.batches('orders', { prefetchBytes: 0 })).rejects.toMatchObject({
    code: 'RTK_INVALID_ARGUMENT',
  })
  expect(broker.subscriptions.size).toBe(0)
  const subscription = await client.subscribe('orders', () => {})
  await expect(subscription.take(1)).rejects.toBeInstanceOf(TypeError)
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
