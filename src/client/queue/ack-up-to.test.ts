/** Acknowledging a message together with those before it in its partition. */
import { describe, expect, it } from 'vitest'
import { heldHandler, joined } from '../testing/queue.ts'
import { batchOf } from '../testing/subscribing.ts'

describe('ackUpTo', () => {
  it('acknowledges what was handed out up to it, over deliveries, as ranges of one call', async () => {
    const { member, subscription, settle } = await joined(undefined, { ack: 'manual' })
    const first = member.deliver(0, 0, batchOf('a', 'b'))
    const second = member.deliver(0, 2, batchOf('c', 'd', 'e'))
    const messages = await subscription.take(4)
    const answer = messages[2].ackUpTo()
    await settle()
    await expect(answer).resolves.toBeUndefined()
    expect(member.calls).toEqual([
      [
        { partition: 0, lease: first, from: 0, to: 2, action: 'ack' },
        { partition: 0, lease: second, from: 2, to: 3, action: 'ack' },
      ],
    ])
    // What was acknowledged along with it counts as settled: the first settlement counts.
    await messages[0].nack()
    await messages[3].ackUpTo()
    expect(member.settled.slice(2)).toEqual(['ack 3-4'])
  })

  it('leaves alone what was given back, waits here, is lost, or is of another partition', async () => {
    const { member, subscription, settle } = await joined(undefined, { ack: 'manual' }, 2)
    member.deliver(1, 0, batchOf('x'))
    const lease = member.deliver(0, 0, batchOf('a', 'b', 'c', 'd', 'e'))
    const [, , b, c, d] = await subscription.take(5)
    void b.nack()
    member.lose(0, lease, 2, 3)
    await d.ackUpTo()
    await settle()
    expect(member.settled.sort()).toEqual(['ack 0-1', 'ack 3-4', 'nack 1-2'])
    await expect(c.ack()).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
  })

  it('gives back credit for all of them', async () => {
    const { member, subscription, settle } = await joined(undefined, { ack: 'manual', maxInFlight: 3 })
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    const messages = await subscription.take(3)
    expect(member.messages).toBe(0)
    await messages[2].ackUpTo()
    await settle()
    expect(member.messages).toBe(3)
  })

  it('ends no turn of a handler that is still at work', async () => {
    const held = heldHandler()
    const errors: unknown[] = []
    const { member, settle } = await joined(held.handler, {
      ack: 'manual',
      concurrency: 2,
      onError: ({ cause }) => errors.push(cause),
    })
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await settle()
    await held.of('b').message.ackUpTo()
    expect([held.begun, member.settled]).toEqual([['a', 'b'], ['ack 0-2']])
    const cause = new Error('too late')
    held.of('a').reject(cause)
    await settle()
    expect([held.begun, member.settled]).toEqual([['a', 'b', 'c'], ['ack 0-2']])
    expect(errors).toEqual([cause])
  })

  it('has nothing to do at most once', async () => {
    const { member, subscription } = await joined(undefined, { delivery: 'at-most-once' })
    member.deliver(0, 0, batchOf('a', 'b'))
    const messages = await subscription.take(2)
    await messages[1].ackUpTo()
    expect(member.calls).toEqual([])
  })
})
