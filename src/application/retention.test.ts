import { describe, expect, it } from 'vitest'
import type { Session } from '../ports/index.ts'
import { RatatoskrError, utf8 } from '../ports/index.ts'
import { BrokerBench, batchOf, settled } from './testing/broker-bench.ts'

const sweepMs = 60_000

/** A topic that keeps everything, but for what a test bounds. */
const unlimited = { retentionMs: -1, retentionBytes: -1, retentionMessages: -1 }

/** Offsets of the first and after the last message that are left. */
async function leftOf(session: Session, topic = 'orders'): Promise<number[]> {
  const { partitions } = await session.describeTopic(topic)
  return [partitions[0].startOffset, partitions[0].stableOffset]
}

describe('retention', () => {
  it('lets go of what is older than the topic keeps, whole batches at a time', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: 10 * sweepMs })
    for (let minute = 0; minute < 5; minute++) {
      session.publishBatch('orders', 0, batchOf(['x', 'y'], bench.clock.now()))
      await bench.clock.advance(sweepMs)
    }
    expect(await leftOf(session)).toEqual([0, 10])
    await bench.clock.advance(7 * sweepMs)
    expect(await leftOf(session)).toEqual([4, 10])
    await bench.clock.advance(20 * sweepMs)
    // The last segment is being written and stays.
    expect(await leftOf(session)).toEqual([8, 10])
  })

  it('lets go of what is more than the topic keeps, and never of what it promised to keep', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: -1, retentionBytes: 200_000, segmentBytes: 65_536 })
    const payload = 'x'.repeat(50_000)
    for (let i = 0; i < 5; i++) session.publishBatch('orders', 0, batchOf([payload]))
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([0, 5]) // less than a segment too much
    for (let i = 0; i < 50; i++) session.publishBatch('orders', 0, batchOf([payload]))
    await bench.clock.advance(sweepMs)
    const { sizeBytes } = await session.topicStats('orders')
    expect(sizeBytes).toBeGreaterThanOrEqual(200_000)
    expect(sizeBytes).toBeLessThan(250_100)
  })

  it('goes by the segments that the log tells of, and does not read it then', async () => {
    const bench = new BrokerBench()
    const reads: number[] = []
    const surplus: number[] = []
    const open = bench.logs.openLog.bind(bench.logs)
    bench.logs.openLog = async (...args) => {
      const log = await open(...args)
      const read = log.read.bind(log)
      return Object.assign(log, {
        read: (offset: number, bytesMax: number) => {
          reads.push(bytesMax)
          return read(offset, bytesMax)
        },
        offsetAfterBytes: (bytes: number) => {
          surplus.push(bytes)
          return 7
        },
      })
    }
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: -1, retentionBytes: 200_000, segmentBytes: 65_536 })
    for (let i = 0; i < 15; i++) session.publishBatch('orders', 0, batchOf(['x'.repeat(50_000)]))
    const { sizeBytes } = await session.topicStats('orders')
    await bench.clock.advance(sweepMs)
    expect(surplus).toEqual([sizeBytes - 200_000])
    expect(await leftOf(session)).toEqual([7, 15])
    expect(reads).toEqual([1]) // looks whether the first message has expired
  })

  it('keeps everything when told so', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: -1, retentionBytes: -1 })
    for (let i = 0; i < 3; i++) session.publishBatch('orders', 0, batchOf(['x'.repeat(100_000)]))
    await bench.clock.advance(100 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 3])
  })

  it('by age is left out on a store without a time index', async () => {
    const bench = new BrokerBench({ timeIndex: false })
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: 1 })
    for (let i = 0; i < 3; i++) session.publishBatch('orders', 0, batchOf(['x']))
    await bench.clock.advance(2 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 3])
    expect(bench.broker.health().status).toBe('ok')
  })

  it('goes on with the other topics when one fails, and tries that one again', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders', { retentionMs: 1 })
    await session.createTopic('other', { retentionMs: 1 })
    for (const name of ['orders', 'other']) {
      for (let i = 0; i < 3; i++) session.publishBatch(name, 0, batchOf(['x'], bench.clock.now()))
    }
    let sick = true
    bench.logs.onRead = ({ topicId }) => {
      if (sick && topicId === topic.id) throw new RatatoskrError('RTK_STORE_CORRUPT', 'planned')
    }
    await session.alterTopic('orders', { retentionBytes: 1, segmentBytes: 65_536 })
    for (let i = 0; i < 3; i++)
      session.publishBatch('orders', 0, batchOf(['x'.repeat(70_000)], bench.clock.now()))
    await bench.clock.advance(sweepMs)
    expect(bench.logged('retention failed')).toHaveLength(1)
    expect(await leftOf(session, 'other')).toEqual([2, 3])
    sick = false
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([5, 6])
  })

  it('lets go of what is more than the topic counts, and never of what it promised to keep', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { ...unlimited, retentionMessages: 10 })
    for (let i = 0; i < 5; i++) session.publishBatch('orders', 0, batchOf(['a', 'b', 'c']))
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([3, 15]) // without the second batch too there would be 9
    await session.alterTopic('orders', { retentionMessages: 1 })
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([12, 15]) // the last segment is being written and stays
  })

  it('goes by whichever limit is reached first', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const limits = { retentionMs: 100 * sweepMs, retentionBytes: 400_000, retentionMessages: 50 }
    await session.createTopic('orders', { ...limits, segmentBytes: 65_536 })
    const publish = (text: string): void =>
      void session.publishBatch('orders', 0, batchOf([text], bench.clock.now()))
    for (let i = 0; i < 60; i++) publish('x')
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([10, 60]) // by count
    for (let i = 0; i < 10; i++) publish('x'.repeat(70_000))
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([64, 70]) // by size
    await bench.clock.advance(101 * sweepMs)
    expect(await leftOf(session)).toEqual([69, 70]) // by age
  })

  it('by one limit does not wait for another that cannot be looked up', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: 1, retentionMessages: 2 })
    for (let i = 0; i < 5; i++) session.publishBatch('orders', 0, batchOf(['x'], bench.clock.now()))
    bench.logs.onOffsetForTime = () => {
      throw new RatatoskrError('RTK_STORE_UNREADABLE', 'planned')
    }
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([3, 5])
    expect(bench.logged('retention failed')).toHaveLength(1)
  })

  it('by size passes over what is lost to damage', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders', {
      ...unlimited,
      retentionBytes: 300_000,
      segmentBytes: 65_536,
    })
    for (let i = 0; i < 10; i++) session.publishBatch('orders', 0, batchOf(['x'.repeat(70_000)]))
    bench.logs.damage(topic.id, { from: 0, to: 3 })
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([8, 10])
    expect(bench.logged('retention failed')).toEqual([])
  })

  it('stops with the broker', async () => {
    const bench = new BrokerBench()
    await bench.start()
    await bench.broker.stop()
    expect(bench.clock.pending).toBe(0)
  })
})

