/** Messages of a queue group as handlers and iterators get them, and how they are settled. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import type { ClientMessage } from '../client-message.ts'
import { heldHandler, joined } from '../testing/queue.ts'
import { batchOf, numbers, setup } from '../testing/subscribing.ts'

describe('a handler', () => {
  it('acknowledges by returning: neighbours go as one range, in one call', async () => {
    const seen: string[] = []
    const { member, settle } = await joined((message) => void seen.push(message.text()))
    const lease = member.deliver(0, 5, batchOf('a', 'b', 'c'))
    await settle()
    expect(seen).toEqual(['a', 'b', 'c'])
    expect(member.calls).toEqual([[{ partition: 0, lease, from: 5, to: 8, action: 'ack' }]])
  })

  it('gives a message back by throwing, with the reason', async () => {
    const { member, settle } = await joined(async (message) => {
      if (message.text() === 'b') throw new RangeError('too small')
    })
    const lease = member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await settle()
    expect(member.calls.flat()).toContainEqual({
      partition: 0,
      lease,
      from: 1,
      to: 2,
      action: 'nack',
      reason: 'RangeError: too small',
    })
    expect(member.settled.sort()).toEqual(['ack 0-1', 'ack 2-3', 'nack 1-2'])
  })

  it('is told by a function of here how long a failed message waits', async () => {
    const cause = new Error('down')
    const asked: unknown[] = []
    const { member, settle } = await joined(
      () => {
        throw cause
      },
      {
        retry: (attempt, error, message) => {
          asked.push([attempt, error, message.text()])
          return attempt * 1_000.4
        },
      },
    )
    member.deliver(0, 0, batchOf('a'), { attempt: 3 })
    await settle()
    expect(asked).toEqual([[3, cause, 'a']])
    expect(member.calls[1][0]).toMatchObject({ action: 'nack', delayMs: 3_001 })
    expect(member.options.config).toBeUndefined()
  })

  it('reports a retry function that says nothing sensible, and leaves the pause to the group', async () => {
    const errors: string[] = []
    const { member, settle } = await joined(() => Promise.reject(new Error('no')), {
      retry: () => Number.NaN,
      onError: (error) => errors.push(error.code),
    })
    member.deliver(0, 0, batchOf('a'))
    await settle()
    expect(errors).toEqual(['RTK_INVALID_ARGUMENT'])
    expect(member.calls[0][0]).toMatchObject({ action: 'nack', delayMs: undefined })
  })

  it('settles as it likes: the first counts, and auto adds nothing', async () => {
    const { member, settle } = await joined((message) => {
      if (message.text() === 'a') void message.nack({ delayMs: 7 })
      if (message.text() === 'b') void message.terminate('never again')
      if (message.text() === 'c') void message.release()
      void message.ack()
    })
    member.deliver(0, 0, batchOf('a', 'b', 'c', 'd'))
    await settle()
    expect(
      member.calls.flat().map(({ action, from, delayMs, reason }) => [action, from, delayMs, reason]),
    ).toEqual([
      ['ack', 3, undefined, undefined],
      ['nack', 0, 7, undefined],
      ['terminate', 1, undefined, 'never again'],
      ['release', 2, undefined, undefined],
    ])
  })

  it('with ack: manual is only settled by the methods of the message', async () => {
    const seen: ClientMessage[] = []
    const { member, settle } = await joined((message) => void seen.push(message), { ack: 'manual' })
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    await settle()
    expect(member.calls).toEqual([])
    void seen[2].ack()
    void seen[0].ack()
    await settle()
    expect(member.calls.map((call) => call.map(({ from, to }) => [from, to]))).toEqual([
      [
        [0, 1],
        [2, 3],
      ],
    ])
    expect(seen.map((message) => message.settled)).toEqual([true, false, true])
  })

  it('tells the lease, the attempt, and whether it may be a repetition', async () => {
    const seen: ClientMessage[] = []
    const { member, settle } = await joined((message) => void seen.push(message))
    const lease = member.deliver(0, 3, batchOf('a'), { attempt: 1, redelivered: true })
    member.deliver(0, 4, batchOf('b'), { attempt: 2 })
    member.deliver(0, 5, batchOf('c'))
    await settle()
    expect(seen.map(({ attempt, redelivered }) => [attempt, redelivered])).toEqual([
      [1, true],
      [2, true],
      [1, false],
    ])
    expect(seen[0].leaseProof).toEqual({ topic: 'orders', group: 'g', partition: 0, offset: 3, lease })
    expect(seen[0].lease).toBe(lease)
  })
})

describe('the answer to a settlement', () => {
  it('resolves when the broker took it, and rejects when the lease was lost, message by message', async () => {
    const seen: ClientMessage[] = []
    const errors: unknown[] = []
    const { member, settle } = await joined((message) => void seen.push(message), {
      ack: 'manual',
      onError: (error) => errors.push(error.details.from),
    })
    member.deliver(0, 0, batchOf('a', 'b', 'c', 'd'))
    await settle()
    member.loseSilently(0, 1, 3)
    const answers = Promise.allSettled([seen[0].ack(), seen[1].ack(), seen[3].ack()])
    void seen[2].ack()
    await settle()
    expect((await answers).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    await expect(seen[1].ack()).rejects.toMatchObject({ code: 'RTK_LEASE_LOST' })
    expect(errors).toEqual([2])
    expect(seen[1].signal.aborted).toBe(true)
  })

  it('can be looked at late, and costs nothing when it is not', async () => {
    const seen: ClientMessage[] = []
    const { member, settle } = await joined((message) => void seen.push(message), { ack: 'manual' })
    member.deliver(0, 0, batchOf('a', 'b'))
    await settle()
    const answer = seen[0].ack()
    await settle()
    await expect(answer.finally(() => {})).resolves.toBeUndefined()
    member.lose(0, seen[1].lease, 1, 2)
    const refused = seen[1].ack()
    await settle()
    await expect(refused.catch((error) => error.code)).resolves.toBe('RTK_LEASE_LOST')
    expect(member.settled).toEqual(['ack 0-1'])
  })

  it('comes from flush for all at once', async () => {
    const seen: ClientMessage[] = []
    const { member, subscription, settle } = await joined((message) => void seen.push(message), {
      ack: 'manual',
    })
    member.deliver(0, 0, batchOf('a'))
    await settle()
    const gate = Promise.withResolvers<void>()
    member.gate = gate.promise
    void seen[0].ack()
    let flushed = false
    const flushing = subscription.flush().then(() => {
      flushed = true
    })
    await settle()
    expect(flushed).toBe(false)
    gate.resolve()
    await flushing
  })

  it('is asked for again when the broker could not answer, and told when it never will', async () => {
    const seen: ClientMessage[] = []
    const errors: string[] = []
    const { member, clock } = await joined((message) => void seen.push(message), {
      ack: 'manual',
      onError: (error) => errors.push(error.code),
    })
    member.deliver(0, 0, batchOf('a', 'b'))
    await clock.advance(0)
    let refusals = 2
    member.refuse = () => {
      if (refusals-- > 0) throw new RatatoskrError('RTK_OVERLOADED', 'busy')
    }
    const answer = seen[0].ack()
    await clock.advance(200)
    await answer
    expect(member.settled).toEqual(['ack 0-1', 'ack 0-1', 'ack 0-1'])
    member.refuse = () => {
      throw new RatatoskrError('RTK_PERMISSION_DENIED', 'no')
    }
    void seen[1].ack()
    await clock.advance(1_000)
    expect([member.calls.length, errors]).toEqual([4, ['RTK_PERMISSION_DENIED']])
  })

  it('of an unsettled message checks what it is given before it counts', async () => {
    const seen: ClientMessage[] = []
    const { member, settle } = await joined((message) => void seen.push(message), { ack: 'manual' })
    member.deliver(0, 0, batchOf('a'))
    await settle()
    expect(() => seen[0].nack({ delayMs: -1 })).toThrow(
      expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
    )
    expect(seen[0].settled).toBe(false)
  })
})

describe('a lease that is lost', () => {
  it('fires the signal of a running handler, and its acknowledgement is reported and not sent', async () => {
    const held = heldHandler()
    const errors: unknown[] = []
    const { member, settle } = await joined(held.handler, {
      onError: (error, message) => errors.push([error.code, message?.text()]),
    })
    const lease = member.deliver(0, 0, batchOf('a', 'b'))
    await settle()
    const { signal } = held.of('a').message
    member.lose(0, lease, 0, 2)
    expect(signal.aborted).toBe(true)
    expect(signal.reason).toMatchObject({ code: 'RTK_LEASE_LOST', details: { offset: 0, reason: 'timeout' } })
    held.of('a').resolve()
    await settle()
    expect(errors).toEqual([['RTK_LEASE_LOST', 'a']])
    expect([held.begun, member.calls]).toEqual([['a'], []])
  })

  it('makes a handler that comes again wait for the one that still runs', async () => {
    const held = heldHandler()
    const { member, settle } = await joined(held.handler, { sharing: 'shared', concurrency: 4 })
    const lease = member.deliver(0, 0, batchOf('a'))
    await settle()
    const first = held.of('a')
    member.lose(0, lease, 0, 1)
    member.deliver(0, 0, batchOf('a'), { attempt: 2 })
    member.deliver(0, 1, batchOf('b'))
    await settle()
    expect(held.begun).toEqual(['a', 'b'])
    first.resolve()
    await settle()
    expect(held.begun).toEqual(['a', 'b', 'a'])
    held.of('a').resolve()
    held.of('b').resolve()
    await settle()
    expect(member.settled.sort()).toEqual(['ack 0-1', 'ack 1-2'])
  })
})

describe('an iterator', () => {
  it('acknowledges a message when the next is asked for, and not the last before a break', async () => {
    const { member, subscription, settle } = await joined(undefined)
    member.deliver(0, 0, batchOf('a', 'b', 'c'))
    const seen: string[] = []
    for await (const message of subscription) {
      seen.push(message.text())
      if (seen.length === 2) break
    }
    await settle()
    expect(seen).toEqual(['a', 'b'])
    expect(member.settled.sort()).toEqual(['ack 0-1', 'release 2-3'])
    expect(member.over).toBe(true)
  })

  it('can be pulled from instead, as much as one likes', async () => {
    const { member, subscription, settle } = await joined(undefined)
    member.deliver(0, 0, batchOf(...numbers(0, 5)))
    const messages = await subscription.take(3)
    expect(messages.map((message) => message.offset)).toEqual([0, 1, 2])
    await settle()
    expect(member.calls).toEqual([])
    for (const message of messages) void message.ack()
    await settle()
    expect(member.settled).toEqual(['ack 0-3'])
  })

  it('throws the reason when the subscription fails', async () => {
    const { member, subscription } = await joined(undefined)
    const reading = subscription[Symbol.asyncIterator]().next()
    member.end(new RatatoskrError('RTK_TOPIC_DELETED', 'gone'))
    await expect(reading).rejects.toMatchObject({ code: 'RTK_TOPIC_DELETED' })
    expect(await subscription.closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
  })
})

describe('at most once', () => {
  it('asks for messages that count as acknowledged, and settles nothing', async () => {
    const seen: ClientMessage[] = []
    const { member, settle } = await joined(
      (message) => {
        seen.push(message)
        throw new Error('ignored')
      },
      { delivery: 'at-most-once' },
    )
    expect(member.options.autoAck).toBe(true)
    const credit = member.messages
    member.deliver(0, 0, batchOf('a', 'b'))
    await settle()
    expect([seen.length, member.calls, seen[0].lease, seen[0].leaseProof]).toEqual([2, [], 0, undefined])
    await seen[0].ack()
    expect(member.messages).toBe(credit)
  })

  it('hands out what it has though the connection is lost, since nobody else will', async () => {
    const held = heldHandler()
    const { member, broker, clock } = await joined(held.handler, { delivery: 'at-most-once' })
    member.deliver(0, 0, batchOf('a', 'b'))
    broker.cut()
    await clock.advance(1_000)
    held.of('a').resolve()
    await clock.advance(0)
    expect(held.begun).toEqual(['a', 'b'])
  })
})

describe('options', () => {
  it('of the group go to the broker', async () => {
    const { member } = await joined(() => {}, {
      member: 'one',
      from: 'latest',
      sharing: 'keyShared',
      ackTimeoutMs: 1_000,
      retriesMax: 7,
      retry: { kind: 'fixed', delayMs: 5 },
      deadLetterTopic: 'none',
      maxInFlight: 20,
      prefetchBytes: 3_000,
    })
    expect(member.options).toMatchObject({
      group: 'g',
      member: 'one',
      from: 'latest',
      credit: { messages: 20, bytes: 3_000 },
      config: {
        sharing: 'keyShared',
        ackTimeoutMs: 1_000,
        retriesMax: 7,
        retry: { kind: 'fixed', delayMs: 5 },
        deadLetterTopic: 'none',
      },
    })
  })

  it('that do not go with a group, or without one, are refused', async () => {
    const { client, broker } = await setup()
    const cases = [
      { group: 'g', partitions: [0] },
      { group: 'g', onFailed: 'skip' },
      { group: 'g', commitIntervalMs: 5 },
      { group: 'g', commitAckCount: 5 },
      { group: 'g', maxInFlight: 0 },
      { sharing: 'shared' },
      { ackTimeoutMs: 5 },
      { member: 'm' },
      { retry: 'often' },
    ] as object[]
    for (const options of cases) {
      const call = client.subscribe('orders', () => {}, options)
      await expect(call, JSON.stringify(options)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
    expect(broker.members).toEqual([])
  })

  it('a partition that comes or goes is told of', async () => {
    const told: unknown[] = []
    const { member } = await joined(() => {}, {
      onAssigned: (partitions) => told.push(partitions),
      onRevoked: (partitions) => told.push(partitions),
    })
    member.assign([0, 1])
    member.assign([1, 2])
    expect(told).toEqual([
      [
        { partition: 0, offset: undefined },
        { partition: 1, offset: undefined },
      ],
      [0],
      [{ partition: 2, offset: undefined }],
    ])
  })
})
