/** What a group promises a subscription beside its messages: its name, and how it ends. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../ports/index.ts'
import { joined } from './testing/queue.ts'
import { batchOf } from './testing/subscribing.ts'

describe('a member of a group', () => {
  it('has the name that was given, or that the broker made up', async () => {
    expect((await joined(() => {}, { member: 'm' })).subscription.member).toBe('m')
    expect((await joined(() => {})).subscription.member).toBe('member-1')
  })

  it('ends when another consumer takes its name', async () => {
    const { member, subscription, broker, clock } = await joined(() => {}, { member: 'm' })
    member.end(new RatatoskrError('RTK_LEASE_LOST', 'another consumer joined as m'))
    expect(await subscription.closed).toMatchObject({ code: 'RTK_LEASE_LOST' })
    await clock.advance(10_000)
    expect(broker.members.length).toBe(1)
  })

  it('joins again under its name when it was silent for too long', async () => {
    const seen: string[] = []
    const { member, latest, broker, clock } = await joined((message) => void seen.push(message.text()))
    member.end(new RatatoskrError('RTK_LEASE_LOST', 'no sign of life', { details: { silentMs: 5_100 } }))
    await clock.advance(1_000)
    expect(broker.members.map((one) => one.member)).toEqual(['member-1', 'member-1'])
    latest().deliver(0, 0, batchOf('a'))
    await clock.advance(0)
    expect(seen).toEqual(['a'])
  })

  it('fails to join as the broker says', async () => {
    const { client, broker } = await joined(() => {})
    broker.refuseJoin = () => new RatatoskrError('RTK_GROUP_MISMATCH', 'a stream group')
    await expect(client.subscribe('orders', { group: 'h' })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
    await expect(client.subscribe('nothing', { group: 'h' })).rejects.toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
    })
  })
})
