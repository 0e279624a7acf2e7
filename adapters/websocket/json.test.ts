import { binarySubprotocol } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import type { JsonFrame, RawClient } from './testing/raw-client.ts'
import { startRig } from './testing/rig.ts'

/** A client of a broker that has the topic `orders` with two partitions. */
async function ordersClient(): Promise<RawClient> {
  const { client } = await startRig()
  const raw = await client()
  await raw.ask('createTopic', { topic: 'orders', config: { partitions: 2 } })
  return raw
}

const publishText = (raw: RawClient, payload: string, fields: object = {}): Promise<JsonFrame> =>
  raw.ask('publish', { topic: 'orders', encoding: 'utf8', message: { payload, partition: 0, ...fields } })

describe('operations', () => {
  it('on topics', async () => {
    const { client } = await startRig()
    const raw = await client()
    const created = await raw.ask('createTopic', { topic: 'orders', config: { partitions: 2 } })
    expect(created).toMatchObject({ created: true, topic: { name: 'orders', config: { partitions: 2 } } })
    expect(await raw.ask('createTopic', { topic: 'orders', config: { partitions: 2 } })).toMatchObject({
      created: false,
    })
    expect(await raw.ask('createTopic', { topic: 'orders', config: { partitions: 3 } })).toMatchObject({
      code: 'RTK_TOPIC_EXISTS',
    })
    expect(await raw.ask('createTopic', { topic: 'orders', config: { partitons: 3 } })).toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    expect(await raw.ask('topicExists', { topic: 'orders' })).toEqual({ exists: true })
    expect(await raw.ask('describeTopic', { topic: 'orders' })).toMatchObject({ name: 'orders' })
    expect(await raw.ask('resolveTopic', { topic: 'orders' })).toMatchObject({ name: 'orders' })
    expect(await raw.ask('alterTopic', { topic: 'orders', changes: { retentionMs: 5_000 } })).toMatchObject({
      config: { retentionMs: 5_000 },
    })
    expect(await raw.ask('listTopics')).toMatchObject({ topics: [{ name: 'orders' }] })
    expect(await raw.ask('topicStats', { topic: 'orders' })).toMatchObject({
      topic: 'orders',
      messageCount: 0,
    })
    expect(await raw.ask('brokerStats')).toMatchObject({ topics: 1, partitions: 2 })
    expect(await raw.ask('deleteTopic', { topic: 'orders' })).toEqual({})
    expect(await raw.ask('describeTopic', { topic: 'orders' })).toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
  })

  it('on messages: publish, publishMany, fetch', async () => {
    const raw = await ordersClient()
    const message = {
      id: '3f0c0000-0000-4000-8000-000000000001',
      key: { base64: '/w==' },
      headers: { trace: ['a', 'b'], ['__proto__']: 'x' },
      payload: 'aGVsbG8=',
      timestamp: 1_700_000_000_000,
      partition: 1,
    }
    const receipt = await raw.ask('publish', { topic: 'orders', message, durability: 'memory' })
    expect(receipt).toEqual({ id: message.id, partition: 1, offset: 0, durability: 'memory' })
    const many = await raw.ask('publishMany', {
      topic: 'orders',
      encoding: 'json',
      messages: [
        { payload: { n: 1 }, partition: 1 },
        { payload: 2, partition: 9 },
      ],
    })
    expect(many).toMatchObject({
      results: [{ partition: 1, offset: 1 }, { error: { code: 'RTK_PARTITION_NOT_FOUND' } }],
    })
    const fetched = await raw.ask('fetch', { topic: 'orders', partition: 1, offset: 'earliest' })
    expect(fetched).toMatchObject({
      partition: 1,
      fromOffset: 0,
      nextOffset: 2,
      startOffset: 0,
      stableOffset: 2,
    })
    const [first, second] = fetched.messages as JsonFrame[]
    expect(JSON.stringify(first)).toBe(
      JSON.stringify({
        id: message.id,
        topic: 'orders',
        partition: 1,
        offset: 0,
        timestamp: message.timestamp,
        key: message.key,
        headers: message.headers,
        payload: message.payload,
      }),
    )
    expect(second).toMatchObject({ offset: 1, key: null, headers: {}, payload: btoa('{"n":1}') })
    const later = await raw.ask('fetch', { topic: 'orders', partition: 1, offset: 1, encoding: 'json' })
    expect(later).toMatchObject({ messages: [{ offset: 1, payload: { n: 1 } }] })
  })

  it('on groups', async () => {
    const raw = await ordersClient()
    await publishText(raw, 'a')
    await publishText(raw, 'b')
    const taken = await raw.ask('fetchGroup', { topic: 'orders', group: 'g', member: 'm', encoding: 'utf8' })
    expect(taken).toMatchObject({
      batches: [{ partition: 0, messages: [{ payload: 'a' }, { payload: 'b' }] }],
    })
    const offsets = [{ partition: 0, offset: 1, metadata: 'half' }]
    expect(await raw.ask('commit', { topic: 'orders', group: 'g', member: 'm', offsets })).toEqual({})
    expect(await raw.ask('listGroups', { topic: 'orders' })).toEqual({ groups: ['g'] })
    const described = await raw.ask('describeGroup', { topic: 'orders', group: 'g' })
    expect(described).toMatchObject({ group: 'g', members: [{ member: 'm' }] })
    expect((described.partitions as JsonFrame[])[0]).toMatchObject({ committedOffset: 1, metadata: 'half' })
    expect(
      await raw.ask('seekGroup', { topic: 'orders', group: 'g', position: 'latest', partitions: [0] }),
    ).toEqual({ offsets: [{ partition: 0, offset: 2 }] })
    expect(
      await raw.ask('offsets', { topic: 'orders', position: { offsets: [], otherwise: 'latest' } }),
    ).toEqual({
      offsets: [
        { partition: 0, offset: 2 },
        { partition: 1, offset: 0 },
      ],
    })
    expect(await raw.ask('deleteGroup', { topic: 'orders', group: 'none' })).toMatchObject({
      code: 'RTK_GROUP_NOT_FOUND',
    })
  })

  it('that wait can be cancelled by the id of their request', async () => {
    const raw = await ordersClient()
    raw.say({ op: 'fetch', id: 70, topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 })
    raw.say({ op: 'fetch', id: 70, topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 })
    expect(await raw.take()).toMatchObject({ id: 70, error: { code: 'RTK_INVALID_ARGUMENT' } })
    raw.say({ op: 'cancel', request: 70 })
    expect(await raw.take()).toMatchObject({ id: 70, error: { code: 'RTK_CANCELLED' } })
    expect(await raw.ask('cancel', { request: 70 })).toEqual({})
  })

  it.each<[string, JsonFrame, string]>([
    ['unknownOp', {}, 'RTK_NOT_SUPPORTED'],
    ['toString', {}, 'RTK_NOT_SUPPORTED'],
    ['publish', { topic: 'orders', mesage: {} }, 'RTK_INVALID_ARGUMENT'],
    ['publish', { topic: 5, message: {} }, 'RTK_INVALID_ARGUMENT'],
    ['publish', { topic: 'a b', message: { payload: '' } }, 'RTK_TOPIC_NAME_INVALID'],
    [
      'publish',
      { topic: 'orders', message: { payload: '', headers: { 'rtk-x': '' } } },
      'RTK_HEADER_INVALID',
    ],
    [
      'publish',
      { topic: 'orders', message: { payload: '', headers: { 'a\r\nb': '' } } },
      'RTK_HEADER_INVALID',
    ],
    ['publish', { topic: 'orders', message: { payload: '', id: 'x' } }, 'RTK_INVALID_ARGUMENT'],
    [
      'publish',
      { topic: 'orders', message: { payload: '' }, durability: 'quorum' },
      'RTK_DURABILITY_UNAVAILABLE',
    ],
    ['createTopic', { topic: 'x', config: [] }, 'RTK_INVALID_ARGUMENT'],
    [
      'createTopic',
      JSON.parse('{"topic":"x","config":{"__proto__":{"partitions":5}}}'),
      'RTK_INVALID_ARGUMENT',
    ],
    ['fetch', { topic: 'orders', partition: 0, offset: -1 }, 'RTK_INVALID_ARGUMENT'],
    ['fetch', { topic: 'orders', partition: 7, offset: 0 }, 'RTK_PARTITION_NOT_FOUND'],
    ['fetch', { topic: 'orders', partition: 0, offset: 99 }, 'RTK_OFFSET_OUT_OF_RANGE'],
    ['subscribe', { topic: 'orders', from: 'now' }, 'RTK_INVALID_ARGUMENT'],
    ['subscribe', { topic: 'orders', group: 'a/b' }, 'RTK_INVALID_ARGUMENT'],
    ['commitSubscription', { subscription: 99, offsets: [] }, 'RTK_SUBSCRIPTION_NOT_FOUND'],
    ['commit', { topic: 'orders', group: 'g' }, 'RTK_INVALID_ARGUMENT'],
  ])('%s %j is answered with an error, and the connection goes on', async (op, fields, code) => {
    const raw = await ordersClient()
    const error = await raw.ask(op, fields)
    expect(error.code).toBe(code)
    expect(Object.keys(error)).toEqual(['code', 'message', 'retryable', 'details'])
    expect(error.message).not.toMatch(/node_modules|file:|\.ts/)
    expect(await raw.ask('ping')).toEqual({})
  })

  it('that do not exist are named, with what may have been meant', async () => {
    const raw = await ordersClient()
    expect((await raw.ask('publsh')).message).toContain('did you mean publish?')
    const list = String((await raw.ask('xyzzyxyzzy')).message)
    for (const op of ['hello', 'createTopic', 'subscribe', 'fetchGroup', 'cancel']) expect(list).toContain(op)
  })

  it('above the bound of requests in flight are refused', async () => {
    const { client } = await startRig({ transport: { requestsInFlightMax: 3, fetchesInFlightMax: 2 } })
    const raw = await client()
    await raw.ask('createTopic', { topic: 'orders' })
    const waiting = { op: 'fetch', topic: 'orders', partition: 0, offset: 0, waitMs: 60_000 }
    for (const id of [11, 12, 13]) raw.say({ ...waiting, id })
    expect(await raw.take()).toMatchObject({ id: 13, error: { code: 'RTK_OVERLOADED' } })
    raw.say({ op: 'publish', id: 14, topic: 'orders', message: { payload: '' } })
    raw.say({ op: 'ping', id: 15 })
    expect((await raw.take((frame) => frame.id === 15)).error).toMatchObject({ code: 'RTK_OVERLOADED' })
    await raw.take((frame) => frame.id === 11)
    await raw.take((frame) => frame.id === 12)
    expect(await raw.ask('ping')).toEqual({})
  })
})

