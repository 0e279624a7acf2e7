import { describe, expect, it } from 'vitest'
import type { StateChange } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'

const shared = { sharing: 'shared' } as const

describe('members', () => {
  it('are out after five seconds of silence, and what they had comes again elsewhere', async () => {
    const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
    await bench.publish(1)
    const silent = await bench.join({ config: shared, member: 'silent' })
    const other = await bench.join({ member: 'other' })
    await bench.pass(2_500)
    other.subscription.heartbeat()
    await bench.pass(2_499)
    expect(silent.ends).toEqual([])
    await bench.pass(1)
    expect(silent.ends).toMatchObject([{ code: 'RTK_LEASE_LOST' }])
    expect(other.batches).toMatchObject([{ attempt: 2, firstOffset: 0 }])
    const left = bench.bench.hooks.of('subscriberLeft')
    expect(left).toMatchObject([{ group: 'g', member: 'silent', error: { code: 'RTK_LEASE_LOST' } }])
    const [{ fields }, ...more] = bench.bench.logged('silent for too long')
    expect(fields).toMatchObject({ topic: 'orders', group: 'g', member: 'silent', silentMs: 5_000 })
    expect(more).toEqual([])
  })

  it.each([
    ['closes', true],
    ['is silent', false],
  ])(
    'that say when they begin have failed with what they had begun alone: one that %s',
    async (_, closes) => {
      const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
      await bench.publish(100)
      // Ten members are lost, one after the other, each with all messages and at work on the first one.
      for (let lost = 0; lost < 10; lost++) {
        const sink = await bench.join({ config: shared, begins: true })
        if (sink.batches.length === 0) await bench.pass(0)
        expect(sink.subscription.beginsFrom).toBe(2)
        const [first] = sink.batches
        if (first.redelivered)
          expect(await sink.settle(0, 'begin', { to: first.firstOffset + 1 })).toEqual([undefined])
        if (closes) await sink.subscription.close()
        else await bench.pass(5_000)
        expect(sink.ends).toHaveLength(1)
        await bench.pass(0)
      }
      const letters = await bench.session.deadLetters('orders')
      expect(letters.letters.map(({ offset, attempts, reason }) => [offset, attempts, reason])).toEqual([
        [0, 4, 'retries'],
        [1, 4, 'retries'],
      ])
      const healthy = await bench.join({ begins: true })
      expect(
        healthy.batches.map(({ firstOffset, lastOffset, attempt }) => [firstOffset, lastOffset, attempt]),
      ).toEqual([
        [2, 2, 2],
        [3, 99, 1],
      ])
    },
  )

  it('that say when they begin do so with every message of a group without retries', async () => {
    const bench = await QueueBench.start()
    const config = { ...shared, retriesMax: 0 }
    expect((await bench.join({ config, begins: true })).subscription.beginsFrom).toBe(1)
    expect((await bench.join()).subscription.beginsFrom).toBe(0)
    expect((await bench.join({ begins: true, autoAck: true })).subscription.beginsFrom).toBe(0)
  })

  it('that said that they begin have failed when the broker is killed, and those who wait have not', async () => {
    const bench = await QueueBench.start()
    await bench.publish(4)
    const sink = await bench.join({ config: shared, begins: true })
    await sink.settle(0, 'begin', { from: 1, to: 2 })
    await bench.pass(1_000)
    await bench.crash()
    const again = await bench.join({ begins: true })
    expect(
      again.batches.map(({ firstOffset, attempt, redelivered }) => [firstOffset, attempt, redelivered]),
    ).toEqual([
      [0, 1, true],
      [1, 2, true],
      [2, 1, true],
    ])
  })

  it.each(['grant', 'settle', 'heartbeat'] as const)('live as long as they %s', async (sign) => {
    const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    const signs = {
      grant: () => sink.subscription.grant({ messages: 1 }),
      settle: () => sink.settle(0, 'extend'),
      heartbeat: () => sink.subscription.heartbeat(),
    }
    for (let i = 0; i < 10; i++) {
      await bench.pass(4_900)
      await signs[sign]()
    }
    expect(sink.ends).toEqual([])
    await bench.pass(5_000)
    expect(sink.ends).toHaveLength(1)
  })

  it('whose sink fails are out, and what they had comes again', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const failing = await bench.join({ config: shared, credit: {} })
    failing.onDeliver = () => {
      throw new Error('broken')
    }
    failing.subscription.grant({ messages: 1 })
    await bench.pass(0)
    expect(failing.ends).toMatchObject([{ code: 'RTK_INTERNAL' }])
    const other = await bench.join()
    expect(other.batches).toMatchObject([{ attempt: 2 }])
    expect(bench.bench.hooks.of('subscriberFailed')).toHaveLength(1)
  })

  it('with autoAck have what they are handed settled', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const sink = await bench.join({ config: shared, autoAck: true })
    expect(sink.batches).toMatchObject([{ lease: 0, leaseMs: 0, recordCount: 2 }])
    expect(await bench.describe()).toMatchObject({ lag: 0 })
  })
})

