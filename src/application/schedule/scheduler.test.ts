/** Scheduled messages in a whole broker on a manual clock: when they come, and what is refused. */
import { describe, expect, it } from 'vitest'
import type { OutgoingMessage, PublishReceipt } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { codeOf, message, settled } from '../testing/broker-bench.ts'
import { crashed, dayMs, id, read, started, texts } from './testing/orders.ts'

describe('a message with a delivery time', () => {
  it('is not there a millisecond before it is due, and is there when it is', async () => {
    const { bench, session } = await started()
    const deliverAtMs = bench.clock.now() + 5_000
    const receipt = await session.publish('orders', message('later', { deliverAtMs, id: id(1) }))
    expect(receipt).toEqual({ id: id(1), partition: -1, offset: -1, durability: 'memory', deliverAtMs })
    await bench.clock.advance(4_999)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['later'])
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual(['later'])
  })

  it('keeps id, key, headers, payload and expiry, and has the time of its delivery', async () => {
    const { bench, session } = await started()
    const acceptedMs = bench.clock.now()
    await session.publish(
      'orders',
      message('x', {
        delayMs: 1_000,
        ttlMs: 500,
        id: id(7),
        key: new Uint8Array([1]),
        headers: [['h', new Uint8Array([2])]],
        timestampMs: 5,
      }),
    )
    await bench.clock.advance(1_000)
    const [got] = await read(session)
    expect(got).toMatchObject({ id: id(7), timestampMs: acceptedMs + 1_000, expiresAtMs: acceptedMs + 1_500 })
    expect([...(got.key ?? [])]).toEqual([1])
    expect(got.headers.slice(0, 2).map(([name]) => name)).toEqual(['h', 'rtk-deliver-at'])
    const [, [, time]] = got.headers
    expect(Number(new DataView(time.buffer, time.byteOffset).getBigInt64(0))).toBe(acceptedMs + 1_000)
  })

  // The first of all waits until their log is made; and the `slice` of a Buffer of Node is no copy.
  it('is what its publisher gave, also when he changes his bytes afterwards', async () => {
    const { bench, session } = await started()
    const [payload, key, value] = ['payload', 'key', 'value'].map((text) => Buffer.from(text))
    const publishing = session.publish('orders', { payload, key, headers: [['h', value]], delayMs: 1_000 })
    for (const bytes of [payload, key, value]) bytes.fill(0)
    await publishing
    await bench.clock.advance(1_000)
    const [got] = await read(session)
    const texts = [got.payload, got.key, got.headers[0][1]].map((bytes) =>
      Buffer.from(bytes ?? []).toString(),
    )
    expect(texts).toEqual(['payload', 'key', 'value'])
  })

  it('comes after 90 and after 366 days, to the millisecond', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('90 days', { delayMs: 90 * dayMs }))
    await session.publish('orders', message('366 days', { delayMs: 366 * dayMs }))
    await bench.clock.advance(90 * dayMs - 1)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['90 days'])
    bench.clock.stall(275 * dayMs) // a machine that slept for most of it
    await bench.clock.advance(dayMs - 1)
    expect(await texts(session)).toEqual(['90 days'])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['90 days', '366 days'])
  }, 60_000)

  it('is published at once when its time has come already', async () => {
    const { bench, session } = await started()
    for (const fields of [{ deliverAtMs: bench.clock.now() }, { deliverAtMs: 1 }, { delayMs: 0 }]) {
      const receipt = await session.publish('orders', message('now', fields))
      expect(receipt.deliverAtMs).toBeUndefined()
      expect(receipt.partition).toBe(0)
    }
    expect(await texts(session)).toEqual(['now', 'now', 'now'])
  })

  it('is refused when the times make no sense', async () => {
    const { bench, session } = await started()
    const nowMs = bench.clock.now()
    const wrong: readonly Partial<OutgoingMessage>[] = [
      { delayMs: 366 * dayMs + 1 },
      { deliverAtMs: nowMs + 366 * dayMs + 1 },
      { delayMs: 5, deliverAtMs: nowMs + 5 },
      { delayMs: -1 },
      { delayMs: 1.5 },
      { deliverAtMs: nowMs + 10, expiresAtMs: nowMs + 10 },
    ]
    for (const fields of wrong) {
      expect(await codeOf(() => session.publish('orders', message('x', fields)))).toBe('RTK_INVALID_ARGUMENT')
    }
    await session.publish(
      'orders',
      message('x', { delayMs: 366 * dayMs, expiresAtMs: nowMs + 366 * dayMs + 1 }),
    )
  })

  it('is delivered in the order of acceptance when others are due at the same time', async () => {
    const { bench, session } = await started()
    const deliverAtMs = bench.clock.now() + 60_000
    const key = new Uint8Array([1])
    for (let n = 0; n < 50; n++) {
      await session.publish('orders', message(`${n}`, { deliverAtMs, key }))
      await session.publish('orders', message(`early ${n}`, { deliverAtMs: deliverAtMs - n - 1, key }))
    }
    await bench.clock.advance(60_000)
    const all = await texts(session)
    expect(all.slice(0, 50)).toEqual(Array.from({ length: 50 }, (_, n) => `early ${49 - n}`))
    expect(all.slice(50)).toEqual(Array.from({ length: 50 }, (_, n) => `${n}`))
  })

  it('goes to the partition that it names, or that its key has', async () => {
    const { bench, session } = await started()
    await session.createTopic('wide', { partitions: 4 })
    await session.publish('wide', message('third', { delayMs: 10, partition: 3 }))
    expect(await codeOf(() => session.publish('wide', message('x', { delayMs: 10, partition: 4 })))).toBe(
      'RTK_PARTITION_NOT_FOUND',
    )
    const direct = await session.publish('wide', message('direct', { key: new Uint8Array([9]) }))
    await session.publish('wide', message('keyed', { delayMs: 10, key: new Uint8Array([9]) }))
    await bench.clock.advance(10)
    expect(await texts(session, 'wide', 3)).toContain('third')
    expect(await texts(session, 'wide', direct.partition)).toContain('keyed')
  })
})

