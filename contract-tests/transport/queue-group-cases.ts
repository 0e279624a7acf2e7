/** Queue groups: who shares what, members that come and go, and settings. */
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import type { TransportContext } from './context.ts'
import { queueCase } from './queue-context.ts'

const shared = { sharing: 'shared' } as const

export const queueGroupCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'gives each partition of a partitioned group to one member, and moves it when that one holds nothing of it',
    async run(context) {
      const one = await queueCase(context, 2)
      if (one === undefined) return
      for (const partition of [0, 1])
        await one.probe.publish('orders', { payload: new Uint8Array(1), partition })
      const first = await one.join({ member: 'a' })
      await first.has(2)
      expect(first.assignments.at(-1)).toEqual([0, 1])
      const second = await one.join({ member: 'b' })
      await one.moment()
      expect(second.held).toEqual([])
      for (const held of [...first.held]) await first.settle(held, 'ack')
      await second.until(() => second.assignments.at(-1)?.length === 1, 'a partition')
      const [moved] = second.assignments.at(-1) ?? []
      await one.probe.publish('orders', { payload: new Uint8Array(1), partition: moved })
      expect((await second.has(1))[0]).toMatchObject({ partition: moved, offset: 1, attempt: 1 })
    },
  },
  {
    name: 'holds the later messages of a key back while one of them has failed',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publishKeys('a', 'b', 'a')
      const config = { sharing: 'keyShared', retry: { kind: 'fixed', delayMs: 200 } } as const
      const worker = await one.join({ config })
      const [first] = await worker.has(3)
      await worker.settle(first, 'nack')
      await worker.has(5)
      expect(worker.offsets).toEqual([0, 1, 2, 0, 2])
      expect(worker.losses).toMatchObject([{ reason: 'order', ranges: [{ from: 2, to: 3 }] }])
      expect(worker.held.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 2, 1])
    },
  },
  {
    name: 'gives what a member had to others when it is closed, or its connection is gone',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(1)
      const first = await one.join({ config: shared })
      await first.has(1)
      const other = await one.connect()
      if (other.queues === undefined) return
      const second = await one.join({}, other.queues)
      await first.subscription.close()
      expect(first.ends).toEqual([undefined])
      expect((await second.has(1))[0]).toMatchObject({ offset: 0, attempt: 2 })
      await other.close()
      const third = await one.join()
      expect((await third.has(1))[0]).toMatchObject({ offset: 0, attempt: 3 })
    },
  },
  {
    name: 'ends a member whose name another takes, and all with their topic',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const first = await one.join({ member: 'a' })
      const second = await one.join({ member: 'a' })
      await first.until(() => first.ends.length > 0, 'the end')
      expect(first.ends).toMatchObject([{ code: 'RTK_LEASE_LOST' }])
      await one.probe.deleteTopic('orders')
      await second.until(() => second.ends.length > 0, 'the end')
      expect(second.ends).toMatchObject([{ code: 'RTK_TOPIC_DELETED' }])
    },
  },
  {
    name: 'keeps settings of a group, and refuses those that contradict them',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const { queues } = one
      const config = {
        sharing: 'keyShared',
        ackTimeoutMs: 1_234,
        retriesMax: 7,
        retry: { kind: 'list', delaysMs: [1, 2, 3] },
        deadLetterTopic: 'graveyard',
        deadLetterRetentionMs: -1,
        deadLetterExpired: true,
        inFlightMax: 55,
        checkpointIntervalMs: 66,
        groupExpiryMs: 77_777,
      } as const
      expect((await queues.createQueue('orders', 'g', config)).config).toEqual(config)
      expect((await queues.createQueue('orders', 'g', config)).state).toBe('empty')
      await expectCode(
        () => queues.createQueue('orders', 'g', { ...config, retriesMax: 8 }),
        'RTK_GROUP_MISMATCH',
      )
      const altered = await queues.alterQueue('orders', 'g', {
        retriesMax: 9,
        retry: { kind: 'fixed', delayMs: 5 },
      })
      expect(altered.config).toEqual({ ...config, retriesMax: 9, retry: { kind: 'fixed', delayMs: 5 } })
      const changes = { inFlightMax: null, ackTimeoutMs: null, retriesMax: 8 }
      const { config: back } = await queues.alterQueue('orders', 'g', changes)
      expect(back).toEqual({ ...altered.config, inFlightMax: 100_000, ackTimeoutMs: 30_000, retriesMax: 8 })
      await expectCode(() => queues.alterQueue('orders', 'g', { no: null } as object), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => queues.createQueue('orders', '_own'), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => one.join({ group: '_own' }), 'RTK_INVALID_ARGUMENT')
      await queues.alterQueue('orders', 'g', altered.config)
      const worker = await one.join()
      expect(worker.subscription.config).toEqual(altered.config)
      await expectCode(() => one.join({ config: { ackTimeoutMs: 5 } }), 'RTK_GROUP_MISMATCH')
      await expectCode(() => queues.alterQueue('orders', 'g', shared), 'RTK_GROUP_MISMATCH')
      await expectCode(() => queues.alterQueue('orders', 'g', { inFlightMax: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(() => queues.alterQueue('orders', 'none', {}), 'RTK_GROUP_NOT_FOUND')
      await expectCode(() => queues.describeQueue('orders', 'none'), 'RTK_GROUP_NOT_FOUND')
    },
  },
  {
    name: 'begins where it is told, can be paused and goes on',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const { queues } = one
      await one.publish(3)
      await queues.createQueue('orders', 'g', shared, { offset: 2 })
      await queues.pauseQueue('orders', 'g', true)
      const worker = await one.join()
      await one.moment()
      expect(worker.held).toEqual([])
      const described = await queues.describeQueue('orders', 'g')
      expect(described).toMatchObject({ paused: true, lag: 1, members: [{ inFlight: 0 }] })
      await queues.pauseQueue('orders', 'g', false)
      await worker.has(1)
      expect(worker.offsets).toEqual([2])
    },
  },
  {
    name: 'is never a stream group as well',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.probe.commit('orders', 'stream', [{ partition: 0, offset: 0 }])
      await expectCode(() => one.queues.createQueue('orders', 'stream'), 'RTK_GROUP_MISMATCH')
      await one.join()
      await expectCode(
        () => one.probe.commit('orders', 'g', [{ partition: 0, offset: 0 }]),
        'RTK_GROUP_MISMATCH',
      )
    },
  },
]
