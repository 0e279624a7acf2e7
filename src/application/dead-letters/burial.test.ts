import { describe, expect, it } from 'vitest'
import { crcStart } from '../../domain/batch/header.ts'
import { BatchBuilder, portableCrc32c, RatatoskrError, utf8, utf8Text } from '../../ports/index.ts'
import { QueueSink } from '../queues/testing/queue-sink.ts'
import { LetterBench } from './testing/letter-bench.ts'

const gone = (): never => {
  throw new RatatoskrError('RTK_STORE_FAILED', 'the process is gone')
}

/** The log of the dead letter topic. */
async function letterLog(bench: LetterBench, topic = 'orders.dlq'): Promise<string> {
  return (await bench.session.describeTopic(topic)).id
}

describe('burying', () => {
  it('writes what comes together as few batches', async () => {
    const bench = await LetterBench.start()
    await bench.queue.publish(100)
    const sink = await bench.queue.join({ config: { sharing: 'shared' } })
    const before = bench.queue.bench.logs.appends
    await sink.settle(0, 'terminate')
    await bench.queue.pass(0)
    expect(await bench.letters()).toHaveLength(100)
    expect(bench.queue.bench.logs.appends - before).toBeLessThanOrEqual(10)
  })

  it('keeps letters for as long as the group says, whatever their age and whatever their source keeps', async () => {
    const bench = await LetterBench.start({ settings: { retentionIntervalMs: 1_000 } })
    await bench.session.alterTopic('orders', { retentionMs: 5_000 })
    await bench.queue.publish(1, { timestampMs: 1 }) // older than any retention
    await bench.giveUp({ config: { deadLetterRetentionMs: 100_000 } })
    expect((await bench.session.describeTopic('orders.dlq')).config).toMatchObject({
      partitions: 1,
      retentionMs: 100_000,
      retentionMessages: -1,
    })
    await bench.queue.pass(90_000)
    expect(await bench.letters()).toHaveLength(1)
    await bench.bury(1) // only segments that are not written to are deleted
    await bench.queue.pass(20_000)
    expect((await bench.letters()).map(({ source }) => source.offset)).not.toContain(0)
  })

  it('is as durable as the source at least', async () => {
    const bench = await LetterBench.start({ durability: ['memory', 'fsync'] })
    await bench.session.createTopic('orders.dlq', { durability: 'memory' })
    const levels: string[] = []
    const { logs } = bench.queue.bench
    const id = await letterLog(bench)
    logs.onAppended = (log, level) => {
      if (log.topicId === id) levels.push(level)
    }
    await bench.bury(1)
    expect(levels).toEqual(['fsync'])
  })

  it('does not mind limits of the dead letter topic that the message is beyond', async () => {
    const bench = await LetterBench.start()
    await bench.session.createTopic('orders.dlq', { messageBytesMax: 1_024 })
    await bench.bury(1, { payload: new Uint8Array(100_000) })
    expect((await bench.letters())[0].payload).toHaveLength(100_000)
  })

  it('makes no chain of topics: what fails in a dead letter topic stays there', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    const sink = new QueueSink()
    await bench.settled(
      sink.join(bench.session, 'orders.dlq', {
        group: 'w',
        credit: { messages: 9 },
        config: { retriesMax: 0 },
      }),
    )
    await bench.queue.pass(0)
    await sink.settle(0, 'terminate')
    await bench.queue.pass(1_000)
    expect(bench.queue.bench.hooks.of('deadLettered').at(-1)).toMatchObject({
      topic: 'orders.dlq',
      deadLetterTopic: 'orders.dlq',
    })
    expect(await bench.session.topicExists('orders.dlq.dlq')).toBe(false)
    expect(await bench.letters()).toHaveLength(1)
    expect(await bench.messages('orders.dlq')).toHaveLength(1)
  })

  it.each([
    ['is full', () => new RatatoskrError('RTK_STORE_FULL', 'no room')],
    ['cannot be written', () => new Error('no medium')],
  ])('keeps the message while the dead letter topic %s, and says so', async (_, error) => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    const { logs, broker } = bench.queue.bench
    const id = await letterLog(bench)
    logs.onAppend = ({ topicId }) => {
      if (topicId === id) throw error()
    }
    await bench.bury(2)
    await bench.queue.pass(10_000)
    expect(broker.health()).toMatchObject({
      status: 'degraded',
      components: expect.arrayContaining([
        expect.objectContaining({ name: 'dead letters to orders.dlq', status: 'degraded' }),
      ]),
    })
    expect(await bench.session.describeQueue('orders', 'g')).toMatchObject({ lag: 2 })
    logs.onAppend = () => {}
    await bench.queue.pass(120_000)
    expect(await bench.session.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
    expect((await bench.letters()).map(({ source }) => source.offset).toSorted()).toEqual([0, 1, 2])
    expect(broker.health().status).toBe('ok')
  })

  it('goes on when the dead letter topic was deleted', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    await bench.settled(bench.session.deleteTopic('orders.dlq'))
    await bench.bury(1)
    await bench.queue.pass(1_000)
    expect((await bench.letters()).map(({ source }) => source.offset)).toEqual([1])
  })
})

