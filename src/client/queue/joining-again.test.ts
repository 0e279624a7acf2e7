/** A member whose connection breaks: what was settled holds, the rest comes again, and nothing is handled twice at once. */
import { expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import type { FakeMember } from '../testing/fake-queue.ts'
import { heldHandler, joined, keyedBatch } from '../testing/queue.ts'
import { batchOf } from '../testing/subscribing.ts'

it('joins again under its name; signals fire, and handlers that still run are waited for', async () => {
  const held = heldHandler()
  const events: string[] = []
  const errors: unknown[] = []
  const { member, latest, broker, clock } = await joined(held.handler, {
    sharing: 'shared',
    concurrency: 4,
    onDisconnect: ({ code }) => events.push(code),
    onReconnect: () => events.push('again'),
    onError: (error, message) => errors.push([error.code, message?.text()]),
  })
  member.deliver(0, 0, batchOf('a', 'b'))
  await clock.advance(0)
  const [a, b] = [held.of('a'), held.of('b')]
  broker.cut()
  expect([a.message.signal.aborted, b.message.signal.aborted]).toEqual([true, true])
  await clock.advance(1_000)
  expect(events).toEqual(['RTK_DISCONNECTED', 'again'])
  expect(latest().member).toBe(member.member)
  expect(latest().messages).toBe(5_000)
  latest().deliver(0, 0, batchOf('a', 'b'), { attempt: 2 })
  await clock.advance(0)
  expect(held.begun).toEqual(['a', 'b'])
  a.resolve()
  b.reject(new Error('its work was for nothing'))
  await clock.advance(0)
  expect(held.begun).toEqual(['a', 'b', 'a', 'b'])
  expect(errors).toEqual([
    ['RTK_LEASE_LOST', 'a'],
    ['RTK_LEASE_LOST', 'b'],
  ])
  held.of('a').resolve()
  held.of('b').resolve()
  await clock.advance(0)
  expect(latest().settled).toEqual(['ack 0-2'])
})

it('asks again what became of settlements whose answers were lost, before it joins', async () => {
  const seen: ClientMessage[] = []
  const { member, broker, clock } = await joined((message) => void seen.push(message), { ack: 'manual' })
  const lease = member.deliver(0, 0, batchOf('a', 'b', 'c'))
  await clock.advance(0)
  member.gate = new Promise(() => {})
  const asked: unknown[] = []
  const answers = Promise.allSettled([seen[0].ack(), seen[2].nack()])
  await clock.advance(0)
  expect(member.calls.length).toBe(1)
  member.settleOne(member.calls[0][0])
  member.loseSilently(0, 2, 3)
  broker.refuseJoin = () => {
    asked.push(seen.map((message) => message.settled))
    return undefined
  }
  broker.cut()
  await clock.advance(1_000)
  expect(asked.length).toBe(1)
  expect(await answers).toMatchObject([
    { status: 'fulfilled' },
    { status: 'rejected', reason: { code: 'RTK_LEASE_LOST' } },
  ])
  await expect(seen[1].ack()).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
  expect(lease).toBeGreaterThan(0)
})

it('says that nobody knows when it ends before the answer', async () => {
  const seen: ClientMessage[] = []
  const { member, broker, clock, subscription } = await joined((message) => void seen.push(message), {
    ack: 'manual',
  })
  member.deliver(0, 0, batchOf('a'))
  await clock.advance(0)
  member.gate = new Promise(() => {})
  const answer = expect(seen[0].ack()).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
  await clock.advance(0)
  broker.refuseJoin = () => new RatatoskrError('RTK_TOPIC_NOT_FOUND', 'gone')
  broker.openFailures = 1
  broker.cut()
  const closing = subscription.close({ timeoutMs: 50 }).catch(() => {})
  await clock.advance(50)
  await closing
  await answer
})

it('ends when the group cannot be joined any more', async () => {
  const { broker, clock, subscription } = await joined(() => {})
  broker.refuseJoin = () => new RatatoskrError('RTK_GROUP_MISMATCH', 'other settings now')
  broker.cut()
  await clock.advance(1_000)
  expect(await subscription.closed).toMatchObject({ code: 'RTK_GROUP_MISMATCH' })
})

it('forgets what came before an answer to joining that never came: it holds up nothing', async () => {
  const held = heldHandler()
  const { broker, clock, latest } = await joined(held.handler)
  let before: FakeMember | undefined
  broker.loseJoin = (member) => {
    broker.loseJoin = () => undefined
    before = member
    member.deliver(0, 0, keyedBatch('k=a', 'k=b'), { leaseMs: 30 })
    return new RatatoskrError('RTK_DISCONNECTED', 'the answer is lost')
  }
  broker.cut()
  await clock.advance(10_000)
  expect(latest()).not.toBe(before)
  latest().deliver(0, 0, keyedBatch('k=a', 'k=b'), { attempt: 2 })
  for (const text of ['a', 'b']) {
    await clock.advance(0)
    held.of(text).resolve()
  }
  await clock.advance(0)
  // Nothing of the first delivery was begun: nobody had said that the member was let in.
  expect(held.begun).toEqual(['a', 'b'])
  expect(latest().settled).toEqual(['ack 0-1', 'ack 1-2'])
})

it('joins once, however often the connection is cut while it does', async () => {
  const { broker, clock, latest } = await joined(() => {})
  for (let i = 0; i < 6; i++) {
    for (let ticks = 0; ticks < i; ticks++) await Promise.resolve()
    broker.cut()
    await clock.advance(1_000)
  }
  await clock.advance(10_000)
  expect(broker.members.filter((one) => !one.over)).toEqual([latest()])
})
