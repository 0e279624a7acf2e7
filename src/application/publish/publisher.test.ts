import { describe, expect, it } from 'vitest'
import {
  BatchBuilder,
  type BatchReceipt,
  baseOffsetOf,
  batchSizeOf,
  isUuid,
  type Message,
  type OutgoingMessage,
  type PublishReceipt,
  partitionForKey,
  portableCrc32c,
  RatatoskrError,
  recordCountOf,
  type Session,
  utf8,
  utf8Text,
} from '../../ports/index.ts'
import { type BenchOptions, BrokerBench, batchOf, codeOf, message, settled } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'

async function started(
  partitions = 1,
  options: BenchOptions = {},
): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench(options)
  const session = await bench.start()
  await session.createTopic('orders', { partitions })
  return { bench, session }
}

const joined = (...batches: Uint8Array[]): Uint8Array =>
  Uint8Array.from(batches.flatMap((batch) => [...batch]))

async function messagesIn(session: Session): Promise<Message[]> {
  const found: Message[] = []
  await session.subscribeMessages(
    'orders',
    { from: 'earliest', credit: { messages: 1_000 } },
    { deliver: (one) => void found.push(one), ended: () => {} },
  )
  await settled()
  return found
}

describe('a message', () => {
  it('comes back as it was given', async () => {
    const { session } = await started()
    const id = '3F0CDD6C-57D5-4F65-8C8A-97C9E5C0FA20'
    const given: OutgoingMessage = {
      payload: new Uint8Array(0),
      key: utf8('customer-7'),
      headers: [
        ['trace', utf8('1')],
        ['trace', new Uint8Array([0, 255])],
        ['__proto__', utf8('x')],
      ],
      id,
      timestampMs: 17,
    }
    const receipt = await session.publish('orders', given)
    expect(receipt).toEqual({ id: id.toLowerCase(), partition: 0, offset: 0, durability: 'memory' })
    const [got] = await messagesIn(session)
    const { id: gotId, topic, partition, offset, timestampMs, payload, key, headers } = got
    expect({ id: gotId, topic, partition, offset, timestampMs, payload, key, headers }).toEqual({
      id: id.toLowerCase(),
      topic: 'orders',
      partition: 0,
      offset: 0,
      timestampMs: 17,
      payload: given.payload,
      key: given.key,
      headers: given.headers,
    })
  })

  it('expires so long after the broker took it, by the clock of the broker, or when it says', async () => {
    const { bench, session } = await started()
    const nowMs = bench.clock.now()
    await session.publish('orders', message('a', { ttlMs: 1_000, timestampMs: 17 }))
    await bench.clock.advance(10)
    await session.publish('orders', message('b', { ttlMs: 1_000 }))
    await session.publish('orders', message('c', { expiresAtMs: nowMs + 5 }))
    await session.publish('orders', message('d', { expiresAtMs: nowMs + 3_000, headers: [['h', utf8('1')]] }))
    const got = await messagesIn(session)
    expect(got.map(({ payload, expiresAtMs }) => [utf8Text(payload), expiresAtMs])).toEqual([
      ['a', nowMs + 1_000],
      ['b', nowMs + 1_010],
      ['d', nowMs + 3_000],
    ])
    expect(got[2].headers).toEqual([['h', utf8('1')]])
    await expect(session.publish('orders', message('x', { ttlMs: 1, expiresAtMs: 1 }))).rejects.toThrow(
      'not both',
    )
    await expect(
      session.publish('orders', message('x', { headers: [['rtk-expires-at', new Uint8Array(8)]] })),
    ).rejects.toMatchObject({ code: 'RTK_HEADER_INVALID' })
  })

  it('gets an id of version 4 and the time of the broker when it has none', async () => {
    const { bench, session } = await started()
    const receipts = await Promise.all(
      Array.from({ length: 600 }, () => session.publish('orders', message('x'))),
    )
    const ids = new Set(receipts.map(({ id }) => id))
    expect(ids.size).toBe(600)
    for (const id of ids) expect(isUuid(id) && id[14] === '4' && '89ab'.includes(id[19])).toBe(true)
    const [first] = await messagesIn(session)
    expect(first).toMatchObject({ timestampMs: bench.clock.now() })
    expect(first.id).toBe(receipts[0].id)
  })

  it.each<[string, unknown]>([
    ['RTK_INVALID_ARGUMENT', undefined],
    ['RTK_INVALID_ARGUMENT', { payload: 'text' }],
    ['RTK_INVALID_ARGUMENT', { payload: utf8(''), id: 'no' }],
    ['RTK_INVALID_ARGUMENT', { payload: utf8(''), timestampMs: -1 }],
    ['RTK_HEADER_INVALID', { payload: utf8(''), headers: [['rtk-id', utf8('x')]] }],
    ['RTK_PARTITION_NOT_FOUND', { payload: utf8(''), partition: 1 }],
    ['RTK_MESSAGE_TOO_LARGE', { payload: new Uint8Array(2_001) }],
  ])('is refused with %s when it is wrong', async (code, given) => {
    const { bench, session } = await started(1, { settings: { topicDefaults: { messageBytesMax: 2_000 } } })
    expect(await codeOf(() => session.publish('orders', given as OutgoingMessage))).toBe(code)
    expect(bench.hooks.of('publishFailed')).toMatchObject([
      { topic: 'orders', recordCount: 1, error: { code } },
    ])
    expect(bench.logs.appends).toBe(0)
  })

  it('is bounded by what one batch can hold', async () => {
    const { session } = await started(1, { limits: { batchBytesMax: 10_000 } })
    expect(await codeOf(() => session.publish('orders', { payload: new Uint8Array(9_990) }))).toBe(
      'RTK_MESSAGE_TOO_LARGE',
    )
    await session.publish('orders', { payload: new Uint8Array(5_000) })
  })
})

