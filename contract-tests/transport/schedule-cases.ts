/** Messages that are to be delivered later: kept, listed, taken back, and delivered when the broker's clock says so. */
import { type Clock, utf8 } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import { Collector, silent, type TransportContext, textMessage } from './context.ts'

const dayMs = 24 * 3_600_000
/** How long a message that is due may take. */
const waitMs = 5_000

/** What waits for a day looks at the clock so often, for the clock may be set. Shorter timers are those of other things. */
const lookMs = 60_000

/** The real time, moved by hand: who looks at the clock now and then does so at once when it has been moved. */
class MovedClock implements Clock {
  #aheadMs = 40 * dayMs
  readonly #looks = new Set<() => void>()

  now(): number {
    return Date.now() + this.#aheadMs
  }

  monotonic(): number {
    return performance.now()
  }

  after(delayMs: number, run: () => void): Disposable {
    const end = (): void => {
      clearTimeout(timer)
      this.#looks.delete(look)
    }
    const look = (): void => {
      end()
      run()
    }
    const timer = setTimeout(look, delayMs)
    if (delayMs >= lookMs) this.#looks.add(look)
    return { [Symbol.dispose]: end }
  }

  /** Moves the time forward. */
  move(ms: number): void {
    this.#aheadMs += ms
    for (const look of [...this.#looks]) look()
  }
}

async function movedBroker(context: TransportContext) {
  const clock = new MovedClock()
  return { clock, ...(await context.broker({ platform: { logger: silent, clock } })) }
}

const id = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`

export const scheduleCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'keeps a message until it is due, and gives it as it was published',
    async run(context) {
      const { clock, connect } = await movedBroker(context)
      const probe = await connect()
      await probe.createTopic('orders')
      const deliverAtMs = clock.now() + dayMs
      const fields = { id: id(1), key: utf8('k'), headers: [['h', utf8('1')]], ttlMs: dayMs }
      const receipt = await probe.publish('orders', textMessage('a', { ...fields, deliverAtMs }))
      expect(receipt).toMatchObject({ id: id(1), partition: -1, offset: -1, deliverAtMs })
      const [result] = await probe.publishMany('orders', [textMessage('b', { delayMs: 2 * dayMs })])
      expect('error' in result).toBe(false)
      if (!('error' in result)) {
        expect(result.deliverAtMs).toBeGreaterThanOrEqual(deliverAtMs + dayMs)
        expect(result.deliverAtMs).toBeLessThanOrEqual(clock.now() + 2 * dayMs)
      }
      await probe.publish('orders', textMessage('now', { deliverAtMs: 1 }))
      expect((await probe.fetch('orders', 0, 0)).map(({ offset }) => offset)).toEqual([0])
      clock.move(dayMs)
      const [got] = await probe.fetch('orders', 0, 1, waitMs)
      expect(got).toMatchObject({ id: id(1), expiresAtMs: deliverAtMs + dayMs })
      expect([got.key, got.payload].map((bytes) => new TextDecoder().decode(bytes))).toEqual(['k', 'a'])
      expect(got.headers[0][0]).toBe('h')
      expect(got.headers.map(([name]) => name)).toContain('rtk-deliver-at')
    },
  },
  {
    name: 'refuses times of delivery that make no sense',
    async run(context) {
      const { clock, connect } = await movedBroker(context)
      const probe = await connect()
      await probe.createTopic('orders')
      const nowMs = clock.now()
      const wrong = [
        { deliverAtMs: nowMs + 367 * dayMs },
        { delayMs: 367 * dayMs },
        { delayMs: 5, deliverAtMs: nowMs + 5 },
        { deliverAtMs: nowMs + dayMs, expiresAtMs: nowMs + 1 },
      ]
      for (const fields of wrong) {
        await expectCode(() => probe.publish('orders', textMessage('x', fields)), 'RTK_INVALID_ARGUMENT')
      }
      expect(await probe.fetch('orders', 0, 0)).toEqual([])
    },
  },
  {
    name: 'lists what waits, page by page, and takes back what is asked for',
    async run(context) {
      const { clock, connect } = await movedBroker(context)
      const probe = await connect()
      const { scheduled } = probe
      if (scheduled === undefined) return // what a protocol does not have it cannot do wrong
      await probe.createTopic('orders')
      expect(await scheduled.list('orders')).toEqual({ messages: [] })
      const deliverAtMs = clock.now() + dayMs
      for (let n = 0; n < 5; n++) {
        await probe.publish('orders', textMessage('abc', { id: id(n), deliverAtMs: deliverAtMs - n }))
      }
      const first = await scheduled.list('orders', { limit: 3 })
      expect(first.messages).toEqual(
        [4, 3, 2].map((n) => ({ id: id(n), deliverAtMs: deliverAtMs - n, sizeBytes: 3 })),
      )
      const second = await scheduled.list('orders', { limit: 3, after: first.next })
      expect(second.messages.map((message) => message.id)).toEqual([id(1), id(0)])
      expect(second.next).toBeUndefined()
      expect(await scheduled.cancel('orders', id(3))).toBe(true)
      expect(await scheduled.cancel('orders', id(3))).toBe(false)
      await expectCode(() => scheduled.cancel('orders', 'none'), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => scheduled.cancel('none', id(3)), 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => scheduled.list('none'), 'RTK_TOPIC_NOT_FOUND')
      await expectCode(() => scheduled.list('orders', { limit: 5_000 }), 'RTK_INVALID_ARGUMENT')
      clock.move(dayMs)
      const collector = new Collector(probe, 'orders', { from: 'earliest' })
      const ids = (await collector.atLeast(4, waitMs)).map((message) => message.id)
      expect(ids).toEqual([4, 2, 1, 0].map(id))
    },
  },
]
