import { describe, expect, it } from 'vitest'
import { messagesIn, type Rig, startRig } from './testing/rig.ts'

const group = '/v1/topics/orders/groups/billing'

async function rigWithMessages(count: number): Promise<Rig> {
  const rig = await startRig()
  await rig.broker.createTopic('orders', { partitions: 1 })
  for (let i = 0; i < count; i++) await rig.broker.publish('orders', `m${i}`, { partition: 0 })
  return rig
}

const fetch = async ({ call }: Rig, body: object = {}) => {
  const answer = await call('POST', `${group}/fetch`, { encoding: 'utf8', ...body })
  expect(answer.status).toBe(200)
  return { payloads: messagesIn(answer).map(({ payload }) => payload), next: answer.json.next }
}

describe('consumer groups over HTTP', () => {
  it('takes exactly so many messages, each once', async () => {
    const rig = await rigWithMessages(5)
    expect(await fetch(rig, { limit: 2 })).toEqual({
      payloads: ['m0', 'm1'],
      next: [{ partition: 0, offset: 2 }],
    })
    expect(await fetch(rig, { limit: 10 })).toMatchObject({ payloads: ['m2', 'm3', 'm4'] })
    expect(await fetch(rig)).toEqual({ payloads: [], next: [] })
  })

  it('gives again what was lost with an answer', async () => {
    const rig = await rigWithMessages(3)
    await fetch(rig, { member: 'a', limit: 2 })
    const again = await fetch(rig, { member: 'a', positions: [{ partition: 0, offset: 1 }] })
    expect(again.payloads).toEqual(['m1', 'm2'])
  })

  it('waits for the next message', async () => {
    const rig = await rigWithMessages(0)
    const waiting = fetch(rig, { member: 'a', waitMs: 10_000 })
    await rig.broker.publish('orders', 'late', { partition: 0 })
    expect((await waiting).payloads).toEqual(['late'])
  })

  it('commits by ack, inclusive, and by commit, exclusive', async () => {
    const rig = await rigWithMessages(5)
    await fetch(rig, { member: 'a' })
    const ack = await rig.call('POST', `${group}/ack`, { member: 'a', upTo: [{ partition: 0, offset: 1 }] })
    expect([ack.status, ack.text]).toEqual([204, ''])
    const committed = async () => (await rig.call('GET', group)).json
    expect(await committed()).toEqual({
      topic: 'orders',
      group: 'billing',
      state: 'stable',
      members: [{ member: 'a', partitions: [0] }],
      partitions: [{ partition: 0, committedOffset: 2, metadata: '', stableOffset: 5, lag: 3, member: 'a' }],
      lag: 3,
    })
    const offsets = [{ partition: 0, offset: 4, metadata: 'note' }]
    expect((await rig.call('POST', `${group}/commit`, { member: 'a', offsets })).status).toBe(204)
    expect(await committed()).toMatchObject({
      lag: 1,
      partitions: [{ committedOffset: 4, metadata: 'note' }],
    })
  })

  it('refuses commits of strangers, beyond the end, and of nothing', async () => {
    const rig = await rigWithMessages(2)
    await fetch(rig, { member: 'a' })
    const commit = async (body: object) => {
      const { status, json } = await rig.call('POST', `${group}/commit`, body)
      return [status, json.code]
    }
    const offsets = [{ partition: 0, offset: 1 }]
    expect(await commit({ member: 'b', offsets })).toEqual([404, 'RTK_GROUP_NOT_FOUND'])
    expect(await commit({ offsets })).toEqual([409, 'RTK_LEASE_LOST'])
    expect(await commit({ member: 'a', offsets: [{ partition: 0, offset: 9 }] })).toEqual([
      416,
      'RTK_OFFSET_OUT_OF_RANGE',
    ])
    expect(await commit({ member: 'a', offsets: [] })).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    expect(await commit({ member: 'a', offsets: [{ partition: '0', offset: 1 }] })).toEqual([
      400,
      'RTK_INVALID_ARGUMENT',
    ])
  })

  it('refuses an ack beyond the end in the number that was sent', async () => {
    const rig = await rigWithMessages(2)
    for (const [offset, detail] of [
      [999_999, /999999(?!\d)/],
      [Number.MAX_SAFE_INTEGER, /below 2\^53-1/],
    ] as const) {
      const { status, json } = await rig.call('POST', `${group}/ack`, { upTo: [{ partition: 0, offset }] })
      expect([status, json.code]).toEqual([416, 'RTK_OFFSET_OUT_OF_RANGE'])
      expect(json.detail).toMatch(detail)
      expect(json.detail).not.toContain('1000000')
    }
  })

  it('seeks, lists and deletes', async () => {
    const rig = await rigWithMessages(3)
    await fetch(rig, { member: 'a' })
    const sought = await rig.call('POST', `${group}/seek`, { position: { offset: 1 } })
    expect(sought.json).toEqual({ offsets: [{ partition: 0, offset: 1 }] })
    expect((await fetch(rig, { member: 'a' })).payloads).toEqual(['m1', 'm2'])
    expect((await rig.call('GET', '/v1/topics/orders/groups')).json).toEqual({ groups: ['billing'] })
    const busy = await rig.call('DELETE', group)
    expect([busy.status, busy.json.code]).toEqual([400, 'RTK_INVALID_ARGUMENT'])
    const other = '/v1/topics/orders/groups/empty'
    await rig.call('POST', `${other}/seek`, { position: 'earliest' })
    expect((await rig.call('DELETE', other)).status).toBe(204)
    expect((await rig.call('GET', other)).json.code).toBe('RTK_GROUP_NOT_FOUND')
  })

  it('refuses bad names, limits and positions', async () => {
    const { call } = await rigWithMessages(1)
    const codes = await Promise.all([
      call('POST', '/v1/topics/orders/groups/a%20b/fetch', {}),
      call('POST', `${group}/fetch`, { limit: 0 }),
      call('POST', `${group}/fetch`, { limit: '1' }),
      call('POST', `${group}/fetch`, { from: 'newest' }),
      call('POST', `${group}/fetch`),
      call('POST', `${group}/seek`, { position: { offset: -1 } }),
      call('POST', `${group}/seek`, {}),
    ])
    expect(codes.map(({ status, json }) => [status, json.code])).toEqual(
      codes.map(() => [400, 'RTK_INVALID_ARGUMENT']),
    )
  })
})