describe('the partition', () => {
  it('of a key is always the same, and the one that Kafka chooses', async () => {
    const { session } = await started(7)
    for (const key of ['a', 'b', 'customer-7']) {
      const receipts = await Promise.all(
        [1, 2].map(() => session.publish('orders', message('x', { key: utf8(key) }))),
      )
      const expected = partitionForKey(utf8(key), 7)
      expect(receipts.map(({ partition }) => partition)).toEqual([expected, expected])
    }
  })

  it('of messages without a key changes with each batch, not within one', async () => {
    const { session } = await started(3)
    const seen: number[][] = []
    for (let turn = 0; turn < 3; turn++) {
      const receipts = await Promise.all([1, 2, 3].map(() => session.publish('orders', message('x'))))
      seen.push([...new Set(receipts.map(({ partition }) => partition))])
    }
    expect(seen.map((partitions) => partitions.length)).toEqual([1, 1, 1])
    expect(new Set(seen.flat()).size).toBe(3)
  })

  it('that is down is passed over by messages without a key', async () => {
    const { bench, session } = await started(2)
    bench.logs.onAppend = ({ partition }) => {
      if (partition === 0) throw new Error('broken')
    }
    await codeOf(() => session.publish('orders', message('x', { partition: 0 })))
    const receipts: PublishReceipt[] = []
    for (let i = 0; i < 4; i++) receipts.push(await session.publish('orders', message('x')))
    expect(receipts.map(({ partition }) => partition)).toEqual([1, 1, 1, 1])
  })

  it("is nobody's when all are down", async () => {
    const { bench, session } = await started(2)
    bench.logs.onAppend = () => {
      throw new Error('broken')
    }
    for (const partition of [0, 1]) await codeOf(() => session.publish('orders', message('x', { partition })))
    expect(await codeOf(() => session.publish('orders', message('x')))).toBe('RTK_UNAVAILABLE')
  })
})

describe('many messages', () => {
  it('succeed and fail each on its own, in the order they were given', async () => {
    const { session } = await started(2)
    const results = await session.publishMany('orders', [
      message('a', { partition: 0 }),
      message('b', { partition: 9 }),
      message('c', { partition: 1 }),
      message('d', { partition: 0, headers: [['', utf8('x')]] }),
      message('e', { partition: 0 }),
    ])
    expect(results).toMatchObject([
      { partition: 0, offset: 0 },
      { error: { code: 'RTK_PARTITION_NOT_FOUND' } },
      { partition: 1, offset: 0 },
      { error: { code: 'RTK_HEADER_INVALID' } },
      { partition: 0, offset: 1 },
    ])
  })

  it('are refused as a whole when they are too many or no list', async () => {
    const { session } = await started(1, { limits: { messagesPerBatchMax: 2 } })
    expect(await codeOf(() => session.publishMany('orders', Array(3).fill(message('x'))))).toBe(
      'RTK_BATCH_TOO_LARGE',
    )
    expect(await codeOf(() => session.publishMany('orders', 'x' as never))).toBe('RTK_INVALID_ARGUMENT')
    expect(await session.publishMany('orders', [])).toEqual([])
  })
})

