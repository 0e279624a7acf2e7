/** The log of scheduled messages: what it lets go of, and what it does when it cannot be read. */
import { describe, expect, it } from 'vitest'
import type { Session } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { type BrokerBench, codeOf, message } from '../testing/broker-bench.ts'
import { crashed, dayMs, id, restarted, started, texts } from './testing/orders.ts'

describe('the log of the scheduler', () => {
  const mebibyte = new Uint8Array(1024 * 1024)
  const sizeOf = (bench: BrokerBench, topicId: string): number =>
    [...bench.logs.kept.values()]
      .filter(({ id: log }) => log.topicId === topicId)
      .flatMap(({ batches }) => batches)
      .reduce((sum, batch) => sum + batch.length, 0)

  /** Lets time pass in which the machine slept, but for its last second: each timer runs once, not every few minutes of 90 days. */
  async function pass(bench: BrokerBench, ms: number): Promise<void> {
    bench.clock.stall(ms - 1_000)
    await bench.clock.advance(1_000)
  }

  /** Its id: it is of the one topic that nobody is told of. */
  async function logId(bench: BrokerBench, session: Session): Promise<string> {
    const known = new Set((await session.listTopics()).map((topic) => topic.id))
    const [hidden] = [...bench.logs.kept.values()]
      .map(({ id: log }) => log.topicId)
      .filter((one) => !known.has(one))
    return hidden
  }

  /** Two messages that wait for long, and behind them more that is done than the log may keep. */
  async function filled(): Promise<{ bench: BrokerBench; session: Session; log: string }> {
    const { bench, session } = await started()
    await session.publish('orders', message('first', { delayMs: 90 * dayMs, id: id(1) }))
    await session.publish('orders', message('second', { delayMs: 90 * dayMs, id: id(2) }))
    await session.createTopic('large', { retentionBytes: 1 })
    const log = await logId(bench, session)
    for (let n = 0; n < 20; n++) await session.publish('large', { payload: mebibyte, delayMs: 5 })
    return { bench, session, log }
  }

  it('is let go of although a message waits at its start, which comes once and in order all the same', async () => {
    const { bench, session, log } = await filled()
    expect(sizeOf(bench, log)).toBeGreaterThan(20 * 1024 * 1024)
    await bench.clock.advance(1_000)
    expect(sizeOf(bench, log)).toBeLessThan(2 * 1024 * 1024)
    expect((await session.listScheduled('orders')).messages).toHaveLength(2)
    await session.publish('orders', message('third', { deliverAtMs: bench.clock.now() + 90 * dayMs - 1_000 }))
    const { bench: after, session: next } = await crashed(bench)
    expect(await next.cancelScheduled('orders', id(1))).toBe(true)
    const { bench: later, session: last } = await crashed(after)
    expect((await last.listScheduled('orders')).messages.map((one) => one.id)).toContain(id(2))
    await pass(later, 90 * dayMs)
    expect(await texts(last)).toEqual(['second', 'third'])
  }, 60_000)

  it('holds each message once when a crash comes while one is moved', async () => {
    for (let steps = 0; steps < 6; steps++) {
      const { bench, log } = await filled()
      let left = steps
      const step = (): void | Promise<void> => (left-- > 0 ? undefined : new Promise(() => {}))
      // From here on only moves are written to the scheduler's log.
      bench.logs.onAppend = (to) => (to.topicId === log ? step() : undefined)
      bench.state.onChange = () => step()
      await bench.clock.advance(1_000)
      bench.logs.onAppend = () => {}
      bench.state.onChange = () => {}
      const { bench: after, session: next } = await crashed(bench)
      await pass(after, 90 * dayMs)
      expect(await texts(next), `after ${steps} steps`).toEqual(['first', 'second'])
    }
  }, 120_000)

  it('that cannot be read at start is read later, and nothing is lost', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('a', { delayMs: 10, id: id(1) }))
    const log = await logId(bench, session)
    await bench.broker.stop()
    bench.broker = bench.makeBroker()
    bench.logs.onRead = (from) => {
      if (from.topicId === log) throw new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium gave an error')
    }
    const next = await bench.start()
    expect(await codeOf(() => next.listScheduled('orders'))).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => next.cancelScheduled('orders', id(1)))).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => next.publish('orders', message('b', { delayMs: 10 })))).toBe('RTK_UNAVAILABLE')
    await bench.clock.advance(10_000)
    expect(bench.logged('cannot be read')).toHaveLength(1)
    bench.logs.onRead = () => {}
    await bench.clock.advance(10_000)
    expect(await texts(next)).toEqual(['a'])
  })

  it('passes over what is lost to damage', async () => {
    const { bench, session } = await started()
    for (let n = 0; n < 3; n++) await session.publish('orders', message(`${n}`, { delayMs: 10 }))
    bench.logs.damage(await logId(bench, session), { from: 1, to: 2 })
    await bench.clock.advance(10)
    expect(await texts(session)).toEqual(['0', '2'])
    expect(bench.logged('lost to damage')).toHaveLength(1)
    const next = await restarted(bench)
    await bench.clock.advance(1_000)
    expect(await texts(next)).toEqual(['0', '2'])
  })
})
