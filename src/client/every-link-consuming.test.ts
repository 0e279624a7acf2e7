/** Consuming over every link, against a real broker, with the same outcome. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { EmbeddedBroker } from '../composition/embedded-broker.ts'
import { utf8Text } from '../ports/index.ts'
import type { Client } from './client.ts'
import type { ClientMessage } from './client-message.ts'
import type { Subscription } from './subscription.ts'
import { batchOf, links, numbers, startBroker, take, textsOf } from './testing/every-link.ts'

describe.each(links)('the client over %s', (_name, setup) => {
  let broker: EmbeddedBroker
  let client: Client

  beforeEach(async () => {
    broker = await startBroker(setup.transports())
    client = await setup.client(broker)
  })

  afterEach(async () => {
    await client.close()
    await broker.stop()
  })

  it('keeps what comes while a group is away, and hands it out when it is back', async () => {
    await client.createTopic('orders')
    const live = await client.subscribe('orders')
    const first = await client.subscribe('orders', { group: 'g' })
    await first.close()
    for (const text of numbers(100)) await client.publish('orders', text)
    expect(textsOf(await take(live, 100))).toEqual(numbers(100))
    const back = await client.subscribe('orders', { group: 'g', delivery: 'at-most-once' })
    expect(textsOf(await take(back, 100))).toEqual(numbers(100))
    expect((await client.describeQueue('orders', 'g')).partitions[0]).toMatchObject({
      ackedOffset: 100,
      lag: 0,
    })
    for (const subscription of [live, back]) await subscription.close()
  })

  it('goes on in every form when all that comes is larger than what may wait here', async () => {
    await client.createTopic('orders')
    const texts = numbers(4).map((text) => text.padEnd(1_000, '.'))
    for (let i = 0; i < 4; i++)
      await client.publishBatch('orders', 0, batchOf(...texts.map((text) => `${i}${text}`)))
    const small = { from: 'earliest', prefetchBytes: 300 } as const
    const stream = await client.subscribe('orders', small)
    expect((await take(stream, 16)).map(({ offset }) => offset)).toEqual(numbers(16).map(Number))
    const member = await client.subscribe('orders', { ...small, group: 'g' })
    expect((await take(member, 16)).map(({ offset }) => offset)).toEqual(numbers(16).map(Number))
    let end = 0
    for await (const { nextOffset } of await client.batches('orders', small)) {
      end = nextOffset
      if (end === 16) break
    }
    expect(end).toBe(16)
    for (const subscription of [stream, member]) await subscription.close()
  })

  it('hands every message to every subscription, from where it asked for', async () => {
    await client.createTopic('orders')
    for (const [i, text] of numbers(10).entries())
      await client.publish('orders', text, { timestampMs: 1_000 + i })
    const froms = [
      ['earliest', 0],
      [{ offset: 4 }, 4],
      [{ timestampMs: 1_007 }, 7],
      [{ offsets: [{ partition: 0, offset: 9 }] }, 9],
      ['latest', 10],
      [undefined, 10],
    ] as const
    const subscriptions = await Promise.all(froms.map(([from]) => client.subscribe('orders', { from })))
    await client.publish('orders', 'new')
    for (const [i, [, start]] of froms.entries()) {
      const messages = await take(subscriptions[i], 11 - start)
      expect(messages.map((message) => message.offset)).toEqual(
        Array.from({ length: 11 - start }, (_, offset) => start + offset),
      )
      await subscriptions[i].close()
    }
  })

  it('calls handlers: returning acknowledges, throwing brings the message again', async () => {
    await client.createTopic('orders')
    const seen: string[] = []
    const done = Promise.withResolvers<void>()
    const subscription = await client.subscribe(
      'orders',
      async (message) => {
        seen.push(`${message.text()}#${message.attempt}`)
        if (message.text() === 'b' && message.attempt === 1) throw new Error('not yet')
        if (message.text() === 'c') done.resolve()
      },
      { group: 'billing', retry: { kind: 'fixed', delayMs: 1 } },
    )
    for (const text of ['a', 'b', 'c']) await client.publish('orders', text, { key: 'one' })
    await done.promise
    await subscription.close()
    expect(seen).toEqual(['a#1', 'b#1', 'b#2', 'c#1'])
    expect((await client.describeQueue('orders', 'billing')).partitions[0]).toMatchObject({
      ackedOffset: 3,
      lag: 0,
    })
  })

  it('goes on where the group was, and leaves unacknowledged messages to the next', async () => {
    await client.createTopic('orders')
    for (const text of numbers(6)) await client.publish('orders', text)
    const first = await client.subscribe('orders', { group: 'g', ack: 'manual' })
    const messages: ClientMessage[] = []
    while (messages.length < 4) messages.push(...(await first.take(4 - messages.length, { waitMs: 5_000 })))
    for (const message of messages) if (message.offset < 2) await message.ack()
    await first.close()
    const second = await client.subscribe('orders', { group: 'g' })
    expect(textsOf(await take(second, 4)).sort()).toEqual(['2', '3', '4', '5'])
    await second.close()
    expect(await client.listGroups('orders')).toEqual(['g'])
    expect(await client.seek('orders', 'g', { offset: 5 })).toEqual([{ partition: 0, offset: 5 }])
    const third = await client.subscribe('orders', { group: 'g' })
    expect(textsOf(await take(third, 1))).toEqual(['5'])
    await third.close()
    await client.deleteGroup('orders', 'g')
    expect(await client.listGroups('orders')).toEqual([])
  })

  it('goes on where a stream group of batches has committed', async () => {
    await client.createTopic('orders')
    for (const text of numbers(6)) await client.publish('orders', text)
    await client.commit('orders', 'g', [{ partition: 0, offset: 5 }])
    const batches = await client.batches('orders', { group: 'g' })
    const { value } = await batches[Symbol.asyncIterator]().next()
    expect(value?.fromOffset).toBe(5)
    value?.ack()
    await batches.close()
    expect((await client.describeGroup('orders', 'g')).partitions[0]).toMatchObject({
      committedOffset: 6,
      lag: 0,
    })
    // From batches to messages: the group goes on where it stands, as one of the other kind.
    await client.publish('orders', '6')
    const subscription = await client.subscribe('orders', { group: 'g' })
    const [message] = await subscription.take(1, { waitMs: 10_000 })
    expect(message.offset).toBe(6)
    await subscription.close()
    await expect(client.batches('orders', { group: 'g' })).rejects.toMatchObject({
      code: 'RTK_GROUP_MISMATCH',
    })
  })

  it('takes and settles without a subscription', async () => {
    await client.createTopic('orders')
    await client.createQueue('orders', 'g', { sharing: 'shared' }, { from: 'earliest' })
    for (const text of numbers(3)) await client.publish('orders', text)
    const taken = await client.take('orders', 'g', { messagesMax: 10, waitMs: 5_000 })
    const [batch] = taken.batches
    expect(Array.from(batch.messages(), (message) => utf8Text(message.payload))[0]).toBe('0')
    const { partition, lease, firstOffset: from } = batch
    const ack = { partition, lease, from, to: from + 1, action: 'ack' } as const
    const calls = { member: taken.member }
    expect(await client.settle('orders', 'g', [ack], calls)).toEqual([undefined])
    expect(await client.settle('orders', 'g', [{ ...ack, lease: 1 }])).toMatchObject([
      { code: 'RTK_LEASE_LOST' },
    ])
    await client.heartbeat('orders', 'g', taken.member)
    await client.leaveQueue('orders', 'g', taken.member)
    await expect(client.heartbeat('orders', 'g', taken.member)).rejects.toMatchObject({
      code: 'RTK_LEASE_LOST',
    })
    expect((await client.describeQueue('orders', 'g')).lag).toBe(2)
    await client.pauseQueue('orders', 'g')
    expect((await client.describeQueue('orders', 'g')).paused).toBe(true)
    expect((await client.take('orders', 'g')).batches).toEqual([])
    await client.resumeQueue('orders', 'g', { partitions: [0] })
    await client.resumeQueue('orders', 'g')
    expect((await client.alterQueue('orders', 'g', { retriesMax: 9 })).config.retriesMax).toBe(9)
  })

  it('shares partitions among the members of a group', async () => {
    await client.createTopic('orders', { partitions: 4 })
    const seen: string[][] = [[], []]
    const all = Promise.withResolvers<void>()
    const members: Subscription[] = []
    for (const own of seen) {
      members.push(
        await client.subscribe(
          'orders',
          (message) => {
            own.push(message.text())
            if (seen.flat().length === 40) all.resolve()
          },
          { group: 'g' },
        ),
      )
    }
    const description = await client.describeQueue('orders', 'g')
    expect(description.members.map((member) => member.partitions.length)).toEqual([2, 2])
    for (const [i, payload] of numbers(40).entries())
      await client.publish('orders', payload, { partition: i % 4 })
    await all.promise
    for (const member of members) await member.close()
    expect(seen.flat().sort()).toEqual(numbers(40).sort())
    expect(seen.map((own) => own.length)).toEqual([20, 20])
  })

  it('reads whole batches, also from the middle of one', async () => {
    await client.createTopic('orders')
    await client.publishBatch('orders', 0, batchOf('a', 'b', 'c'))
    const texts: string[] = []
    for await (const batch of await client.batches('orders', { from: { offset: 1 } })) {
      for (const record of batch.records()) {
        texts.push(utf8Text(record.bytes.subarray(record.valueStart, record.valueEnd)))
      }
      if (texts.length === 2) break
    }
    expect(texts).toEqual(['b', 'c'])
  })

  it('reads compressed batches', async () => {
    await client.createTopic('orders')
    for (const compression of ['gzip', 'zstd'] as const) {
      await using producer = client.producer({ compression })
      await producer.publishMany('orders', [{ payload: compression }, { payload: compression.repeat(100) }])
    }
    const subscription = await client.subscribe('orders', { from: 'earliest' })
    expect(textsOf(await take(subscription, 4))).toEqual([
      'gzip',
      'gzip'.repeat(100),
      'zstd',
      'zstd'.repeat(100),
    ])
    await subscription.close()
  })

  it('never has more on its way than the credit given, and loses nothing by it', async () => {
    await client.createTopic('orders')
    await using producer = client.producer({ batchBytesMax: 8_192 })
    await producer.addAll(
      'orders',
      numbers(2_000).map((text) => ({ payload: text.padEnd(100, '.') })),
    )
    const subscription = await client.subscribe('orders', { from: 'earliest', prefetchBytes: 20_000 })
    const messages = await take(subscription, 2_000)
    expect(messages.map((message) => message.offset)).toEqual(Array.from({ length: 2_000 }, (_, i) => i))
    await subscription.close()
  })

  it('ends a subscription whose topic is deleted', async () => {
    await client.createTopic('orders')
    const subscription = await client.subscribe('orders', () => {})
    await client.deleteTopic('orders')
    expect(await subscription.closed).toMatchObject({ code: 'RTK_TOPIC_DELETED' })
  })
})