describe('the topic of the scheduler', () => {
  it('is seen and changed by nobody', async () => {
    const { session } = await started()
    await session.publish('orders', message('x', { delayMs: 10 }))
    expect((await session.listTopics()).map(({ name }) => name)).toEqual(['orders'])
    expect(await session.topicExists('_scheduled')).toBe(false)
    expect(await codeOf(() => session.describeTopic('_scheduled'))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(await codeOf(() => session.fetch('_scheduled', { partition: 0, offset: 0 }))).toBe(
      'RTK_TOPIC_NOT_FOUND',
    )
    expect(await codeOf(() => session.publish('_scheduled', message('x')))).toBe('RTK_PERMISSION_DENIED')
    expect(await codeOf(() => session.deleteTopic('_scheduled'))).toBe('RTK_PERMISSION_DENIED')
  })

  it('counts for nothing, and its messages when they are published', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('x', { delayMs: 10 }))
    expect(await session.brokerStats()).toMatchObject({ topics: 1, partitions: 1, messagesPublished: 0 })
    await bench.clock.advance(10)
    expect(await session.brokerStats()).toMatchObject({ topics: 1, partitions: 1, messagesPublished: 1 })
  })

  it('keeps no more messages than the limit says', async () => {
    const { bench, session } = await started({ limits: { scheduledMessagesMax: 2 } })
    const results = await session.publishMany(
      'orders',
      [1, 2, 3].map((n) => message(`${n}`, { delayMs: 10 })),
    )
    expect(results.map((result) => ('error' in result ? result.error.code : 'stored'))).toEqual([
      'stored',
      'stored',
      'RTK_LIMIT_EXCEEDED',
    ])
    await bench.clock.advance(10)
    await session.publish('orders', message('4', { delayMs: 10 }))
    expect(await texts(session)).toEqual(['1', '2'])
  })
})

