import { describe, expect, it } from 'vitest'
import { RatatoskrError, utf8 } from '../../ports/index.ts'
import { BrokerBench, codeOf, message } from '../testing/broker-bench.ts'
import { failing } from './testing/failing.ts'

describe('loading topics', () => {
  it('removes logs that belong to no topic, and to no partition of one', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders')
    const strange = { topicId: '99999999-0000-4000-8000-000000000000', partition: 0 }
    await bench.logs.openLog(strange, { segmentBytes: 1 })
    await bench.logs.openLog({ topicId: topic.id, partition: 1 }, { segmentBytes: 1 })
    await bench.broker.stop()
    bench.logs.onDelete = ({ partition }) => {
      if (partition === 1) throw new Error('stuck')
    }
    await bench.broker.start()
    expect([...bench.logs.kept.values()].map(({ id }) => id)).toEqual([
      { topicId: topic.id, partition: 0 },
      { topicId: topic.id, partition: 1 },
    ])
    expect(bench.logged('a log without a topic could not be removed')).toHaveLength(1)
  })

  it('keeps and reports logs that hold records, though nothing is known of their topic, and their groups', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders', { partitions: 2 })
    await session.publish('orders', message('precious', { partition: 1 }))
    await session.commit('orders', { group: 'billing', offsets: [{ partition: 1, offset: 1 }] })
    const key = 'topics/default/orders'
    const record = (await bench.state.get(key))?.value as Uint8Array
    await bench.broker.stop()
    await bench.state.start()
    await bench.state.delete(key) // the state was lost, or an older copy restored
    await bench.start()
    expect([...bench.logs.kept.values()].map(({ id }) => id)).toEqual([{ topicId: topic.id, partition: 1 }])
    expect(bench.logged('belongs to no topic')).toMatchObject([
      { level: 'warn', fields: { topicId: topic.id, partition: 1 } },
    ])
    await bench.broker.stop()
    await bench.state.start()
    await bench.state.put(key, record)
    const again = await bench.start()
    expect(await again.fetch('orders', { partition: 1, offset: 0 })).toMatchObject({ nextOffset: 1 })
    expect(await again.describeGroup('orders', 'billing')).toMatchObject({
      partitions: [{}, { committedOffset: 1 }],
    })
  })

  it('keeps and reports a log without a topic that cannot be opened', async () => {
    const bench = new BrokerBench()
    await bench.start()
    const strange = { topicId: '99999999-0000-4000-8000-000000000000', partition: 0 }
    await (await bench.logs.openLog(strange, { segmentBytes: 1 })).close()
    await bench.broker.stop()
    bench.logs.onOpen = () => {
      throw new RatatoskrError('RTK_STORE_CORRUPT', 'damaged')
    }
    await bench.broker.start()
    expect([...bench.logs.kept.values()].map(({ id }) => id)).toEqual([strange])
    expect(bench.logged('a log without a topic could not be removed')).toHaveLength(1)
  })

  it('removes offsets of groups whose topic is gone, and says so', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    const { topic } = await session.createTopic('orders')
    await session.commit('orders', { group: 'billing', offsets: [{ partition: 0, offset: 0 }] })
    const own = bench.state.keys.filter((key) => key.startsWith('groups/'))
    const gone = '99999999-0000-4000-8000-000000000000'
    const left = Array.from({ length: 1_500 }, (_, i) => `groups/${gone}/billing/${i}`)
    const value = utf8(JSON.stringify({ offset: 1, leaderEpoch: 0, metadata: '', committedAtMs: 1 }))
    await bench.broker.stop()
    await bench.state.start()
    await bench.state.putMany([...left, `groups/${gone}/billing/x`].map((key) => ({ key, value })))
    bench.state.onChange = failing()
    await bench.start()
    expect(bench.logged('could not be removed')).toMatchObject([{ level: 'warn', fields: { topicId: gone } }])
    await bench.broker.stop()
    bench.state.onChange = () => {}
    const again = await bench.start()
    expect(bench.state.keys.filter((key) => key.startsWith('groups/'))).toEqual(own)
    expect(bench.logged('of a topic that is gone were removed')).toMatchObject([
      { level: 'info', fields: { topicId: gone, offsets: 1_501 } },
    ])
    expect(await again.listGroups('orders')).toEqual(['billing'])
    expect(topic.id).not.toBe(gone)
  })

  it.each([
    ['no JSON', '{'],
    ['another layout', JSON.stringify({ version: 2, id: '1', createdAtMs: 0, config: {}, deleting: false })],
    ['no id', JSON.stringify({ version: 1, id: 'x', createdAtMs: 0, config: {}, deleting: false })],
    [
      'a field that it does not know',
      JSON.stringify({
        version: 1,
        id: '99999999-0000-4000-8000-000000000000',
        createdAtMs: 0,
        config: { colour: 1 },
        deleting: false,
      }),
    ],
  ])('stops the start at an entry that holds %s, before any log is touched', async (_what, text) => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    await bench.broker.stop()
    await bench.state.start()
    await bench.state.put('topics/default/orders', utf8(text))
    expect(await codeOf(() => bench.broker.start())).toBe('RTK_STORE_CORRUPT')
    expect(bench.logs.kept.size).toBe(1)
  })

  it.each([
    ['the defaults', { retentionMs: 604_800_000, retentionBytes: 10_000_000_000 }, 1_000_000],
    ['the defaults beside a bound', { retentionMs: -1, retentionBytes: 5_000 }, 1_000_000],
    ['no bound beside none', { retentionMs: -1, retentionBytes: -1 }, -1],
  ])('gives %s to topics that version 0.1.0 stored', async (_what, kept, retentionMessages) => {
    const bench = new BrokerBench()
    const config = { partitions: 1, ...kept, segmentBytes: 100_000_000, durability: 'memory' }
    const record = {
      version: 1,
      id: '99999999-0000-4000-8000-000000000000',
      createdAtMs: 1_700_000_000_000,
      config: { ...config, messageBytesMax: 8_388_608 },
      deleting: false,
    }
    await bench.state.start()
    await bench.state.put('topics/default/orders', utf8(JSON.stringify(record)))
    const session = await bench.start()
    expect((await session.describeTopic('orders')).config).toEqual({
      ...record.config,
      retention: 'limits',
      retentionMessages,
      dedupWindowMs: 0,
      compression: 'none',
    })
  })

  it('whose durability this storage cannot reach: they are read, and refuse publishes with the reason', async () => {
    const bench = new BrokerBench({ durability: ['memory', 'fsync'] })
    const session = await bench.start()
    await session.createTopic('safe', { durability: 'fsync' })
    await session.createTopic('fast', { durability: 'memory' })
    await session.publish('safe', message('x'))
    await bench.broker.stop()
    Object.assign(bench.logs, { supports: { ...bench.logs.supports, durability: ['memory', 'os'] } })
    bench.broker = bench.makeBroker()
    const again = await bench.start()
    expect(bench.logged('demands a durability')).toMatchObject([
      { level: 'error', fields: { topic: 'safe', durability: 'fsync' } },
    ])
    await expect(again.publish('safe', message('x'))).rejects.toMatchObject({
      code: 'RTK_DURABILITY_UNAVAILABLE',
      message: expect.stringContaining('memory, os'),
    })
    expect(await again.fetch('safe', { partition: 0, offset: 0 })).toMatchObject({ nextOffset: 1 })
    await again.publish('fast', message('x'))
    expect(bench.broker.health()).toMatchObject({
      status: 'degraded',
      ready: true,
      components: [{ name: 'topic safe', status: 'failed', lastError: 'RTK_DURABILITY_UNAVAILABLE' }],
    })
    await again.alterTopic('safe', { durability: 'os' })
    await again.publish('safe', message('x'))
    expect(bench.broker.health().status).toBe('ok')
  })

  it('keeps topics that are beyond limits which were lowered since', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { partitions: 8 })
    await bench.broker.stop()
    Object.assign(bench, { limits: { ...bench.limits, partitionsPerTopicMax: 2 } })
    bench.broker = bench.makeBroker()
    const again = await bench.start()
    expect((await again.describeTopic('orders')).partitions).toHaveLength(8)
  })
})