describe('a work queue', () => {
  const queue = { ...unlimited, retention: 'workqueue' } as const
  const commit = (session: Session, group: string, offset: number): Promise<void> =>
    session.commit('orders', { group, offsets: [{ partition: 0, offset }] })

  async function withMessages(config = {}) {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { ...queue, ...config })
    for (let i = 0; i < 10; i++) session.publishBatch('orders', 0, batchOf(['x'], bench.clock.now()))
    return { bench, session }
  }

  it('keeps what a group still owes, whatever the limits say', async () => {
    const limits = { retentionMs: 1, retentionBytes: 1, retentionMessages: 1, segmentBytes: 65_536 }
    const { bench, session } = await withMessages(limits)
    await bench.clock.advance(2 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 10]) // without a group everything is owed
    await commit(session, 'billing', 4)
    await commit(session, 'shipping', 6)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([4, 10])
  })

  it('lets go of what every group has committed, and no sooner', async () => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 10)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([9, 10]) // the last segment is being written and stays
  })

  it('owes what a group has asked to see again', async () => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 8)
    await session.seekGroup('orders', 'billing', { position: { offset: 2 } })
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([2, 10])
  })

  it.each([
    ['what a commit is about to pass', (session: Session) => commit(session, 'billing', 9), 3],
    [
      'what a group is about to see again',
      (session: Session) => session.seekGroup('orders', 'billing', { position: { offset: 1 } }),
      1,
    ],
  ])('owes %s as long as that is not stored', async (_what, change, owed) => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 3)
    const stored = Promise.withResolvers<void>()
    bench.state.onChange = () => stored.promise
    const changed = change(session)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([owed, 10])
    stored.resolve()
    await changed
  })

  it('owes what a member still reads, though it has committed more', async () => {
    const { bench, session } = await withMessages()
    const seen: number[] = []
    const subscription = await session.subscribe(
      'orders',
      { group: 'billing', credit: { bytes: 1 } },
      { deliver: ({ fromOffset }) => void seen.push(fromOffset), ended: () => {} },
    )
    await settled()
    expect(seen).toEqual([0])
    await subscription.commit([{ partition: 0, offset: 8 }])
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([1, 10])
  })

  it('owes what is read and not committed', async () => {
    const { bench, session } = await withMessages()
    await session.fetchGroup('orders', { group: 'billing', messagesMax: 7 })
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([0, 10])
    await commit(session, 'billing', 5)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([5, 10])
  })

  it('owes nothing to a group that is deleted', async () => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 9)
    await commit(session, 'shipping', 1)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([1, 10])
    await session.deleteGroup('orders', 'shipping')
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([9, 10])
  })

  it('begins for a new group where the log does', async () => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 6)
    await bench.clock.advance(sweepMs)
    const [first] = await session.fetchGroup('orders', { group: 'late', messagesMax: 1 })
    expect(first.fromOffset).toBe(6)
    await commit(session, 'billing', 10)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([6, 10])
  })

  it('owes the same after a restart, also to a group whose offset cannot be read any more', async () => {
    const { bench, session } = await withMessages()
    await commit(session, 'billing', 7)
    await commit(session, 'shipping', 7)
    await bench.broker.stop()
    const key = bench.state.keys.find((one) => one.includes('/billing/'))
    await bench.state.start()
    await bench.state.put(key as string, utf8('torn'))
    const again = await bench.start()
    await bench.clock.advance(sweepMs)
    expect(await leftOf(again)).toEqual([0, 10])
    await again.deleteGroup('orders', 'billing')
    await bench.clock.advance(sweepMs)
    expect(await leftOf(again)).toEqual([7, 10])
    await bench.broker.stop()
    const third = await bench.start()
    expect(await third.listGroups('orders')).toEqual(['shipping'])
  })

  it('whose owner turns to limits owes nothing', async () => {
    const { bench, session } = await withMessages({ retentionMessages: 3 })
    await commit(session, 'billing', 1)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([1, 10])
    await session.alterTopic('orders', { retention: 'limits' })
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([7, 10])
  })
})

