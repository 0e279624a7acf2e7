import { describe, expect, it } from 'vitest'
import { utf8, utf8Text } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'

const slow = { kind: 'fixed', delayMs: 5_000 } as const

describe('the settings that a topic has for its groups', () => {
  it('are those of new groups, but for what a group is given of its own', async () => {
    const bench = await QueueBench.start()
    const { session } = bench
    await session.alterTopic('orders', { queue: { retriesMax: 7, sharing: 'shared', retry: slow } })
    expect((await session.describeTopic('orders')).config.queue).toEqual({
      retriesMax: 7,
      sharing: 'shared',
      retry: slow,
    })
    await bench.join({ config: { ackTimeoutMs: 1_000 } })
    const { config } = await bench.describe()
    expect(config).toMatchObject({ retriesMax: 7, sharing: 'shared', retry: slow, ackTimeoutMs: 1_000 })
  })

  it('change those of groups in use that have none of their own, and of messages that are out', async () => {
    const bench = await QueueBench.start()
    const { session } = bench
    const sink = await bench.join({ config: { sharing: 'shared', inFlightMax: 5 } })
    await bench.publish(1)
    await session.alterTopic('orders', {
      queue: { retriesMax: 0, sharing: 'keyShared', inFlightMax: 9, deadLetterTopic: 'none' },
    })
    expect((await bench.describe()).config).toMatchObject({
      retriesMax: 0,
      sharing: 'shared',
      inFlightMax: 5,
    })
    await sink.settle(0, 'nack')
    await bench.pass(60_000)
    expect(sink.batches).toHaveLength(1)
    expect(await bench.describe()).toMatchObject({ lag: 0 })
    await session.alterTopic('orders', { queue: { inFlightMax: 2 } })
    expect((await session.describeTopic('orders')).config.queue).toMatchObject({
      retriesMax: 0,
      inFlightMax: 2,
    })
  })

  it('are there after a restart, and change a group that was altered before only where it has none', async () => {
    const bench = await QueueBench.start()
    await bench.session.alterTopic('orders', { queue: { ackTimeoutMs: 9_000 } })
    await bench.session.createQueue('orders', 'g', { retriesMax: 1 })
    await bench.session.alterQueue('orders', 'g', { retry: slow })
    await bench.restart()
    await bench.session.alterTopic('orders', { queue: { ackTimeoutMs: 8_000, retriesMax: 2 } })
    expect((await bench.describe()).config).toMatchObject({ retriesMax: 1, ackTimeoutMs: 8_000, retry: slow })
    expect((await bench.session.createQueue('orders', 'g', { retriesMax: 1, retry: slow })).group).toBe('g')
    await expect(bench.session.createQueue('orders', 'g', { retriesMax: 2 })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
  })

  it('are those of a group again that takes its own back, also after a restart', async () => {
    const bench = await QueueBench.start()
    await bench.session.alterTopic('orders', { queue: { ackTimeoutMs: 9_000, sharing: 'shared' } })
    await bench.session.createQueue('orders', 'g', { retriesMax: 1, ackTimeoutMs: 5, sharing: 'keyShared' })
    const changes = { ackTimeoutMs: null, retry: null, sharing: null, inFlightMax: 7 }
    const { config } = await bench.session.alterQueue('orders', 'g', changes)
    expect(config).toMatchObject({ ackTimeoutMs: 9_000, retriesMax: 1, sharing: 'shared', inFlightMax: 7 })
    await bench.session.alterTopic('orders', { queue: { ackTimeoutMs: 8_000 } })
    await bench.restart()
    expect((await bench.describe()).config).toEqual({ ...config, ackTimeoutMs: 8_000 })
    const { session } = bench
    await expect(session.alterQueue('orders', 'g', { unknown: null } as object)).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    await bench.join()
    await expect(session.alterQueue('orders', 'g', { sharing: 'keyShared' })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    expect((await session.alterQueue('orders', 'g', { sharing: null })).config.sharing).toBe('shared')
  })

  it('are checked', async () => {
    const { session } = await QueueBench.start()
    for (const queue of [{ retriesMax: -2 }, { retry: 'soon' }, { unknown: 1 }, 7]) {
      await expect(session.createTopic('bad', { queue: queue as object })).rejects.toMatchObject({
        code: 'RTK_INVALID_ARGUMENT',
      })
    }
    const { topic } = await session.createTopic('good', { queue: { retry: 'list:1s,5s' as never } })
    expect(topic.config.queue).toEqual({ retry: { kind: 'list', delaysMs: [1_000, 5_000] } })
    const again = await session.createTopic('good', {
      queue: { retry: { kind: 'list', delaysMs: [1_000, 5_000] }, retriesMax: 3 },
    })
    expect(again.created).toBe(false) // 3 retries are the default
    await expect(session.createTopic('good', { queue: { retriesMax: 4 } })).rejects.toMatchObject({
      code: 'RTK_TOPIC_EXISTS',
    })
  })

  it('do not touch groups whose settings were stored as a whole', async () => {
    const bench = await QueueBench.start()
    await bench.session.createQueue('orders', 'g')
    const { config } = await bench.describe()
    const { state } = bench.bench
    const [key] = state.keys.filter((one) => /^queues\/[^/]+\/g$/.test(one))
    const { own, ...rest } = JSON.parse(utf8Text((await state.get(key))?.value ?? new Uint8Array()))
    expect(own).toEqual({ sharing: 'partitioned' })
    await state.put(key, utf8(JSON.stringify({ ...rest, config: { ...config, retriesMax: 8 } })))
    await bench.crash()
    await bench.session.alterTopic('orders', { queue: { retriesMax: 2 } })
    expect((await bench.describe()).config).toEqual({ ...config, retriesMax: 8 })
  })
})
