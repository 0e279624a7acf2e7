/** What scheduled messages survive: restarts, crashes, and partitions that cannot be read at the start. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { message, settled } from '../testing/broker-bench.ts'
import { crashed, dayMs, id, restarted, started, texts } from './testing/orders.ts'

describe('a restart', () => {
  it('loses nothing and delivers nothing twice', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    await session.publish('orders', message('b', { delayMs: 90 * dayMs }))
    await bench.clock.advance(10)
    let next = await restarted(bench)
    expect(await texts(next)).toEqual(['a'])
    await bench.clock.advance(dayMs)
    next = await restarted(bench)
    await bench.clock.advance(89 * dayMs - 11)
    expect(await texts(next)).toEqual(['a'])
    await bench.clock.advance(1)
    expect(await texts(next)).toEqual(['a', 'b'])
    next = await restarted(bench)
    await bench.clock.advance(dayMs)
    expect(await texts(next)).toEqual(['a', 'b'])
  })

  it('delivers what became due while the broker was down', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10 }))
    await bench.broker.stop()
    await bench.clock.advance(dayMs)
    bench.broker = bench.makeBroker()
    const next = await bench.start()
    await bench.clock.advance(0)
    expect(await texts(next)).toEqual(['a'])
  })
})

describe('a crash', () => {
  it('between delivering and noting so delivers nothing twice', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('warm', { delayMs: 1 }))
    await bench.clock.advance(1)
    // The delivery is stored, and the checkpoint that would note it as done never comes.
    for (let n = 0; n < 5; n++) await session.publish('orders', message(`${n}`, { delayMs: 10, id: id(1) }))
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['warm', '0', '1', '2', '3', '4'])
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(dayMs)
    expect(await texts(next)).toEqual(['warm', '0', '1', '2', '3', '4'])
  })

  it('before the delivery is stored loses nothing', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    await session.publish('orders', message('a', { delayMs: 10 }))
    bench.logs.onAppend = (log) => (log.topicId === topicId ? new Promise(() => {}) : undefined)
    await bench.clock.advance(10)
    bench.logs.onAppend = () => {}
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(0)
    expect(await texts(next)).toEqual(['a'])
  })

  it('at any change of state or append leaves each message delivered once', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const { bench, session } = await started()
      let left = steps
      let dead = false
      const step = (): void | Promise<void> => {
        if (dead || left-- <= 0) {
          dead = true
          return new Promise(() => {})
        }
      }
      bench.logs.onAppend = () => step()
      bench.state.onChange = () => step()
      const accepted: string[] = []
      for (let n = 0; n < 6; n++) {
        session.publish('orders', message(`${n}`, { delayMs: 10 + 60 * n })).then(
          () => accepted.push(`${n}`),
          () => {},
        )
        await settled()
      }
      await bench.clock.advance(1_000)
      bench.logs.onAppend = () => {}
      bench.state.onChange = () => {}
      const { bench: after, session: next } = await crashed(bench)
      await after.clock.advance(1_000)
      const got = await texts(next)
      expect(new Set(got).size, `after ${steps} steps: ${got}`).toBe(got.length)
      expect(got, `after ${steps} steps`).toEqual(expect.arrayContaining(accepted))
    }
  })
})

describe('a partition that cannot be read at start', () => {
  it('is looked through later, and gets nothing twice', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await bench.clock.advance(10)
    bench.logs.onRead = (log) => {
      if (log.topicId === topicId)
        throw new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium gave an error')
    }
    const { bench: after, session: next } = await crashed(bench)
    await next.createTopic('others')
    await next.publish('others', message('other', { delayMs: 10 }))
    await after.clock.advance(1_000)
    expect(await texts(next, 'others')).toEqual(['other'])
    after.logs.onRead = () => {}
    await after.clock.advance(60_000)
    expect(await texts(next)).toEqual(['0', '1', '2'])
  })
})

describe('a partition that is down at start', () => {
  it('is looked through when it is up again, and its topic waits until then', async () => {
    const { bench, session } = await started()
    const { id: topicId } = await session.describeTopic('orders')
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    await session.publish('orders', message('late', { delayMs: 20 }))
    await bench.clock.advance(10)
    bench.logs.onOpen = (log) => {
      if (log.topicId === topicId) throw new RatatoskrError('RTK_STORE_FAILED', 'the medium gave an error')
    }
    const { bench: after, session: next } = await crashed(bench)
    await after.clock.advance(1_000)
    after.logs.onOpen = () => {}
    await after.clock.advance(60_000)
    expect(await texts(next)).toEqual(['0', '1', '2', 'late'])
  })
})
