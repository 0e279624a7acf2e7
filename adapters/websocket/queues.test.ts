/** Queue groups by bare WebSocket frames, in both subprotocols. */
import {
  BatchBuilder,
  binarySubprotocol,
  compressionOf,
  decodeFrame,
  encodeCredit,
  encodeProduce,
  type LeasedFrame,
  RecordCursor,
} from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import type { JsonFrame, RawClient } from './testing/raw-client.ts'
import { type RigOptions, startRig } from './testing/rig.ts'

async function rigWithOrders(options?: RigOptions) {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  return rig
}

const publishText = (raw: RawClient, payload: string): Promise<JsonFrame> =>
  raw.ask('publish', { topic: 'orders', encoding: 'utf8', message: { payload, partition: 0 } })

const work = { topic: 'orders', group: 'work', config: { sharing: 'shared' } }

interface JsonLeased {
  readonly payload: string
  readonly offset: number
  readonly lease: number
}

/** Joins with an id of its own. */
async function consume(raw: RawClient, id: number, fields: object = {}): Promise<JsonFrame> {
  raw.say({ op: 'consume', id, ...work, encoding: 'utf8', ...fields })
  const reply = await raw.take((frame) => frame.id === id)
  return (reply.ok ?? reply.error) as JsonFrame
}

async function leased(raw: RawClient): Promise<readonly JsonLeased[]> {
  return (await raw.takeEvent('leased')).messages as readonly JsonLeased[]
}

describe('queue groups in +json', () => {
  it('push messages with their leases, and settle them by subscription', async () => {
    const { client } = await rigWithOrders()
    const raw = await client()
    await publishText(raw, 'a')
    const begun = await consume(raw, 70, { member: 'one', credit: { messages: 1 } })
    expect(begun).toMatchObject({
      subscription: 70,
      topic: 'orders',
      group: 'work',
      member: 'one',
      memberTimeoutMs: 5_000,
      config: { sharing: 'shared', ackTimeoutMs: 30_000 },
    })
    const [message] = await leased(raw)
    expect(message).toMatchObject({
      payload: 'a',
      topic: 'orders',
      partition: 0,
      offset: 0,
      attempt: 1,
      redelivered: false,
      leaseMs: 30_000,
    })
    const { lease } = message
    const range = { partition: 0, from: 0, to: 1 }
    const settled = await raw.ask('settleSubscription', {
      subscription: 70,
      settlements: [
        { action: 'ack', ...range, lease: lease + 1 },
        { action: 'nack', ...range, lease, delayMs: 0, reason: 'no' },
      ],
    })
    expect(settled).toMatchObject({ results: [{ error: { code: 'RTK_LEASE_LOST' } }, {}] })
    await raw.ask('credit', { subscription: 70, messages: 1 })
    expect(await leased(raw)).toMatchObject([{ offset: 0, attempt: 2, redelivered: true }])
    await raw.ask('unsubscribe', { subscription: 70 })
    expect(await raw.takeEvent('ended')).toEqual({ event: 'ended', subscription: 70 })
    expect(await raw.ask('settleSubscription', { subscription: 70, settlements: [] })).toMatchObject({
      code: 'RTK_SUBSCRIPTION_NOT_FOUND',
    })
  })

  it('tell what is lost, and who is evicted', async () => {
    const clock = new ManualClock()
    const { client } = await rigWithOrders({ platform: { clock } })
    const raw = await client()
    await publishText(raw, 'a')
    await consume(raw, 70, { config: { sharing: 'shared', ackTimeoutMs: 1_000 }, credit: { messages: 1 } })
    const [{ lease }] = await leased(raw)
    await clock.advance(1_000)
    expect(await raw.takeEvent('lost')).toEqual({
      event: 'lost',
      subscription: 70,
      ranges: [{ partition: 0, lease, from: 0, to: 1 }],
      reason: 'timeout',
    })
    raw.say({ op: 'heartbeatSubscription', subscription: 70 })
    await raw.ask('ping')
    for (let i = 0; i < 9; i++) await clock.advance(500)
    expect(await raw.ask('describeQueue', { topic: 'orders', group: 'work' })).toMatchObject({
      state: 'stable',
    })
    for (let i = 0; i < 3; i++) await clock.advance(500)
    expect(await raw.takeEvent('ended')).toMatchObject({
      subscription: 70,
      error: { code: 'RTK_LEASE_LOST' },
    })
  })

  it('are taken from, and answer with messages', async () => {
    const { client } = await rigWithOrders()
    const raw = await client()
    await publishText(raw, 'a')
    const taken = await raw.ask('take', { ...work, member: 'one', encoding: 'utf8' })
    expect(taken).toMatchObject({ member: 'one', memberTimeoutMs: 5_000, messages: [{ payload: 'a' }] })
    const [{ lease }] = taken.messages as readonly JsonLeased[]
    const settlements = [{ action: 'ack', partition: 0, lease, from: 0, to: 1 }]
    expect(await raw.ask('settle', { topic: 'orders', group: 'work', settlements })).toEqual({
      results: [{}],
    })
    expect(await raw.ask('heartbeat', { topic: 'orders', group: 'work', member: 'one' })).toEqual({})
    expect(await raw.ask('leaveQueue', { topic: 'orders', group: 'work', member: 'one' })).toEqual({})
    expect(await raw.ask('heartbeat', { topic: 'orders', group: 'work', member: 'one' })).toMatchObject({
      code: 'RTK_LEASE_LOST',
    })
  })

  it.each<[string, object, string]>([
    ['consume', { group: 'work', credits: 1 }, 'unknown field "credits"'],
    ['consume', {}, 'group is missing'],
    ['consume', { group: 'work', config: { sharing: 'all' } }, 'sharing must be one of'],
    ['consume', { group: 'work', config: [] }, 'config must be an object'],
    ['take', { group: 'work', messagesMax: 0 }, 'messagesMax must be a whole number of at least 1'],
    ['settle', { group: 'work', settlements: {} }, 'settlements must be a list'],
    ['settle', { group: 'work', settlements: [{ action: 'done' }] }, 'settlements[0].action must be one of'],
    ['pauseQueue', { group: 'work' }, 'paused is missing'],
    ['alterQueue', { group: 'work', changes: { retryMax: 1 } }, 'retryMax'],
  ])('refuse %s %j, and say what is right', async (op, fields, message) => {
    const { client } = await rigWithOrders()
    const raw = await client()
    await raw.ask('createQueue', { topic: 'orders', group: 'work' })
    const refused = await raw.ask(op, { topic: 'orders', ...fields })
    expect(refused).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(refused.message).toContain(message)
  })

  it('leave the ids of other subscriptions alone', async () => {
    const { client } = await rigWithOrders()
    const raw = await client()
    await raw.ask('subscribe', { topic: 'orders' })
    const [, id] = [await consume(raw, 70), 70]
    expect(await consume(raw, id)).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(await raw.ask('commitSubscription', { subscription: 70, offsets: [] })).toMatchObject({
      code: 'RTK_SUBSCRIPTION_NOT_FOUND',
    })
    expect(await raw.ask('settleSubscription', { subscription: 1, settlements: [] })).toMatchObject({
      code: 'RTK_SUBSCRIPTION_NOT_FOUND',
    })
  })
})

