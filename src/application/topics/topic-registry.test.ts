import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RatatoskrError, topicIdPrefix } from '../../ports/index.ts'
import { BrokerBench, codeOf, message, settled } from '../testing/broker-bench.ts'
import { failing } from './testing/failing.ts'

describe('creating topics', () => {
  it('fills in the defaults, and does nothing when done again', async () => {
    const bench = new BrokerBench({
      durability: ['os', 'fsync'],
      settings: { topicDefaults: { partitions: 2 } },
    })
    const session = await bench.start()
    const { created, topic } = await session.createTopic('orders', { retentionMs: 1_000 })
    expect(created).toBe(true)
    expect(topic.config).toEqual({
      partitions: 2,
      retentionMs: 1_000,
      retentionBytes: 10_000_000_000,
      retentionMessages: 1_000_000,
      retention: 'limits',
      segmentBytes: 100_000_000,
      durability: 'fsync',
      messageBytesMax: bench.limits.messageBytesMax,
      dedupWindowMs: 0,
      compression: 'none',
    })
    expect(await session.createTopic('orders', { retentionMs: 1_000 })).toEqual({ created: false, topic })
    expect(bench.hooks.of('topicCreated')).toHaveLength(1)
    expect(await codeOf(() => session.createTopic('orders'))).toBe('RTK_TOPIC_EXISTS')
  })

  it('at the same time under one name gives one topic', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const results = await Promise.all(Array.from({ length: 10 }, () => session.createTopic('orders')))
    expect(results.map(({ created }) => created)).toEqual([true, ...Array(9).fill(false)])
    expect(new Set(results.map(({ topic }) => topic.id)).size).toBe(1)
    expect(bench.logs.kept.size).toBe(1)
  })

  it('is bounded, also at the same time', async () => {
    const bench = new BrokerBench({ limits: { topicsMax: 2 } })
    const session = await bench.start()
    const codes = await Promise.all(['a', 'b', 'c'].map((name) => codeOf(() => session.createTopic(name))))
    expect(codes).toEqual([undefined, undefined, 'RTK_LIMIT_EXCEEDED'])
    await session.deleteTopic('a')
    await session.createTopic('c')
  })

  it('refuses a durability that the store cannot reach, with the reason', async () => {
    const bench = new BrokerBench({ durability: ['os'] })
    const session = await bench.start()
    const refusal = await session
      .createTopic('orders', { durability: 'quorum' })
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({
      code: 'RTK_DURABILITY_UNAVAILABLE',
      message: expect.stringContaining('os'),
    })
    expect(await session.topicExists('orders')).toBe(false)
  })

  it.each([
    { partitions: 0 },
    { partitions: 2_000 },
    { colour: 'red' },
    { retentionMs: 1.5 },
    { durability: 'hope' },
  ])('refuses %j', async (config) => {
    const bench = new BrokerBench()
    const session = await bench.start()
    expect(await codeOf(() => session.createTopic('orders', config as never))).toBe('RTK_INVALID_ARGUMENT')
  })

  it('leaves nothing behind when a log does not open', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    bench.logs.onOpen = ({ partition }) => {
      if (partition === 2) throw new Error('no file handles')
    }
    expect(await codeOf(() => session.createTopic('orders', { partitions: 3 }))).toBe('RTK_STORE_FAILED')
    expect(bench.logs.kept.size).toBe(0)
    expect(bench.state.keys).toEqual([])
    bench.logs.onOpen = () => {}
    expect(await session.createTopic('orders', { partitions: 3 })).toMatchObject({ created: true })
  })

  it('leaves nothing behind when the state is not stored', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    bench.state.onChange = failing('RTK_STORE_FULL')
    expect(await codeOf(() => session.createTopic('orders'))).toBe('RTK_STORE_FULL')
    expect(await session.topicExists('orders')).toBe(false)
    expect(bench.logs.kept.size).toBe(0)
  })

  it('is undone as far as it goes when even that fails; the next start removes the rest', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    bench.state.onChange = failing()
    bench.logs.onDelete = failing()
    expect(await codeOf(() => session.createTopic('orders'))).toBe('RTK_STORE_FAILED')
    expect(bench.logs.kept.size).toBe(1)
    await bench.broker.stop()
    bench.logs.onDelete = () => {}
    await bench.broker.start()
    expect(bench.logs.kept.size).toBe(0)
  })

  it('may be refused by a guard, which sees the topic as it would be', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    bench.hooks.refusals.topicCreate = ({ topic, config }) => {
      throw new RatatoskrError('RTK_PERMISSION_DENIED', `${topic} with ${config.partitions}`)
    }
    const refusal = await session.createTopic('orders', { partitions: 7 }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ message: 'orders with 7' })
    expect(bench.logs.opened).toEqual([])
  })

  it('gives ids whose first 48 bits differ', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    let asked = 0
    Object.assign(bench.platform.random, {
      uuid: () => `aaaaaaaa-000${asked++ < 3 ? 0 : 1}-4000-8000-00000000000${asked}`,
    })
    const one = await session.createTopic('one')
    const two = await session.createTopic('two')
    expect(topicIdPrefix(one.topic.id)).not.toBe(topicIdPrefix(two.topic.id))
  })
})

