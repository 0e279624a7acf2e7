import { describe, expect, it } from 'vitest'
import { BatchBuilder } from '../batch/builder.ts'
import { utf8 } from '../batch/bytes.ts'
import { portableCrc32c } from '../checksum.ts'
import { RatatoskrError } from '../errors.ts'
import { readFields } from './json.ts'
import {
  consumeShape,
  createQueueShape,
  leasedToJson,
  pauseQueueShape,
  settleResultsFromJson,
  settleResultsToJson,
  settleShape,
  takeShape,
} from './queue-json.ts'

const settlement = { action: 'ack', partition: 0, lease: 1, from: 0, to: 1 }
const settling = (change: object) => () =>
  readFields({ group: 'g', settlements: [{ ...settlement, ...change }] }, settleShape)

describe('operations of queue groups', () => {
  it('take what the facade takes', () => {
    const member = { group: 'g', member: 'm', from: 'latest', config: { sharing: 'shared' }, autoAck: true }
    const consume = { ...member, credit: { messages: 3, bytes: 4 } }
    expect(readFields(consume, consumeShape)).toEqual(consume)
    const take = { ...member, messagesMax: 1, bytesMax: 2, waitMs: 0 }
    expect(readFields(take, takeShape)).toEqual(take)
    const all = { ...settlement, action: 'nack', delayMs: 0, extendMs: 5, reason: 'no' }
    const settle = { group: 'g', member: 'm', settlements: [settlement, all] }
    expect(readFields(settle, settleShape)).toEqual(settle)
    expect(readFields({ group: 'g', from: { offset: 3 } }, createQueueShape)).toEqual({
      group: 'g',
      from: { offset: 3 },
    })
    const pause = { group: 'g', paused: false, partitions: [1] }
    expect(readFields(pause, pauseQueueShape)).toEqual(pause)
  })

  it.each<[string, object, string]>([
    [
      'an action that there is none of',
      { action: 'acknowledge' },
      'settlements[0].action must be one of ack',
    ],
    ['no lease', { lease: undefined }, 'settlements[0].lease is missing'],
    ['a negative offset', { from: -1 }, 'settlements[0].from must be a whole number of at least 0, got -1'],
    ['a fraction', { delayMs: 0.5 }, 'settlements[0].delayMs must be a whole number'],
    ['a field that there is none of', { offset: 1 }, 'unknown field'],
  ])('refuse a settlement with %s, and say where', (_, change, message) => {
    expect(settling(change)).toThrow(message)
  })

  it('refuse to take nothing', () => {
    expect(() => readFields({ group: 'g', messagesMax: 0 }, takeShape)).toThrow('of at least 1, got 0')
  })
})

describe('leased messages', () => {
  it('are messages with their lease, also those that have expired', () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('a'), timestampMs: 7 })
    builder.add({ payload: utf8('b'), timestampMs: 7, expiresAtMs: 8 })
    const source = {
      topic: 'orders',
      topicId: '6b1f5f3e-8a52-4a1d-9d0e-3f5b7c2a1e90',
      partition: 3,
      expansion: { codecs: new Map(), bytesMax: 1_000 },
    }
    const lease = { lease: 2 ** 33, attempt: 2, redelivered: true, leaseMs: 30_000.7 }
    const messages = leasedToJson({ bytes: builder.build(), ...lease }, source, 'utf8')
    const common = { topic: 'orders', partition: 3, ...lease, leaseMs: 30_000 }
    expect(messages).toMatchObject([
      { payload: 'a', offset: 0, ...common },
      { payload: 'b', offset: 1, expiresAtMs: 8, ...common },
    ])
  })
})

describe('results of settlements', () => {
  it('come back as they were', () => {
    const lost = new RatatoskrError('RTK_LEASE_LOST', 'gone', { details: { settled: 2 } })
    const json: unknown = JSON.parse(JSON.stringify(settleResultsToJson([undefined, lost])))
    expect(json).toMatchObject([{}, { error: { code: 'RTK_LEASE_LOST', details: { settled: 2 } } }])
    const [done, failed] = settleResultsFromJson(json, 2)
    expect(done).toBeUndefined()
    expect(failed).toMatchObject({ code: 'RTK_LEASE_LOST', message: 'gone', details: { settled: 2 } })
  })

  it('are one for each settlement, or the broker is none', () => {
    expect(() => settleResultsFromJson([{}], 2)).toThrow('did not answer each of 2')
    expect(() => settleResultsFromJson(undefined, 1)).toThrow('did not answer each of 1')
  })
})
