/** What order handlers see: keys one after the other, also when something fails. */
import { describe, expect, it } from 'vitest'
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

describe('behind a message that failed', () => {
  it('nothing of its key is handled before it, wherever it waits here', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 2, sharing: 'keyShared' })
    member.deliver(0, 0, keyedBatch('k=k0', 'k=k1', 'l=l0', 'l=l1'))
    member.deliver(0, 4, keyedBatch('k=k4', 'l=l5'))
    await settle()
    expect(held.begun).toEqual(['k0', 'l0'])
    held.of('k0').reject(new Error('no'))
    await settle()
    for (const text of ['l0', 'l1', 'l5']) {
      held.of(text).resolve()
      await settle()
    }
    expect(held.begun).toEqual(['k0', 'l0', 'l1', 'l5'])
    expect(member.settled.filter((one) => !one.startsWith('ack')).sort()).toEqual([
      'nack 0-1',
      'release 1-2',
      'release 4-5',
    ])
    member.deliver(0, 0, keyedBatch('k=k0 again', 'k=k1'), { attempt: 2 })
    await settle()
    held.of('k0 again').resolve()
    await settle()
    expect(held.begun.slice(4)).toEqual(['k0 again', 'k1'])
  })

  it('a delivery that crosses the news is given back as well', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { concurrency: 2 })
    member.deliver(0, 0, keyedBatch('k=k0'))
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    await settle()
    held.of('k0').reject(new Error('no'))
    await settle()
    member.deliver(0, 1, keyedBatch('k=k1'))
    await settle()
    expect(held.begun).toEqual(['k0'])
    gate.resolve()
    await settle()
    expect(member.settled).toEqual(['nack 0-1', 'release 1-2'])
    member.deliver(0, 0, keyedBatch('k=k0 again', 'k=k1'), { attempt: 2 })
    await settle()
    held.of('k0 again').resolve()
    await settle()
    expect(held.begun).toEqual(['k0', 'k0 again', 'k1'])
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
})
