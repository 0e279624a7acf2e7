import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it } from 'vitest'
import { type Rig, type RigOptions, startRig } from './testing/rig.ts'

const path = '/v1/topics/orders/subscribe'
const query = `${path}?encoding=utf8&from=earliest`

async function rigWithOrders(partitions = 1, options?: RigOptions): Promise<Rig> {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions })
  return rig
}

const subscribers = async ({ broker }: Rig) => (await broker.topicStats('orders')).subscriberCount

describe('server-sent events', () => {
  it('tells the partitions, then each message with its position', async () => {
    const rig = await rigWithOrders()
    await rig.broker.publish('orders', 'a', { key: 'k' })
    const events = await rig.events(query)
    expect(events.response.headers.get('content-type')).toBe('text/event-stream')
    expect(events.response.headers.get('cache-control')).toBe('no-store')
    expect(await events.next()).toEqual({
      id: undefined,
      event: 'assigned',
      data: { partitions: [{ partition: 0, offset: 0 }] },
    })
    expect(await events.next()).toMatchObject({
      id: '0:0',
      event: 'message',
      data: { topic: 'orders', partition: 0, offset: 0, key: 'k', payload: 'a' },
    })
    await rig.broker.publish('orders', 'b')
    expect(await events.next()).toMatchObject({ id: '0:1', data: { payload: 'b' } })
  })

  it('gives ids that resume every partition without gap or duplicate', async () => {
    const rig = await rigWithOrders(3)
    const publish = async (from: number, to: number) => {
      for (let i = from; i < to; i++) await rig.broker.publish('orders', `m${i}`, { partition: i % 3 })
    }
    await publish(0, 12)
    const first = await rig.events(query)
    const seen = await first.take(7)
    first.leave()
    const id = seen[6].id ?? ''
    expect(id.split(',')[0]).toBe(`${seen[6].data.partition}:${seen[6].data.offset}`)
    await publish(12, 15)
    const second = await rig.events(query, { 'last-event-id': id })
    const rest = await second.take(8)
    const payloads = [...seen, ...rest].map(({ data }) => String(data.payload))
    expect(payloads.toSorted()).toEqual(Array.from({ length: 15 }, (_, i) => `m${i}`).toSorted())
  })

  it('puts the position of the message itself first', async () => {
    const rig = await rigWithOrders(2)
    const events = await rig.events(query)
    const ids: (string | undefined)[] = []
    for (const partition of [0, 1, 0]) {
      await rig.broker.publish('orders', 'x', { partition })
      ids.push((await events.take(1))[0].id)
    }
    expect(ids).toEqual(['0:0', '1:0,0:0', '0:1,1:0'])
  })

  it.each([
    ['from=1', ['b', 'c']],
    ['from=0:2', ['c']],
    ['from=@0', ['a', 'b', 'c']],
    ['from=0:1&otherwise=latest&partitions=0', ['b', 'c']],
  ])('begins at %s', async (from, expected) => {
    const rig = await rigWithOrders()
    for (const payload of ['a', 'b', 'c']) await rig.broker.publish('orders', payload)
    const events = await rig.events(`${path}?encoding=utf8&${from}`)
    expect((await events.take(expected.length)).map(({ data }) => data.payload)).toEqual(expected)
  })

  it.each([
    'from=newest',
    'from=1:2:3',
    'from=0:x',
    'from=@soon',
    'partitions=a',
    'otherwise=x',
    'form=1',
    'group=a%20b',
  ])('refuses %s with a problem document', async (bad) => {
    const { call } = await rigWithOrders()
    const answer = await call('GET', `${path}?${bad}`)
    expect([answer.status, answer.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
  })

  it('refuses an id that it did not give, and offsets that never were', async () => {
    const { call } = await rigWithOrders()
    const strange = await call('GET', path, undefined, { 'last-event-id': 'abc' })
    expect([strange.status, strange.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    const beyond = await call('GET', path, undefined, { 'last-event-id': '0:41' })
    expect([beyond.status, beyond.json.code]).toEqual([416, 'RTK_OFFSET_OUT_OF_RANGE'])
  })

  it('shares the work of a group, as the member it names', async () => {
    const rig = await rigWithOrders(2)
    const events = await rig.events(`${query}&group=billing&member=anna`)
    expect(events.response.headers.get('ratatoskr-member')).toBe('anna')
    expect((await events.next())?.data.partitions).toHaveLength(2)
    const other = await rig.events(`${query}&group=billing`)
    expect((await other.take(1, 'assigned'))[0].data.partitions).toHaveLength(1)
    expect((await events.take(1, 'assigned'))[0].data.partitions).toHaveLength(1)
  })

  it('shows that it lives while there is nothing to say, without piling up timers or listeners', async () => {
    const clock = new ManualClock()
    const warnings: Error[] = []
    const warned = (warning: Error) => warnings.push(warning)
    process.on('warning', warned)
    const rig = await rigWithOrders(1, { platform: { clock }, transport: { heartbeatMs: 1_000 } })
    const before = clock.pending
    const events = await rig.events(query)
    await events.next()
    const during = clock.pending
    for (let i = 0; i < 20; i++) {
      const comment = events.comment()
      await clock.advance(1_000)
      await comment
    }
    expect(clock.pending).toBe(during)
    events.leave()
    await expect.poll(() => clock.pending).toBe(before)
    process.off('warning', warned)
    expect(warnings).toEqual([])
  })

  it('ends the subscription of a reader who leaves', async () => {
    const rig = await rigWithOrders()
    const events = await rig.events(query)
    await events.next()
    expect(await subscribers(rig)).toBe(1)
    events.leave()
    await expect.poll(() => subscribers(rig)).toBe(0)
  })

  it('stands still for a reader who does not read, and loses nothing', async () => {
    const rig = await rigWithOrders()
    const payload = 'x'.repeat(100_000)
    const count = 300
    for (let i = 0; i < count; i++) await rig.broker.publish('orders', payload)
    const before = rig.broker.stats().messagesDelivered
    const reader = await rig.socket()
    reader.pause()
    reader.write(`GET ${query} HTTP/1.1\r\nhost: localhost\r\n\r\n`)
    await expect.poll(() => rig.broker.stats().messagesDelivered - before).toBeGreaterThan(0)
    await rig.call('GET', '/livez')
    // What the sockets' buffers hold, far below the 30 MB that wait.
    expect(rig.broker.stats().messagesDelivered - before).toBeLessThan(count / 2)
    let bytes = 0
    reader.on('data', (chunk) => {
      bytes += chunk.length
    })
    reader.resume()
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(count * payload.length)
  })

  it('says why it ends: the topic is deleted, the transport stops', async () => {
    const rig = await rigWithOrders()
    const deleted = await rig.events(query)
    await deleted.next()
    await rig.broker.deleteTopic('orders')
    expect(await deleted.next()).toMatchObject({
      event: 'error',
      data: { code: 'RTK_TOPIC_DELETED', status: 404 },
    })
    expect(await deleted.next()).toBeUndefined()
    await rig.broker.createTopic('orders')
    const stopped = await rig.events(query)
    await stopped.next()
    const stopping = rig.transport.stop(5_000)
    expect(await stopped.next()).toMatchObject({ event: 'error', data: { code: 'RTK_UNAVAILABLE' } })
    expect(await stopped.next()).toBeUndefined()
    await stopping
  })

  it('ends by DELETE, for its owner and under its topic only', async () => {
    const rig = await rigWithOrders()
    await rig.broker.createTopic('bills')
    const events = await rig.events(query)
    await events.next()
    const id = events.response.headers.get('ratatoskr-subscription')
    const end = async (topic: string, which = id) =>
      (await rig.call('DELETE', `/v1/topics/${topic}/subscriptions/${which}`)).status
    expect(await end('bills')).toBe(404)
    expect(await end('orders', 'none')).toBe(404)
    expect(await end('default%2Forders')).toBe(204)
    expect(await events.next()).toBeUndefined()
    expect(await subscribers(rig)).toBe(0)
    await expect.poll(() => end('orders')).toBe(404)
  })

  it('does not subscribe for HEAD', async () => {
    const rig = await rigWithOrders()
    expect((await rig.call('HEAD', path)).status).toBe(405)
    expect(await subscribers(rig)).toBe(0)
  })
})