describe('deleting topics', () => {
  it('ends subscriptions, removes logs, offsets and state, and tells of it', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { partitions: 2 })
    await session.commit('orders', { group: 'billing', offsets: [{ partition: 0, offset: 0 }] })
    const endings: unknown[] = []
    await session.subscribe(
      'orders',
      {},
      { deliver: () => {}, ended: (reason) => void endings.push(reason?.code) },
    )
    await session.deleteTopic('orders')
    expect(endings).toEqual(['RTK_TOPIC_DELETED'])
    expect(bench.logs.kept.size).toBe(0)
    expect(bench.state.keys).toEqual([])
    expect(bench.hooks.of('topicDeleted')).toMatchObject([{ topic: 'orders' }])
    expect(await codeOf(() => session.deleteTopic('orders'))).toBe('RTK_TOPIC_NOT_FOUND')
  })

  it('may be refused by a guard', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    bench.hooks.refusals.topicDelete = failing()
    expect(await codeOf(() => session.deleteTopic('orders'))).toBe('RTK_STORE_FAILED')
    expect(await session.topicExists('orders')).toBe(true)
  })

  it('does nothing when the mark cannot be stored', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.publish('orders', message('x'))
    bench.state.onChange = failing()
    expect(await codeOf(() => session.deleteTopic('orders'))).toBe('RTK_STORE_FAILED')
    bench.state.onChange = () => {}
    expect(await session.publish('orders', message('y'))).toMatchObject({ offset: 1 })
  })

  it('is finished by a second call when it was interrupted', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    bench.logs.onDelete = failing()
    expect(await codeOf(() => session.deleteTopic('orders'))).toBe('RTK_STORE_FAILED')
    expect(await session.topicExists('orders')).toBe(false)
    expect(bench.logs.kept.size).toBe(1)
    bench.logs.onDelete = () => {}
    await session.deleteTopic('orders')
    expect(bench.logs.kept.size).toBe(0)
    expect(bench.state.keys).toEqual([])
  })

  it('is finished before a topic of the same name is created', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const first = await session.createTopic('orders')
    await session.publish('orders', message('old'))
    bench.logs.onDelete = failing()
    await codeOf(() => session.deleteTopic('orders'))
    bench.logs.onDelete = () => {}
    const second = await session.createTopic('orders')
    expect(second.topic.id).not.toBe(first.topic.id)
    expect(bench.logs.kept.size).toBe(1)
    expect(await session.topicStats('orders')).toMatchObject({ messageCount: 0 })
  })

  it('is finished at the next start after a crash', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { partitions: 2 })
    await session.commit('orders', { group: 'billing', offsets: [{ partition: 0, offset: 0 }] })
    bench.logs.onDelete = failing()
    await codeOf(() => session.deleteTopic('orders'))
    await bench.broker.stop()
    bench.broker = bench.makeBroker()
    await bench.broker.start()
    // The store still refuses: the broker runs, and the topic stays marked.
    expect(bench.broker.health().ready).toBe(true)
    expect(bench.logged('a deleted topic could not be removed')).toHaveLength(1)
    expect(bench.state.keys).toContain('topics/default/orders')
    await bench.broker.stop()
    bench.logs.onDelete = () => {}
    await bench.broker.start()
    expect(bench.state.keys).toEqual([])
    expect(bench.logs.kept.size).toBe(0)
  })

  it('while messages are published loses none that a later topic of that name would show', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    const publishing = codeOf(() => session.publish('orders', message('x')))
    await session.deleteTopic('orders')
    expect([undefined, 'RTK_TOPIC_DELETED']).toContain(await publishing)
    expect(await codeOf(() => session.fetch('orders', { partition: 0, offset: 0 }))).toBe(
      'RTK_TOPIC_NOT_FOUND',
    )
  })
})

