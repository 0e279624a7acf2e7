/** What a producer does when it holds as much as it may. */
import { describe, expect, it } from 'vitest'
import { setup } from './testing/producing.ts'

describe('a full producer', () => {
  it('makes publishes wait, in order, and takes them when there is room', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ bufferBytesMax: 1_000, batchBytesMax: 500 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = Array.from({ length: 20 }, (_, i) =>
      producer.publish('orders', `${i}`.padEnd(300, '.')),
    )
    await Promise.resolve()
    expect(producer.bufferedBytes).toBeLessThan(1_500)
    broker.holding = false
    broker.release()
    const receipts = await Promise.all(publishes)
    expect(receipts.map((receipt) => receipt.offset)).toEqual(receipts.map((_, i) => i + 1))
    expect(producer.bufferedBytes).toBe(0)
  })

  it('refuses with RTK_OVERLOADED when told not to wait, or when too many wait', async () => {
    const { client, broker } = await setup()
    const rejecting = client.producer({ bufferBytesMax: 100, whenFull: 'reject' })
    const bounded = client.producer({ bufferBytesMax: 100, waitingMax: 1 })
    for (const producer of [rejecting, bounded]) await producer.publish('orders', 'known')
    broker.holding = true
    const taken = [rejecting, bounded].map((producer) => producer.publish('orders', new Uint8Array(200)))
    await expect(rejecting.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    const waits = bounded.publish('orders', 'waits')
    await expect(bounded.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    broker.holding = false
    broker.release()
    await Promise.all([...taken, waits])
  })

  it('times out what found no room, and stores none of it', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ bufferBytesMax: 100 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const sent = expect(producer.publish('orders', 'x'.repeat(200))).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    const waiting = expect(producer.publish('orders', 'waits', { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
      message: expect.stringContaining('not stored'),
    })
    await clock.advance(100)
    await waiting
    await clock.advance(5_000)
    await sent
    expect(broker.texts('orders')).not.toContain('waits')
    expect(producer.bufferedBytes).toBe(0)
  })

  it('drops a publish that was cancelled while it waited', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ bufferBytesMax: 100 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const sent = producer.publish('orders', 'x'.repeat(200))
    const cancel = new AbortController()
    const waiting = producer.publish('orders', 'cancelled', { signal: cancel.signal })
    const many = producer.publishMany('orders', [{ payload: 'also' }], { signal: cancel.signal })
    cancel.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(many).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    broker.holding = false
    broker.release()
    await sent
    await producer.flush()
    expect(broker.texts('orders')).toEqual(['known', 'x'.repeat(200)])
  })
})
