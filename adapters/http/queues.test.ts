/** Queue groups by bare HTTP requests. */
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { decodeFrame, type JsonLeasedMessage } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type Answer, type Rig, type RigOptions, startRig } from './testing/rig.ts'

const group = '/v1/topics/orders/groups/work'
const shared = { sharing: 'shared' }
const frames = { accept: 'application/vnd.ratatoskr.frames' }

async function rigWith(texts: readonly string[], options?: RigOptions): Promise<Rig> {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 1 })
  for (const text of texts) await rig.broker.publish('orders', text, { partition: 0 })
  return rig
}

const messagesOf = ({ json }: Answer): readonly JsonLeasedMessage[] =>
  json.messages as readonly JsonLeasedMessage[]

async function take({ call }: Rig, body: object = {}): Promise<readonly JsonLeasedMessage[]> {
  const answer = await call('POST', `${group}/take`, {
    member: 'one',
    config: shared,
    encoding: 'utf8',
    ...body,
  })
  expect(answer.status, answer.text).toBe(200)
  return messagesOf(answer)
}

const named = ({ partition, offset, lease }: JsonLeasedMessage) => ({ partition, offset, lease })
const rangeOf = ({ partition, offset, lease }: JsonLeasedMessage) => ({
  partition,
  lease,
  from: offset,
  to: offset + 1,
})

const range = { partition: 0, lease: 1, from: 0, to: 1 }

describe('taking over HTTP', () => {
  it('gives messages with what it takes to settle them', async () => {
    const rig = await rigWith(['a', 'b', 'c'])
    const [first, ...others] = await take(rig, { limit: 2 })
    expect(first).toMatchObject({
      payload: 'a',
      partition: 0,
      offset: 0,
      attempt: 1,
      redelivered: false,
      leaseMs: 30_000,
    })
    expect(others).toHaveLength(1)
    expect(await take(rig)).toMatchObject([{ payload: 'c' }])
    const bare = await rig.call('POST', `${group}/take`)
    expect(bare).toMatchObject({ status: 200, json: { messages: [] } })
  })

  it('settles messages by what is to be done with them', async () => {
    const rig = await rigWith(['a', 'b', 'c', 'd', 'e'])
    const [a, b, c, d, e] = await take(rig)
    const done = async (action: string, body: object): Promise<void> => {
      const { status, text } = await rig.call('POST', `${group}/${action}`, body)
      expect([action, status, text]).toEqual([action, 204, ''])
    }
    await done('ack', { messages: [named(a)] })
    await done('nack', { member: 'one', ranges: [rangeOf(b)], delayMs: 0, reason: 'later' })
    await done('extend', { messages: [named(c)], extendMs: 60_000 })
    await done('terminate', { messages: [named(d)], reason: 'bad' })
    await done('release', { messages: [named(e)] })
    const again = await take(rig)
    expect(again.map(({ payload, attempt }) => [payload, attempt])).toEqual([
      ['b', 2],
      ['e', 1],
    ])
    await done('leave', { member: 'one' })
    expect((await rig.call('POST', `${group}/heartbeat`, { member: 'one' })).json.code).toBe('RTK_LEASE_LOST')
  })

  it('says of each message why it was refused, and settles the others', async () => {
    const rig = await rigWith(['a', 'b'])
    const [a, b] = await take(rig)
    const stale = { ...named(a), lease: a.lease + 1 }
    const refused = await rig.call('POST', `${group}/ack`, { messages: [stale, named(b)] })
    expect(refused).toMatchObject({
      status: 409,
      json: { code: 'RTK_LEASE_LOST', results: [{ error: { code: 'RTK_LEASE_LOST' } }, {}] },
    })
    const settlements = [
      { action: 'ack', ...rangeOf(a), lease: a.lease + 1 },
      { action: 'ack', ...rangeOf(a) },
    ]
    const settled = await rig.call('POST', `${group}/settle`, { settlements })
    expect(settled.status).toBe(200)
    expect(settled.json).toMatchObject({ results: [{ error: { code: 'RTK_LEASE_LOST' } }, {}] })
    expect((await rig.call('GET', group)).json).toMatchObject({ lag: 0 })
  })

  it('gives frames to who asks for them', async () => {
    const rig = await rigWith(['a', 'b'])
    const response = await fetch(`${rig.url}${group}/take`, {
      method: 'POST',
      body: JSON.stringify({ member: 'one', config: shared }),
      headers: { 'content-type': 'application/json', ...frames },
    })
    expect(response.headers.get('content-type')).toContain(frames.accept)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const view = new DataView(bytes.buffer)
    const head = view.getUint32(0)
    const event: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + head)))
    expect(event).toMatchObject({ event: 'taken', member: 'one', memberTimeoutMs: 5_000 })
    const start = 4 + head
    const frame = decodeFrame(bytes.slice(start + 4, start + 4 + view.getUint32(start)))
    expect(frame).toMatchObject({ kind: 'leased', firstOffset: 0, attempt: 1 })
  })

  it.each<[string, string, object, string]>([
    ['POST', '/ack', {}, 'name what to settle'],
    ['POST', '/ack', { upTo: [{ partition: 0, offset: 0 }], messages: [] }, 'give one of the two'],
    ['POST', '/ack', { messages: [{ partition: 0, offset: 0 }] }, 'lease'],
    ['POST', '/nack', { messages: [{ partition: 0, offset: 0, lease: 1 }], delayMs: -1 }, 'delayMs'],
    ['POST', '/ack', { messages: [{ partition: 0, offset: 2 ** 53 - 1, lease: 1 }] }, 'below 2^53-1'],
    ['POST', '/settle', { settlements: [{ ...range, action: 'done' }] }, 'action'],
    ['POST', '/take', { limit: 0 }, 'limit'],
    ['POST', '/take', { messages: 1 }, 'unknown field "messages"'],
    ['POST', '/heartbeat', {}, 'member'],
    ['PUT', '', { sharing: 'all' }, 'sharing must be one of'],
    ['PATCH', '', { ackTimeout: 1 }, 'ackTimeout'],
  ])('refuses %s %s %j, and says what is right', async (method, path, body, message) => {
    const rig = await rigWith(['a'])
    await take(rig)
    const { status, json } = await rig.call(method, `${group}${path}`, body)
    expect([status, json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    expect(json.detail).toContain(message)
  })
})

