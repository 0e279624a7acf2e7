import { describe, expect, it } from 'vitest'
import { BatchBuilder, messagesOf, portableCrc32c, utf8, utf8Text } from '../../ports/index.ts'
import { QueueBench } from './testing/queue-bench.ts'

const shared = { sharing: 'shared', retry: { kind: 'fixed', delayMs: 100 } } as const

/** The dead letters of the topic: payload, and the headers that say why. */
async function lettersOf(bench: QueueBench, topic = 'orders.dlq') {
  const { bytes, topicId } = await bench.session.fetch(topic, { partition: 0, offset: 'earliest' })
  const source = { topic, topicId, partition: 0, expansion: { codecs: new Map(), bytesMax: 1_000_000 } }
  return [...messagesOf(bytes, source)].map((message) => ({
    text: utf8Text(message.payload),
    key: message.key && utf8Text(message.key),
    ...Object.fromEntries(
      message.headers.map(([name, value]) => [name.replace('rtk-dead-letter-', ''), utf8Text(value)]),
    ),
  }))
}

describe('dead letters', () => {
  it('are messages whose retries are used up, with all that is known of them', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1, { key: utf8('k'), headers: [['h', utf8('v')]] })
    const sink = await bench.join({ config: shared })
    const firstAt = bench.bench.clock.now()
    for (let attempt = 1; attempt <= 4; attempt++) {
      expect(sink.batches).toHaveLength(attempt)
      await sink.settle(attempt - 1, 'nack', { reason: `failed ${attempt}` })
      await bench.pass(100)
    }
    expect(sink.batches).toHaveLength(4)
    expect(await lettersOf(bench)).toEqual([
      {
        text: 'm0',
        key: 'k',
        h: 'v',
        reason: 'retries',
        error: 'failed 4',
        attempts: '4',
        'first-at': String(firstAt),
        'last-at': String(firstAt + 300),
        topic: 'orders',
        partition: '0',
        offset: '0',
        group: 'g',
        timestamp: String(firstAt),
      },
    ])
    expect(await bench.describe()).toMatchObject({ lag: 0 })
    expect(bench.bench.hooks.of('deadLettered')).toEqual([
      {
        topic: 'orders',
        partition: 0,
        group: 'g',
        offset: 0,
        reason: 'retries',
        attempts: 4,
        deadLetterTopic: 'orders.dlq',
      },
    ])
  })

  it('are at once what a member terminates, with its reason cut to what fits', async () => {
    const bench = await QueueBench.start({ limits: { settleReasonBytesMax: 7 } })
    await bench.publish(2)
    const sink = await bench.join({ config: shared })
    await sink.settle(0, 'terminate', { from: 1, reason: 'ääääää' })
    await bench.pass(0)
    expect(await lettersOf(bench)).toMatchObject([
      { text: 'm1', reason: 'terminated', error: 'äää', attempts: '1' },
    ])
    expect(await bench.describe()).toMatchObject({ lag: 1 })
  })

  it('are kept and tried again until they are stored; their key waits as long', async () => {
    const bench = await QueueBench.start()
    await bench.publishKeys('a', 'a', 'b')
    const sink = await bench.join({ config: { retriesMax: 0, ackTimeoutMs: 1_000_000 } })
    const { logs } = bench.bench
    logs.onAppend = () => {
      throw new Error('no medium')
    }
    logs.onOpen = () => {
      throw new Error('no medium')
    }
    await sink.settle(0, 'nack', { from: 0, to: 1 })
    await bench.pass(60_000)
    expect(bench.bench.logged('a dead letter could not be stored').length).toBeGreaterThan(2)
    expect(sink.offsets.filter((offset) => offset === 1)).toHaveLength(1) // as it came first
    expect(await bench.describe()).toMatchObject({ partitions: [{ ackedOffset: 0 }] })
    logs.onAppend = () => {}
    logs.onOpen = () => {}
    await bench.pass(120_000)
    expect(await lettersOf(bench)).toMatchObject([{ offset: '0' }])
    expect(sink.offsets.filter((offset) => offset === 1)).toHaveLength(2)
  })

  it('survive a crash on their way', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const sink = await bench.join({ config: shared })
    bench.bench.logs.onOpen = () => {
      throw new Error('no medium')
    }
    await sink.settle(0, 'terminate', { reason: 'hopeless' })
    await bench.pass(100)
    bench.bench.logs.onOpen = () => {}
    await bench.crash()
    await bench.pass(1_000) // no member is needed
    expect(await bench.describe()).toMatchObject({ lag: 0 })
    expect(await lettersOf(bench)).toMatchObject([{ text: 'm0', reason: 'terminated', error: 'hopeless' }])
  })

  it('say why what was given up in an earlier run of the broker was given up', async () => {
    const bench = await QueueBench.start()
    await bench.publish(3)
    const sink = await bench.join({ config: { ...shared, retriesMax: 0 } })
    bench.bench.logs.onOpen = () => {
      throw new Error('no medium')
    }
    await sink.settle(0, 'terminate', { from: 0, to: 1, reason: 'hopeless' })
    await sink.settle(0, 'nack', { from: 1, to: 2, reason: 'x'.repeat(1_000) })
    await bench.pass(30_000)
    await bench.restart()
    await bench.restart()
    bench.bench.logs.onOpen = () => {}
    await bench.join()
    await bench.pass(60_000)
    expect(await lettersOf(bench)).toMatchObject([
      { text: 'm0', reason: 'terminated', error: 'hopeless' },
      { text: 'm1', reason: 'retries', error: 'x'.repeat(256) },
      { text: 'm2', reason: 'retries', error: 'not settled within the ack timeout' },
    ])
  })

  it('go to the topic that the group names, or nowhere', async () => {
    const bench = await QueueBench.start()
    await bench.publish(1)
    const named = await bench.join({ config: { ...shared, deadLetterTopic: 'graveyard' } })
    await named.settle(0, 'terminate')
    const none = await bench.join({ group: 'h', config: { ...shared, deadLetterTopic: 'none' } })
    await none.settle(0, 'terminate')
    await bench.pass(0)
    expect(await lettersOf(bench, 'graveyard')).toHaveLength(1)
    expect(await bench.session.topicExists('orders.dlq')).toBe(false)
    expect(bench.bench.hooks.of('deadLettered').map(({ deadLetterTopic }) => deadLetterTopic)).toEqual([
      'graveyard',
      undefined,
    ])
  })
})

