import { describe, expect, it } from 'vitest'
import type { BrokerStats, PartitionDescription, TopicDescription } from '../../ports/index.ts'
import { busiest, reportOf } from './report.ts'
import type { GroupSample, Sample } from './sample.ts'

const stats: BrokerStats = {
  topics: 1,
  partitions: 1,
  sessions: 4,
  subscriptions: 2,
  messagesPublished: 100,
  bytesPublished: 1_000,
  messagesDelivered: 200,
  bytesDelivered: 2_000,
  messagesSkipped: 0,
  messagesDropped: 0,
  uptimeMs: 5_000,
  storage: { appends: 0, appendedBytes: 0, syncs: 0, hotReads: 0, coldReads: 0, hotBytes: 0 },
  process: { residentBytes: 9, heapBytes: 5, bufferBytes: 3, cpuMs: 1_000, loopDelayMs: 1.5 },
}

const partition = (stableOffset: number, startOffset = 0): PartitionDescription => ({
  partition: 0,
  startOffset,
  stableOffset,
  endOffset: stableOffset,
  sizeBytes: 70,
  state: 'online',
  damaged: [],
})

const topic = (name: string, ...partitions: PartitionDescription[]): TopicDescription => ({
  namespace: 'default',
  name,
  id: `id of ${name}`,
  createdAtMs: 0,
  config: {} as TopicDescription['config'],
  partitions,
})

const group = (name: string, lag: number, done: number): GroupSample => ({
  topic: 'orders',
  group: name,
  kind: 'queue',
  state: 'stable',
  members: 1,
  lag,
  inFlight: 0,
  done,
})

const sample = (atMs: number, parts: Partial<Sample> = {}): Sample => ({
  atMs,
  broker: stats,
  topics: [],
  groups: [],
  delivered: new Map(),
  ...parts,
})

describe('a report', () => {
  it('has the rates of the broker between two looks', () => {
    const later: BrokerStats = {
      ...stats,
      messagesPublished: 300,
      bytesPublished: 5_000,
      messagesDelivered: 1_200,
      bytesDelivered: 2_000,
      process: { residentBytes: 10, heapBytes: 6, bufferBytes: 4, cpuMs: 2_200, loopDelayMs: 7 },
    }
    expect(reportOf(sample(1_000), sample(3_000, { broker: later }), 9).broker).toEqual({
      uptimeMs: 5_000,
      topics: 1,
      partitions: 1,
      connections: 4,
      subscriptions: 2,
      inPerSecond: 100,
      inBytesPerSecond: 2_000,
      outPerSecond: 500,
      outBytesPerSecond: 0,
      cpuPercent: 60,
      loopDelayMs: 7,
      residentBytes: 10,
      heapBytes: 6,
      bufferBytes: 4,
    })
  })

  it('has those of topics and groups, the busiest and those furthest behind first', () => {
    const before = sample(0, {
      topics: [topic('orders', partition(10), partition(5, 2)), topic('idle', partition(7))],
      groups: [group('a', 4, 10), group('b', 0, 20)],
      delivered: new Map([['id of orders', 100]]),
    })
    const now = sample(2_000, {
      topics: [
        topic('idle', partition(7)),
        topic('new', partition(2)),
        topic('orders', partition(20), partition(9, 2)),
      ],
      groups: [group('a', 1, 30), group('b', 8, 24), group('c', 3, 500)],
      delivered: new Map(['orders', 'idle'].map((name) => [`id of ${name}`, 160])),
    })
    const { topics, groups } = reportOf(before, now, 9)
    expect(topics).toEqual([
      {
        topic: 'orders',
        partitions: 2,
        messages: 27,
        bytes: 140,
        inPerSecond: 7,
        outPerSecond: 30,
        lagMax: 8,
        groups: 3,
      },
      {
        topic: 'new',
        partitions: 1,
        messages: 2,
        bytes: 70,
        inPerSecond: 1,
        outPerSecond: 0,
        lagMax: 0,
        groups: 0,
      },
      {
        topic: 'idle',
        partitions: 1,
        messages: 7,
        bytes: 70,
        inPerSecond: 0,
        outPerSecond: 0,
        lagMax: 0,
        groups: 0,
      },
    ])
    // One that was not looked at before has no rate yet.
    expect(groups.map(({ group: name, lag, outPerSecond }) => [name, lag, outPerSecond])).toEqual([
      ['b', 8, 2],
      ['c', 3, 0],
      ['a', 1, 10],
    ])
    expect(reportOf(before, now, 1).topics.map((row) => row.topic)).toEqual(['orders'])
  })

  it('has no rate below nothing, as of a topic or a group that began anew', () => {
    const before = sample(0, { topics: [topic('orders', partition(10))], groups: [group('a', 0, 10)] })
    const now = sample(1_000, { topics: [topic('orders', partition(4))], groups: [group('a', 0, 2)] })
    const { topics, groups } = reportOf(before, now, 9)
    expect([topics[0].inPerSecond, groups[0].outPerSecond]).toEqual([0, 0])
  })

  it('does without what a broker does not tell', () => {
    const broker = { ...stats, process: undefined }
    const { cpuPercent, loopDelayMs } = reportOf(sample(0, { broker }), sample(1, { broker }), 9).broker
    expect([cpuPercent, loopDelayMs]).toEqual([undefined, undefined])
  })
})

it('the groups of the topics with the most news are asked for', () => {
  const before = sample(0, { topics: [topic('large', partition(100)), topic('busy', partition(1))] })
  const now = [topic('large', partition(101)), topic('busy', partition(9)), topic('other', partition(0))]
  expect(busiest(now, before, 1).map(({ name }) => name)).toEqual(['busy'])
  expect(busiest(now, undefined, 2).map(({ name }) => name)).toEqual(['large', 'busy'])
})
