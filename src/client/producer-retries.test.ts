/** What a producer does when a batch is refused, its answer is lost, or there is no connection. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { producerIdOf } from '../ports/index.ts'
import { error, setup } from './testing/producing.ts'

describe('a batch that fails', () => {
  it.each(['RTK_OVERLOADED', 'RTK_UNAVAILABLE', 'RTK_STORE_FULL', 'RTK_STORE_FAILED'] as const)(
    'sends again what was refused with %s, until it is stored',
    async (code) => {
      const { client, broker, clock } = await setup()
      let refusals = 3
      broker.refuse = () => (refusals-- > 0 ? error(code) : undefined)
      const publish = client.publish('orders', 'once')
      await clock.advance(2_000)
      expect((await publish).offset).toBe(0)
      expect(broker.texts('orders')).toEqual(['once'])
    },
  )

  it('leaves a broker alone for as long as it asks for, and up to a half longer', async () => {
    const { client, broker, clock } = await setup(2)
    const attempts: number[] = []
    broker.refuse = (partition) => {
      if (partition === 1) return undefined
      attempts.push(clock.monotonic())
      return attempts.length <= 3 ? error('RTK_OVERLOADED', { retryAfterMs: 400 }) : undefined
    }
    const publishes = ['a', 'b', 'c'].map((text) => client.publish('orders', text, { partition: 0 }))
    await clock.advance(0)
    // Nothing that is published meanwhile goes before; another partition goes on.
    const later = client.publish('orders', 'd', { partition: 0 })
    expect((await client.publish('orders', 'e', { partition: 1 })).offset).toBe(0)
    await clock.advance(2_000)
    await Promise.all([...publishes, later])
    const pauses = attempts.slice(1, 4).map((at, i) => at - attempts[i])
    expect(Math.min(...pauses)).toBeGreaterThanOrEqual(400)
    expect(Math.max(...pauses)).toBeLessThanOrEqual(600)
    expect(new Set(pauses).size).toBeGreaterThan(1)
    expect(broker.texts('orders', 0).join('')).toBe('abcd')
  })

  it('rests no longer than what was refused has time, whatever the broker asks for', async () => {
    const { client, broker, clock } = await setup()
    broker.refuse = () => error('RTK_OVERLOADED', { retryAfterMs: 1e12 })
    const publish = client.publish('orders', 'early', { timeoutMs: 300 })
    const outcome = expect(publish).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    await clock.advance(100)
    const later = client.publish('orders', 'later')
    await clock.advance(199)
    broker.refuse = () => undefined
    await clock.advance(1)
    await outcome
    expect((await later).offset).toBe(0)
  })

  it('gives up at the deadline with the refusal it got', async () => {
    const { client, broker, clock } = await setup()
    broker.refuse = () => error('RTK_STORE_FULL')
    const publish = client.publish('orders', 'never')
    const outcome = expect(publish).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
    await clock.advance(5_000)
    await outcome
    expect(clock.pending).toBe(0)
  })

  it('does not send again what cannot succeed, and fails only those messages', async () => {
    const { client, broker } = await setup(2)
    broker.refuse = (partition) => (partition === 1 ? error('RTK_BATCH_MALFORMED') : undefined)
    const bad = client.publish('orders', 'bad', { partition: 1 })
    const good = client.publish('orders', 'good', { partition: 0 })
    await expect(bad).rejects.toMatchObject({ code: 'RTK_BATCH_MALFORMED' })
    expect((await good).partition).toBe(0)
  })

  it('sends a batch whose answer was lost again, and it is stored once', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = ['a', 'b'].map((text) => producer.publish('orders', text))
    await Promise.resolve()
    broker.cut()
    broker.holding = false
    await clock.advance(1_000)
    expect((await Promise.all(publishes)).map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
      [1, undefined],
      [2, undefined],
    ])
    expect(broker.publishes).toHaveLength(3)
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b'])
    expect((await producer.publish('orders', 'later')).offset).toBe(3)
  })

  it('goes on when the broker has forgotten it, and loses nothing', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    for (const text of ['a', 'b']) await producer.publish('orders', text)
    broker.find('orders').partitions[0].forgetProducers()
    const later = ['c', 'd'].map((text) => producer.publish('orders', text))
    await Promise.all([...later, clock.advance(1_000)])
    expect(broker.texts('orders')).toEqual(['a', 'b', 'c', 'd'])
  })

  it('does not send again what may be stored to a broker that has forgotten it, and says why nobody knows', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    await producer.publish('orders', 'known')
    broker.holding = true
    const lost = expect(producer.publish('orders', 'a')).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await Promise.resolve()
    broker.cut()
    broker.holding = false
    broker.find('orders').partitions[0].forgetProducers()
    await clock.advance(1_000)
    await lost
    await producer.publish('orders', 'b')
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b'])
  })

  it('does not pass off as one after a gap what may be stored by a broker that has forgotten it', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ batchBytesMax: 1 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const lost = [500, 5_000].map((timeoutMs) => producer.publish('orders', `${timeoutMs}`, { timeoutMs }))
    const outcomes = Promise.allSettled(lost)
    await Promise.resolve()
    broker.openFailures = 4 // the first one runs out of time meanwhile
    broker.cut()
    broker.holding = false
    broker.find('orders').partitions[0].forgetProducers()
    await clock.advance(5_000)
    expect(await outcomes).toMatchObject([
      { reason: { code: 'RTK_TIMEOUT' } },
      { reason: { code: 'RTK_DISCONNECTED' } },
    ])
    expect(broker.texts('orders')).toEqual(['known', '500', '5000'])
  })

  it('takes a new id when its own is fenced off, and loses nothing', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    await producer.publish('orders', 'a')
    broker.refuse = (_, bytes) => (producerIdOf(bytes) === 1 ? error('RTK_PRODUCER_FENCED') : undefined)
    const later = ['b', 'c'].map((text) => producer.publish('orders', text))
    await Promise.all([...later, clock.advance(1_000)])
    expect(broker.texts('orders')).toEqual(['a', 'b', 'c'])
    expect(broker.lastProducerId).toBe(2)
  })

  it('tells what is behind a refused batch why that one is refused, sent or not', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ batchBytesMax: 1 })
    await producer.publish('orders', 'known')
    let sent = 0
    broker.refuse = () => (sent++ === 1 ? undefined : error('RTK_STORE_FULL')) // the second one finds its number missing
    const publishes = Array.from({ length: 9 }, (_, number) => producer.publish('orders', `${number}`))
    const outcomes = Promise.allSettled(publishes)
    await clock.advance(5_000)
    for (const outcome of await outcomes)
      expect(outcome).toMatchObject({ reason: { code: 'RTK_STORE_FULL' } })
    expect(broker.texts('orders')).toEqual(['known'])
    broker.refuse = () => undefined
    await producer.publish('orders', 'later')
    expect(broker.texts('orders')).toEqual(['known', 'later'])
    expect(broker.lastProducerId).toBe(1)
  })

  it('goes on after a batch whose fate nobody knows', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ timeoutMs: 1_000 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const lost = expect(producer.publish('orders', 'a')).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(1_000)
    await lost
    broker.holding = false
    await producer.publish('orders', 'b')
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b'])
    expect(broker.lastProducerId).toBe(1)
  })

  it('keeps its numbers over a batch that the broker refuses for good', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ batchBytesMax: 1 })
    await producer.publish('orders', 'a')
    broker.refuse = () => error('RTK_HOOK_ERROR')
    await expect(producer.publish('orders', 'b')).rejects.toMatchObject({ code: 'RTK_HOOK_ERROR' })
    broker.refuse = () => undefined
    await producer.publish('orders', 'c')
    expect(broker.texts('orders')).toEqual(['a', 'c'])
    expect(broker.lastProducerId).toBe(1)
  })

  it('that is not idempotent reports a lost answer as RTK_DISCONNECTED and does not send it again', async () => {
    const { client: made, broker, clock } = await setup()
    const client = made.producer({ idempotent: false })
    await client.publish('orders', 'known')
    broker.holding = true
    const publish = client.publish('orders', 'maybe')
    await Promise.resolve()
    broker.cut()
    await expect(publish).rejects.toMatchObject({ code: 'RTK_DISCONNECTED', retryable: true })
    broker.holding = false
    await clock.advance(1_000)
    expect(broker.texts('orders')).toEqual(['known', 'maybe'])
    expect((await client.publish('orders', 'later')).offset).toBe(2)
  })

  it('sends a lost batch again, whole and in order, when it is not idempotent and retryIndeterminate is on', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ idempotent: false, retryIndeterminate: true })
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = ['a', 'b'].map((text) => producer.publish('orders', text, { key: text }))
    await Promise.resolve()
    broker.cut()
    broker.holding = false
    await clock.advance(1_000)
    const receipts = await Promise.all(publishes)
    expect(receipts.map((receipt) => receipt.offset)).toEqual([3, 4])
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b', 'a', 'b'])
  })

  it('waits for the connection within the deadline', async () => {
    const { client, broker, clock } = await setup()
    await client.publish('orders', 'known')
    broker.openFailures = 3
    broker.cut()
    const publish = client.publish('orders', 'after')
    await clock.advance(3_000)
    expect((await publish).offset).toBe(1)
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    const late = expect(client.publish('orders', 'too late')).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(5_000)
    await late
  })
})

it('never breaks the order of a partition, whatever is refused, held or cut', async () => {
  const fault = fc.constantFrom('none', 'none', 'none', 'refuse', 'hold', 'cut')
  await fc.assert(
    fc.asyncProperty(fc.array(fault, { minLength: 10, maxLength: 60 }), async (faults) => {
      const { client, broker, clock } = await setup(2)
      const producer = client.producer({ batchBytesMax: 250, inFlightMax: 3, timeoutMs: 60_000 })
      let turn = 0
      broker.refuse = () => {
        const next = faults[turn++ % faults.length]
        broker.holding = next === 'hold'
        if (next === 'cut') queueMicrotask(() => broker.cut())
        return next === 'refuse' && turn < 200 ? error('RTK_OVERLOADED') : undefined
      }
      const outcomes: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        const publish = producer.publish('orders', `${i}`.padEnd(60, '.'), { partition: i % 2 })
        outcomes.push(
          publish.then(
            () => i,
            () => undefined,
          ),
        )
        if (i % 3 === 0) await Promise.resolve()
        if (i % 7 === 0) broker.release(1)
      }
      for (let i = 0; i < 70; i++) {
        broker.release()
        await clock.advance(1_000)
      }
      const acked = (await Promise.all(outcomes)).filter((i) => i !== undefined)
      for (const partition of [0, 1]) {
        const stored = broker.texts('orders', partition).map((text) => Number.parseInt(text, 10))
        expect(stored).toEqual([...stored].sort((a, b) => a - b))
        expect(new Set(stored).size).toBe(stored.length)
        expect(stored).toEqual(expect.arrayContaining(acked.filter((i) => (i as number) % 2 === partition)))
      }
    }),
    { numRuns: 60 },
  )
})
