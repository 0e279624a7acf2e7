/** What order handlers see: keys one after the other, also when something fails. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { heldHandler, joined, keyedBatch } from '../testing/queue.ts'

describe('several handlers at once', () => {
  it('work on messages of a key one after the other, and on other keys meanwhile', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 3, sharing: 'keyShared' })
    member.deliver(0, 0, keyedBatch('k=k0', 'k=k1', 'l=l0', 'k=k2', 'free 0', 'free 1'))
    await settle()
    expect(held.begun).toEqual(['k0', 'l0', 'free 0'])
    held.of('l0').resolve()
    await settle()
    expect(held.begun.slice(3)).toEqual(['free 1'])
    held.of('k0').resolve()
    await settle()
    held.of('k1').resolve()
    await settle()
    expect(held.begun.slice(4)).toEqual(['k1', 'k2'])
    for (const text of ['k2', 'free 0', 'free 1']) held.of(text).resolve()
    await settle()
    expect(member.settled.filter((one) => one.startsWith('ack')).length).toBeGreaterThan(0)
    expect(member.calls.flat().reduce((sum, { from, to }) => sum + to - from, 0)).toBe(6)
  })

  it('keep no order in a shared group', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 2, sharing: 'shared' })
    member.deliver(0, 0, keyedBatch('k=k0', 'k=k1'))
    await settle()
    expect(held.begun).toEqual(['k0', 'k1'])
  })

  it('are one by default, in the order of delivery', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler)
    member.deliver(0, 0, keyedBatch('a', 'b'))
    await settle()
    expect(held.begun).toEqual(['a'])
  })
})

describe('behind a message that was given back', () => {
  it('nothing of its key is handled before it, wherever it waits here; other keys go on', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 2, sharing: 'keyShared' })
    const first = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1', 'l=l0', 'l=l1'))
    const second = member.deliver(0, 4, keyedBatch('k=k4', 'l=l5'))
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    await settle()
    expect(held.begun).toEqual(['k0', 'l0'])
    held.of('k0').reject(new Error('no'))
    await settle()
    for (const text of ['l0', 'l1', 'l5']) {
      held.of(text).resolve()
      await settle()
    }
    member.lose(0, first, 1, 2, 'order')
    member.lose(0, second, 4, 5, 'order')
    gate.resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'l0', 'l1', 'l5'])
    expect(member.settled.filter((one) => !one.startsWith('ack'))).toEqual(['nack 0-1'])
    member.deliver(0, 0, keyedBatch('k=k0 again', 'k=k1'), { attempt: 2 })
    await settle()
    held.of('k0 again').resolve()
    await settle()
    expect(held.begun.slice(4)).toEqual(['k0 again', 'k1'])
  })

  it('a delivery that crosses the news waits for the answer, and is lost by then', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 2 })
    member.deliver(0, 0, keyedBatch('k=k0'))
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    await settle()
    held.of('k0').reject(new Error('no'))
    await settle()
    const crossing = member.deliver(0, 1, keyedBatch('k=k1'))
    await settle()
    expect(held.begun).toEqual(['k0'])
    member.lose(0, crossing, 1, 2, 'order')
    gate.resolve()
    await settle()
    expect([held.begun, member.settled]).toEqual([['k0'], ['nack 0-1']])
  })

  it('what is delivered anew before the answer is handled in its order, and nothing of it is given back', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 3, ack: 'manual' })
    const first = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1', 'k=k2'))
    await settle()
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    void held.of('k0').message.release()
    held.of('k0').resolve()
    await settle()
    member.lose(0, first, 1, 3, 'order')
    member.deliver(0, 0, keyedBatch('k=k0 again'))
    member.deliver(0, 1, keyedBatch('k=k1 again', 'k=k2 again'))
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again'])
    held.of('k0 again').resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again'])
    gate.resolve()
    await settle()
    held.of('k1 again').resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again', 'k1 again', 'k2 again'])
    expect(member.settled).toEqual(['release 0-1'])
  })

  it('what the broker took back is not handled, and is no error', async () => {
    const held = heldHandler()
    const errors: unknown[] = []
    const { member, settle } = await joined(held.handler, { onError: (error) => errors.push(error) })
    const lease = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1', 'k=k2'))
    await settle()
    held.of('k0').reject(new Error('no'))
    member.lose(0, lease, 1, 3, 'order')
    await settle()
    expect([held.begun, member.settled, errors]).toEqual([['k0'], ['nack 0-1'], []])
  })

  it('the key goes on when the broker refuses it: with the answer, or when it tells the loss', async () => {
    for (const code of ['RTK_LEASE_LOST', 'RTK_INVALID_ARGUMENT'] as const) {
      const held = heldHandler()
      const { member, settle } = await joined(held.handler)
      const first = member.deliver(0, 0, keyedBatch('k=k0'))
      await settle()
      const refuse = new RatatoskrError(code, 'no')
      member.refuse = () => {
        member.refuse = () => {}
        if (code === 'RTK_LEASE_LOST') member.loseSilently(0, 0, 1)
        else throw refuse
      }
      held.of('k0').reject(new Error('no'))
      await settle()
      member.deliver(0, 1, keyedBatch('k=k1'))
      await settle()
      expect(held.begun, code).toEqual(code === 'RTK_LEASE_LOST' ? ['k0', 'k1'] : ['k0'])
      member.lose(0, first, 0, 1)
      await settle()
      expect(held.begun, code).toEqual(['k0', 'k1'])
    }
  })

  it('the key goes on after the connection was lost with the answer', async () => {
    const held = heldHandler()
    const { member, latest, broker, clock } = await joined(held.handler)
    member.deliver(0, 0, keyedBatch('k=k0', 'k=k1'))
    await clock.advance(0)
    member.gate = new Promise(() => {})
    held.of('k0').reject(new Error('no'))
    await clock.advance(0)
    broker.cut()
    await clock.advance(1_000)
    latest().deliver(0, 1, keyedBatch('k=k1 again'))
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'k1 again'])
  })
})

describe('a message that nobody handles', () => {
  it('since it expired while it waited holds those behind it until the broker has answered', async () => {
    const held = heldHandler()
    const { member, clock, broker } = await joined(held.handler)
    const lease = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1@5', 'k=k2'))
    await clock.advance(0)
    broker.nowMs = 5
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    held.of('k0').resolve()
    await clock.advance(0)
    expect([held.begun, member.settled]).toEqual([['k0'], ['ack 0-1', 'release 1-2']])
    member.lose(0, lease, 2, 3, 'order')
    gate.resolve()
    member.deliver(0, 2, keyedBatch('k=k2 again'))
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'k2 again'])
  })

  it('since there is no room for it holds what comes behind it, of whatever key', async () => {
    const held = heldHandler()
    const { member, subscription, settle } = await joined(held.handler, { maxInFlight: 2 })
    member.deliver(0, 0, keyedBatch('k=k0', 'k=k1'))
    await settle()
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    subscription.setMaxInFlight(1)
    const crossing = member.deliver(0, 2, keyedBatch('k=k2', 'free'))
    await settle()
    held.of('k0').resolve()
    await settle()
    expect([held.begun, member.settled]).toEqual([
      ['k0', 'free'],
      ['release 1-2', 'ack 0-1'],
    ])
    member.lose(0, crossing, 2, 3, 'order')
    gate.resolve()
    member.deliver(0, 1, keyedBatch('k=k1 again', 'k=k2 again'))
    held.of('free').resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'free', 'k1 again'])
  })
})

describe('a message that comes again while it is still handled here', () => {
  it('goes before those behind it', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 3 })
    const lease = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1'))
    await settle()
    member.lose(0, lease, 1, 2, 'order')
    member.lose(0, lease, 0, 1)
    member.deliver(0, 0, keyedBatch('k=k0 again', 'k=k1 again'), { attempt: 2 })
    await settle()
    expect(held.begun).toEqual(['k0'])
    held.of('k0').reject(new Error('too late'))
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again'])
    held.of('k0 again').resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again', 'k1 again'])
  })
})