describe('messages that expire', () => {
  it.each(['shared', 'partitioned', 'keyShared'] as const)(
    'are passed over in a %s group',
    async (sharing) => {
      const bench = await QueueBench.start()
      await bench.publish(1, { ttlMs: 1_000 })
      await bench.publish(1)
      await bench.pass(1_000)
      const sink = await bench.join({ config: { sharing } })
      expect(sink.offsets).toEqual([1])
      expect(await bench.describe()).toMatchObject({ lag: 1, partitions: [{ ackedOffset: 1 }] })
    },
  )

  it.each(['shared', 'partitioned'] as const)(
    'become dead letters in a %s group that wants that',
    async (sharing) => {
      const bench = await QueueBench.start()
      await bench.publish(2, { ttlMs: 1_000 })
      const sink = await bench.join({ config: { sharing, deadLetterExpired: true }, credit: { messages: 1 } })
      expect(sink.offsets).toEqual([0])
      await bench.pass(1_000)
      sink.subscription.grant({ messages: 1 })
      await bench.pass(0)
      expect(sink.offsets).toEqual([0])
      expect(await lettersOf(bench)).toMatchObject([{ text: 'm1', reason: 'expired', attempts: '0' }])
    },
  )
})

describe('batches that nobody here can decode', () => {
  it.each(['shared', 'partitioned'] as const)('go out as they are in a %s group', async (sharing) => {
    const bench = await QueueBench.start({ settings: { verifyRecords: false } })
    const codec = {
      id: 4,
      name: 'zstd',
      compress: (bytes: Uint8Array) => bytes,
      decompress: () => new Uint8Array(),
    }
    const builder = new BatchBuilder({ checksum: portableCrc32c, compression: codec })
    for (const text of ['a', 'b']) builder.add({ payload: utf8(text), timestampMs: 0 })
    await bench.publish(1)
    await bench.session.publishBatch('orders', 0, builder.build())
    await bench.publish(1)
    const sink = await bench.join({ config: { sharing } })
    await bench.pass(0)
    expect(sink.batches.reduce((sum, { recordCount }) => sum + recordCount, 0)).toBe(4)
  })
})