describe('groups over HTTP', () => {
  it('are described as what they are, unless one kind is asked for', async () => {
    const rig = await rigWith(['a'])
    const created = await rig.call('PUT', group, { ...shared, from: 'earliest' })
    expect(created).toMatchObject({ status: 200, json: { group: 'work', config: shared, state: 'empty' } })
    await rig.call('POST', '/v1/topics/orders/groups/stream/fetch', { member: 'one' })
    const describe = async (name: string, kind = '') =>
      (await rig.call('GET', `/v1/topics/orders/groups/${name}${kind}`)).json
    expect(await describe('work')).toMatchObject({ paused: false, partitions: [{ ackedOffset: 0 }] })
    expect(await describe('stream')).toMatchObject({ partitions: [{ metadata: '' }] })
    expect(await describe('work', '?kind=stream')).not.toHaveProperty('config')
    expect(await describe('stream', '?kind=queue')).toMatchObject({
      code: expect.stringMatching(/^RTK_GROUP_/),
    })
    expect(await describe('nobody')).toMatchObject({ code: 'RTK_GROUP_NOT_FOUND' })
    expect((await rig.call('PATCH', group, { retriesMax: 9 })).json).toMatchObject({
      config: { retriesMax: 9 },
    })
    expect((await rig.call('POST', `${group}/pause`)).status).toBe(204)
    expect(await describe('work')).toMatchObject({ paused: true })
    expect((await rig.call('POST', `${group}/resume`, {})).status).toBe(204)
    expect(await describe('work')).toMatchObject({ paused: false })
  })
})