describe('a wall clock that is set', () => {
  const dayMs = 24 * 60 * sweepMs

  async function withHourlyMessages() {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { retentionMs: dayMs })
    for (let i = 0; i < 5; i++) session.publishBatch('orders', 0, batchOf(['x'], bench.clock.now() + i))
    return { bench, session }
  }

  it('forward, expires nothing before the sweep after the next', async () => {
    const { bench, session } = await withHourlyMessages()
    bench.clock.jumpTo(bench.clock.now() + 365 * dayMs)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([0, 5])
    expect(bench.logged('the wall clock was set')).toMatchObject([
      { level: 'warn', fields: { jumpMs: 365 * dayMs } },
    ])
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([4, 5])
  })

  it('forward and back within a sweep, expires nothing', async () => {
    const { bench, session } = await withHourlyMessages()
    bench.clock.jumpTo(bench.clock.now() + 365 * dayMs)
    await bench.clock.advance(sweepMs)
    bench.clock.jumpTo(bench.clock.now() - 365 * dayMs)
    await bench.clock.advance(10 * sweepMs)
    expect(await leftOf(session)).toEqual([0, 5])
    expect(bench.logged('the wall clock was set')).toHaveLength(2)
  })

  it('still lets the other limits work', async () => {
    const { bench, session } = await withHourlyMessages()
    await session.alterTopic('orders', { retentionMessages: 2 })
    bench.clock.jumpTo(bench.clock.now() + 365 * dayMs)
    await bench.clock.advance(sweepMs)
    expect(await leftOf(session)).toEqual([3, 5])
  })

  it('by as little as a time server does, is not noticed', async () => {
    const { bench, session } = await withHourlyMessages()
    await bench.clock.advance(dayMs - sweepMs)
    bench.clock.jumpTo(bench.clock.now() + 59_000)
    await bench.clock.advance(2 * sweepMs)
    expect(await leftOf(session)).toEqual([4, 5])
    expect(bench.logged('the wall clock was set')).toEqual([])
  })
})
