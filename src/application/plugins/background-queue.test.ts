import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import type { BackgroundQueueOptions } from '../../ports/index.ts'
import { BoundedQueue } from './background-queue.ts'

const make = (options: Partial<BackgroundQueueOptions<number>> = {}) => {
  const clock = new ManualClock()
  const batches: (readonly number[])[] = []
  const failures: unknown[] = []
  const drops: number[] = []
  const queue = new BoundedQueue<number>(
    {
      name: 'work',
      itemsMax: 100,
      handle: (items) => {
        batches.push(items)
        return Promise.resolve()
      },
      ...options,
    },
    clock,
    { dropped: (items) => drops.push(items), failed: (error) => failures.push(error) },
  )
  return { clock, queue, batches, failures, drops }
}

const range = (count: number) => Array.from({ length: count }, (_, i) => i)
const never = () => new Promise<void>(() => {})

describe('a background queue', () => {
  it('hands items over in order, in batches, after the offering code is through', async () => {
    const { queue, batches } = make({ batchMax: 4 })
    for (const item of range(10)) expect(queue.offer(item)).toBe(true)
    expect(batches).toEqual([])
    expect(queue.size).toBe(10)
    await queue.drained()
    expect(batches).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ])
    expect(queue.size).toBe(0)
  })

  it('handles one batch at a time', async () => {
    const releases: (() => void)[] = []
    let running = 0
    let most = 0
    const { queue } = make({
      batchMax: 1,
      handle: async () => {
        most = Math.max(most, ++running)
        await new Promise<void>((resolve) => releases.push(resolve))
        running--
      },
    })
    for (const item of range(3)) queue.offer(item)
    for (let turn = 0; turn < 3; turn++) {
      await settled()
      expect(releases).toHaveLength(turn + 1)
      releases[turn]()
    }
    await queue.drained()
    expect(most).toBe(1)
  })

  it('refuses and counts what is above its bound, while a handler stalls for ever', async () => {
    const { queue, drops } = make({ itemsMax: 3, batchMax: 2, handle: never })
    expect(range(3).map((item) => queue.offer(item))).toEqual([true, true, true])
    await settled()
    expect(queue.size).toBe(1)
    expect(range(1_000).filter((item) => queue.offer(item))).toHaveLength(2)
    expect([queue.size, queue.dropped, drops.length]).toEqual([3, 998, 998])
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('goes on after a handler that %s, without trying its items again', async (_, fail) => {
    const seen: number[] = []
    const { queue, failures } = make({
      batchMax: 1,
      handle: (items) => {
        seen.push(...items)
        return items[0] === 1 ? fail() : Promise.resolve()
      },
    })
    for (const item of range(3)) queue.offer(item)
    await queue.drained()
    expect(seen).toEqual([0, 1, 2])
    expect(failures).toEqual([new Error('no')])
  })

  it('tells what was offered so far from what came later', async () => {
    const releases: (() => void)[] = []
    const { queue } = make({
      batchMax: 1,
      handle: () => new Promise((resolve) => releases.push(resolve)),
    })
    await queue.drained()
    queue.offer(1)
    const first = queue.drained()
    expect(queue.drained()).toBe(first)
    queue.offer(2)
    let second = false
    void queue.drained().then(() => {
      second = true
    })
    await settled()
    releases[0]()
    await first
    await settled()
    expect(second).toBe(false)
    releases[1]()
    await settled()
    expect(second).toBe(true)
  })

  it('lets the event loop turn when a handler feeds itself for ever', async () => {
    let handled = 0
    const { queue, clock } = make({
      handle: (items) => {
        handled += items.length
        queue.offer(0)
        return Promise.resolve()
      },
    })
    queue.offer(0)
    await settled()
    const first = handled
    expect(first).toBeLessThanOrEqual(2_048)
    await clock.advance(1)
    expect(handled).toBeGreaterThan(first)
    const closing = queue.close(10)
    await clock.advance(10)
    await closing
    expect(clock.pending).toBe(0)
  })

  it('closes when it has drained, and refuses from then on', async () => {
    const { queue, batches } = make()
    queue.offer(1)
    expect(await queue.close(1_000)).toBe(0)
    expect(batches).toEqual([[1]])
    expect(queue.offer(2)).toBe(false)
    expect(queue.dropped).toBe(1)
    expect(await queue.close(1_000)).toBe(0)
  })

  it('cuts what is left at the deadline, and ends those who wait for it', async () => {
    const releases: (() => void)[] = []
    const { queue, clock, drops } = make({
      batchMax: 1,
      handle: () => new Promise((resolve) => releases.push(resolve)),
    })
    for (const item of range(5)) queue.offer(item)
    const drained = queue.drained()
    const closing = queue.close(1_000)
    await clock.advance(999)
    expect(queue.size).toBe(4)
    await clock.advance(1)
    expect(await closing).toBe(4)
    await drained
    expect([queue.size, queue.dropped, drops]).toEqual([0, 4, [4]])
    releases[0]()
    await settled()
    expect(releases).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  it.each([
    { itemsMax: 0 },
    { itemsMax: Number.NaN },
    { itemsMax: 1.5 },
    { itemsMax: Number.POSITIVE_INFINITY },
    { batchMax: 0 },
    { handle: undefined },
  ])('refuses %j', (options) => {
    expect(() => make(options as Partial<BackgroundQueueOptions<number>>)).toThrow(TypeError)
  })
})

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
