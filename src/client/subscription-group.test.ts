/** Subscriptions of a group: commits, seeks, partitions that move, and delivery at most once. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import type { ClientMessage } from './client-message.ts'
import { batchOf, numbers, setup } from './testing/subscribing.ts'

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
