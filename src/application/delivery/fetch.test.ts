import { describe, expect, it } from 'vitest'
import type { FetchRequest } from '../../ports/index.ts'
import { codeOf } from '../testing/broker-bench.ts'
import { DeliveryBench, gate } from './testing/delivery-bench.ts'
import { batchOf } from './testing/topic-double.ts'

const ask = (bench: DeliveryBench, request: Partial<FetchRequest> = {}, signal?: AbortSignal) =>
  bench.delivery.fetch(bench.topic, { partition: 0, offset: 'earliest', ...request }, { signal })

/** How far a call has come. */
function watch<T>(call: Promise<T>): { state: string; value: T | undefined } {
  const seen = { state: 'waiting', value: undefined as T | undefined }
  call.then(
    (value) => Object.assign(seen, { state: 'done', value }),
    (error) => Object.assign(seen, { state: error.code }),
  )
  return seen
}

describe('fetching', () => {
  it('gives whole batches from an offset, within the bound, one at least', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 3; i++) bench.publish(2)
    const size = batchOf(2).length
    const found = await ask(bench, { offset: 3, bytesMax: size * 2 })
    expect(found).toMatchObject({ fromOffset: 3, nextOffset: 6, startOffset: 0, stableOffset: 6 })
    expect(await ask(bench, { bytesMax: 1 })).toMatchObject({ fromOffset: 0, nextOffset: 2 })
    expect(bench.delivery.totals).toMatchObject({ messagesDelivered: 5, bytesDelivered: size * 3 })
  })

  it('never gives more than a delivery may carry', async () => {
    const bench = new DeliveryBench({ limits: { deliveryBytesMax: 100 } })
    for (let i = 0; i < 3; i++) bench.publish(2)
    expect(await ask(bench, { bytesMax: 1_000_000 })).toMatchObject({ nextOffset: 2 })
  })

  it('gives nothing at the end, at once', async () => {
    const bench = new DeliveryBench()
    bench.publish(2)
    expect(await ask(bench, { offset: 'latest' })).toEqual({
      topicId: bench.topic.id,
      partition: 0,
      bytes: new Uint8Array(0),
      fromOffset: 2,
      nextOffset: 2,
      startOffset: 0,
      stableOffset: 2,
    })
  })

  it.each([
    [{ partition: 1 }, 'RTK_PARTITION_NOT_FOUND'],
    [{ partition: -1 }, 'RTK_PARTITION_NOT_FOUND'],
    [{ partition: 0.5 }, 'RTK_PARTITION_NOT_FOUND'],
    [{ offset: 3 }, 'RTK_OFFSET_OUT_OF_RANGE'],
    [{ offset: -1 }, 'RTK_INVALID_ARGUMENT'],
    [{ offset: 'first' as never }, 'RTK_INVALID_ARGUMENT'],
    [{ bytesMax: 0 }, 'RTK_INVALID_ARGUMENT'],
    [{ waitMs: -1 }, 'RTK_INVALID_ARGUMENT'],
    [{ waitMs: Number.NaN }, 'RTK_INVALID_ARGUMENT'],
  ])('refuses %j', async (request, code) => {
    const bench = new DeliveryBench()
    bench.publish(2)
    expect(await codeOf(() => ask(bench, request))).toBe(code)
  })

  it('refuses an offset that retention has deleted, with the range that is left', async () => {
    const bench = new DeliveryBench()
    for (let i = 0; i < 3; i++) bench.publish(2)
    bench.topic.partitions[0].truncateBefore(4)
    await expect(ask(bench, { offset: 1 })).rejects.toMatchObject({
      code: 'RTK_OFFSET_OUT_OF_RANGE',
      details: { partition: 0, requested: 1, startOffset: 4, stableOffset: 6 },
    })
  })
})

describe('a fetch that waits', () => {
  it('is answered by the first message', async () => {
    const bench = new DeliveryBench()
    const call = watch(ask(bench, { waitMs: 1_000 }))
    await bench.clock.advance(400)
    bench.topic.partitions[0].changed()
    await bench.clock.advance(400)
    expect(call.state).toBe('waiting')
    bench.publish(1)
    await bench.settle()
    expect(call).toMatchObject({ state: 'done', value: { fromOffset: 0, nextOffset: 1 } })
    expect(bench.clock.pending).toBe(0)
  })

  it('is answered with nothing after its time, to the millisecond', async () => {
    const bench = new DeliveryBench()
    const call = watch(ask(bench, { waitMs: 1_000 }))
    await bench.clock.advance(999)
    expect(call.state).toBe('waiting')
    await bench.clock.advance(1)
    expect(call).toMatchObject({ state: 'done', value: { nextOffset: 0 } })
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
  })

  it('waits no longer than the limit', async () => {
    const bench = new DeliveryBench({ limits: { fetchWaitMsMax: 50 } })
    const call = watch(ask(bench, { waitMs: Number.POSITIVE_INFINITY }))
    await bench.clock.advance(50)
    expect(call.state).toBe('done')
  })

  it.each([
    [undefined, 'RTK_CANCELLED'],
    [new DOMException('late', 'TimeoutError'), 'RTK_TIMEOUT'],
  ])('is cancelled by its signal (%s)', async (reason, code) => {
    const bench = new DeliveryBench()
    const controller = new AbortController()
    const call = watch(ask(bench, { waitMs: 1_000 }, controller.signal))
    await bench.settle()
    controller.abort(reason)
    await bench.settle()
    expect(call.state).toBe(code)
    expect(bench.clock.pending).toBe(0)
    expect(bench.topic.partitions[0].watcherCount).toBe(0)
    expect(await codeOf(() => ask(bench, {}, controller.signal))).toBe(code)
  })

  it('does not wait when it was cancelled while it read', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const read = gate()
    partition.slow = read.promise
    const controller = new AbortController()
    const call = watch(ask(bench, { waitMs: 1_000 }, controller.signal))
    await bench.settle()
    controller.abort()
    read.resolve()
    await bench.settle()
    expect(call.state).toBe('RTK_CANCELLED')
    expect(bench.clock.pending).toBe(0)
    expect(partition.watcherCount).toBe(0)
  })

  it('misses nothing that comes while it reads', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const read = gate()
    const call = watch(ask(bench, { offset: 'latest', waitMs: 1_000 }))
    await bench.settle()
    partition.slow = read.promise
    partition.changed()
    await bench.settle()
    bench.publish(1)
    read.resolve()
    await bench.settle()
    expect(call.state).toBe('done')
  })

  it('reads again when a message came after an empty read', async () => {
    const bench = new DeliveryBench()
    const [partition] = bench.topic.partitions
    const readNow = partition.read.bind(partition)
    partition.read = async () => {
      bench.publish(1)
      partition.read = readNow
      return new Uint8Array(0)
    }
    const call = watch(ask(bench, { waitMs: 1_000 }))
    await bench.clock.advance(50)
    expect(call).toMatchObject({ state: 'done', value: { nextOffset: 1 } })
  })
})