describe('what a group has come to', () => {
  it('is there after a restart: settled, tried, delayed', async () => {
    const bench = await QueueBench.start()
    await bench.publish(5)
    const config = { ...shared, retry: { kind: 'fixed', delayMs: 10_000 } } as const
    const sink = await bench.join({ config })
    await sink.settle(0, 'ack', { from: 0, to: 1 })
    await sink.settle(0, 'ack', { from: 3, to: 4 })
    await sink.settle(0, 'nack', { from: 1, to: 2 })
    await bench.restart()
    expect(await bench.describe()).toMatchObject({
      lag: 3,
      config,
      partitions: [{ ackedOffset: 1, delayed: 1 }],
    })
    const again = await bench.join()
    expect(again.offsets).toEqual([2, 4])
    expect(again.batches.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual([
      [2, true],
      [2, true],
    ])
    expect(again.batches[0].lease).toBeGreaterThan(sink.batches[0].lease)
    await bench.pass(9_999)
    expect(again.offsets).toEqual([2, 4])
    await bench.pass(1)
    expect(again.offsets).toEqual([2, 4, 1])
    expect(again.batches[2].attempt).toBe(2)
  })

  it('is there after a crash but for what was settled within the checkpoint interval', async () => {
    const bench = await QueueBench.start()
    await bench.publish(4)
    const sink = await bench.join({ config: shared })
    await sink.settle(0, 'ack', { from: 0, to: 2 })
    await bench.pass(100)
    await sink.settle(0, 'ack', { from: 2, to: 3 })
    await bench.crash()
    const again = await bench.join()
    expect(again.offsets).toEqual([2, 3])
    expect(again.batches.every(({ redelivered }) => redelivered)).toBe(true)
    await again.ack(0)
    expect(await bench.describe()).toMatchObject({ lag: 0 })
  })

  it('of before a crash holds no lease after it', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const { batches } = await bench.join({ config: shared })
    await bench.crash()
    const again = await bench.join({ credit: {} })
    const { partition, lease } = batches[0]
    const [result] = await again.subscription.settle([{ partition, lease, from: 0, to: 1, action: 'ack' }])
    expect(result).toMatchObject({ code: 'RTK_LEASE_LOST' })
    expect(await bench.describe()).toMatchObject({ lag: 1 })
  })

  it('is stored again when the store failed, and nobody is given more than what may be in doubt', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const sink = await bench.join({ config: shared })
    const { state } = bench.bench
    state.onChange = () => {
      throw new Error('disk is gone')
    }
    await sink.settle(0, 'ack', { from: 0, to: 1 })
    await bench.pass(1_000)
    expect(bench.bench.logged('cannot be stored')).toHaveLength(1)
    expect(bench.bench.broker.health().components).toMatchObject([{ name: 'queue checkpoints' }])
    state.onChange = () => {}
    await bench.pass(5_000)
    expect(bench.bench.broker.health().status).toBe('ok')
    await bench.crash()
    expect(await bench.describe()).toMatchObject({ partitions: [{ ackedOffset: 1 }] })
  })

  it('no delivery comes before the bound of deliveries is stored', async () => {
    const bench = await QueueBench.start()
    const { state } = bench.bench
    await bench.session.createQueue('orders', 'g', shared)
    await bench.publish(1)
    const gate = Promise.withResolvers<void>()
    state.onChange = () => gate.promise
    const sink = await bench.join()
    await bench.pass(1_000)
    expect(sink.batches).toEqual([])
    gate.resolve()
    await bench.pass(0)
    expect(sink.offsets).toEqual([0])
  })
})

