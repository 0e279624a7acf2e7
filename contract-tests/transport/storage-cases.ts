/** What the storage can and what it lost, as a protocol tells it: durability levels, records lost to damage. */
import { memoryStorage } from 'ratatoskr/adapters/memory'
import {
  type Durability,
  isRatatoskrError,
  type LogStore,
  type OffsetRange,
  type PartitionLog,
  RatatoskrError,
  type Storage,
} from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type ContractCase, expectCode } from '../suite.ts'
import { Collector, type TransportContext, textMessage } from './context.ts'

/** What a storage in memory is made to be for a case. */
interface Pretence {
  readonly durability?: readonly Durability[]
  /** Lost to damage, where messages were published one by one. */
  readonly damaged?: readonly OffsetRange[]
}

/** A storage in memory that says it reaches other levels, or that it lost records. */
const pretending = (pretence: Pretence): Storage => ({
  name: 'pretending',
  open(platform) {
    const { logs, state } = memoryStorage().open(platform)
    return { logs: pretendingLogs(logs, pretence), state }
  },
})

function pretendingLogs(inner: LogStore, { durability, damaged = [] }: Pretence): LogStore {
  return {
    name: inner.name,
    supports: { ...inner.supports, durability: durability ?? inner.supports.durability },
    counters: inner.counters,
    start: () => inner.start(),
    stop: () => inner.stop(),
    listLogs: () => inner.listLogs(),
    deleteLog: (id) => inner.deleteLog(id),
    async openLog(id, options) {
      const log = await inner.openLog(id, options)
      return new Proxy(log, {
        get(target, name) {
          if (name === 'damaged') return damaged.filter(({ from }) => from < target.stableOffset)
          if (name === 'append') {
            const append: PartitionLog['append'] = (batch, offset, count) =>
              target.append(batch, offset, count, 'memory')
            return append
          }
          if (name === 'read') return (offset: number) => readAround(target, damaged, offset)
          const value: unknown = Reflect.get(target, name)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
    },
  }
}

/** One batch at a time, so that a batch never lies on both sides of a gap. */
function readAround(log: PartitionLog, damaged: readonly OffsetRange[], offset: number) {
  const gap = damaged.find(({ from, to }) => offset >= from && offset < to)
  if (gap === undefined || gap.from >= log.stableOffset) return log.read(offset, 1)
  throw new RatatoskrError('RTK_STORE_CORRUPT', `offsets ${gap.from} to ${gap.to - 1} are lost to damage`, {
    details: { offset, nextOffset: gap.to },
  })
}

const levels = ['memory', 'os', 'interval', 'fsync'] as const

export const storageCases: readonly ContractCase<TransportContext>[] = [
  {
    name: 'names the durability that was reached, whichever it is, and lets a publish ask for more',
    async run(context) {
      const { transport, broker, connect } = await context.broker({
        storage: pretending({ durability: levels }),
      })
      const probe = await connect()
      await broker.createTopic('weak', { durability: 'memory' })
      for (const level of levels) {
        expect((await probe.publish('weak', textMessage('x'), level)).durability).toBe(level)
        const topic = `least.${level}`
        await broker.createTopic(topic, { durability: level })
        expect((await probe.publish(topic, textMessage('x'))).durability).toBe(level)
        // Less than the topic demands is not given.
        expect((await probe.publish(topic, textMessage('x'), 'memory')).durability).toBe(level)
        const [result] = await probe.publishMany(topic, [textMessage('x')])
        expect(result).toMatchObject({ durability: level })
        if (!transport.supports.administration) continue
        expect((await probe.describeTopic(topic)).config.durability).toBe(level)
      }
    },
  },
  {
    name: 'refuses a least durability that the storage cannot reach, at creation and alteration',
    async run(context) {
      const { transport, connect } = await context.broker({
        storage: pretending({ durability: ['os', 'interval'] }),
      })
      if (!transport.supports.administration) return
      const probe = await connect()
      await expectCode(
        () => probe.createTopic('strong', { durability: 'fsync' }),
        'RTK_DURABILITY_UNAVAILABLE',
      )
      await probe.createTopic('orders')
      await expectCode(
        () => probe.alterTopic('orders', { durability: 'quorum' }),
        'RTK_DURABILITY_UNAVAILABLE',
      )
      expect((await probe.describeTopic('orders')).config.durability).toBe('interval')
    },
  },
  {
    name: 'carries what a topic keeps, at creation and alteration',
    async run(context) {
      const { transport, connect } = await context.broker()
      if (!transport.supports.administration) return
      const probe = await connect()
      const kept = { retention: 'workqueue', retentionMessages: 5_000, compression: 'gzip' } as const
      await probe.createTopic('queue', kept)
      expect((await probe.describeTopic('queue')).config).toMatchObject(kept)
      const changes = { retention: 'limits', retentionMessages: -1, compression: 'zstd' } as const
      expect((await probe.alterTopic('queue', changes)).config).toMatchObject({ ...kept, ...changes })
      await expectCode(() => probe.alterTopic('queue', { retentionMessages: 0 }), 'RTK_INVALID_ARGUMENT')
      await expectCode(
        () => probe.alterTopic('queue', { retention: 'forever' as never }),
        'RTK_INVALID_ARGUMENT',
      )
      expect((await probe.describeTopic('queue')).config).toMatchObject({ ...kept, ...changes })
    },
  },
  {
    name: 'tells of records that are lost to damage, and delivers the others',
    async run(context) {
      const damaged = [{ from: 2, to: 5 }]
      const { transport, broker, connect } = await context.broker({ storage: pretending({ damaged }) })
      const probe = await connect()
      await broker.createTopic('orders')
      for (let i = 0; i < 8; i++) await broker.publish('orders', `m${i}`)
      const left = ['m0', 'm1', 'm5', 'm6', 'm7']
      const failure = await probe.fetch('orders', 0, 3).catch((error: unknown) => error)
      expect(isRatatoskrError(failure, 'RTK_STORE_CORRUPT')).toBe(true)
      expect(failure).toMatchObject({ details: { offset: 3, nextOffset: 5 } })
      expect((await probe.fetch('orders', 0, 5)).map(({ offset }) => offset)[0]).toBe(5)
      if (transport.supports.administration) {
        const told = { timeout: 5_000, interval: 20 } // by threads and processes to one another, where several serve
        const described = async () => (await probe.describeTopic('orders')).partitions
        await expect.poll(described, told).toMatchObject([{ damaged }])
        const counted = async () => (await probe.topicStats('orders')).partitions
        await expect.poll(counted, told).toMatchObject([{ damaged }])
      }
      if (transport.supports.push) {
        const stream = new Collector(probe, 'orders', { from: 'earliest' })
        await stream.atLeast(left.length)
        expect(stream.texts).toEqual(left)
        expect(stream.ended).toBe(false)
      }
      if (!transport.supports.push || !transport.supports.groups) return
      const member = new Collector(probe, 'orders', { group: 'billing' })
      await member.atLeast(left.length)
      expect(member.texts).toEqual(left)
      await (await member.subscription).commit([{ partition: 0, offset: 8 }])
      expect((await probe.describeGroup('orders', 'billing')).lag).toBe(0)
    },
  },
]
