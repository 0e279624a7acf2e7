import { describe, expect, it, vi } from 'vitest'
import { Deliveries } from '../../domain/queue/deliveries.ts'
import { settleResultsToJson } from '../../domain/wire/queue-json.ts'
import type { Settlement } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'

const count = 10_000

/** As many as a call may have, of a lease that nobody was given. */
const wrong: readonly Settlement[] = Array.from({ length: count }, (_, from) => ({
  partition: 0,
  lease: 7,
  from,
  to: from + 1,
  action: 'ack',
}))

describe('a call whose settlements are all wrong', () => {
  it('is answered with few errors, shortly', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join({ config: { sharing: 'shared' } })
    const results = await sink.subscription.settle(wrong)
    expect(results.map((error) => error?.code)).toEqual(wrong.map(() => 'RTK_LEASE_LOST'))
    expect(new Set(results).size).toBe(101)
    expect(results[99]?.details).toEqual({ partition: 0, from: 99, to: 100, lease: 7, settled: 0 })
    expect(results[100]?.details).toEqual({})
    expect(JSON.stringify(settleResultsToJson(results)).length).toBeLessThan(150 * count)
  })

  it('looks neither at the timer nor for what to do next, and stores nothing', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join({ config: { sharing: 'shared' } })
    await bench.publish(1)
    await bench.pass(1_000)
    const { clock, state } = bench.bench
    let steps = 0
    clock.after = () => {
      steps++
      return { [Symbol.dispose]: () => {} }
    }
    state.onChange = () => void steps++
    await sink.subscription.settle(
      wrong.map((one, i) => ({ ...one, action: i % 2 === 0 ? 'extend' : 'nack' })),
    )
    expect(steps).toBe(0)
  })

  it('is refused when it has more than a call may have', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join()
    expect(() => sink.subscription.settle([...wrong, ...wrong.slice(0, 1)])).toThrow(
      'at most 10000 settlements (settlementsPerCallMax), got 10001',
    )
  })
})

describe('settling what was settled', () => {
  it('does not look at the messages one by one', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1_000)
    const sink = await bench.join({ config: { sharing: 'shared' }, credit: { messages: 500 } })
    const [{ lease }] = sink.batches
    const ack = { partition: 0, lease, from: 0, to: 500, action: 'ack' as const }
    expect(await sink.subscription.settle([ack])).toEqual([undefined])
    const looks = vi.spyOn(Deliveries.prototype, 'wasLost')
    expect(sink.subscription.settle([ack])).toEqual([undefined])
    expect(sink.subscription.settle([{ ...ack, from: 1, to: 501 }])).toMatchObject([
      { details: { settled: 0 } },
    ])
    expect(looks).not.toHaveBeenCalled()
  })
})