describe('altering topics', () => {
  it('changes what is given, keeps the rest, and survives a restart', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders', { retentionMs: 1_000 })
    const altered = await session.alterTopic('orders', { retentionBytes: 500, messageBytesMax: 10 })
    expect(altered.config).toEqual({ ...topic.config, retentionBytes: 500, messageBytesMax: 10 })
    expect(bench.hooks.of('topicAltered')).toMatchObject([{ config: altered.config }])
    expect(await codeOf(() => session.publish('orders', message('eleven byte')))).toBe(
      'RTK_MESSAGE_TOO_LARGE',
    )
    await session.alterTopic('orders', {})
    expect(bench.hooks.of('topicAltered')).toHaveLength(1)
    await bench.broker.stop()
    const again = await bench.start()
    expect((await again.describeTopic('orders')).config).toEqual(altered.config)
    await again.alterTopic('orders', { retentionBytes: -1 })
  })

  it('adds partitions while subscribers read, and never removes any', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    const seen: number[] = []
    await session.subscribe(
      'orders',
      { credit: { bytes: 10_000 } },
      { deliver: ({ partition }) => void seen.push(partition), ended: () => {} },
    )
    const altered = await session.alterTopic('orders', { partitions: 3 })
    expect(altered.partitions.map(({ state }) => state)).toEqual(['online', 'online', 'online'])
    await session.publish('orders', message('x', { partition: 2 }))
    await settled()
    expect(seen).toEqual([2])
    expect(await codeOf(() => session.alterTopic('orders', { partitions: 2 }))).toBe('RTK_INVALID_ARGUMENT')
    expect(await codeOf(() => session.publish('orders', message('x', { partition: 3 })))).toBe(
      'RTK_PARTITION_NOT_FOUND',
    )
  })

  it('leaves everything as it was when the new configuration is not stored', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders')
    bench.state.onChange = failing()
    expect(await codeOf(() => session.alterTopic('orders', { partitions: 4 }))).toBe('RTK_STORE_FAILED')
    expect(await session.describeTopic('orders')).toEqual(topic)
    expect(bench.logs.kept.size).toBe(1)
    bench.state.onChange = () => {}
    expect(await session.alterTopic('orders', { partitions: 4 })).toMatchObject({ config: { partitions: 4 } })
  })

  it('of the segment size opens the logs again with it, without losing a message', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.publish('orders', message('x'))
    await session.alterTopic('orders', { segmentBytes: 70_000 })
    expect(bench.logs.opened.map(({ segmentBytes }) => segmentBytes)).toEqual([100_000_000, 70_000])
    expect(await session.publish('orders', message('y'))).toMatchObject({ offset: 1 })
    expect(bench.broker.health().status).toBe('ok')
  })

  it('may be refused by a guard, which sees what would change', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    bench.hooks.refusals.topicAlter = ({ changes, config }) => {
      throw new RatatoskrError('RTK_PERMISSION_DENIED', `${config.partitions} to ${changes.partitions}`)
    }
    const refusal = await session.alterTopic('orders', { partitions: 2 }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ message: '1 to 2' })
    expect(await codeOf(() => session.alterTopic('orders', { durability: 'quorum' }))).toBe(
      'RTK_DURABILITY_UNAVAILABLE',
    )
    expect(await codeOf(() => session.alterTopic('missing', {}))).toBe('RTK_TOPIC_NOT_FOUND')
  })
})

it('any sequence of changes leaves exactly what the model says, also after a restart', async () => {
  const step = fc.record({
    name: fc.constantFrom('a', 'b', 'acme/a'),
    act: fc.constantFrom('create', 'delete', 'grow', 'restart'),
    sick: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const bench = new BrokerBench()
      let session = await bench.start()
      const model = new Map<string, number>()
      for (const { name, act, sick } of steps) {
        if (act === 'restart') {
          await bench.broker.stop()
          bench.broker = bench.makeBroker()
          session = await bench.start()
          continue
        }
        bench.state.onChange = sick ? failing() : () => {}
        const done = await codeOf(() => {
          if (act === 'create') return session.createTopic(name)
          if (act === 'delete') return session.deleteTopic(name)
          return session.alterTopic(name, { partitions: (model.get(name) ?? 0) + 1 })
        })
        bench.state.onChange = () => {}
        if (done !== undefined) continue
        if (act === 'create') model.set(name, 1)
        if (act === 'delete') model.delete(name)
        if (act === 'grow') model.set(name, (model.get(name) ?? 0) + 1)
      }
      const found = (await session.listTopics()).map(({ namespace, name, partitions }) => [
        namespace === 'default' ? name : `${namespace}/${name}`,
        partitions.length,
      ])
      expect(new Map(found as [string, number][])).toEqual(model)
      expect(bench.logs.kept.size).toBe([...model.values()].reduce((sum, count) => sum + count, 0))
    }),
    { numRuns: 60 },
  )
})
