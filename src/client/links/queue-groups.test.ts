/** Queue groups over every link: what a member sees is the same, whatever carries it. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import type { LeasedSubscription, Settlement, SettleResult } from '../../ports/index.ts'
import type { Link } from '../link.ts'
import { Leases, only, publishTexts, queueRigs, textsOf } from './testing/queue-kit.ts'

const codes = (results: readonly SettleResult[]): (string | undefined)[] =>
  results.map((error) => error?.code)

/** Several round trips: what is wrongly on its way would arrive. */
async function quiet(link: Link): Promise<void> {
  for (let i = 0; i < 5; i++) await link.topicExists('orders')
}

describe.each(queueRigs)('queue groups over %s', (name, start) => {
  it('leases messages, settles ranges of them, and says what became of each', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1', 'b1', 'c1', 'd1'])
    const leases = new Leases()
    const options = {
      group: 'work',
      member: 'one',
      config: { sharing: 'shared', retriesMax: 5 },
      from: 'earliest',
    } as const
    const member = await link.consume('orders', { ...options, credit: { messages: 4 } }, leases)
    expect(member).toMatchObject({ topic: 'orders', group: 'work', member: 'one' })
    expect(member.config).toMatchObject({ sharing: 'shared', retriesMax: 5, ackTimeoutMs: 30_000 })
    expect(member.memberTimeoutMs).toBe(5_000)
    await leases.count(4)
    expect(leases.texts).toEqual(['a1', 'b1', 'c1', 'd1'])
    const [a, b, c, d] = leases.messages
    const settled = await member.settle([
      { action: 'ack', ...only(a), to: 2 },
      { action: 'nack', ...only(c), delayMs: 0, reason: 'not now' },
      { action: 'extend', ...only(d), extendMs: 60_000 },
      { action: 'ack', ...only(d), lease: d.lease + 1 },
    ])
    expect(codes(settled)).toEqual([undefined, undefined, undefined, 'RTK_LEASE_LOST'])
    expect(a.lease).toBeGreaterThan(0)
    expect(b.attempt).toBe(1)
    member.grant({ messages: 1 })
    await leases.count(5)
    expect(leases.messages[4]).toMatchObject({ text: 'c1', attempt: 2, redelivered: true })
    expect(leases.messages[4].lease).toBeGreaterThan(c.lease)
    const again = only(leases.messages[4])
    expect(codes(await member.settle([{ action: 'ack', ...again }]))).toEqual([undefined])
    const { partitions, members } = await link.describeQueue('orders', 'work')
    expect(partitions[0]).toMatchObject({ ackedOffset: 3, lag: 1, inFlight: 1, delayed: 0 })
    expect(members).toMatchObject([{ member: 'one', inFlight: 1 }])
    await member.close()
    expect(await leases.end.promise).toBeUndefined()
  })

  it('takes, settles, and gives back what a polling member held when it leaves', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    const { topic } = await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1', 'b1', 'c1'])
    const config = { sharing: 'shared' } as const
    const request = { group: 'work', member: 'one', config, messagesMax: 2, from: 'earliest' } as const
    const taken = await link.take('orders', request)
    expect(taken).toMatchObject({ topicId: topic.id, member: 'one', memberTimeoutMs: 5_000 })
    const [a, b] = taken.batches.flatMap(textsOf)
    expect([a.text, b.text]).toEqual(['a1', 'b1'])
    const settlements: Settlement[] = [{ action: 'ack', ...only(a) }]
    expect(codes(await link.settle('orders', { group: 'work', member: 'one', settlements }))).toEqual([
      undefined,
    ])
    await link.heartbeat('orders', 'work', 'one')
    await link.leaveQueue('orders', 'work', 'one')
    const late = { group: 'work', settlements: [{ action: 'ack', ...only(b) }] } as const
    expect(codes(await link.settle('orders', late))).toEqual(['RTK_LEASE_LOST'])
    await expect(async () => link.heartbeat('orders', 'work', 'one')).rejects.toMatchObject({
      code: 'RTK_LEASE_LOST',
    })
    const heir = await link.take('orders', { ...request, member: 'two', messagesMax: 5 })
    expect(heir.batches.flatMap(textsOf)).toMatchObject([
      { text: 'b1', attempt: 2, redelivered: true },
      { text: 'c1', attempt: 1 },
    ])
    expect((await link.take('orders', { ...request, member: 'two', waitMs: 1 })).batches).toEqual([])
  })

  it('stops waiting for messages when the caller does', async () => {
    const { connect } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    const abort = new AbortController()
    const waiting = link.take('orders', { group: 'work', waitMs: 30_000 }, { signal: abort.signal })
    await quiet(link)
    abort.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
  })

  it('creates, alters, pauses and describes groups', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 2 })
    await publishTexts(link, platform, ['a1', 'b1'])
    const retries = [
      { kind: 'fixed', delayMs: 5 },
      { kind: 'linear', delayMs: 5, maxMs: 10 },
      { kind: 'exponential', delayMs: 5, maxMs: 10, jitter: 0.25 },
      { kind: 'list', delaysMs: [0, 7] },
    ] as const
    const created = await link.createQueue(
      'orders',
      'work',
      { sharing: 'keyShared', deadLetterTopic: 'none', groupExpiryMs: -1 },
      'latest',
    )
    expect(created).toMatchObject({
      topic: 'orders',
      group: 'work',
      state: 'empty',
      paused: false,
      lag: 0,
    })
    expect(created.config).toMatchObject({ sharing: 'keyShared', deadLetterTopic: 'none', groupExpiryMs: -1 })
    for (const retry of retries) {
      expect(
        (await link.alterQueue('orders', 'work', { retry, deadLetterExpired: true })).config,
      ).toMatchObject({
        retry,
        deadLetterExpired: true,
        sharing: 'keyShared',
      })
    }
    await link.pauseQueue('orders', 'work', true, [1])
    const paused = await link.describeQueue('orders', 'work')
    expect([paused.paused, ...paused.partitions.map((partition) => partition.paused)]).toEqual([
      false,
      false,
      true,
    ])
    expect(paused.partitions[0]).toMatchObject({ ackedOffset: 2, stableOffset: 2 })
    expect(paused.partitions[0].member).toBeUndefined()
    await link.pauseQueue('orders', 'work', true)
    expect((await link.describeQueue('orders', 'work')).paused).toBe(true)
    await link.pauseQueue('orders', 'work', false)
    expect((await link.describeQueue('orders', 'work')).paused).toBe(false)
  })

  it('never gives more than was granted, in messages and bytes', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(
      link,
      platform,
      Array.from({ length: 10 }, (_, i) => `a${i}`),
    )
    const leases = new Leases()
    const config = { sharing: 'shared' } as const
    const member = await link.consume('orders', { group: 'work', config, from: 'earliest' }, leases)
    await quiet(link)
    expect(leases.messages).toHaveLength(0)
    member.grant({ messages: 3 })
    await leases.count(3)
    await quiet(link)
    expect(leases.messages).toHaveLength(3)
    const [{ bytes }] = leases.batches
    const size = bytes.length / leases.batches[0].recordCount
    member.grant({ messages: 7, bytes: Math.ceil(size * 2) })
    await leases.count(4)
    await quiet(link)
    const given = leases.batches.slice(leases.batches.findIndex(({ firstOffset }) => firstOffset >= 3))
    const total = given.reduce((sum, batch) => sum + batch.bytes.length, 0)
    expect(total).toBeLessThanOrEqual(Math.ceil(size * 2))
    expect(leases.messages.length).toBeLessThan(10)
  })

  it('hands nothing over while the sink is full, but says what is lost', async () => {
    const clock = new ManualClock()
    const { connect, platform } = await start({ platform: { clock } })
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1', 'b1'])
    const full = Promise.withResolvers<void>()
    const leases = new Leases(() => full.promise)
    const config = { sharing: 'shared', ackTimeoutMs: 1_000 } as const
    const credit = { messages: 1 }
    const member = await link.consume('orders', { group: 'work', config, credit, from: 'earliest' }, leases)
    await leases.count(1)
    member.grant({ messages: 1 })
    await quiet(link)
    expect(leases.messages).toHaveLength(1)
    await clock.advance(1_000)
    await leases.until(({ log }) => log.includes('lost 0:0-1 timeout'))
    expect(leases.messages).toHaveLength(1)
    full.resolve()
    await leases.count(2)
  })

  it('leases again at once what a link held that is gone', async () => {
    const { connect, platform } = await start()
    const [one, two] = [await connect(), await connect()]
    await one.createTopic('orders', { partitions: 1 })
    await publishTexts(one, platform, ['a1'])
    const config = { sharing: 'shared' } as const
    const options = { group: 'work', config, from: 'earliest', credit: { messages: 5 } } as const
    const first = new Leases()
    await one.consume('orders', options, first)
    await first.count(1)
    const second = new Leases()
    await two.consume('orders', options, second)
    await quiet(two)
    expect(second.messages).toHaveLength(0)
    await one.close()
    await second.count(1)
    expect(second.messages).toMatchObject([{ text: 'a1', attempt: 2, redelivered: true }])
  })

  it('evicts who is silent, and tells him', async () => {
    const clock = new ManualClock()
    const { connect, platform } = await start({ platform: { clock } })
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1'])
    const config = { sharing: 'shared', ackTimeoutMs: 60_000 } as const
    const options = { group: 'work', config, from: 'earliest', credit: { messages: 1 } } as const
    const leases = new Leases()
    const member = await link.consume('orders', options, leases)
    await leases.count(1)
    const beat = async (ms: number): Promise<void> => {
      await clock.advance(ms)
      member.heartbeat()
      await quiet(link)
    }
    for (let i = 0; i < 4; i++) await beat(2_000)
    expect(leases.log).not.toContain('ended RTK_LEASE_LOST')
    for (let i = 0; i < 12; i++) await clock.advance(500)
    expect(await leases.end.promise).toMatchObject({ code: 'RTK_LEASE_LOST' })
    const late: Settlement[] = [{ action: 'ack', ...only(leases.messages[0]) }]
    expect(codes(await link.settle('orders', { group: 'work', settlements: late }))).toEqual([
      'RTK_LEASE_LOST',
    ])
  })

  it('refuses what is no settlement, and keeps the subscription', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1'])
    const leases = new Leases()
    const options = { group: 'work', from: 'earliest', credit: { messages: 1 } } as const
    const member: LeasedSubscription = await link.consume('orders', options, leases)
    await leases.count(1)
    const good = { action: 'ack', ...only(leases.messages[0]) } as const
    const wrong: readonly Partial<Settlement>[] = [
      { action: 'acknowledge' as 'ack' },
      { from: 3, to: 2 },
      { lease: 0.5 },
      { action: 'nack', delayMs: -1 },
      { action: 'extend', extendMs: -1 },
    ]
    for (const change of wrong) {
      const refused = async (): Promise<unknown> => member.settle([{ ...good, ...change }])
      await expect(refused(), JSON.stringify(change)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
    expect(codes(await member.settle([good]))).toEqual([undefined])
  })

  it('refuses what a group cannot be, with the same codes', async () => {
    const { connect } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await link.createQueue('orders', 'work', { sharing: 'shared' })
    const refusals: readonly (readonly [string, () => unknown])[] = [
      ['RTK_GROUP_MISMATCH', () => link.createQueue('orders', 'work', { sharing: 'keyShared' })],
      ['RTK_GROUP_NOT_FOUND', () => link.describeQueue('orders', 'nobody')],
      ['RTK_GROUP_NOT_FOUND', () => link.alterQueue('orders', 'nobody', { retriesMax: 1 })],
      ['RTK_INVALID_ARGUMENT', () => link.alterQueue('orders', 'work', { ackTimeoutMs: 0 })],
      ['RTK_INVALID_ARGUMENT', () => link.alterQueue('orders', 'work', { retries: 1 } as object)],
      ['RTK_INVALID_ARGUMENT', () => link.createQueue('orders', 'x', { sharing: 'all' as 'shared' })],
      ['RTK_TOPIC_NOT_FOUND', () => link.describeQueue('nothing', 'work')],
      ['RTK_INVALID_ARGUMENT', () => link.take('orders', { group: 'work', messagesMax: 0 })],
      [
        'RTK_GROUP_MISMATCH',
        async () => {
          await link.subscribe('orders', { group: 'stream' }, { deliver() {}, ended() {} })
          await link.consume('orders', { group: 'stream' }, new Leases())
        },
      ],
    ]
    for (const [code, refused] of refusals) {
      await expect((async () => refused())(), String(refused)).rejects.toMatchObject({ code })
    }
  })

  it('gives messages at most once to who wants no leases', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1', 'b1'])
    const leases = new Leases()
    const options = { group: 'work', from: 'earliest', autoAck: true, credit: { messages: 9 } } as const
    const member = await link.consume('orders', options, leases)
    await leases.count(2)
    expect(leases.messages.map(({ lease }) => lease)).toEqual([0, 0])
    expect((await link.describeQueue('orders', 'work')).lag).toBe(0)
    await member.close()
    expect(leases.log.at(-1), name).toBe('ended')
  })

  it('answers each of several settlements at once, also when one of them is none', async () => {
    const { connect, platform } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    await publishTexts(link, platform, ['a1', 'b1', 'c1'])
    const leases = new Leases()
    const options = { group: 'work', from: 'earliest', credit: { messages: 3 } } as const
    const member = await link.consume('orders', options, leases)
    await leases.count(3)
    const [a, b, c] = leases.messages.map(only)
    const settle = async (settlement: Settlement): Promise<unknown> => {
      try {
        return codes(await member.settle([settlement]))
      } catch (error) {
        return (error as { code?: string }).code
      }
    }
    const answers = await Promise.all([
      settle({ action: 'ack', ...a }),
      settle({ action: 'ack', ...b, to: 0 }),
      settle({ action: 'ack', ...b, partition: 7 }),
      settle({ action: 'ack', ...b }),
      settle({ action: 'ack', ...c }),
    ])
    const done = [undefined]
    expect(answers).toEqual([done, 'RTK_INVALID_ARGUMENT', 'RTK_PARTITION_NOT_FOUND', done, done])
    expect((await link.describeQueue('orders', 'work')).lag).toBe(0)
  })

  it('ends with the broker, and says so', async () => {
    const { broker, connect } = await start()
    const link = await connect()
    await link.createTopic('orders', { partitions: 1 })
    const leases = new Leases()
    const member = await link.consume('orders', { group: 'work', credit: { messages: 3 } }, leases)
    await broker.stop()
    // Sessions in the same process are closed with the broker: whoever has one stopped it.
    const code = name === 'embedded' ? undefined : 'RTK_UNAVAILABLE'
    expect((await leases.end.promise)?.code).toBe(code)
    await member.close()
    member.grant({ messages: 1 })
    member.heartbeat()
    const settlement = { action: 'ack', partition: 0, lease: 1, from: 0, to: 1 } as const
    const settled = (async () => codes(await member.settle([settlement])))()
    const [refused] = await settled.catch((error: { readonly code: string }) => [error.code])
    expect(refused).toMatch(/^RTK_(CLOSED|DISCONNECTED|LEASE_LOST)$/)
  })
})
