/** Leases that the client keeps up by itself, signs of life, and an event loop that stands still. */
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../contract-tests/manual-clock.ts'
import { type Logger, RatatoskrError } from '../../ports/index.ts'
import { FakeBroker } from '../testing/fake-broker.ts'
import { heldHandler, joined, keyedBatch } from '../testing/queue.ts'
import { batchOf } from '../testing/subscribing.ts'
import { testPlatform } from '../testing/test-platform.ts'
import { HeldBatch } from './held-batch.ts'
import { LeaseKeeper } from './lease-keeper.ts'

/** Resolves when promises have settled, while the clock stands. */
const promisesSettled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const extensions = (member: { readonly settled: readonly string[] }): string[] =>
  member.settled.filter((one) => one.startsWith('extend'))

describe('a lease', () => {
  it('is extended at two thirds while its handler runs and while messages wait, for as long as they do', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await clock.advance(19_999)
    expect(member.calls).toEqual([])
    await clock.advance(1)
    expect(member.calls[0]).toEqual([
      expect.objectContaining({ action: 'extend', from: 0, to: 3, extendMs: 30_000 }),
    ])
    held.of('a').resolve()
    await clock.advance(20_000)
    expect(member.settled).toEqual(['extend 0-3', 'ack 0-1', 'extend 1-3'])
    held.of('b').resolve()
    await clock.advance(0)
    held.of('c').resolve()
    await clock.advance(0)
    const { length } = member.calls
    await clock.advance(100_000)
    expect(member.calls.length).toBe(length)
  })

  it('is left alone when a handler has returned and settles by hand, or when messages were pulled', async () => {
    const manual = await joined(() => {}, { ack: 'manual' })
    manual.member.deliver(0, 0, batchOf('a'))
    await manual.clock.advance(60_000)
    expect(manual.member.calls).toEqual([])
    const pulled = await joined(undefined)
    pulled.member.deliver(0, 0, batchOf('a', 'b'))
    const [message] = await pulled.subscription.take(1)
    await pulled.clock.advance(20_000)
    expect(extensions(pulled.member)).toEqual(['extend 1-2'])
    await message.extend(70_000)
    expect(pulled.member.calls.at(-1)).toEqual([
      expect.objectContaining({ from: 0, to: 1, extendMs: 70_000 }),
    ])
  })

  it('of the message that an iterator gave last is extended, unless it settles by hand', async () => {
    for (const ack of ['auto', 'manual'] as const) {
      const { member, subscription, clock } = await joined(undefined, { ack })
      member.deliver(0, 0, batchOf('a'))
      await subscription[Symbol.asyncIterator]().next()
      await clock.advance(20_000)
      expect(extensions(member)).toEqual(ack === 'auto' ? ['extend 0-1'] : [])
    }
  })

  it('cannot be extended when it is lost', async () => {
    const { member, subscription } = await joined(undefined, { ack: 'manual' })
    const lease = member.deliver(0, 0, batchOf('a', 'b'))
    const [a, b] = await subscription.take(2)
    member.lose(0, lease, 0, 1)
    member.loseSilently(0, 1, 2)
    await expect(a.extend()).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
    await expect(b.extend()).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
  })

  it('counts as lost when it ends while nobody answers the extension', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a'))
    member.gate = new Promise(() => {})
    await clock.advance(29_999)
    const { signal } = held.of('a').message
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    expect(signal.reason).toMatchObject({ code: 'RTK_LEASE_LOST' })
  })

  it('that may have ended gives back what waits, and holds its key until the broker tells the loss', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler, { concurrency: 2 })
    const lease = member.deliver(0, 0, keyedBatch('k=k0', 'k=k1'))
    await clock.advance(0)
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    await clock.advance(30_000)
    member.deliver(0, 2, keyedBatch('k=k2'))
    held.of('k0').reject(new Error('in vain'))
    await clock.advance(0)
    expect(member.settled.slice(1)).toEqual(['release 1-2'])
    gate.resolve()
    await clock.advance(0)
    expect(held.begun).toEqual(['k0'])
    member.lose(0, lease, 0, 1)
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'k2'])
  })

  it('of which nothing is left when it comes is given back once, and not without end', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.refuse = () => {
      throw new Error('busy')
    }
    member.deliver(0, 0, batchOf('a'), { leaseMs: 0 })
    await clock.advance(1_000)
    expect([held.begun, member.settled]).toEqual([[], ['release 0-1']])
  })

  it('of which hardly anything is left is tried to be kept up, and not without end', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.refuse = () => {
      throw new Error('busy')
    }
    member.deliver(0, 0, batchOf('a'), { leaseMs: 3 })
    await clock.advance(1_000)
    expect(extensions(member)).toEqual(['extend 0-1'])
    expect(held.of('a').message.signal.aborted).toBe(true)
  })

  it('that ended while the process stood still begins no handler, and aborts those that run', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler, { concurrency: 2 })
    const lease = member.deliver(0, 0, keyedBatch('k=k0', 'j=j0', 'j=j1', 'i=i0'))
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'j0'])
    const { signal } = held.of('k0').message
    clock.stall(30_000)
    held.of('j0').resolve()
    await promisesSettled()
    expect(held.begun).toEqual(['k0', 'j0'])
    expect(signal.reason).toMatchObject({ code: 'RTK_LEASE_LOST' })
    expect(member.settled).toEqual(['ack 1-2', 'release 2-4'])
    // The broker may hold k0 for this member still: what is behind it waits for word of it.
    held.of('k0').resolve()
    member.deliver(0, 4, keyedBatch('k=k1'))
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'j0'])
    member.lose(0, lease, 0, 1)
    await clock.advance(0)
    expect(held.begun).toEqual(['k0', 'j0', 'k1'])
  })

  it('that ended while the process stood still is not extended', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a', 'b'))
    await clock.advance(0)
    clock.stall(30_000)
    await clock.advance(0)
    expect(member.settled).toEqual(['release 1-2'])
    expect(held.of('a').message.signal.aborted).toBe(true)
  })

  it('that ended while the process stood still is not given to who pulls either', async () => {
    const { member, clock, subscription } = await joined(undefined)
    member.deliver(0, 0, batchOf('a', 'b'))
    clock.stall(30_000)
    expect(await subscription.take(2)).toEqual([])
    await promisesSettled()
    expect(member.settled).toEqual(['release 0-2'])
    member.deliver(0, 0, batchOf('a'))
    expect((await subscription.take(2)).map((message) => message.text())).toEqual(['a'])
  })

  it.each(['handler', 'pull'])(
    'that ended while the process stood still gives its credit back: %s',
    async (by) => {
      const held = heldHandler()
      const { member, clock } = await joined(by === 'handler' ? held.handler : undefined, { maxInFlight: 10 })
      member.deliver(0, 0, batchOf('a'))
      await clock.advance(0)
      member.deliver(0, 1, batchOf('b'))
      clock.stall(30_000)
      await clock.advance(1_000)
      expect(member.messages).toBe(10)
    },
  )

  it('is extended in calls of a thousand when there are many', async () => {
    const { member, clock } = await joined(undefined, { maxInFlight: 2_000 })
    for (let offset = 0; offset < 1_001; offset++) member.deliver(0, offset, batchOf('a'))
    await clock.advance(20_000)
    expect(member.calls.map(({ length }) => length)).toEqual([1_000, 1])
  })

  it('is asked for again when the broker was too busy', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    member.deliver(0, 0, batchOf('a'))
    await clock.advance(0)
    let refusals = 1
    member.refuse = () => {
      if (refusals-- > 0) throw new Error('busy')
    }
    await clock.advance(29_000)
    expect(extensions(member)).toEqual(['extend 0-1', 'extend 0-1'])
    expect(held.of('a').message.signal.aborted).toBe(false)
  })
})