describe('a batch', () => {
  it('is stored as the same bytes, with its offset written in', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('before'))
    const batch = batchOf(['a', 'b'])
    const receipt = session.publishBatch('orders', 0, batch)
    expect(receipt).toEqual({ partition: 0, baseOffset: 1, recordCount: 2, durability: 'memory' })
    expect(baseOffsetOf(batch)).toBe(1)
    const [kept] = bench.logs.kept.values()
    expect(kept.batches[1]).toEqual(batch)
  })

  it('settles when the store has settled', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    let receipt: BatchReceipt | undefined
    const pending = session.publishBatch('orders', 0, batchOf(['a'])) as Promise<BatchReceipt>
    void pending.then((got) => (receipt = got))
    await settled()
    expect(receipt).toBeUndefined()
    gate.release()
    await settled()
    expect(receipt).toMatchObject({ baseOffset: 0 })
  })

  it('may be several, back to back, that settle together', async () => {
    const { bench, session } = await started()
    const several = joined(batchOf(['a', 'b']), batchOf(['c']))
    expect(session.publishBatch('orders', 0, several)).toMatchObject({ baseOffset: 0, recordCount: 3 })
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const pending = session.publishBatch(
      'orders',
      0,
      joined(batchOf(['d']), batchOf(['e', 'f'])),
    ) as Promise<BatchReceipt>
    gate.release(2)
    expect(await pending).toMatchObject({ baseOffset: 3, recordCount: 3 })
    expect((await messagesIn(session)).map(({ payload }) => utf8Text(payload)).join('')).toBe('abcdef')
    expect(bench.broker.stats().messagesPublished).toBe(6)
  })

  it('of which one is bad is refused with the others of the request: nothing is stored', async () => {
    const { bench, session } = await started()
    const bad = batchOf(['bad'])
    bad[bad.length - 1] ^= 1
    const good = batchOf(['good'])
    expect(await codeOf(() => session.publishBatch('orders', 0, joined(good, bad)))).toBe(
      'RTK_BATCH_CRC_MISMATCH',
    )
    expect(await codeOf(() => session.publishBatch('orders', 0, joined(good, good.subarray(0, 30))))).toBe(
      'RTK_BATCH_MALFORMED',
    )
    expect(await codeOf(() => session.publishBatch('orders', 0, joined(good, good.subarray(0, 65))))).toBe(
      'RTK_BATCH_MALFORMED',
    )
    expect(bench.logs.appends).toBe(0)
  })

  it('that fails after others of its request were accepted fails the request', async () => {
    const { bench, session } = await started()
    let appends = 0
    bench.logs.onAppend = () => {
      if (++appends === 2) throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    const three = joined(batchOf(['a']), batchOf(['b']), batchOf(['c']))
    const failure = await (session.publishBatch('orders', 0, three) as Promise<unknown>).catch(
      (error) => error,
    )
    expect(failure).toMatchObject({ code: 'RTK_STORE_FULL', details: { acceptedMessages: 1 } })
    expect(appends).toBe(2)
  })

  it.each<[string, unknown]>([
    ['RTK_BATCH_MALFORMED', new Uint8Array(0)],
    ['RTK_BATCH_MALFORMED', new Uint8Array(200)],
    ['RTK_BATCH_MALFORMED', new Uint8Array(200).fill(255)],
    ['RTK_INVALID_ARGUMENT', 'text'],
    ['RTK_INVALID_ARGUMENT', undefined],
    ['RTK_BATCH_TOO_LARGE', batchOf(['x'.repeat(5_000)])],
    ['RTK_BATCH_TOO_LARGE', batchOf(Array(30).fill('x'))],
    ['RTK_BATCH_TOO_LARGE', joined(batchOf(Array(15).fill('x')), batchOf(Array(15).fill('x')))],
    ['RTK_MESSAGE_TOO_LARGE', batchOf(['x'.repeat(3_000)])],
  ])('is refused with %s when it is wrong', async (code, bytes) => {
    const { bench, session } = await started(1, {
      limits: { batchBytesMax: 5_000, messagesPerBatchMax: 20 },
      settings: { topicDefaults: { messageBytesMax: 700 } },
    })
    expect(await codeOf(() => session.publishBatch('orders', 0, bytes as Uint8Array))).toBe(code)
    expect(bench.logs.appends).toBe(0)
    expect(bench.hooks.of('publishFailed')).toMatchObject([{ error: { code } }])
  })

  it.each([-1, 1, 0.5, Number.NaN, '0', undefined])('for partition %s is refused', async (partition) => {
    const { session } = await started()
    expect(await codeOf(() => session.publishBatch('orders', partition as number, batchOf(['x'])))).toBe(
      'RTK_PARTITION_NOT_FOUND',
    )
  })

  it('whose records do not add up is refused, unless the broker was told to trust its producers', async () => {
    const builder = new BatchBuilder({ checksum: portableCrc32c })
    builder.add({ payload: utf8('x'), timestampMs: 0 })
    const broken = builder.build()
    broken[61] += 2 // the record's length, one more than there is
    const crc = portableCrc32c(broken.subarray(21))
    new DataView(broken.buffer).setUint32(17, crc)
    const strict = await started()
    expect(await codeOf(() => strict.session.publishBatch('orders', 0, broken))).toBe('RTK_BATCH_MALFORMED')
    const trusting = await started(1, { settings: { verifyRecords: false } })
    expect(trusting.session.publishBatch('orders', 0, broken)).toMatchObject({ recordCount: 1 })
  })
})

