/** What a client tells the broker before it works on a message, and when it does not work on it. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError } from '../../ports/index.ts'
import { heldHandler, joined, keyedBatch } from '../testing/queue.ts'
import { batchOf } from '../testing/subscribing.ts'

const again = { attempt: 1, redelivered: true }
const overloaded = new RatatoskrError('RTK_OVERLOADED', 'come again')

describe('a handler', () => {
  it('is called at once for a first delivery, and after the broker knows for one that came before', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler, { concurrency: 4 })
    expect(member.options.begins).toBe(true)
    member.gate = new Promise(() => {})
    member.deliver(0, 0, batchOf('a', 'b'))
    await clock.advance(0)
    expect(held.begun).toEqual(['a', 'b'])
    expect(member.calls).toEqual([])
    const answer = Promise.withResolvers<void>()
    member.gate = answer.promise
    const lease = member.deliver(0, 2, batchOf('c', 'd'), again)
    await clock.advance(0)
    expect(held.begun).toEqual(['a', 'b'])
    expect(member.calls).toEqual([
      [
        { action: 'begin', partition: 0, lease, from: 2, to: 3 },
        { action: 'begin', partition: 0, lease, from: 3, to: 4 },
      ],
    ])
    answer.resolve()
    await clock.advance(0)
    expect(held.begun).toEqual(['a', 'b', 'c', 'd'])
  })

  it('begins no more messages than it handles at a time', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler, { concurrency: 1 })
    member.deliver(0, 0, batchOf('a', 'b', 'c'), again)
    await clock.advance(0)
    expect(member.begun).toEqual([0])
    held.of('a').resolve()
    await clock.advance(0)
    expect(member.begun).toEqual([0, 1])
    expect(held.begun).toEqual(['a', 'b'])
  })

  it('begins every message of a group without retries', async () => {
    const { member, clock } = await joined(() => {}, { retriesMax: 0 })
    member.deliver(0, 0, batchOf('a', 'b'))
    await clock.advance(0)
    expect(member.begun).toEqual([0, 1])
    expect(member.settled).toEqual(['ack 0-2'])
  })

  it('begins nothing when it takes messages at most once', async () => {
    const { member, clock } = await joined(() => {}, { delivery: 'at-most-once' })
    expect(member.options.begins).toBe(false)
    member.deliver(0, 0, batchOf('a'), again)
    await clock.advance(0)
    expect(member.calls).toEqual([])
  })

  it('is not called for a message that is lost, which holds up nobody and takes no credit', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler, {
      concurrency: 1,
      maxInFlight: 2,
      sharing: 'keyShared',
    })
    member.deliver(0, 0, keyedBatch('k=a', 'k=b'), again)
    member.loseSilently(0, 0, 1)
    await clock.advance(0)
    expect(held.begun).toEqual(['b'])
    expect(member.begun).toEqual([0, 1])
    held.of('b').resolve()
    await clock.advance(0)
    expect(member.settled).toEqual(['ack 1-2'])
    expect(member.messages).toBe(2)
  })

  it('is not called when the link is lost before the answer, and is when the message comes again', async () => {
    const held = heldHandler()
    const { member, latest, broker, clock } = await joined(held.handler)
    member.gate = new Promise(() => {})
    member.deliver(0, 0, batchOf('a'), again)
    await clock.advance(0)
    expect(member.begun).toEqual([0])
    broker.cut()
    await clock.advance(1_000)
    expect(held.begun).toEqual([])
    latest().deliver(0, 0, batchOf('a'), { attempt: 2, redelivered: true })
    await clock.advance(0)
    expect(held.begun).toEqual(['a'])
    expect(latest().begun).toEqual([0])
  })

  it('is called when a broker that was too busy has been asked again', async () => {
    const held = heldHandler()
    const { member, clock } = await joined(held.handler)
    let refusals = 2
    member.refuse = () => {
      if (refusals-- > 0) throw overloaded
    }
    member.deliver(0, 0, batchOf('a'), again)
    await clock.advance(199)
    expect(held.begun).toEqual([])
    await clock.advance(1)
    expect(held.begun).toEqual(['a'])
    expect(member.begun).toEqual([0, 0, 0])
  })

  it('lets closing wait for it, and ends with it', async () => {
    const { member, subscription, clock } = await joined(() => {})
    member.gate = new Promise(() => {})
    member.deliver(0, 0, batchOf('a'), again)
    await clock.advance(0)
    const closing = subscription.close({ timeoutMs: 500 }).catch(() => 'late')
    await clock.advance(500)
    expect(await closing).toBe('late')
    expect(member.over).toBe(true)
  })
})

describe('whoever reads', () => {
  it('in a loop gets a message that came before when the broker knows, and none that is lost', async () => {
    const { member, subscription, clock } = await joined(undefined, { ack: 'manual' })
    const texts: string[] = []
    const reading = (async () => {
      for await (const message of subscription) texts.push(message.text())
    })()
    member.deliver(0, 0, batchOf('a', 'b', 'c'), again)
    member.loseSilently(0, 1, 2)
    await clock.advance(0)
    expect(texts).toEqual(['a', 'c'])
    expect(member.begun).toEqual([0, 1, 2])
    await subscription.close()
    await reading
  })

  it('by pulling gets those that are not lost', async () => {
    const { member, subscription, clock } = await joined(undefined, { ack: 'manual' })
    member.deliver(0, 0, batchOf('a', 'b', 'c'), again)
    member.loseSilently(0, 1, 2)
    await clock.advance(0)
    const messages = await subscription.take(10)
    expect(messages.map((message) => message.text())).toEqual(['a', 'c'])
    expect(member.begun).toEqual([0, 1, 2])
  })
})