it('keeps up what was delivered while the group was being joined', async () => {
  const clock = new ManualClock()
  const holder = {
    group: 'g',
    sourceOf: () => expect.unreachable(),
    settle: () => {},
    ackBefore: () => {},
    extend: async () => {},
  }
  const leased = {
    partition: 0,
    lease: 7,
    bytes: batchOf('a'),
    recordCount: 1,
    firstOffset: 0,
    lastOffset: 0,
  }
  const batch = new HeldBatch({ ...leased, attempt: 1, redelivered: false, leaseMs: 3_000 }, 1, 0, holder)
  const sent: unknown[] = []
  const keeper = new LeaseKeeper({
    clock,
    logger: testPlatform(clock).logger,
    held: [batch],
    heartbeat: () => {},
    send: (settlements) => {
      sent.push(...settlements)
      return [undefined]
    },
    overdue: () => expect.unreachable(),
    sure: () => {},
  })
  keeper.watch(batch)
  keeper.start({ memberTimeoutMs: 60_000, ackTimeoutMs: 30_000, askedAtMs: 0 })
  await clock.advance(2_000)
  expect(sent).toEqual([{ partition: 0, lease: 7, from: 0, to: 1, action: 'extend', extendMs: 3_000 }])
  keeper.stop()
  expect(clock.pending).toBe(0)
})

