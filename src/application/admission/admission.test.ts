import { describe, expect, it, vi } from 'vitest'
import { type Clock, isRatatoskrError, makeLimits, RatatoskrError, type Session } from '../../ports/index.ts'
import { BrokerBench, batchOf, codeOf, message } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'
import { LoopLoad } from './loop-load.ts'
import { PublishBudget } from './publish-budget.ts'
import { SharedRefusal } from './shared-refusal.ts'

/** A loop whose turns end when the test says so: timers run late by as much as it likes. */
class LateClock implements Clock {
  ms = 0
  #timer: (() => void) | undefined
  #dueMs = 0

  get isSet(): boolean {
    return this.#timer !== undefined
  }

  now(): number {
    return this.ms
  }

  monotonic(): number {
    return this.ms
  }

  after(delayMs: number, run: () => void): Disposable {
    this.#timer = run
    this.#dueMs = this.ms + delayMs
    return {
      [Symbol.dispose]: () => {
        this.#timer = undefined
      },
    }
  }

  /** Ends a turn of the loop so much later than the timer is due. */
  turn(lateMs: number): void {
    this.ms = this.#dueMs + lateMs
    const run = this.#timer
    this.#timer = undefined
    run?.()
  }
}

describe('load of the event loop', () => {
  it('counts half a second of nothing but late turns as an overload', () => {
    const clock = new LateClock()
    const load = new LoopLoad(clock, 50)
    const lateBy = (lateMs: number): boolean => {
      clock.turn(lateMs)
      return load.isOverloaded()
    }
    expect(load.isOverloaded()).toBe(false)
    expect([lateBy(51), lateBy(400), lateBy(50)]).toEqual([false, false, false])
    // The second is due 10 ms after the first has come: 240 + 10 + 249 ms, and then one more.
    expect([lateBy(240), lateBy(249)]).toEqual([false, false])
    expect(lateBy(51)).toBe(true)
    expect(load.delayMs).toBe(51)
  })

  it('ends with the first turn in time, and begins again with one late turn within a second, not later', () => {
    const clock = new LateClock()
    const load = new LoopLoad(clock, 50)
    const lateBy = (lateMs: number): boolean => {
      clock.turn(lateMs)
      return load.isOverloaded()
    }
    load.isOverloaded()
    expect(lateBy(500)).toBe(true)
    expect(lateBy(0)).toBe(false)
    expect(lateBy(60)).toBe(true)
    expect(lateBy(0)).toBe(false)
    for (let turns = 0; turns < 100; turns++) lateBy(0)
    expect(lateBy(60)).toBe(false)
  })

  it('measures only while it is asked', () => {
    const clock = new LateClock()
    const load = new LoopLoad(clock, 50)
    expect(clock.isSet).toBe(false)
    load.isOverloaded()
    for (let turns = 0; turns <= 10; turns++) {
      expect(clock.isSet).toBe(true)
      clock.turn(60)
    }
    expect(clock.isSet).toBe(false)
    expect(load.isOverloaded()).toBe(false)
    expect(clock.isSet).toBe(true)
    load.stop()
    expect(clock.isSet).toBe(false)
  })
})

describe('admission', () => {
  const publish = (session: Session): Promise<unknown> =>
    session.publish('orders', message('x')).then(
      () => 'stored',
      (error: unknown) => error,
    )

  it('refuses what comes from outside with a hint, and never what comes from the process of the broker', async () => {
    const bench = new BrokerBench()
    let aheadMs = 0
    const { monotonic } = bench.clock
    vi.spyOn(bench.clock, 'monotonic').mockImplementation(() => monotonic.call(bench.clock) + aheadMs)
    const turn = (lateMs: number): Promise<void> => {
      aheadMs += lateMs
      return bench.clock.advance(10)
    }
    const embedded = await bench.start()
    const session = await bench.connect()
    await session.createTopic('orders')
    expect(await publish(session)).toBe('stored')
    for (let turns = 0; turns < 5; turns++) await turn(120)
    const error = await publish(session)
    expect(isRatatoskrError(error, 'RTK_OVERLOADED') && error.details).toEqual({ retryAfterMs: 480 })
    // Refused again before the loop was looked at again: there is nothing new to say, and an error is dear to make.
    expect(await publish(session)).toBe(error)
    expect(await publish(embedded)).toBe('stored')
    expect(bench.counted).toContain('ratatoskr.publish.overloaded undefined')
    await turn(200)
    const later = await publish(session)
    expect(isRatatoskrError(later, 'RTK_OVERLOADED') && later.details).toEqual({ retryAfterMs: 800 })
    expect(bench.logged('overloaded')).toHaveLength(1)
    await turn(0)
    expect(await publish(session)).toBe('stored')
    await bench.broker.stop()
    expect(bench.clock.pending).toBe(0)
  })

  it('refuses what is more than all partitions together may have waiting', async () => {
    const bench = new BrokerBench({ limits: { publishBytesWaitingMax: 10_000 } })
    const session = await bench.start()
    await session.createTopic('orders', { partitions: 2 })
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const first = session.publishBatch('orders', 0, batchOf(['x'.repeat(6_000)]))
    const second = (): unknown => session.publishBatch('orders', 1, batchOf(['x'.repeat(6_000)]))
    expect(await codeOf(second)).toBe('RTK_OVERLOADED')
    gate.release()
    await first
    bench.logs.onAppend = () => {}
    expect(await codeOf(second)).toBeUndefined()
  })
})

describe('a shared refusal', () => {
  it('is the same for all within 10 ms, and made anew after that', () => {
    let nowMs = 0
    const refusal = new SharedRefusal({ monotonic: () => nowMs } as Clock)
    let made = 0
    const next = () => refusal.of(() => new RatatoskrError('RTK_OVERLOADED', `number ${++made}`)).message
    expect(next()).toBe('number 1')
    nowMs = 9.9
    expect(next()).toBe('number 1')
    nowMs = 10
    expect(next()).toBe('number 2')
  })

  it('is that of a partition whose queue is full', async () => {
    const bench = new BrokerBench({ limits: { partitionQueueMessagesMax: 1 } })
    const session = await bench.start()
    await session.createTopic('orders')
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const first = session.publishBatch('orders', 0, batchOf(['x']))
    const refused = async (): Promise<unknown> => {
      try {
        return await session.publishBatch('orders', 0, batchOf(['y']))
      } catch (error) {
        return error
      }
    }
    const error = await refused()
    expect(isRatatoskrError(error, 'RTK_OVERLOADED')).toBe(true)
    expect(await refused()).toBe(error)
    gate.release()
    await first
  })
})

describe('budget of bytes that wait', () => {
  it('is shared by all, and lets a lone publish through whatever its size', () => {
    const budget = new PublishBudget(makeLimits({ publishBytesWaitingMax: 100 }))
    expect(budget.refusal(1_000)).toBeUndefined()
    budget.entered(60)
    expect(budget.refusal(40)).toBeUndefined()
    expect(budget.refusal(41)).toMatch(/60 bytes of all partitions wait \(publishBytesWaitingMax 100\)/)
    budget.left(60)
    expect(budget.refusal(41)).toBeUndefined()
  })
})