describe('cancelling', () => {
  it('takes a message back, for good', async () => {
    const { bench, session } = await started()
    const { id: first } = (await session.publish('orders', message('a', { delayMs: 10 }))) as PublishReceipt
    await session.publish('orders', message('b', { delayMs: 10 }))
    expect(await session.cancelScheduled('orders', first)).toBe(true)
    expect(await session.cancelScheduled('orders', first)).toBe(false)
    const { bench: after, session: next } = await crashed(bench)
    expect(await next.cancelScheduled('orders', first)).toBe(false)
    await after.clock.advance(10)
    expect(await texts(next)).toEqual(['b'])
  })

  it('of what is delivered, or was never there, changes nothing', async () => {
    const { bench, session } = await started()
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    await session.createTopic('others')
    expect(await session.cancelScheduled('others', id(1))).toBe(false)
    await bench.clock.advance(10)
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    expect(await codeOf(() => session.cancelScheduled('orders', 'no uuid'))).toBe('RTK_INVALID_ARGUMENT')
    expect(await codeOf(() => session.cancelScheduled('none', id(1)))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(await texts(session)).toEqual(['a'])
  })

  it('that races with the delivery has one winner', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    const gate = Promise.withResolvers<void>()
    bench.logs.onAppend = (log) => (log.topicId === topicId ? gate.promise : undefined)
    await bench.clock.advance(10)
    expect(await session.cancelScheduled('orders', id(1))).toBe(false)
    gate.resolve()
    await settled()
    expect(await texts(session)).toEqual(['a'])

    bench.logs.onAppend = () => {}
    await session.publish('orders', message('b', { delayMs: 10, id: id(2) }))
    const late = Promise.withResolvers<void>()
    bench.logs.onAppend = (log) => (log.topicId === topicId ? undefined : late.promise)
    const cancelled = session.cancelScheduled('orders', id(2))
    await bench.clock.advance(10)
    late.resolve()
    expect(await cancelled).toBe(true)
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual(['a'])
  })

  it('that cannot be stored leaves the message', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    bench.logs.onAppend = () => {
      throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    expect(await codeOf(() => session.cancelScheduled('orders', id(1)))).toBe('RTK_STORE_FULL')
    bench.logs.onAppend = () => {}
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['a'])
  })
})

describe('listing', () => {
  it('gives what waits, page by page, those first that are due first', async () => {
    const { bench, session } = await started()
    expect(await session.listScheduled('orders')).toEqual({ messages: [], next: undefined })
    const startMs = bench.clock.now()
    for (let n = 0; n < 25; n++) {
      await session.publish('orders', message('abc', { deliverAtMs: startMs + 1_000 - (n % 5), id: id(n) }))
    }
    const found: string[] = []
    let after: string | undefined
    do {
      const page = await session.listScheduled('orders', { limit: 10, after })
      expect(page.messages.length).toBeLessThanOrEqual(10)
      for (const one of page.messages) {
        found.push(one.id)
        expect(one).toEqual({
          id: one.id,
          deliverAtMs: startMs + 1_000 - (Number(one.id.slice(-12)) % 5),
          sizeBytes: 3,
        })
      }
      after = page.next
    } while (after !== undefined)
    const wanted = [4, 3, 2, 1, 0].flatMap((rest) => [0, 5, 10, 15, 20].map((n) => id(n + rest)))
    expect(found).toEqual(wanted)
    for (const wrong of [{ limit: 0 }, { limit: 1_001 }, { after: 'x' }, { after: '1.2.3' }]) {
      expect(await codeOf(() => session.listScheduled('orders', wrong))).toBe('RTK_INVALID_ARGUMENT')
    }
  })
})

describe('a wall clock that is set', () => {
  it('forward makes what is due by it come within a minute', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 90 * dayMs }))
    await bench.clock.advance(1_000)
    bench.clock.jumpTo(bench.clock.now() + 91 * dayMs)
    await bench.clock.advance(60_000)
    expect(await texts(session)).toEqual(['a'])
  })

  it('back makes the message wait until the wall clock says so', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 60_000 }))
    bench.clock.jumpTo(bench.clock.now() - dayMs)
    await bench.clock.advance(dayMs + 59_999)
    expect(await texts(session)).toEqual([])
    await bench.clock.advance(1)
    expect(await texts(session)).toEqual(['a'])
  })
})