describe('being pushed to over HTTP', () => {
  /** Opens the stream. @returns its id, its next frames, and what ends it */
  async function consume(rig: Rig, headers: Record<string, string> = {}, options: object = {}) {
    const abort = new AbortController()
    const response = await fetch(`${rig.url}${group}/consume`, {
      method: 'POST',
      body: JSON.stringify({
        member: 'one',
        config: shared,
        from: 'earliest',
        credit: { messages: 1 },
        ...options,
      }),
      headers: { 'content-type': 'application/json', ...headers },
      signal: abort.signal,
    })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    let held = new Uint8Array()
    const next = async (): Promise<Uint8Array> => {
      for (;;) {
        const length = held.length < 4 ? Infinity : new DataView(held.buffer).getUint32(0)
        if (held.length >= 4 + length) {
          const frame = held.slice(4, 4 + length)
          held = held.slice(4 + length)
          return frame
        }
        const { value = new Uint8Array() } = await reader.read()
        held = Uint8Array.of(...held, ...value)
      }
    }
    const event = JSON.parse(new TextDecoder().decode(await next())) as { readonly subscription: string }
    return { abort, next, path: `/v1/topics/orders/subscriptions/${event.subscription}` }
  }

  it('says with each answer how many losses the stream holds', async () => {
    const rig = await rigWith([])
    for (const text of ['a', 'b']) await rig.broker.publish('orders', text, { partition: 0, key: 'k' })
    const { path, next } = await consume(rig, {}, { config: {}, credit: { messages: 2 } })
    let frame = await next()
    while (frame.length === 0 || frame[0] === 0x7b) frame = await next()
    const leased = decodeFrame(frame)
    if (leased.kind !== 'leased') return expect.unreachable()
    const { lease } = leased
    const settle = async (action: string, from: number) =>
      (
        await rig.call('POST', `${path}/settle`, {
          settlements: [{ action, partition: 0, lease, from, to: from + 1 }],
        })
      ).json
    expect(await settle('extend', 1)).toEqual({ results: [{}], losses: 0 })
    // What is behind it in its key goes with it.
    expect(await settle('release', 0)).toEqual({ results: [{}], losses: 1 })
  })

  it('frees what was held when the reader is gone', async () => {
    const rig = await rigWith(['a'])
    const { abort } = await consume(rig)
    abort.abort()
    expect(await take(rig, { member: 'two', waitMs: 5_000 })).toMatchObject([{ payload: 'a', attempt: 2 }])
  })

  it('lets only its own principal grant, settle and end', async () => {
    const tokens = {
      'the-token-of-one-is-long': { name: 'one', allow: [{ actions: ['*'], topics: ['**'] }] },
      'the-token-of-two-is-long': { name: 'two', allow: [{ actions: ['*'], topics: ['**'] }] },
    } as const
    const rig = await rigWith(['a'], { broker: { security: staticTokens({ tokens }) } })
    const [one, two] = Object.keys(tokens).map((token) => ({ authorization: `Bearer ${token}` }))
    const { path } = await consume(rig, one)
    for (const [method, at, body] of [
      ['POST', '/credit', { messages: 1 }],
      ['POST', '/settle', { settlements: [] }],
      ['DELETE', '', undefined],
    ] as const) {
      const refused = await rig.call(method, `${path}${at}`, body, two)
      expect(refused).toMatchObject({ status: 404, json: { code: 'RTK_SUBSCRIPTION_NOT_FOUND' } })
    }
    expect((await rig.call('POST', `${path}/credit`, { messages: 1 }, one)).status).toBe(204)
    expect((await rig.call('POST', `${path}/credit`, {}, one)).status).toBe(204)
    const settlements = [{ action: 'ack', partition: 0, lease: 1, from: 0, to: 1 }]
    expect((await rig.call('POST', `${path}/settle`, { settlements }, one)).json).toMatchObject({
      results: [{ error: { code: 'RTK_LEASE_LOST' } }],
    })
    expect((await rig.call('DELETE', path, undefined, one)).status).toBe(204)
    expect((await rig.call('POST', `${path}/credit`, {}, one)).status).toBe(404)
  })
})
