import { ManualClock } from 'ratatoskr/contract-tests'
import { describe, expect, it } from 'vitest'
import { batchOf } from './testing/batches.ts'
import { messagesIn, type Rig, type RigOptions, startRig } from './testing/rig.ts'

const path = '/v1/topics/orders/messages'
const batchType = 'application/vnd.ratatoskr.batch'

async function rigWithMessages(count: number, options?: RigOptions): Promise<Rig> {
  const rig = await startRig(options)
  await rig.broker.createTopic('orders', { partitions: 2 })
  for (let i = 0; i < count; i++) await rig.broker.publish('orders', `m${i}`, { partition: 0 })
  return rig
}

const read = async ({ call }: Rig, query: string) => {
  const answer = await call('GET', `${path}?encoding=utf8&${query}`)
  expect(answer.status).toBe(200)
  return { payloads: messagesIn(answer).map(({ payload }) => payload), ...answer.json }
}

describe('fetching', () => {
  it('begins where it is told and tells where to go on', async () => {
    const rig = await rigWithMessages(5)
    expect(await read(rig, 'limit=2')).toMatchObject({
      payloads: ['m0', 'm1'],
      nextOffset: 2,
      startOffset: 0,
      stableOffset: 5,
    })
    expect(await read(rig, 'offset=2&limit=2')).toMatchObject({ payloads: ['m2', 'm3'], nextOffset: 4 })
    expect(await read(rig, 'offset=4')).toMatchObject({ payloads: ['m4'], nextOffset: 5 })
    expect(await read(rig, 'offset=latest')).toMatchObject({ payloads: [], nextOffset: 5 })
    expect(await read(rig, 'offset=earliest&limit=5')).toMatchObject({ nextOffset: 5 })
    expect(await read(rig, 'partition=1')).toMatchObject({ payloads: [], nextOffset: 0 })
  })

  it('is exact within a batch', async () => {
    const rig = await rigWithMessages(0)
    const batch = batchOf(['a', 'b', 'c', 'd'])
    await rig.call('POST', `${path}?partition=0`, batch, { 'content-type': batchType })
    expect(await read(rig, 'offset=1&limit=2')).toMatchObject({ payloads: ['b', 'c'], nextOffset: 3 })
    expect(await read(rig, 'offset=3&limit=2')).toMatchObject({ payloads: ['d'], nextOffset: 4 })
  })

  it('gives whole batches to those who accept them', async () => {
    const { call } = await rigWithMessages(0)
    const batch = batchOf(['a', 'b', 'c'])
    await call('POST', `${path}?partition=0`, batch, { 'content-type': batchType })
    for (const accept of [batchType, `${batchType};q=1, application/json;q=0.5`]) {
      const response = await call('GET', `${path}?offset=1`, undefined, { accept })
      expect(response.headers.get('content-type')).toBe(batchType)
      const offsets = ['from', 'next', 'start', 'stable'].map((name) =>
        response.headers.get(`ratatoskr-${name}-offset`),
      )
      expect(offsets).toEqual(['1', '3', '0', '3'])
    }
    const empty = await call('GET', `${path}?offset=3`, undefined, { accept: batchType })
    expect([empty.status, empty.text]).toEqual([200, ''])
  })

  it('waits for the first message', async () => {
    const rig = await rigWithMessages(0)
    const waiting = read(rig, 'waitMs=10000')
    await rig.broker.publish('orders', 'late', { partition: 0 })
    expect(await waiting).toMatchObject({ payloads: ['late'], nextOffset: 1 })
  })

  it('gives up waiting when the time is over', async () => {
    const clock = new ManualClock()
    const rig = await rigWithMessages(0, { platform: { clock } })
    const idle = clock.pending
    const waiting = read(rig, 'waitMs=10000')
    await expect.poll(() => clock.pending).toBeGreaterThan(idle)
    await clock.advance(9_999)
    expect(await Promise.race([waiting, rig.call('GET', '/livez').then(() => 'still waiting')])).toBe(
      'still waiting',
    )
    await clock.advance(1)
    expect(await waiting).toMatchObject({ payloads: [], nextOffset: 0 })
  })

  it('stops waiting for a caller who has hung up', async () => {
    const clock = new ManualClock()
    const { socket, broker } = await rigWithMessages(0, { platform: { clock } })
    const idle = clock.pending
    const sessions = broker.stats().sessions
    const caller = await socket()
    caller.write(`GET ${path}?waitMs=50000 HTTP/1.1\r\nhost: localhost\r\n\r\n`)
    await expect.poll(() => clock.pending).toBeGreaterThan(idle)
    caller.destroy()
    await expect.poll(() => clock.pending).toBe(idle)
    await expect.poll(() => broker.stats().sessions).toBe(sessions)
  })

  it('refuses what is no position, limit or partition, by code', async () => {
    const { call } = await rigWithMessages(1)
    const codeOf = async (query: string) => {
      const { status, json } = await call('GET', `${path}?${query}`)
      return [status, json.code]
    }
    const invalid = [
      'offset=newest',
      'offset=-1',
      'offset=1.5',
      'offset=99999999999999999',
      'limit=0',
      'limit=10001',
      'limit=many',
      'limit=1&limit=2',
      'waitMs=-1',
      'encoding=hex',
      'from=1',
    ]
    for (const query of invalid)
      expect([query, ...(await codeOf(query))]).toEqual([query, 400, 'RTK_INVALID_ARGUMENT'])
    expect(await codeOf('offset=2')).toEqual([416, 'RTK_OFFSET_OUT_OF_RANGE'])
    expect(await codeOf('partition=2')).toEqual([404, 'RTK_PARTITION_NOT_FOUND'])
  })
})