describe('queue groups in +binary', () => {
  const checksum = (): number => 0
  async function binaryRig(compressed = false) {
    const rig = await rigWithOrders()
    const raw = await rig.client(binarySubprotocol)
    const { platform } = rig.broker
    const compression = compressed ? platform.compression.get(1) : undefined
    const builder = new BatchBuilder({ checksum: platform.checksum ?? checksum, compression })
    for (let i = 0; i < 3; i++) builder.add({ payload: new Uint8Array(500), timestampMs: 1 })
    raw.send(encodeProduce(60, 'orders', 0, undefined, builder.build()))
    await raw.takeBinary()
    return raw
  }
  const frameOf = async (raw: RawClient): Promise<LeasedFrame> => {
    const frame = decodeFrame(await raw.takeBinary())
    if (frame.kind !== 'leased') throw new Error(`expected a leased frame, got ${frame.kind}`)
    return frame
  }
  const offsetsOf = ({ bytes }: LeasedFrame): number[] => {
    const offsets: number[] = []
    const cursor = new RecordCursor()
    cursor.open(bytes, 0)
    while (cursor.next()) offsets.push(cursor.offset)
    return offsets
  }

  it('push leased frames as far as credit frames let them', async () => {
    const raw = await binaryRig()
    await consume(raw, 70, { encoding: undefined })
    raw.send(encodeCredit(70, 0, 2))
    const first = await frameOf(raw)
    expect(first).toMatchObject({
      id: 70,
      partition: 0,
      recordCount: 2,
      firstOffset: 0,
      lastOffset: 1,
      attempt: 1,
    })
    expect(offsetsOf(first)).toEqual([0, 1])
    await raw.ask('ping')
    expect(raw.untaken).toBe(1) // assigned
    raw.send(encodeCredit(70, 0, 5))
    expect(offsetsOf(await frameOf(raw))).toEqual([2])
  })

  it('answer a take with leased frames under its id, and then the reply', async () => {
    const raw = await binaryRig()
    raw.say({ op: 'take', id: 71, ...work, member: 'one' })
    expect(await frameOf(raw)).toMatchObject({ id: 71, recordCount: 3, lease: expect.any(Number) })
    const { ok } = await raw.take((frame) => frame.id === 71)
    expect(ok).toMatchObject({ member: 'one', memberTimeoutMs: 5_000 })
  })

  it('send batches without compression to who cannot read it, also what is taken', async () => {
    const raw = await binaryRig(true)
    await consume(raw, 70, { encoding: undefined, expand: true, credit: { messages: 3 } })
    const pushed = await frameOf(raw)
    expect(compressionOf(pushed.bytes, 0)).toBe(0)
    expect(offsetsOf(pushed)).toEqual([0, 1, 2])
    await raw.ask('unsubscribe', { subscription: 70 })
    raw.say({ op: 'take', id: 71, ...work, expand: true })
    const taken = await frameOf(raw)
    expect(compressionOf(taken.bytes, 0)).toBe(0)
    expect(taken.attempt).toBe(2)
  })
})