describe('a dead letter topic that is the topic itself', () => {
  it.each(['orders', '_scheduled'])('is refused wherever it is said: %s', async (deadLetterTopic) => {
    const bench = await LetterBench.start()
    const { session } = bench
    const refused = { code: 'RTK_INVALID_ARGUMENT', message: expect.stringContaining('deadLetterTopic') }
    const config = { deadLetterTopic }
    await session.createQueue('orders', 'known')
    await expect(session.createQueue('orders', 'h', config)).rejects.toMatchObject(refused)
    await expect(session.alterQueue('orders', 'known', config)).rejects.toMatchObject(refused)
    for (const group of ['h', 'known']) {
      await expect(bench.queue.join({ group, config })).rejects.toMatchObject(refused)
      const taking = session.take('orders', { group, messagesMax: 1, bytesMax: 1_000, config })
      await expect(taking).rejects.toMatchObject(refused)
    }
    await expect(session.alterTopic('orders', { queue: config })).rejects.toMatchObject(refused)
    await session.deleteTopic('orders')
    await expect(session.createTopic('orders', { queue: config })).rejects.toMatchObject(refused)
  })

  it('stands for the default in settings of before', async () => {
    const bench = await LetterBench.start()
    await bench.session.createQueue('orders', 'g', { retriesMax: 0, sharing: 'shared' })
    const { state } = bench.queue.bench
    const [key] = state.keys.filter((one) => /^queues\/[^/]+\/g$/.test(one))
    const { own, ...rest } = JSON.parse(utf8Text((await state.get(key))?.value ?? new Uint8Array()))
    await state.put(key, utf8(JSON.stringify({ ...rest, own: { ...own, deadLetterTopic: 'orders' } })))
    await bench.queue.crash()
    await bench.bury(1)
    expect((await bench.session.describeQueue('orders', 'g')).config.deadLetterTopic).toBe('orders')
    expect((await bench.letters()).map(({ source }) => source.offset)).toEqual([0])
    expect(await bench.messages('orders.dlq')).toHaveLength(1)
  })

  it('may be that of which a default of all topics says so', async () => {
    const settings = { topicDefaults: { queue: { deadLetterTopic: 'grave' } } } as never
    const bench = await LetterBench.start({ settings })
    const { topic } = await bench.session.createTopic('grave', { queue: { retriesMax: 1 } })
    expect(topic.config.queue).toMatchObject({ retriesMax: 1 })
  })
})

