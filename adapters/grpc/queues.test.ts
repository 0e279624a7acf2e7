/** QueueService by bare gRPC, as clients of other languages speak it. */
import { setImmediate as turn } from 'node:timers/promises'
import { type Client, status } from '@grpc/grpc-js'
import { BatchBuilder, utf8, utf8Text } from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { batchOf, call, Harness, platform, Received, rawStream } from './testing/harness.ts'

const queues = proto.QueueServiceService
const { DELIVERY_FORMAT_MESSAGES: MESSAGES, DELIVERY_FORMAT_UNSPECIFIED: BATCHES } = proto.DeliveryFormat
const { SETTLEMENT_ACTION_ACK: ACK } = proto.SettlementAction
const shared: proto.QueueConfig = { sharing: proto.Sharing.SHARING_SHARED, retry: undefined }

const clock = new ManualClock()
let harness: Harness
let client: Client

beforeEach(async () => {
  harness = await Harness.start({ broker: { platform: { ...platform, clock } } })
  client = harness.client()
  await harness.broker.createTopic('orders', { partitions: 1 })
})

afterEach(() => harness.stop())

const publish = (...texts: string[]): Promise<unknown> =>
  call(client, proto.MessageServiceService.publishRecordBatch, {
    topic: 'orders',
    partition: 0,
    durability: 0,
    batches: batchOf(...texts),
  })

function openConsume(on: Client, open: Partial<proto.OpenLeases> = {}) {
  const stream = rawStream(on, '/ratatoskr.v1.QueueService/Consume')
  const received = new Received<proto.QueueServiceConsumeResponse>()
  stream.on('data', (bytes: Buffer) => received.add(proto.decodeQueueConsumeResponse(bytes)))
  const ended = new Promise<{ readonly code: number; readonly rtk: unknown; readonly details: string }>(
    (resolve) => {
      stream.on('error', (error) => received.fail(error))
      stream.on('status', ({ code, metadata, details }) =>
        resolve({ code, rtk: metadata.get('ratatoskr-code')[0], details }),
      )
    },
  )
  const send = (request: proto.QueueServiceConsumeRequest): boolean =>
    stream.write(Buffer.from(proto.QueueServiceConsumeRequest.encode(request).finish()))
  send({
    open: {
      topic: 'orders',
      group: 'work',
      member: '',
      from: undefined,
      config: shared,
      autoAck: false,
      begins: false,
      credit: { messages: 100 },
      format: BATCHES,
      ...open,
    },
  })
  /** The first response that has this. */
  const first = async <Name extends keyof proto.QueueServiceConsumeResponse>(name: Name, from = 0) => {
    for (let count = from + 1; ; count++) {
      const found = (await received.atLeast(count))[count - 1][name]
      if (found !== undefined) return found
    }
  }
  return { stream, received, ended, send, first }
}

const settlement = (leased: proto.LeasedBatch, more: Partial<proto.Settlement> = {}): proto.Settlement => ({
  action: ACK,
  partition: leased.partition,
  lease: leased.lease,
  from: leased.firstOffset,
  to: leased.lastOffset + 1,
  reason: '',
  ...more,
})