describe('subscriptions in +json', () => {
  const subscribe = { op: 'subscribe', topic: 'orders', from: 'earliest', encoding: 'utf8' }

  it('say first that they exist, then what is assigned, then one message an event, as far as the credit goes', async () => {
    const raw = await ordersClient()
    for (const payload of ['a', 'b', 'c']) await publishText(raw, payload)
    raw.say({ ...subscribe, id: 50, partitions: [0], credit: { messages: 2 } })
    expect(await raw.take()).toMatchObject({ id: 50, ok: { subscription: 50, topic: 'orders', member: '' } })
    expect(await raw.take()).toEqual({
      event: 'assigned',
      subscription: 50,
      partitions: [{ partition: 0, offset: 0 }],
    })
    expect(await raw.take()).toMatchObject({
      event: 'message',
      subscription: 50,
      message: { offset: 0, payload: 'a' },
    })
    expect(await raw.take()).toMatchObject({ message: { offset: 1, payload: 'b' } })
    await raw.ask('ping')
    expect(raw.untaken).toBe(0)
    raw.say({ op: 'credit', subscription: 50, messages: 5 })
    expect(await raw.take()).toMatchObject({ message: { offset: 2, payload: 'c' } })
    expect(await raw.ask('unsubscribe', { subscription: 50 })).toEqual({})
    expect(await raw.takeEvent('ended')).toEqual({ event: 'ended', subscription: 50 })
    expect(await raw.ask('unsubscribe', { subscription: 50 })).toEqual({})
    raw.say({ op: 'credit', subscription: 50, messages: 5 })
    expect(await raw.ask('ping')).toEqual({})
  })

  it('take credit that comes before they have begun', async () => {
    const raw = await ordersClient()
    await publishText(raw, 'a')
    raw.say({ ...subscribe, id: 50 })
    raw.say({ op: 'credit', subscription: 50, messages: 1 })
    expect(await raw.takeEvent('message')).toMatchObject({ message: { payload: 'a' } })
  })

  it('end when asked before they have begun', async () => {
    const raw = await ordersClient()
    raw.say({ ...subscribe, id: 50 })
    raw.say({ op: 'unsubscribe', id: 51, subscription: 50 })
    await raw.take((frame) => frame.id === 51)
    expect(await raw.takeEvent('ended')).toEqual({ event: 'ended', subscription: 50 })
  })

  it('commit as a member of their group, and the next member goes on there', async () => {
    const raw = await ordersClient()
    for (const payload of ['a', 'b']) await publishText(raw, payload)
    const grouped = { ...subscribe, from: undefined, group: 'g', credit: { messages: 10 } }
    raw.say({ ...grouped, id: 50, member: 'one' })
    expect((await raw.take()).ok).toMatchObject({ group: 'g', member: 'one' })
    await raw.takeEvent('message')
    const offsets = [{ partition: 0, offset: 1 }]
    expect(await raw.ask('commitSubscription', { subscription: 50, offsets })).toEqual({})
    await raw.ask('unsubscribe', { subscription: 50 })
    await raw.takeEvent('ended')
    while (raw.untaken > 0) await raw.take()
    raw.say({ ...grouped, id: 60, member: 'two' })
    expect(await raw.takeEvent('message')).toMatchObject({ message: { offset: 1, payload: 'b' } })
  })

  it('end with the reason when their topic goes', async () => {
    const raw = await ordersClient()
    raw.say({ ...subscribe, id: 50, credit: { messages: 1 } })
    await raw.takeEvent('assigned')
    await raw.ask('deleteTopic', { topic: 'orders' })
    expect(await raw.takeEvent('ended')).toMatchObject({
      subscription: 50,
      error: { code: 'RTK_TOPIC_DELETED' },
    })
  })

  it('have ids of their own on their connection', async () => {
    const raw = await ordersClient()
    raw.say({ ...subscribe, id: 50 })
    raw.say({ ...subscribe, id: 50 })
    expect(await raw.take((frame) => 'error' in frame)).toMatchObject({
      id: 50,
      error: { code: 'RTK_INVALID_ARGUMENT' },
    })
    expect(await raw.take((frame) => 'ok' in frame)).toMatchObject({ ok: { subscription: 50 } })
  })

  it('go on by offset after a reconnect, without gap or duplicate', async () => {
    const rig = await startRig()
    const first = await rig.client()
    await first.ask('createTopic', { topic: 'orders' })
    for (let n = 0; n < 10; n++) await publishText(first, `m${n}`)
    first.say({ ...subscribe, id: 50, credit: { messages: 4 } })
    const seen: unknown[] = []
    let next = 0
    for (let n = 0; n < 4; n++) {
      const { message } = (await first.takeEvent('message')) as { message: JsonFrame }
      seen.push(message.payload)
      next = (message.offset as number) + 1
    }
    first.ws.terminate()
    const second = await rig.client()
    const from = { offsets: [{ partition: 0, offset: next }] }
    second.say({ ...subscribe, id: 50, from, credit: { messages: 100 } })
    for (let n = 0; n < 6; n++)
      seen.push(((await second.takeEvent('message')) as { message: JsonFrame }).message.payload)
    expect(seen).toEqual(Array.from({ length: 10 }, (_, n) => `m${n}`))
  })

  it('carry 1 MiB', async () => {
    const raw = await ordersClient()
    const payload = 'x'.repeat(1024 * 1024)
    raw.say({ ...subscribe, id: 50, credit: { messages: 2 } })
    await publishText(raw, payload)
    const { message } = (await raw.takeEvent('message')) as { message: JsonFrame }
    expect(message.payload === payload).toBe(true)
  })

  it('in +binary deliver batches, not messages', async () => {
    const { client } = await startRig()
    const raw = await client(binarySubprotocol)
    await raw.ask('publish', { topic: 'orders', message: { payload: 'aGVsbG8=' } })
    raw.say({ ...subscribe, encoding: undefined, id: 50, credit: { bytes: 1_000 } })
    const frame = await raw.takeBinary()
    expect(frame[0]).toBe(3)
    expect(Buffer.from(frame).includes('hello')).toBe(true)
  })
})