describe('topics that are the dead letter topics of each other', () => {
  it('pass a message on so many times, and then it stays in the default one', async () => {
    const bench = await LetterBench.start()
    const { session } = bench
    await session.createTopic('rb')
    const config = { sharing: 'shared', retriesMax: 0 } as const
    const sinks = new Map<string, QueueSink>()
    for (const [topic, deadLetterTopic] of [
      ['orders', 'rb'],
      ['rb', 'orders'],
    ]) {
      const sink = new QueueSink()
      const options = { group: 'g', credit: { messages: 1_000 }, config: { ...config, deadLetterTopic } }
      await bench.settled(sink.join(session, topic, options))
      sinks.set(topic, sink)
    }
    await bench.queue.publish(2)
    const handled = new Map<string, number>()
    for (let round = 0; round < 30; round++) {
      for (const [topic, { subscription, batches }] of sinks) {
        const from = handled.get(topic) ?? 0
        handled.set(topic, batches.length)
        for (const { partition, lease, firstOffset, lastOffset } of batches.slice(from)) {
          const range = { partition, lease, from: firstOffset, to: lastOffset + 1 }
          await subscription.settle([{ action: 'nack', ...range }])
        }
        await bench.queue.pass(10)
      }
    }
    // Published, and four times buried there: the ninth burial is at the end.
    expect(await bench.messages('orders')).toHaveLength(2 * 5)
    expect(await bench.messages('rb')).toHaveLength(2 * 4)
    const letters = await bench.messages('orders.dlq')
    expect(letters).toHaveLength(2)
    const hops = letters[0].headers.find(([name]) => name === 'rtk-dead-letter-hops')?.[1]
    expect(hops && utf8Text(hops)).toBe('9')
    expect(await session.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
    const said = bench.queue.bench.logged('dead letters go from topic to topic')
    expect(said).toMatchObject([{ level: 'error', fields: { topic: 'orders', named: 'rb' } }])
    await session.redriveDeadLetters('orders', { deadLetterTopic: 'orders.dlq' })
    const again = (await bench.messages('orders')).at(-1)?.headers.map(([name]) => name)
    expect(again).not.toContain('rtk-dead-letter-hops')
  })
})

describe('messages that expire', () => {
  it('stay until the group has buried them, whatever sweeps the log', async () => {
    const bench = await LetterBench.start({ settings: { retentionIntervalMs: 1_000 } })
    await bench.session.createQueue('orders', 'g', { deadLetterExpired: true })
    for (let n = 0; n < 3; n++) await bench.queue.publish(1, { ttlMs: 5_000 })
    await bench.queue.publish(1) // only segments that are not written to are deleted
    await bench.queue.pass(60_000)
    expect((await bench.session.describeTopic('orders')).partitions[0].startOffset).toBe(0)
    await bench.queue.join()
    await bench.queue.pass(2_000)
    const letters = await bench.letters()
    expect(letters.map(({ reason, attempts, source }) => [reason, attempts, source.offset])).toEqual(
      [0, 1, 2].map((offset) => ['expired', 0, offset]),
    )
    expect(letters[0].firstAtMs).toBeUndefined()
    await bench.queue.pass(10_000)
    expect((await bench.session.describeTopic('orders')).partitions[0].startOffset).toBe(3)
    expect(await bench.session.redriveDeadLetters('orders')).toMatchObject({ redriven: 3 })
    expect((await bench.messages()).at(-1)?.expiresAtMs).toBeUndefined()
  })
})

describe('a letter that may have been buried before', () => {
  it('is written once when the broker crashes before the source knows', async () => {
    const bench = await LetterBench.start()
    const { state } = bench.queue.bench
    await bench.bury(3)
    await bench.queue.pass(1_000)
    state.onChange = (changes) => {
      if (changes.some(({ key }) => key.startsWith('queues/'))) gone()
    }
    await bench.bury(3)
    expect(await bench.letters()).toHaveLength(6)
    await bench.queue.crash()
    await bench.giveUp()
    await bench.queue.pass(1_000)
    expect((await bench.letters()).map(({ source }) => source.offset)).toEqual([0, 1, 2, 3, 4, 5])
    expect(await bench.session.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
  })

  it('is written once when its append failed though it is stored', async () => {
    const bench = await LetterBench.start()
    const { logs } = bench.queue.bench
    await bench.bury(1)
    const id = await letterLog(bench)
    logs.onAppended = ({ topicId }) => {
      if (topicId === id) gone()
    }
    await bench.bury(2)
    logs.onAppended = () => {}
    await bench.queue.pass(120_000)
    expect((await bench.letters()).map(({ source }) => source.offset)).toEqual([0, 1, 2])
    expect(await bench.session.describeQueue('orders', 'g')).toMatchObject({ lag: 0 })
  })

  it('is written once when it expired beyond what was delivered, and the broker stops before the source knows', async () => {
    const bench = await LetterBench.start()
    const { logs } = bench.queue.bench
    await bench.bury(1, {}, 'other')
    const id = await letterLog(bench)
    await bench.queue.publish(1, { ttlMs: 500 })
    await bench.queue.pass(500)
    logs.onAppended = ({ topicId }) => {
      if (topicId === id) gone()
    }
    const config = { sharing: 'keyShared', deadLetterExpired: true } as const
    const sink = await bench.queue.join({ config, credit: { messages: 1 } })
    expect(sink.offsets).toEqual([0])
    expect(bench.queue.bench.logged('a dead letter could not be stored')).toHaveLength(1)
    await bench.queue.restart()
    logs.onAppended = () => {}
    await bench.queue.pass(60_000)
    expect((await bench.letters({ group: 'g' })).map(({ source }) => source.offset)).toEqual([1])
  })

  it('is a new one after a seek', async () => {
    const bench = await LetterBench.start()
    const { state } = bench.queue.bench
    await bench.queue.publish(1)
    state.onChange = (changes) => {
      if (changes.some(({ key }) => key.startsWith('queues/') && key.endsWith('/0'))) return
    }
    await bench.giveUp()
    await bench.session.redriveDeadLetters('orders')
    await bench.queue.crash()
    await bench.settled(bench.session.seekGroup('orders', 'g', { position: 'earliest' }))
    await bench.giveUp()
    expect((await bench.letters()).map(({ source }) => source.offset)).toEqual([0, 1])
  })

  it('is one of another message when the topic is another one of the same name', async () => {
    const bench = await LetterBench.start()
    await bench.bury(1)
    await bench.settled(bench.session.deleteTopic('orders'))
    await bench.session.createTopic('orders')
    await bench.queue.publish(1, { payload: utf8('other') })
    await bench.queue.crash()
    await bench.giveUp()
    expect((await bench.letters()).map(({ payload }) => utf8Text(payload))).toEqual(['m0', 'other'])
  })

  it('is looked for only where that can be', async () => {
    const bench = await LetterBench.start()
    for (let round = 0; round < 12; round++) {
      await bench.bury(200)
      await bench.queue.pass(1_000)
    }
    const { state } = bench.queue.bench
    const key = `dead-letters/${await letterLog(bench)}/position`
    const stored = await state.get(key)
    expect(Number(utf8Text(stored?.value ?? utf8('0')))).toBeGreaterThan(900)
    await bench.queue.restart()
    const after = await state.get(key)
    expect(Number(utf8Text(after?.value ?? utf8('0')))).toBeGreaterThan(1_900)
  })
})

describe('messages that cannot be decoded', () => {
  const unknownCodec = { id: 4, compress: (bytes: Uint8Array) => bytes }

  /** Two batches that cannot be decoded, of 20 messages and of 1, among messages that can, all given up at once. */
  async function buriedBatches(config: object = {}) {
    const bench = await LetterBench.start({ settings: { verifyRecords: false } })
    const builder = new BatchBuilder({ checksum: portableCrc32c, compression: unknownCodec })
    await bench.queue.publish(1)
    const batches: Uint8Array[] = []
    for (const count of [20, 1]) {
      for (let i = 0; i < count; i++) builder.add({ payload: utf8(`u${i}`), timestampMs: 5_000 })
      const batch = builder.build()
      batches.push(batch.slice())
      await bench.session.publishBatch('orders', 0, batch)
    }
    await bench.queue.publish(1)
    await bench.giveUp({ config })
    await bench.queue.pass(0)
    return { bench, batches }
  }

  it.each([{}, { deadLetterTopic: 'graves' }])(
    'keep their batch once, and are never tried again (%j)',
    async (config) => {
      const { bench, batches } = await buriedBatches(config)
      const letters = await bench.letters({ group: 'g' })
      expect(letters.map(({ source }) => source.offset)).toEqual(Array.from({ length: 23 }, (_, i) => i))
      expect(utf8Text(letters[0].payload)).toBe('m0')
      expect(utf8Text(letters[22].payload)).toBe('m0')
      const withBatch = letters.slice(1, 22).filter(({ payload }) => payload.length > 0)
      expect(withBatch.map(({ source }) => source.offset)).toEqual([1, 21])
      for (const [i, { payload }] of withBatch.entries()) {
        expect(payload.subarray(crcStart)).toEqual(batches[i].subarray(crcStart)) // before it the broker stamps
      }
      expect(letters[2]).toMatchObject({ reason: 'retries', timestampMs: 5_000, headers: [] })
      expect(letters[2].error).toMatch(/^error 2 of g; undecodable: RTK_COMPRESSION_UNAVAILABLE/)
      expect(await bench.queue.describe()).toMatchObject({ lag: 0 })
      expect(bench.queue.bench.logged('could not be stored')).toEqual([])
      expect(bench.queue.bench.logged('cannot be decoded; its letter has')).toHaveLength(2)
      expect(bench.queue.bench.hooks.of('deadLettered')).toHaveLength(23)
    },
  )

  it('are not published again, by force neither, and can be let go of', async () => {
    const { bench } = await buriedBatches()
    const counts = { matched: 23, redriven: 2, refused: 21 }
    expect(await bench.session.redriveDeadLetters('orders', { force: true })).toMatchObject(counts)
    expect(await bench.session.purgeDeadLetters('orders')).toMatchObject({ purged: 21 })
    expect(await bench.letters()).toEqual([])
  })

  it('have their batch again in a dead letter topic that begins anew', async () => {
    const { bench } = await buriedBatches()
    await bench.session.deleteTopic('orders.dlq')
    await bench.session.createQueue('orders', 'other', { sharing: 'shared', retriesMax: 0 })
    await bench.giveUp({ group: 'other' })
    await bench.queue.pass(0)
    const letters = await bench.letters({ group: 'other' })
    expect(letters.filter(({ payload }) => payload.length > 2)).toHaveLength(2)
  })
})
