import { describe, expect, it } from 'vitest'
import { startRig } from './testing/rig.ts'

const problem = (code: string, status: number) => expect.objectContaining({ code, status })

describe('topics over HTTP', () => {
  it('creates with 201, and again with 200', async () => {
    const { call } = await startRig()
    const first = await call('PUT', '/v1/topics/orders', { partitions: 4, retentionMs: 60_000 })
    expect(first.status).toBe(201)
    expect(first.json).toMatchObject({
      namespace: 'default',
      name: 'orders',
      config: { partitions: 4, retentionMs: 60_000 },
    })
    expect(first.json.partitions).toHaveLength(4)
    const again = await call('PUT', '/v1/topics/orders', { partitions: 4, retentionMs: 60_000 })
    expect([again.status, again.json.id]).toEqual([200, first.json.id])
    const other = await call('PUT', '/v1/topics/orders', { partitions: 5 })
    expect([other.status, other.json]).toEqual([409, problem('RTK_TOPIC_EXISTS', 409)])
  })

  it('creates without a body, with an empty one, and in a namespace', async () => {
    const { call, broker } = await startRig()
    expect((await call('PUT', '/v1/topics/plain')).status).toBe(201)
    expect((await call('PUT', '/v1/topics/empty', '', { 'content-type': 'application/json' })).status).toBe(
      201,
    )
    const spaced = await call('PUT', '/v1/topics/team%2Forders')
    expect(spaced.json).toMatchObject({ namespace: 'team', name: 'orders' })
    expect(await broker.topicExists('team/orders')).toBe(true)
  })

  it.each([
    ['an unknown field', { partition: 4 }, /body has an unknown field "partition"/],
    ['a number as text', { partitions: '4' }, /body\.partitions must be integer/],
    ['a list for a number', { partitions: [4] }, /body\.partitions must be integer/],
    ['a list', [], /body must be/],
    ['null', null, /body must be/],
    [
      'an unknown durability',
      { durability: 'hope' },
      /body\.durability .*memory, os, interval, fsync, quorum/,
    ],
    ['no partitions', { partitions: 0 }, /partitions/],
  ])('refuses %s, and creates nothing', async (_what, body, detail) => {
    const { call, broker } = await startRig()
    const answer = await call('PUT', '/v1/topics/orders', body)
    expect(answer.json).toEqual(problem('RTK_INVALID_ARGUMENT', 400))
    expect(answer.json.detail).toMatch(detail)
    expect(await broker.listTopics()).toEqual([])
  })

  it('refuses a body that is not JSON, and says so', async () => {
    const { call } = await startRig()
    const form = await call('PUT', '/v1/topics/orders', 'partitions=4', {
      'content-type': 'application/x-www-form-urlencoded',
    })
    expect(form.status).toBe(400)
    expect(form.json.detail).toMatch(/content-type: application\/json/)
    const broken = await call('PUT', '/v1/topics/orders', '{"partitions":', {
      'content-type': 'application/json',
    })
    expect(broken.json).toEqual(problem('RTK_INVALID_ARGUMENT', 400))
  })

  it('lists, describes, alters and deletes', async () => {
    const { call } = await startRig()
    await call('PUT', '/v1/topics/orders', { partitions: 1 })
    await call('PUT', '/v1/topics/bills', { partitions: 1 })
    const { topics } = (await call('GET', '/v1/topics')).json as { topics: { name: string }[] }
    expect(topics.map(({ name }) => name)).toEqual(['bills', 'orders'])
    expect((await call('GET', '/v1/topics/orders')).json).toMatchObject({ config: { partitions: 1 } })
    const altered = await call('PATCH', '/v1/topics/orders', { partitions: 3 })
    expect([altered.status, altered.json.config]).toEqual([200, expect.objectContaining({ partitions: 3 })])
    expect((await call('PATCH', '/v1/topics/orders', { partitions: 1 })).status).toBe(400)
    expect((await call('PATCH', '/v1/topics/orders')).status).toBe(400)
    const deleted = await call('DELETE', '/v1/topics/orders')
    expect([deleted.status, deleted.text]).toEqual([204, ''])
    for (const [method, body] of [['GET'], ['DELETE'], ['PATCH', {}]] as const) {
      const missing = await call(method, '/v1/topics/orders', body)
      expect(missing.json, method).toEqual(problem('RTK_TOPIC_NOT_FOUND', 404))
    }
  })

  it('tells whether a topic exists, resolves it, counts it, and finds offsets', async () => {
    const { call, broker } = await startRig({ broker: { autoCreateTopics: false } })
    expect((await call('GET', '/v1/topics/orders/exists')).json).toEqual({ exists: false })
    expect((await call('POST', '/v1/topics/orders/resolve')).json.code).toBe('RTK_TOPIC_NOT_FOUND')
    await broker.createTopic('orders', { partitions: 2 })
    expect((await call('GET', '/v1/topics/orders/exists')).json).toEqual({ exists: true })
    expect((await call('POST', '/v1/topics/orders/resolve')).json).toMatchObject({ name: 'orders' })
    for (const partition of [0, 1, 1]) await broker.publish('orders', 'x', { partition })
    const stats = (await call('GET', '/v1/topics/orders/stats')).json
    expect(stats).toMatchObject({ topic: 'orders', messageCount: 3, subscriberCount: 0 })
    const ends = await call('POST', '/v1/topics/orders/offsets', { position: 'latest' })
    expect(ends.json).toEqual({
      offsets: [
        { partition: 0, offset: 1 },
        { partition: 1, offset: 2 },
      ],
    })
    const bad = await call('POST', '/v1/topics/orders/offsets', { position: 'newest' })
    expect(bad.json).toEqual(problem('RTK_INVALID_ARGUMENT', 400))
  })

  it('creates what it resolves when the broker may', async () => {
    const { call, broker } = await startRig()
    expect((await call('POST', '/v1/topics/orders/resolve')).status).toBe(200)
    expect(await broker.topicExists('orders')).toBe(true)
  })

  it.each(['a..b', '.', '%2e%2e', 'a%20b', '_internal', `${'x'.repeat(250)}`, '%C3%A9'])(
    'refuses the name %s',
    async (name) => {
      const { url, broker, raw } = await startRig()
      const answer = await raw(
        `PUT /v1/topics/${name} HTTP/1.1\r\nhost: ${new URL(url).host}\r\nconnection: close\r\n\r\n`,
      )
      expect(answer).toMatch(/^HTTP\/1.1 (400|403) .*"code":"RTK_(TOPIC_NAME_INVALID|PERMISSION_DENIED)"/s)
      expect(await broker.listTopics()).toEqual([])
    },
  )
})