describe('after the process stood still', () => {
  /** A member whose broker holds its answers back from now on, in a process that stood still. */
  const stalled = async (options: Parameters<typeof joined>[1] = {}) => {
    const held = heldHandler()
    const bench = await joined(held.handler, options)
    const gate = Promise.withResolvers<void>()
    const stall = (): void => {
      bench.member.gate = gate.promise
      bench.clock.stall(10_000)
    }
    return { ...bench, held, gate, stall }
  }

  it('nothing is handed out before the broker has answered, and nothing that it says is lost', async () => {
    const { member, clock, held, gate, stall } = await stalled()
    stall()
    const lease = member.deliver(0, 0, batchOf('a', 'b'))
    await promisesSettled()
    expect([held.begun, member.settled, member.heartbeats]).toEqual([[], ['extend 0-2'], 1])
    member.lose(0, lease, 0, 1)
    await clock.advance(0)
    expect(held.begun).toEqual([])
    gate.resolve()
    await clock.advance(0)
    expect(held.begun).toEqual(['b'])
  })

  it('what waited here before is asked about as well, and who was evicted hands out nothing of it', async () => {
    const { member, latest, clock, held, stall } = await stalled()
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await clock.advance(0)
    stall()
    held.of('a').resolve()
    await promisesSettled()
    expect([held.begun, extensions(member)]).toEqual([['a'], ['extend 1-3']])
    member.end(new RatatoskrError('RTK_LEASE_LOST', 'silent for too long', { details: { silentMs: 6_000 } }))
    await clock.advance(5_000)
    latest().deliver(0, 1, batchOf('b'), { attempt: 2 })
    await clock.advance(0)
    expect([latest() === member, held.begun]).toEqual([false, ['a', 'b']])
  })

  it('an answer to what was asked before it stood still again does not count', async () => {
    const { member, clock, held, gate, stall } = await stalled()
    stall()
    member.deliver(0, 0, batchOf('a'))
    await promisesSettled()
    clock.stall(10_000)
    const again = Promise.withResolvers<void>()
    member.gate = again.promise
    await clock.advance(0)
    gate.resolve()
    await clock.advance(0)
    expect([held.begun, extensions(member)]).toEqual([[], ['extend 0-1', 'extend 0-1']])
    again.resolve()
    await clock.advance(0)
    expect(held.begun).toEqual(['a'])
  })

  it('the broker is asked again when it was too busy', async () => {
    const { member, clock, held, gate, stall } = await stalled()
    let refusals = 1
    member.refuse = () => {
      if (refusals-- > 0) throw new Error('busy')
    }
    stall()
    gate.resolve()
    member.deliver(0, 0, batchOf('a'))
    await promisesSettled()
    expect(held.begun).toEqual([])
    await clock.advance(2_500)
    expect([held.begun, extensions(member)]).toEqual([['a'], ['extend 0-1', 'extend 0-1']])
  })

  it('while joining, the broker is asked after it has let the member in', async () => {
    const { broker, member, latest, clock, held } = await stalled()
    broker.loseJoin = (next) => {
      clock.stall(10_000)
      next.deliver(0, 0, batchOf('a'))
      return undefined
    }
    broker.cut()
    await clock.advance(1_000)
    expect(latest()).not.toBe(member)
    expect([held.begun, latest().settled]).toEqual([['a'], ['extend 0-1']])
  })

  it('messages that were settled when they were handed over are handed out at once', async () => {
    const { member, held, stall } = await stalled({ delivery: 'at-most-once' })
    stall()
    member.deliver(0, 0, batchOf('a'))
    await promisesSettled()
    expect([held.begun, member.calls]).toEqual([['a'], []])
  })
})

describe('signs of life', () => {
  it('are given three times within the timeout, whatever handlers do, and end with the subscription', async () => {
    const { member, subscription, clock } = await joined(() => new Promise(() => {}))
    member.deliver(0, 0, batchOf('a'))
    await clock.advance(5_000)
    expect(member.heartbeats).toBe(3)
    const closing = subscription.close({ timeoutMs: 10 }).catch(() => {})
    await clock.advance(10)
    await closing
    await clock.advance(60_000)
    expect([member.heartbeats, clock.pending]).toEqual([3, 0])
  })

  it('that come late tell that the event loop stood still, and are given at once', async () => {
    const clock = new ManualClock()
    const warnings: unknown[] = []
    const { logger: silent, ...platform } = testPlatform(clock)
    const logger: Logger = {
      ...silent,
      warn: (text, fields) => warnings.push([text.slice(0, 14), fields?.stalledMs]),
    }
    let stalledMs = 0
    // A stall: what was due comes later, by the monotonic clock, than it should have.
    const stalling = {
      now: () => clock.now(),
      monotonic: () => clock.monotonic() + stalledMs,
      after: clock.after.bind(clock),
    }
    const broker = new FakeBroker()
    broker.topic('orders')
    const client = await broker.client({ ...platform, logger, clock: stalling })
    await client.subscribe('orders', () => {}, { group: 'g' })
    await clock.advance(1_000)
    stalledMs = 4_200
    await clock.advance(666)
    expect(warnings).toEqual([['the event loop', 4_200]])
    expect(broker.members[0].heartbeats).toBe(1)
  })
})
