import { describe, expect, it } from 'vitest'
import { QueueBench } from './testing/queue-bench.ts'

const batchSink = { deliver() {}, ended() {} }

describe('a stream group', () => {
  it('becomes a queue group when somebody joins who takes messages, exactly where it stands', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    for (const partition of [0, 1]) await bench.publish(4, { partition })
    const { session } = bench
    await session.commit('orders', { group: 'g', offsets: [{ partition: 1, offset: 3 }] })
    const sink = await bench.join({ config: { sharing: 'shared' }, from: { offset: 2 } })
    expect(sink.batches.map(({ partition, firstOffset }) => [partition, firstOffset])).toEqual([
      [0, 2],
      [1, 3],
    ])
    expect(await session.listGroups('orders')).toEqual(['g'])
    expect(bench.bench.state.keys.filter((key) => key.startsWith('groups/'))).toEqual([])
    await sink.settle(1, 'ack')
    await bench.restart()
    expect(await bench.describe()).toMatchObject({ lag: 2, partitions: [{ lag: 2 }, { ackedOffset: 4 }] })
  })

  it('that was only moved before anybody joined serves either kind', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    await bench.session.seekGroup('orders', 'g', { position: { offset: 2 } })
    expect((await bench.join()).offsets).toEqual([2])
  })

  it('with members stays what it is', async () => {
    const bench = await QueueBench.start()
    const member = await bench.session.subscribe('orders', { group: 'g' }, batchSink)
    await expect(bench.join()).rejects.toMatchObject({ code: 'RTK_GROUP_MISMATCH' })
    await member.close()
    const sink = await bench.join()
    expect(sink.ends).toEqual([])
    await expect(bench.session.subscribe('orders', { group: 'g' }, batchSink)).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
  })

  it('is a queue group after a restart, though its old positions could not be forgotten', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    const { session } = bench
    await session.commit('orders', { group: 'g', offsets: [{ partition: 0, offset: 1 }] })
    const { state } = bench.bench
    state.onChange = (changes) => {
      if (changes.some(({ key, value }) => key.startsWith('groups/') && value === undefined))
        throw new Error('full')
    }
    await bench.join()
    await bench.restart()
    state.onChange = () => {}
    await bench.restart()
    expect(await bench.describe()).toMatchObject({ lag: 2 })
    expect(await bench.session.listGroups('orders')).toEqual(['g'])
  })

  it('that cannot be stored as a queue group is left as it is', async () => {
    const bench = await QueueBench.start()
    const { session } = bench
    await bench.publish(3)
    await session.commit('orders', { group: 'g', offsets: [{ partition: 0, offset: 1 }] })
    const { state } = bench.bench
    state.onChange = () => {
      throw new Error('full')
    }
    await expect(bench.join()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    state.onChange = () => {}
    await session.commit('orders', { group: 'g', offsets: [{ partition: 0, offset: 2 }] })
    expect(await session.describeGroup('orders', 'g')).toMatchObject({ lag: 1 })
  })
})
