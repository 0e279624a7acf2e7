/** Messages that expire: when they say so, and that nobody is given them from then on. The broker's clock decides. */
import { BatchBuilder, type Clock, type Header, utf8 } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import { Collector, silent, type TransportContext, textMessage } from './context.ts'

const hourMs = 3_600_000

/** The real time, moved: what waits goes on as ever, but the date is another one. */
class MovedClock implements Clock {
  /** Far from the time of clients, which must not matter. */
  aheadMs = 1_000 * hourMs

  now(): number {
    return Date.now() + this.aheadMs
  }

  monotonic(): number {
    return performance.now()
  }

  after(delayMs: number, run: () => void): Disposable {
    const timer = setTimeout(run, delayMs)
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  }
}

async function movedBroker(context: TransportContext) {
  const clock = new MovedClock()
  return { clock, ...(await context.broker({ platform: { logger: silent, clock } })) }
}

export const expiryCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'carries when a message expires: a moment as it is, a time to live from now by the clock of the broker',
    async run(context) {
      const { clock, connect } = await movedBroker(context)
      const probe = await connect()
      await probe.createTopic('orders')
      const expiresAtMs = clock.now() + hourMs
      const beforeMs = clock.now()
      await probe.publish('orders', textMessage('a', { expiresAtMs }))
      await probe.publish('orders', textMessage('b', { ttlMs: 60_000, headers: [['h', utf8('1')]] }))
      await probe.publish('orders', textMessage('c'))
      const afterMs = clock.now()
      const collector = new Collector(probe, 'orders', { from: 'earliest' })
      for (const got of [await probe.fetch('orders', 0, 0), await collector.atLeast(3)]) {
        expect([got[0].expiresAtMs, got[2].expiresAtMs]).toEqual([expiresAtMs, undefined])
        // A client may reckon with the broker's clock: that is right to half of a round trip.
        expect(got[1].expiresAtMs).toBeGreaterThan(beforeMs + 60_000 - 2_000)
        expect(got[1].expiresAtMs).toBeLessThan(afterMs + 60_000 + 2_000)
        expect(got.map(({ headers }) => headers.map(([name]) => name))).toEqual([[], ['h'], []])
      }
      const [result] = await probe.publishMany('orders', [textMessage('d', { expiresAtMs })])
      expect('error' in result).toBe(false)
      expect((await probe.fetch('orders', 0, 3))[0].expiresAtMs).toBe(expiresAtMs)
    },
  },
  {
    name: 'gives nobody a message that has expired, and goes on behind it',
    async run(context) {
      const { clock, connect } = await movedBroker(context)
      const publisher = await connect()
      await publisher.createTopic('orders')
      await publisher.publish('orders', textMessage('a', { ttlMs: hourMs }))
      await publisher.publish('orders', textMessage('b'))
      await publisher.publish('orders', textMessage('c', { ttlMs: hourMs }))
      await publisher.publish('orders', textMessage('d', { ttlMs: 9 * hourMs }))
      await publisher.publish('orders', textMessage('e', { expiresAtMs: clock.now() + hourMs }))
      await publisher.publish('orders', textMessage('f', { expiresAtMs: 1 }))
      clock.aheadMs += 2 * hourMs
      const probe = await connect()
      const offsets = (await probe.fetch('orders', 0, 0)).map(({ offset }) => offset)
      expect(offsets).toEqual([1, 3])
      expect(await probe.fetch('orders', 0, 4)).toEqual([])
      const all = new Collector(probe, 'orders', { from: 'earliest' })
      const group = new Collector(probe, 'orders', { from: 'earliest', group: 'g' })
      for (const collector of [all, group]) await collector.atLeast(2)
      await publisher.publish('orders', textMessage('g'))
      for (const collector of [all, group]) {
        await collector.atLeast(3)
        expect(collector.texts).toEqual(['b', 'd', 'g'])
      }
      await (await group.subscription).commit([{ partition: 0, offset: 7 }])
      expect((await probe.describeGroup('orders', 'g')).lag).toBe(0)
    },
  },
  {
    name: 'takes the expiry in record batches where it belongs, and nowhere else',
    async run(context) {
      const { broker, transport, connect } = await context.broker()
      const probe = await connect()
      await probe.createTopic('orders')
      const batchOf = (headers: readonly Header[], expiresAtMs?: number): Uint8Array => {
        const builder = new BatchBuilder({ checksum: broker.platform.checksum })
        builder.add({ payload: utf8('x'), timestampMs: 1, headers, expiresAtMs })
        return builder.build()
      }
      const plain: Header = ['h', utf8('1')]
      const own: Header = ['rtk-expires-at', new Uint8Array(8)]
      // Not among the headers of a message: there it is reserved like any other name of the broker's.
      await expectCode(
        () => probe.publish('orders', textMessage('x', { headers: [plain, own] })),
        'RTK_HEADER_INVALID',
      )
      if (!transport.supports.batches) return
      await probe.publishBatch('orders', 0, batchOf([plain], broker.platform.clock.now() + hourMs))
      await expectCode(() => probe.publishBatch('orders', 0, batchOf([plain, own])), 'RTK_HEADER_INVALID')
      const short: Header = ['rtk-expires-at', new Uint8Array(7)]
      await expectCode(() => probe.publishBatch('orders', 0, batchOf([short])), 'RTK_HEADER_INVALID')
      const [got] = await probe.fetch('orders', 0, 0)
      expect(got.expiresAtMs).toBeGreaterThan(broker.platform.clock.now())
      expect(got.headers.map(([name]) => name)).toEqual(['h'])
    },
  },
]
