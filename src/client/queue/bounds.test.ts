/** Credit of a member, what it gives back, and closing. */
import { describe, expect, it } from 'vitest'
import { heldHandler, joined, keyedBatch } from '../testing/queue.ts'
import { batchOf, numbers } from '../testing/subscribing.ts'

describe('credit', () => {
  it('is granted again for what is settled, after it is sent, and for bytes that are used up', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, {
      maxInFlight: 8,
      prefetchBytes: 10_000,
      concurrency: 8,
    })
    member.deliver(0, 0, batchOf(...numbers(0, 8)))
    await settle()
    expect([member.messages, member.bytes]).toEqual([0, 10_000])
    const order: string[] = []
    member.refuse = () => order.push(`settle at ${member.messages}`)
    held.of('3').resolve()
    await settle()
    expect([member.messages, order]).toEqual([1, ['settle at 0']])
    for (const text of numbers(4, 4)) held.of(text).resolve()
    await settle()
    expect([member.messages, order]).toEqual([5, ['settle at 0', 'settle at 1']])
  })

  it('is not granted in crumbs while there is something to do', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { maxInFlight: 40 })
    member.deliver(0, 0, batchOf(...numbers(0, 30)))
    await settle()
    for (const text of numbers(0, 9)) {
      held.of(text).resolve()
      await settle()
    }
    expect(member.messages).toBe(10)
    held.of('9').resolve()
    await settle()
    expect(member.messages).toBe(20)
  })

  it('comes back for what was lost, also of messages that nobody settles', async () => {
    const { member, settle } = await joined(() => {}, { ack: 'manual', maxInFlight: 10 })
    const lease = member.deliver(0, 0, batchOf(...numbers(0, 10)))
    await settle()
    expect(member.messages).toBe(0)
    member.lose(0, lease, 2, 6)
    await settle()
    expect(member.messages).toBe(4)
  })

  it('comes back for what is handed over at most once, also when it had to wait for its turn', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, {
      delivery: 'at-most-once',
      maxInFlight: 1,
      concurrency: 2,
    })
    member.deliver(0, 0, keyedBatch('k=k0'))
    await settle()
    member.deliver(0, 1, keyedBatch('k=k1'))
    await settle()
    expect([held.begun, member.messages]).toEqual([['k0'], 0])
    held.of('k0').resolve()
    await settle()
    expect([held.begun, member.messages]).toEqual([['k0', 'k1'], 1])
  })

  it('may be raised and lowered: what waits here beyond it is given back, the last first', async () => {
    const held = heldHandler()
    const { member, subscription, settle } = await joined(held.handler, { maxInFlight: 6 })
    member.deliver(0, 0, batchOf(...numbers(0, 6)))
    await settle()
    subscription.setMaxInFlight(2)
    await settle()
    expect([member.settled, member.messages]).toEqual([['release 2-6'], 0])
    subscription.setMaxInFlight(5)
    await settle()
    held.of('0').resolve()
    await settle()
    held.of('1').resolve()
    await settle()
    expect(member.messages).toBe(5)
    expect(() => subscription.setMaxInFlight(0)).toThrow(
      expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
    )
  })
})

describe('closing', () => {
  it('gives back at once what waits, lets the running handler finish, and sends its acknowledgement', async () => {
    const held = heldHandler()
    const { member, subscription, settle } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await settle()
    let closed = false
    const closing = subscription.close().then(() => {
      closed = true
    })
    await settle()
    expect([closed, member.settled, member.over]).toEqual([false, ['release 1-3'], false])
    member.deliver(0, 3, batchOf('late'))
    await settle()
    held.of('a').resolve()
    await closing
    expect(member.settled).toEqual(['release 1-3', 'release 3-4', 'ack 0-1'])
    expect([held.begun, member.over]).toEqual([['a'], true])
    await subscription.close()
  })

  it('stops waiting at its deadline and tells the handler by the signal', async () => {
    const held = heldHandler()
    const { member, subscription, clock, settle } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a'))
    await settle()
    const { signal } = held.of('a').message
    const closing = expect(subscription.close({ timeoutMs: 300 })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    await clock.advance(300)
    await closing
    expect([signal.aborted, member.over, member.settled]).toEqual([true, true, []])
  })

  it('works without a connection: at once with nothing in doubt, at the deadline otherwise', async () => {
    for (const inDoubt of [false, true]) {
      const { member, subscription, broker, clock } = await joined(() => {})
      if (inDoubt) member.gate = new Promise(() => {})
      member.deliver(0, 0, batchOf('a'))
      await clock.advance(0)
      broker.openFailures = Number.POSITIVE_INFINITY
      broker.cut()
      await clock.advance(10)
      const closing = subscription.close({ timeoutMs: 1_000 }).then(
        () => 'closed',
        (error) => error.code,
      )
      await clock.advance(1_000)
      expect(await closing).toBe(inDoubt ? 'RTK_TIMEOUT' : 'closed')
      expect(await subscription.closed).toBeUndefined()
    }
  })
})
