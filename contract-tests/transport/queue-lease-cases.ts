/** Queue groups: leases, how they are settled, and what becomes of messages that are not. */

import type { Settlement } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import type { TransportContext } from './context.ts'
import { heldOf, queueCase, settlementOf } from './queue-context.ts'

const shared = { sharing: 'shared' } as const
const soon = { kind: 'fixed', delayMs: 1 } as const

export const queueLeaseCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'leases messages, and does not give again what is acknowledged',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(3)
      const worker = await one.join({ config: shared })
      await worker.has(3)
      expect(worker.offsets).toEqual([0, 1, 2])
      expect(worker.batches[0]).toMatchObject({
        partition: 0,
        attempt: 1,
        redelivered: false,
      })
      // What the batch has waited on its way is taken off.
      expect(worker.batches[0].leaseMs).toBeLessThanOrEqual(30_000)
      expect(worker.batches[0].leaseMs).toBeGreaterThan(20_000)
      for (const held of [...worker.held]) expect(await worker.settle(held, 'ack')).toBeUndefined()
      const described = await one.queues.describeQueue('orders', 'g')
      expect(described).toMatchObject({
        state: 'stable',
        lag: 0,
        partitions: [{ ackedOffset: 3, inFlight: 0 }],
      })
      await one.moment()
      expect(worker.held).toHaveLength(3)
    },
  },
  {
    name: 'gives a message again that failed, with its attempts counted, and then as a dead letter',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(1)
      const worker = await one.join({ config: { ...shared, retry: soon, retriesMax: 1 } })
      const [first] = await worker.has(1)
      expect(await worker.settle(first, 'nack', { reason: 'no stock' })).toBeUndefined()
      const [, second] = await worker.has(2)
      expect(second).toMatchObject({ offset: 0, attempt: 2, redelivered: true })
      expect(second.lease).toBeGreaterThan(first.lease)
      await worker.settle(second, 'nack', { reason: 'still no stock' })
      while (!(await one.probe.topicExists('orders.dlq'))) await one.moment()
      const [letter] = await one.probe.fetch('orders.dlq', 0, 'earliest', 5_000)
      const headers = Object.fromEntries(
        letter.headers.map(([name, value]) => [name, new TextDecoder().decode(value)]),
      )
      expect(headers).toMatchObject({
        'rtk-dead-letter-reason': 'retries',
        'rtk-dead-letter-error': 'still no stock',
        'rtk-dead-letter-attempts': '2',
        'rtk-dead-letter-offset': '0',
        'rtk-dead-letter-group': 'g',
      })
    },
  },
  {
    name: 'takes leases back at the ack timeout, tells their holder, and refuses his settlements',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(1)
      const worker = await one.join({ config: { ...shared, ackTimeoutMs: 50, retriesMax: -1 } })
      const [first] = await worker.has(1)
      await worker.has(2)
      expect(worker.losses[0]).toEqual({
        reason: 'timeout',
        ranges: [{ partition: 0, lease: first.lease, from: 0, to: 1 }],
      })
      const result = await worker.settle(first, 'ack')
      expect(result).toMatchObject({ code: 'RTK_LEASE_LOST', details: { settled: 0 } })
    },
  },
  {
    name: 'lets leases last longer that are extended, and gives again at once what is released',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(2)
      const worker = await one.join({ config: { ...shared, ackTimeoutMs: 500 } })
      const [kept, released] = await worker.has(2)
      expect(await worker.settle(kept, 'extend', { extendMs: 60_000 })).toBeUndefined()
      expect(await worker.settle(released, 'release')).toBeUndefined()
      const [, , again] = await worker.has(3)
      expect(again).toMatchObject({ offset: 1, attempt: 1 })
      await worker.until(() => worker.losses.length > 0, 'the loss of the other lease')
      expect(worker.losses[0].ranges).toMatchObject([{ from: 1, to: 2 }])
      expect(await worker.settle(kept, 'ack')).toBeUndefined()
    },
  },
  {
    name: 'never gives more than it was granted',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(6)
      const worker = await one.join({ config: shared, credit: { messages: 2, bytes: 1_000_000 } })
      await worker.has(2)
      await one.moment()
      expect(worker.offsets).toEqual([0, 1])
      worker.subscription.grant({ messages: 3 })
      await worker.has(5)
      await one.moment()
      expect(worker.offsets).toEqual([0, 1, 2, 3, 4])
    },
  },
  {
    name: 'never gives more bytes than it was granted',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const payload = new Uint8Array(1_000)
      for (let i = 0; i < 8; i++) await one.probe.publish('orders', { payload })
      const worker = await one.join({ config: shared, credit: { messages: 1_000, bytes: 3_500 } })
      const bytesGiven = (): number => worker.batches.reduce((sum, { bytes }) => sum + bytes.length, 0)
      await worker.has(3)
      await one.moment()
      expect(worker.offsets).toEqual([0, 1, 2])
      expect(bytesGiven()).toBeLessThanOrEqual(3_500)
      worker.subscription.grant({ bytes: 2_500 })
      await worker.has(5)
      await one.moment()
      expect(worker.offsets).toEqual([0, 1, 2, 3, 4])
      expect(bytesGiven()).toBeLessThanOrEqual(6_000)
    },
  },
  {
    name: 'acknowledges all that a member holds below an offset, by the lease of the last of them',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(3)
      const worker = await one.join({ config: shared, credit: { messages: 3, bytes: 1_000_000 } })
      const [, , third] = await worker.has(3)
      await one.publish(2)
      worker.subscription.grant({ messages: 2 })
      const fourth = (await worker.has(5))[3]
      const upTo = (lease: number): Settlement => ({
        ...settlementOf(third, 'ackUpTo', { from: 0 }),
        lease,
        to: fourth.offset + 1,
      })
      const [lost] = await worker.subscription.settle([upTo(fourth.lease + 1_000)])
      expect(lost).toMatchObject({ code: 'RTK_LEASE_LOST' })
      expect(await one.queues.describeQueue('orders', 'g')).toMatchObject({ lag: 5 })
      const [done] = await worker.subscription.settle([upTo(fourth.lease)])
      expect(done).toBeUndefined()
      const described = await one.queues.describeQueue('orders', 'g')
      expect(described).toMatchObject({ lag: 1, partitions: [{ ackedOffset: 4, inFlight: 1 }] })
      expect(await worker.settle(third, 'ack')).toBeUndefined()
      const taken = await one.queues.settle('orders', { group: 'g', settlements: [upTo(fourth.lease)] })
      expect(taken).toEqual([undefined])
    },
  },
  {
    name: 'counts as settled what is handed over with autoAck',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(2)
      const worker = await one.join({ config: shared, autoAck: true })
      expect((await worker.has(2)).map(({ lease }) => lease)).toEqual([0, 0])
      expect(await one.queues.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
    },
  },
  {
    name: 'lets a member that polls take messages, settle them by their leases, and leave',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const { queues } = one
      const request = { group: 'g', member: 'w', config: shared }
      expect((await queues.take('orders', request)).batches).toEqual([])
      const waiting = queues.take('orders', { ...request, waitMs: 5_000 })
      await one.publish(3)
      const { batches, member, memberTimeoutMs } = await waiting
      const taken = batches.flatMap(heldOf)
      expect(taken[0]).toMatchObject({ offset: 0, attempt: 1 })
      expect({ member, memberTimeoutMs }).toEqual({ member: 'w', memberTimeoutMs: 5_000 })
      while (taken.length < 3) {
        taken.push(...(await queues.take('orders', { ...request, messagesMax: 1 })).batches.flatMap(heldOf))
      }
      await queues.heartbeat('orders', 'g', 'w')
      const settlements = [settlementOf(taken[0], 'ack'), settlementOf(taken[1], 'ack', { lease: 1 })]
      const results = await queues.settle('orders', { group: 'g', member: 'w', settlements })
      expect(results.map((result) => result?.code)).toEqual([undefined, 'RTK_LEASE_LOST'])
      await queues.leaveQueue('orders', 'g', 'w')
      await expectCode(async () => queues.heartbeat('orders', 'g', 'w'), 'RTK_LEASE_LOST')
      const others = await queues.take('orders', { group: 'g', member: 'x', waitMs: 5_000 })
      const again = others.batches.flatMap(heldOf)
      expect(again.map(({ offset, attempt }) => [offset, attempt])).toEqual([
        [1, 2],
        [2, 2],
      ])
    },
  },
  {
    name: 'counts, when a member is lost that says when it begins, only what it had begun',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      await one.publish(3)
      const worker = await one.join({ config: shared, begins: true })
      expect(worker.subscription.beginsFrom).toBe(2)
      const [, second, third] = await worker.has(3)
      expect(await worker.settle(second, 'begin')).toBeUndefined()
      expect(await worker.settle(second, 'begin')).toBeUndefined()
      const other = settlementOf(third, 'begin', { lease: third.lease + 1_000 })
      const [lost] = await worker.subscription.settle([other])
      expect(lost).toMatchObject({ code: 'RTK_LEASE_LOST' })
      await worker.subscription.close()
      const next = await one.join()
      expect(next.subscription.beginsFrom).toBe(0)
      const again = [...(await next.has(3))].sort((a, b) => a.offset - b.offset)
      expect(again.map(({ offset, attempt, redelivered }) => [offset, attempt, redelivered])).toEqual([
        [0, 1, true],
        [1, 2, true],
        [2, 1, true],
      ])
      await next.subscription.close()
      const last = [...(await (await one.join()).has(3))].sort((a, b) => a.offset - b.offset)
      expect(last.map(({ attempt }) => attempt)).toEqual([2, 3, 2])
    },
  },
  {
    name: 'wants every message begun in a group without retries',
    async run(context) {
      const one = await queueCase(context)
      if (one === undefined) return
      const config = { ...shared, retriesMax: 0 }
      expect((await one.join({ config, begins: true })).subscription.beginsFrom).toBe(1)
    },
  },
]
