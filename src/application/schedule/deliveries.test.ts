/** What becomes of scheduled messages that are due when their topic cannot take them. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { message } from '../testing/broker-bench.ts'
import { dayMs, id, started, texts } from './testing/orders.ts'

describe('a topic that looks for duplicates', () => {
  it('keeps one message of those with the same id, and delivers none that it has', async () => {
    const { bench, session } = await started()
    await session.createTopic('once', { dedupWindowMs: dayMs })
    const first = await session.publish('once', message('a', { delayMs: 1_000, id: id(1) }))
    const again = await session.publish('once', message('a', { delayMs: 5_000, id: id(1) }))
    expect(again).toEqual({ ...first, duplicate: true })
    await session.publish('once', message('b', { delayMs: 1_000, id: id(2) }))
    await session.publish('once', message('b', { id: id(2) }))
    await bench.clock.advance(10_000)
    expect([...(await texts(session, 'once'))].sort()).toEqual(['a', 'b'])
  })
})

describe('a topic that cannot take its messages', () => {
  it('gets them when it can, in order, and others do not wait for it', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.createTopic('others')
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 + n }))
    await session.publish('others', message('other', { delayMs: 12 }))
    bench.logs.onAppend = (log) => {
      if (log.topicId === topicId) throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    await bench.clock.advance(60_000)
    expect(await texts(session, 'others')).toEqual(['other'])
    expect(bench.logged('cannot be stored in their topic')).toHaveLength(1)
    bench.logs.onAppend = () => {}
    await bench.clock.advance(30_000)
    expect(await texts(session)).toEqual(['0', '1', '2', '3', '4'])
  })

  it('loses them when it is deleted, which is logged once', async () => {
    const { bench, session } = await started()
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await session.deleteTopic('orders')
    await session.createTopic('orders')
    expect(await session.listScheduled('orders')).toEqual({ messages: [], next: undefined })
    await bench.clock.advance(dayMs)
    expect(await texts(session)).toEqual([])
    expect(bench.logged('were dropped')).toHaveLength(1)
    expect(bench.counted).toEqual(['ratatoskr.scheduled.dropped undefined'])
  })

  it('is not delivered to when the position cannot be stored, and is afterwards', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    bench.state.onChange = () => {
      throw new RatatoskrError('RTK_STORE_FAILED', 'the state is gone')
    }
    await bench.clock.advance(60_000)
    expect(await texts(session)).toEqual([])
    bench.state.onChange = () => {}
    await bench.clock.advance(30_000)
    expect(await texts(session)).toEqual(['a'])
  })
})
