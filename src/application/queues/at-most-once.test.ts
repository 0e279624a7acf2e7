import { describe, expect, it } from 'vitest'
import { QueueBench } from './testing/queue-bench.ts'
import { offsetsOf } from './testing/queue-sink.ts'

const shared = { sharing: 'shared' } as const
const one = { config: shared, autoAck: true, credit: { messages: 1 } }

describe('at most once', () => {
  it('a message is stored as settled before it is handed over', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    await bench.join({ ...one, credit: {} })
    const { state } = bench.bench
    let released = (): void => {}
    state.onChange = () => new Promise((resolve) => (released = resolve))
    const sink = await bench.join(one)
    expect(sink.offsets).toEqual([])
    state.onChange = () => {}
    released()
    await bench.pass(0)
    expect(sink.offsets).toEqual([0])
  })

  it('nothing that was handed over comes again after a crash, and all that was not does', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    const sink = await bench.join(one)
    expect(sink.offsets).toEqual([0])
    await bench.crash()
    const again = await bench.join(one)
    expect(again.offsets).toEqual([1])
    await bench.restart()
    await bench.publish(1)
    const third = await bench.join({ ...one, credit: { messages: 5 } })
    expect(third.offsets).toEqual([2, 3])
    expect(await bench.describe()).toMatchObject({ lag: 0 })
  })

  it('a clean restart loses nothing', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    await bench.join(one)
    await bench.restart()
    const again = await bench.join({ ...one, credit: { messages: 10 } })
    expect(again.offsets).toEqual([1])
  })

  it('a group that is put back gets its messages again', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const sink = await bench.join({ ...one, credit: { messages: 10 } })
    await bench.session.seekGroup('orders', 'g', { position: { offset: 0 } })
    await bench.pass(1_000)
    expect(sink.offsets).toEqual([0, 1, 0, 1])
    expect(sink.losses).toEqual([])
  })

  it('what another member gave back is handed over', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const other = await bench.join({ config: shared, member: 'other', credit: { messages: 1 } })
    const sink = await bench.join({ autoAck: true })
    await other.settle(0, 'release')
    await bench.pass(0)
    expect(sink.offsets).toEqual([0])
  })

  it('what is being stored for a member that leaves goes to another one', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    await bench.join({ ...one, credit: {} })
    let released = (): void => {}
    bench.bench.state.onChange = () => new Promise((resolve) => (released = resolve))
    const sink = await bench.join(one)
    const other = await bench.join({ ...one, credit: { messages: 5 } })
    await sink.subscription.close()
    bench.bench.state.onChange = () => {}
    released()
    await bench.pass(0)
    expect(sink.offsets).toEqual([])
    expect(other.offsets.toSorted()).toEqual([0, 1])
    expect(await bench.describe()).toMatchObject({ lag: 0 })
  })

  it('waits for a store that fails, and hands nothing over meanwhile', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    await bench.join({ ...one, credit: {} })
    bench.bench.state.onChange = () => {
      throw new Error('the disk is full')
    }
    const sink = await bench.join(one)
    await bench.pass(60_000)
    expect(sink.offsets).toEqual([])
    bench.bench.state.onChange = () => {}
    await bench.pass(5_000)
    expect(sink.offsets).toEqual([0])
  })

  it('a call that is given up leaves what was being stored for it to the next one', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    await bench.join({ ...one, credit: {} })
    let released = (): void => {}
    bench.bench.state.onChange = () => new Promise((resolve) => (released = resolve))
    const cancel = new AbortController()
    const request = { group: 'g', member: 'poller', autoAck: true, waitMs: 1_000 }
    const call = bench.session.take('orders', request, { signal: cancel.signal }).catch(({ code }) => code)
    await bench.pass(0)
    cancel.abort()
    bench.bench.state.onChange = () => {}
    released()
    await bench.pass(0)
    expect(await call).toBe('RTK_CANCELLED')
    const again = bench.session.take('orders', request)
    await bench.pass(0)
    expect((await again).batches.flatMap(offsetsOf)).toEqual([0])
  })

  it('credit is never exceeded, however many partitions have something', async () => {
    const bench = await QueueBench.start({ partitions: 4 })
    for (let partition = 0; partition < 4; partition++) await bench.publish(3, { partition })
    const sink = await bench.join({ ...one, credit: { messages: 2 } })
    expect(sink.offsets).toHaveLength(2)
    sink.subscription.grant({ messages: 10 })
    await bench.pass(0)
    expect(sink.offsets).toHaveLength(12)
  })
})