describe('durability', () => {
  it('is what the topic demands or the publish asks for, whichever is more, and the receipt names it', async () => {
    const { session } = await started(1, {
      durability: ['os', 'fsync'],
      settings: { topicDefaults: { durability: 'os' } },
    })
    const reached = async (durability?: 'memory' | 'interval' | 'fsync'): Promise<string> =>
      (await session.publishBatch('orders', 0, batchOf(['x']), { durability })).durability
    expect([
      await reached(),
      await reached('memory'),
      await reached('interval'),
      await reached('fsync'),
    ]).toEqual(['os', 'os', 'fsync', 'fsync'])
  })

  it('is never less than the topic demands', async () => {
    const { session } = await started(1, { durability: ['os', 'fsync'] })
    expect(await session.publish('orders', message('x'), { durability: 'os' })).toMatchObject({
      durability: 'fsync',
    })
  })

  it('that the store cannot reach is refused for all kinds of publish', async () => {
    const { session } = await started()
    const options = { durability: 'fsync' } as const
    for (const publish of [
      () => session.publish('orders', message('x'), options),
      () => session.publishMany('orders', [message('x')], options),
      () => session.publishBatch('orders', 0, batchOf(['x']), options),
    ]) {
      expect(await codeOf(publish)).toBe('RTK_DURABILITY_UNAVAILABLE')
    }
    expect(await codeOf(() => session.publish('orders', message('x'), { durability: 'hope' as never }))).toBe(
      'RTK_INVALID_ARGUMENT',
    )
  })
})

describe('hooks', () => {
  it('are told once per stored batch, with how long it took', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const published = [session.publish('orders', message('a')), session.publish('orders', message('b'))]
    await bench.clock.advance(40)
    gate.release()
    await Promise.all(published)
    const [event, ...others] = bench.hooks.of('messagePublished')
    expect(others).toEqual([])
    expect(event).toMatchObject({
      topic: 'orders',
      partition: 0,
      baseOffset: 0,
      recordCount: 2,
      durability: 'memory',
      durationMs: 40,
    })
    expect(event.sizeBytes).toBe(batchSizeOf(event.batch))
    expect(recordCountOf(event.batch)).toBe(2)
  })

  it('are not told when nobody listens, and then no time is taken either', async () => {
    const { bench, session } = await started()
    bench.hooks.observing = false
    let readings = 0
    bench.clock.monotonic = () => readings++
    await session.publish('orders', message('x'))
    session.publishBatch('orders', 0, batchOf(['x']))
    await codeOf(() => session.publish('orders', message('x', { partition: 5 })))
    expect(readings).toBe(0)
    expect(bench.hooks.of('messagePublished')).toEqual([])
  })

  it('guard each publish on its own, also those that become one batch', async () => {
    const { bench, session } = await started()
    const asked: string[] = []
    bench.hooks.refusals.publish = ({ topic, partition, recordCount, batch, principal }) => {
      const text = utf8Text(batch)
      asked.push(`${principal.name} ${topic}/${partition} ${recordCount}`)
      if (text.includes('evil')) throw new RatatoskrError('RTK_HOOK_ERROR', 'refused')
    }
    const codes = await Promise.all(
      ['good', 'evil', 'fine'].map((text) => codeOf(() => session.publish('orders', message(text)))),
    )
    expect(codes).toEqual([undefined, 'RTK_HOOK_ERROR', undefined])
    expect(bench.logs.appends).toBe(1)
    expect(await codeOf(() => session.publishBatch('orders', 0, batchOf(['x', 'evil'])))).toBe(
      'RTK_HOOK_ERROR',
    )
    expect(asked).toEqual([
      'embedded orders/0 1',
      'embedded orders/0 1',
      'embedded orders/0 1',
      'embedded orders/0 2',
    ])
  })
})