describe('a group', () => {
  it('begins where its first member says, and goes on from there', async () => {
    const bench = await QueueBench.start()
    await bench.publish(5)
    const sink = await bench.join({ config: shared, from: { offset: 3 } })
    expect(sink.offsets).toEqual([3, 4])
    const late = await bench.join({ group: 'late', from: 'latest' })
    expect(late.offsets).toEqual([])
  })

  it('refuses members with other settings, and is set anew by the first of new ones', async () => {
    const bench = await QueueBench.start()
    const first = await bench.join({ config: shared })
    await expect(bench.join({ config: { ackTimeoutMs: 5 } })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    await bench.join({ config: shared })
    await expect(bench.session.alterQueue('orders', 'g', { sharing: 'keyShared' })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    await bench.session.alterQueue('orders', 'g', { ackTimeoutMs: 1_000 })
    await bench.publish(1)
    await bench.pass(1_000)
    expect(first.batches[0]).toMatchObject({ leaseMs: 1_000 })
  })

  it('is not of the other kind', async () => {
    const bench = await QueueBench.start()
    await bench.session.commit('orders', { group: 'stream', offsets: [{ partition: 0, offset: 0 }] })
    await expect(bench.session.createQueue('orders', 'stream')).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    await bench.join()
    const offsets = [{ partition: 0, offset: 0 }]
    await expect(bench.session.commit('orders', { group: 'g', offsets })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    await bench.publish(2)
    expect(await bench.session.describeGroup('orders', 'g')).toMatchObject({
      state: 'stable',
      lag: 2,
      partitions: [{ partition: 0, committedOffset: 0, stableOffset: 2 }],
    })
    expect(await bench.session.listGroups('orders')).toEqual(['g', 'stream'])
  })

  it('can be paused and goes on, as a whole or in some partitions, also over a restart', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    await bench.session.createQueue('orders', 'g', shared)
    await bench.session.pauseQueue('orders', 'g', true, [1])
    for (const partition of [0, 1]) await bench.publish(1, { partition })
    const sink = await bench.join()
    expect(sink.batches.map(({ partition }) => partition)).toEqual([0])
    await bench.restart()
    expect(await bench.describe()).toMatchObject({
      paused: false,
      partitions: [{ paused: false }, { paused: true }],
    })
    await bench.session.pauseQueue('orders', 'g', true)
    const again = await bench.join()
    expect(again.batches).toEqual([])
    await bench.session.pauseQueue('orders', 'g', false)
    await bench.pass(0)
    expect(again.batches.map(({ partition }) => partition).sort()).toEqual([0, 1])
  })

  it('is moved by a seek while members run, whose leases are lost', async () => {
    const bench = await QueueBench.start()
    await bench.publish(4)
    const sink = await bench.join({ config: shared, credit: { messages: 4 } })
    await sink.settle(0, 'ack', { from: 0, to: 2 })
    expect(await bench.session.seekGroup('orders', 'g', { position: { offset: 1 } })).toEqual([
      { partition: 0, offset: 1 },
    ])
    expect(sink.losses.map(({ reason }) => reason)).toContain('seek')
    sink.subscription.grant({ messages: 10 })
    await bench.pass(0)
    expect(sink.offsets.slice(4)).toEqual([1, 2, 3])
    await bench.crash()
    expect(await bench.describe()).toMatchObject({ partitions: [{ ackedOffset: 1 }] })
  })

  it('is deleted when it has no members, with all that is stored of it', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join({ config: shared })
    await expect(bench.session.deleteGroup('orders', 'g')).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    await sink.subscription.close()
    await bench.session.deleteGroup('orders', 'g')
    await bench.pass(1_000)
    expect(bench.bench.state.keys.filter((key) => key.startsWith('queues/'))).toEqual([])
    await expect(bench.describe()).rejects.toMatchObject({ code: 'RTK_GROUP_NOT_FOUND' })
  })

  it('is forgotten when nobody has used it for as long as its settings say, and not before', async () => {
    const bench = await QueueBench.start()
    const config = { ...shared, groupExpiryMs: 3_600_000 }
    const exists = async (): Promise<boolean> => (await bench.session.listGroups('orders')).includes('g')
    const sink = await bench.join({ config })
    await bench.session.createQueue('orders', 'kept', { ...config, groupExpiryMs: -1 })
    await bench.pass(7_200_000)
    await bench.crash() // with a member, two hours after it was made
    await bench.pass(1_200_000)
    expect(await exists()).toBe(true)
    const again = await bench.join()
    await again.subscription.close()
    expect(sink.ends).toHaveLength(1)
    await bench.pass(3_540_000)
    expect(await exists()).toBe(true)
    await bench.restart() // nobody asks about the topic any more
    await bench.pass(600_000)
    expect(await bench.session.listGroups('orders')).toEqual(['kept'])
    expect(bench.bench.state.keys.filter((key) => key.includes('/g'))).toEqual([])
  })

  it('never gives a lease a smaller number than before, also when its state went back or it is made again', async () => {
    const bench = await QueueBench.start()
    const { state } = bench.bench
    await bench.pass(3_600_000)
    await bench.publish(1)
    await bench.session.createQueue('orders', 'g', shared)
    const leases: number[] = []
    const lease = async (): Promise<void> => {
      const sink = await bench.join({ config: shared })
      await bench.pass(1_500)
      leases.push(sink.batches[0].lease)
      await sink.subscription.close()
    }
    const backup: StateChange[] = []
    for await (const { key, value } of state.list('queues/')) backup.push({ key, value })
    for (let life = 0; life < 3; life++) {
      await lease()
      await bench.crash()
    }
    await bench.bench.broker.stop()
    await state.start()
    await state.putMany(backup)
    await bench.restart()
    await lease()
    await bench.session.deleteGroup('orders', 'g')
    await bench.session.createQueue('orders', 'g', shared)
    await bench.session.seekGroup('orders', 'g', { position: 'earliest' })
    await lease()
    expect(leases).toEqual([...new Set(leases)].sort((one, other) => one - other))
    expect(leases).toHaveLength(5)
  })

  it('goes with its topic', async () => {
    const bench = await QueueBench.start()
    const sink = await bench.join({ config: shared })
    await bench.session.deleteTopic('orders')
    expect(sink.ends).toMatchObject([{ code: 'RTK_TOPIC_DELETED' }])
    await bench.pass(1_000)
    expect(bench.bench.state.keys.filter((key) => key.startsWith('queues/'))).toEqual([])
  })

  it('ends with the broker, and leaves no timer behind', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    await bench.bench.broker.stop()
    expect(sink.ends).toHaveLength(1)
    await bench.pass(100)
    expect(bench.bench.clock.pending).toBe(0)
  })
})