describe('a member that is pushed to', () => {
  it('hears that it stands before anything else, with the complete settings of the group', async () => {
    await publish('a')
    const { received, stream, ended } = openConsume(client)
    const [first, , leased] = await received.atLeast(3)
    expect(first.opened).toMatchObject({ topic: 'orders', group: 'work', memberTimeoutMs: 5_000 })
    expect(first.opened?.config).toMatchObject({
      sharing: proto.Sharing.SHARING_SHARED,
      ackTimeoutMs: 30_000,
      retry: { exponential: { delayMs: 200 } },
    })
    expect(leased.leased).toMatchObject({ partition: 0, firstOffset: 0, recordCount: 1, leaseMs: 30_000 })
    stream.end()
    expect((await ended).code).toBe(status.OK)
  })

  it('gets messages when it cannot read batches, in parts of one lease, and settles them', async () => {
    const builder = new BatchBuilder({ checksum: platform.checksum })
    for (let i = 0; i < 5; i++) {
      const headers = [['n', utf8(`${i}`)]] as const
      builder.add({ payload: new Uint8Array(30_000).fill(i), key: utf8('k'), headers, timestampMs: 5 })
    }
    await call(client, proto.MessageServiceService.publishRecordBatch, {
      topic: 'orders',
      partition: 0,
      durability: 0,
      batches: builder.build(),
    })
    const { received, send, first } = openConsume(client, { format: MESSAGES })
    const leasedOf = (): proto.LeasedBatch[] => received.items.flatMap(({ leased }) => leased ?? [])
    while (leasedOf().reduce((sum, { recordCount }) => sum + recordCount, 0) < 5) {
      await received.atLeast(received.items.length + 1)
    }
    const parts = leasedOf()
    expect(parts.length).toBeGreaterThan(1)
    expect(new Set(parts.map(({ lease }) => lease)).size).toBe(1)
    const messages = parts.flatMap((part) => part.messages)
    expect(messages.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4])
    expect(messages[3]).toMatchObject({ topic: 'orders', timestampMs: 5 })
    expect(messages[3].id).toMatch(/^[0-9a-f-]{36}$/)
    expect(parts.every(({ batches }) => batches.length === 0)).toBe(true)
    for (const part of parts) {
      expect([part.firstOffset, part.lastOffset]).toEqual([
        part.messages[0].offset,
        part.messages.at(-1)?.offset,
      ])
    }
    send({ settle: { correlationId: 7, settlements: parts.map((part) => settlement(part)) } })
    expect(await first('settled')).toMatchObject({ correlationId: 7, error: undefined })
    const { queue } = await call(client, queues.getQueue, { topic: 'orders', group: 'work' })
    expect(queue).toMatchObject({ lag: 0, stable: true })
  })

  it('hears of a loss behind all parts of the batch that it lost', async () => {
    const payload = new Uint8Array(60_000)
    await call(client, proto.MessageServiceService.publishRecordBatch, {
      topic: 'orders',
      partition: 0,
      durability: 0,
      batches: batchOf(...Array.from({ length: 100 }, () => payload)),
    })
    const slow = harness.client()
    const config = { ...shared, ackTimeoutMs: 1_000 }
    const { received, stream, first } = openConsume(slow, { format: MESSAGES, config })
    await first('leased')
    stream.pause()
    await clock.advance(1_000)
    stream.resume()
    await first('lost')
    const lost = received.items.findIndex((item) => item.lost !== undefined)
    const before = received.items.slice(0, lost).flatMap(({ leased }) => leased?.messages ?? [])
    const { to } = received.items[lost].lost?.ranges.at(-1) ?? { to: 0 }
    expect(before.at(-1)?.offset).toBe(to - 1)
  })

  it('is answered for what it sent before it half-closed', async () => {
    await publish('a')
    const { send, stream, first, ended } = openConsume(client)
    const leased = await first('leased')
    send({ settle: { correlationId: 1, settlements: [settlement(leased)] } })
    stream.end()
    expect(await first('settled')).toMatchObject({ correlationId: 1, results: [{ error: undefined }] })
    expect((await ended).code).toBe(status.OK)
  })

  it('is evicted when its peer stalls, and the status says why', async () => {
    await publish('a')
    const { first, ended } = openConsume(client)
    await first('leased')
    for (let i = 0; i < 12; i++) await clock.advance(500)
    expect(await ended).toMatchObject({ code: status.FAILED_PRECONDITION, rtk: 'RTK_LEASE_LOST' })
    const heir = openConsume(client)
    expect(await heir.first('leased')).toMatchObject({ attempt: 2, redelivered: true })
  })

  it('keeps nobody waiting while it does not read', async () => {
    const config = { ...shared, inFlightMax: 10_000 }
    const slow = openConsume(harness.client(), { credit: { messages: 10_000 }, config })
    await slow.first('opened')
    slow.stream.pause()
    for (let i = 0; i < 100; i++) {
      const batches = batchOf(new Uint8Array(512 * 1024))
      await call(client, proto.MessageServiceService.publishRecordBatch, {
        topic: 'orders',
        partition: 0,
        durability: 0,
        batches,
      })
    }
    const quick = openConsume(client, { credit: { messages: 10_000 }, config })
    const leased = await quick.first('leased')
    expect(leased.attempt).toBe(1)
    expect(harness.broker.facade.health().status).toBe('ok')
    slow.stream.cancel()
    const count = (): number =>
      quick.received.items.reduce((sum, { leased }) => sum + (leased?.recordCount ?? 0), 0)
    while (count() < 100) {
      await clock.advance(0) // the broker goes on in turns, which are timers
      await turn()
    }
  })

  it.each<[string, Partial<proto.OpenLeases>, string]>([
    [
      'a number that is no sharing',
      { config: { ...shared, sharing: 9 as proto.Sharing } },
      'sharing must be 0 to 3',
    ],
    ['a retry policy that is none', { config: { ...shared, retry: {} } }, 'retry must be one of fixed'],
    ['negative credit', { credit: { messages: -1 } }, 'credit must not be negative, got -1 messages'],
    ['a format that there is none of', { format: 7 as proto.DeliveryFormat }, 'format must be'],
    ['a setting out of its range', { config: { ...shared, ackTimeoutMs: 0 } }, 'ackTimeoutMs must be'],
    ['no group', { group: '' }, 'group'],
  ])('that asks for %s is refused, and told what is right', async (_, open, message) => {
    const { ended } = openConsume(client, open)
    const { code, rtk, details } = await ended
    expect([code, rtk]).toEqual([status.INVALID_ARGUMENT, 'RTK_INVALID_ARGUMENT'])
    expect(details).toContain(message)
  })

  it('must open first, and only then ask', async () => {
    const stream = rawStream(client, '/ratatoskr.v1.QueueService/Consume')
    const refused = new Promise<string>((resolve) => stream.on('error', (error) => resolve(error.message)))
    stream.write(Buffer.from(proto.QueueServiceConsumeRequest.encode({ heartbeat: {} }).finish()))
    expect(await refused).toContain('must be `open`')
    const again = openConsume(client)
    await again.first('opened')
    again.send({})
    expect((await again.ended).details).toContain('`credit`, `settle` or `heartbeat`')
  })

  it('goes on after settlements that cannot be read', async () => {
    await publish('a')
    const { send, first, received } = openConsume(client)
    const leased = await first('leased')
    const wrong = settlement(leased, { action: 9 as proto.SettlementAction })
    send({ settle: { correlationId: 1, settlements: [settlement(leased), wrong] } })
    const refused = await first('settled')
    expect(refused.error).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(refused.error?.message).toContain('action must be 1 to 7')
    const stale = settlement(leased, { lease: leased.lease + 1 })
    send({ settle: { correlationId: 2, settlements: [stale, settlement(leased)] } })
    const settled = await first('settled', received.items.length)
    expect(settled.results.map(({ error }) => error?.code)).toEqual(['RTK_LEASE_LOST', undefined])
  })

  it('frees what it held when its connection is gone', async () => {
    await publish('a')
    const other = harness.client()
    const lost = openConsume(other)
    await lost.first('leased')
    other.close()
    lost.stream.cancel()
    const heir = openConsume(client)
    expect(await heir.first('leased')).toMatchObject({ attempt: 2 })
  })
})

describe('a member that polls', () => {
  it('takes messages in either format', async () => {
    await publish('a', 'b')
    const request = {
      topic: 'orders',
      group: 'work',
      member: 'one',
      from: undefined,
      config: shared,
      autoAck: false,
      messagesMax: 1,
    }
    const batches = await call(client, queues.take, { ...request, format: BATCHES })
    expect(batches).toMatchObject({ member: 'one', batches: [{ recordCount: 1, messages: [] }] })
    const messages = await call(client, queues.take, { ...request, format: MESSAGES })
    expect(messages.batches[0].messages.map(({ payload }) => utf8Text(payload))).toEqual(['b'])
    const settlements = [...batches.batches, ...messages.batches].map((leased) => settlement(leased))
    const settled = await call(client, queues.settle, {
      topic: 'orders',
      group: 'work',
      member: 'one',
      settlements,
    })
    expect(settled.results).toEqual([{ error: undefined }, { error: undefined }])
  })
})
