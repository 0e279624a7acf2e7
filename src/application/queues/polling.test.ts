import { describe, expect, it } from 'vitest'
import type { Taken, TakeRequest } from '../../ports/index.ts'
import { utf8 } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'
import { offsetsOf } from './testing/queue-sink.ts'

const shared = { sharing: 'shared' } as const

interface Call {
  result: Taken | undefined
  error: { readonly code?: string } | undefined
}

/** Begins a call, and lets happen what waits for no timer. */
async function take(
  bench: QueueBench,
  request: Partial<TakeRequest> = {},
  signal?: AbortSignal,
): Promise<Call> {
  const call: Call = { result: undefined, error: undefined }
  bench.session.take('orders', { group: 'g', config: shared, ...request }, { signal }).then(
    (result) => {
      call.result = result
    },
    (error) => {
      call.error = error
    },
  )
  await bench.pass(0)
  await bench.pass(0)
  return call
}

const taken = ({ result }: Call): number[] | undefined => result?.batches.flatMap(offsetsOf)

describe('take', () => {
  it('answers at once with what is there, or nothing', async () => {
    const bench = await QueueBench.start()
    expect(taken(await take(bench))).toEqual([])
    await bench.publish(3)
    const call = await take(bench, { member: 'w' })
    expect(taken(call)).toEqual([0, 1, 2])
    expect(call.result).toMatchObject({ member: 'w', memberTimeoutMs: bench.bench.limits.memberTimeoutMs })
    expect(taken(await take(bench, { member: 'w' }))).toEqual([])
  })

  it('tells what is left of a lease when the call had to wait after it', async () => {
    const bench = await QueueBench.start({ partitions: 2 })
    const config = { sharing: 'shared', ackTimeoutMs: 4_000 } as const
    const text = { payload: utf8('x') }
    await bench.session.publishMany('orders', [
      { ...text, partition: 0 },
      { ...text, partition: 1 },
    ])
    await bench.join({ config, member: 'first', credit: { messages: 0 } })
    // What is handed over for good to another waits for the store, and keeps the partition busy.
    let stored = (): void => {}
    bench.bench.state.onChange = () => new Promise((resolve) => (stored = resolve))
    await bench.join({ autoAck: true, credit: { messages: 1 } })
    const call = await take(bench, { member: 'w', waitMs: 1_000 })
    await bench.pass(500)
    expect(call.result).toBeUndefined()
    bench.bench.state.onChange = () => {}
    stored()
    await bench.pass(0)
    expect(call.result?.batches.map(({ leaseMs }) => leaseMs)).toEqual([3_500])
  })

  it('waits for the first message', async () => {
    const bench = await QueueBench.start()
    const call = await take(bench, { waitMs: 1_000 })
    await bench.pass(999)
    expect(call.result).toBeUndefined()
    await bench.publish(1)
    await bench.pass(0)
    expect(taken(call)).toEqual([0])
    const second = await take(bench, { waitMs: 1_000 })
    await bench.pass(999)
    expect(second.result).toBeUndefined()
    await bench.pass(1)
    expect(taken(second)).toEqual([])
  })

  it('takes messages exactly and bytes softly', async () => {
    const bench = await QueueBench.start()
    await bench.publish(10)
    expect(taken(await take(bench, { messagesMax: 3 }))).toEqual([0, 1, 2])
    expect(taken(await take(bench, { bytesMax: 1 }))).toEqual([3])
    const some = await take(bench, { bytesMax: 300 })
    expect(some.result?.batches.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBeLessThanOrEqual(300)
    expect(taken(some)?.length).toBeGreaterThan(1)
  })

  it('takes from all partitions', async () => {
    const bench = await QueueBench.start({ partitions: 3 })
    for (const partition of [0, 1, 2]) await bench.publish(2, { partition })
    expect(taken(await take(bench, { messagesMax: 6 }))).toHaveLength(6)
  })

  it('reads what is not in memory though it need not wait', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    bench.bench.logs.slowReads = true
    const call = await take(bench)
    expect(taken(call)).toEqual([0, 1, 2])
  })

  it('settles by the lease alone, and lives by its calls', async () => {
    const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
    await bench.publish(2)
    const { result } = await take(bench, { member: 'w', messagesMax: 1 })
    const [{ partition, lease }] = result?.batches ?? []
    const settle = (from: number) => {
      const settlements = [{ partition, lease, from, to: from + 1, action: 'ack' as const }]
      return bench.session.settle('orders', { group: 'g', settlements })
    }
    expect(await settle(0)).toEqual([undefined])
    expect(await settle(1)).toMatchObject([{ code: 'RTK_LEASE_LOST' }])
    for (let i = 0; i < 3; i++) {
      await bench.pass(4_999)
      bench.session.heartbeat('orders', 'g', 'w')
    }
    const waiting = await take(bench, { member: 'w', waitMs: 20_000, messagesMax: 5 })
    expect(taken(waiting)).toEqual([1])
    await bench.pass(5_000)
    expect(() => bench.session.heartbeat('orders', 'g', 'w')).toThrow('has no member w any more')
    expect(taken(await take(bench, { member: 'x' }))).toEqual([1])
  })

  it('what it has comes again when it leaves', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    await take(bench, { member: 'w' })
    bench.session.leaveQueue('orders', 'g', 'w')
    bench.session.leaveQueue('orders', 'g', 'w')
    const { result } = await take(bench, { member: 'x' })
    expect(result?.batches).toMatchObject([{ attempt: 2 }])
  })

  it.each(['shared', 'keyShared'] as const)(
    'of callers without a name each is a member of its own while it holds leases: %s',
    async (sharing) => {
      const bench = await QueueBench.start({ limits: { memberTimeoutMs: 5_000 } })
      const config = { sharing }
      await bench.session.createQueue('orders', 'g', config)
      await bench.publishKeys('a', 'a', 'b')
      const first = await take(bench, { config, messagesMax: 1 })
      const second = await take(bench, { config, messagesMax: 5 })
      expect([taken(first), taken(second)]).toEqual([[0], sharing === 'shared' ? [1, 2] : [2]])
      expect(first.result?.member).not.toBe(second.result?.member)
      expect((await bench.describe()).members.map(({ member }) => member)).toEqual([
        first.result?.member,
        second.result?.member,
      ])
      await bench.pass(29_000) // nobody expects signs of life of them
      const [{ partition, lease }] = first.result?.batches ?? []
      const settlements = [{ partition, lease, from: 0, to: 1, action: 'ack' as const }]
      expect(await bench.session.settle('orders', { group: 'g', settlements })).toEqual([undefined])
      expect((await bench.describe()).members).toMatchObject([{ member: second.result?.member }])
      await bench.pass(1_000) // the ack timeout of the other
      expect((await bench.describe()).members).toEqual([])
      expect(taken(await take(bench, { config }))).toEqual([1, 2])
    },
  )

  it('a caller without a name is gone at once when it takes nothing', async () => {
    const bench = await QueueBench.start()
    expect(taken(await take(bench))).toEqual([])
    await bench.publish(1)
    expect(taken(await take(bench, { autoAck: true }))).toEqual([0])
    expect(await bench.describe()).toMatchObject({ state: 'empty', members: [] })
  })

  it('callers without a name are one member, named after the principal, where partitions have owners', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const config = { sharing: 'partitioned' } as const
    const calls = [await take(bench, { config, messagesMax: 1 }), await take(bench, { config })]
    expect(calls.map(taken)).toEqual([[0], [1]])
    expect(new Set(calls.map(({ result }) => result?.member))).toEqual(
      new Set([bench.session.principal.name]),
    )
  })

  it('a call that is cancelled takes nothing', async () => {
    const bench = await QueueBench.start()
    const cancel = new AbortController()
    const call = await take(bench, { waitMs: 10_000 }, cancel.signal)
    cancel.abort()
    await bench.publish(1)
    await bench.pass(0)
    expect(call.error).toMatchObject({ code: 'RTK_CANCELLED' })
    expect(await bench.describe()).toMatchObject({ partitions: [{ inFlight: 0 }] })
    expect(taken(await take(bench))).toEqual([0])
  })

  it('answers in the end though the store that must know of deliveries first does not', async () => {
    const bench = await QueueBench.start()
    await bench.session.createQueue('orders', 'g', shared)
    await bench.publish(1)
    bench.bench.state.onChange = () => {
      throw new Error('no medium')
    }
    const call = await take(bench, { waitMs: 1_000 })
    await bench.pass(5_999)
    expect(call.result).toBeUndefined()
    await bench.pass(1)
    expect(taken(call)).toEqual([])
    bench.bench.state.onChange = () => {}
    await bench.pass(5_000)
    expect(taken(await take(bench))).toEqual([0])
  })

  it('messages that are handed over count as settled with autoAck', async () => {
    const bench = await QueueBench.start()
    await bench.publish(2)
    const { result } = await take(bench, { autoAck: true, messagesMax: 1 })
    expect(result?.batches).toMatchObject([{ lease: 0 }])
    expect(await bench.describe()).toMatchObject({ lag: 1 })
  })

  it.each(['keyShared', 'partitioned'] as const)(
    'a key is held by what an earlier call was given, for its answer may be lost: %s',
    async (sharing) => {
      const bench = await QueueBench.start()
      const request = { config: { sharing }, member: 'w' }
      await bench.publishKeys('a', 'b', 'a', 'a', 'b', 'c')
      const first = await take(bench, { ...request, messagesMax: 1 })
      const second = await take(bench, { ...request, messagesMax: 5 })
      // What follows in a key comes with it, when it is the same call.
      expect([first, second].map(taken)).toEqual([[0], [1, 4, 5]])
      const ack = ({ result }: Call) => {
        const settlements = (result?.batches ?? []).map(({ partition, lease, firstOffset, lastOffset }) => {
          return { partition, lease, from: firstOffset, to: lastOffset + 1, action: 'ack' as const }
        })
        return bench.session.settle('orders', { group: 'g', settlements })
      }
      ack(second)
      const waiting = await take(bench, { ...request, waitMs: 60_000 })
      await bench.pass(29_000)
      expect(waiting.result).toBeUndefined()
      ack(first)
      await bench.pass(0)
      expect(taken(waiting)).toEqual([2, 3])
      // The answer came to nobody: later ones of the key come after the earlier ones have come again.
      await bench.publishKeys('a')
      const third = await take(bench, { ...request, waitMs: 60_000, messagesMax: 5 })
      await bench.pass(29_000)
      expect(third.result).toBeUndefined()
      await bench.pass(1_000)
      expect(taken(third)).toEqual([2, 3, 6])
    },
  )

  it('a member that polls and comes back under its name has nothing out of order', async () => {
    const bench = await QueueBench.start()
    const request = { config: { sharing: 'keyShared' as const }, member: 'w', messagesMax: 1 }
    await bench.publishKeys('a', 'a')
    expect(taken(await take(bench, request))).toEqual([0])
    expect(taken(await take(bench, request))).toEqual([])
    await bench.pass(30_000)
    expect(taken(await take(bench, request))).toEqual([0])
  })
})
