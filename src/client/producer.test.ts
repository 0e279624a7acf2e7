import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { type PublishResult, partitionForKey, RatatoskrError, RecordCursor, utf8 } from '../ports/index.ts'
import { FakeBroker, testPlatform } from './testing/fake-broker.ts'

async function setup(partitions = 1) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders', partitions)
  const client = await broker.client(testPlatform(clock))
  return { clock, broker, client }
}

const error = (code: ConstructorParameters<typeof RatatoskrError>[0]) =>
  new RatatoskrError(code, 'from the test')
const idPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('a producer', () => {
  it('answers with id, partition, offset and durability', async () => {
    const { client } = await setup()
    await client.publish('orders', 'first')
    const receipt = await client.publish('orders', utf8('second'))
    expect(receipt).toEqual({
      id: expect.stringMatching(idPattern),
      partition: 0,
      offset: 1,
      durability: 'memory',
    })
    const id = '3f0c5d5e-8a4b-4c52-9b1e-000000000001'
    expect((await client.publish('orders', 'third', { id })).id).toBe(id)
  })

  it('puts what is published in one turn of the event loop into one batch', async () => {
    const { client, broker } = await setup()
    await client.publish('orders', 'so that the topic is known')
    await Promise.all(['a', 'b', 'c'].map((text) => client.publish('orders', text)))
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([1, 3])
  })

  it('waits lingerMs for more, and not longer', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ lingerMs: 5 })
    const first = producer.publish('orders', 'a')
    await clock.advance(4)
    const second = producer.publish('orders', 'b')
    expect(broker.publishes).toEqual([])
    await clock.advance(2)
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([2])
    expect((await first).offset + 1).toBe((await second).offset)
  })

  it('sends a batch when it is full', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ lingerMs: 1_000, batchBytesMax: 1_000 })
    const publishes = Array.from({ length: 10 }, () => producer.publish('orders', new Uint8Array(400)))
    await publishes[0]
    await producer.flush()
    await Promise.all(publishes)
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([2, 2, 2, 2, 2])
  })

  it('sends messages of one key to one partition as Kafka does, keyless ones to all in turn', async () => {
    const { client, broker } = await setup(4)
    const receipts = await Promise.all(
      ['a', 'b', 'c', 'a', 'b', 'c'].map((key) => client.publish('orders', key, { key })),
    )
    expect(receipts.map((receipt) => receipt.partition)).toEqual(
      ['a', 'b', 'c', 'a', 'b', 'c'].map((key) => partitionForKey(utf8(key), 4)),
    )
    broker.publishes.length = 0
    for (let i = 0; i < 8; i++) await client.publish('orders', 'keyless')
    expect(broker.publishes.map((batch) => batch.partition).sort()).toEqual([0, 0, 1, 1, 2, 2, 3, 3])
    expect((await client.publish('orders', 'x', { partition: 2, key: 'a' })).partition).toBe(2)
  })

  it('keeps batches growing while all places in flight are taken', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ inFlightMax: 1 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const first = producer.publish('orders', 'first')
    await Promise.resolve()
    const more: Promise<unknown>[] = []
    for (let i = 0; i < 5; i++) {
      more.push(producer.publish('orders', `more ${i}`))
      await Promise.resolve()
      await Promise.resolve()
    }
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([1, 1])
    broker.holding = false
    broker.release()
    await Promise.all([first, ...more])
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([1, 1, 5])
  })

  it.each(['RTK_OVERLOADED', 'RTK_UNAVAILABLE', 'RTK_STORE_FULL', 'RTK_STORE_FAILED'] as const)(
    'sends again what was refused with %s, until it is stored',
    async (code) => {
      const { client, broker, clock } = await setup()
      let refusals = 3
      broker.refuse = () => (refusals-- > 0 ? error(code) : undefined)
      const publish = client.publish('orders', 'once')
      await clock.advance(2_000)
      expect((await publish).offset).toBe(0)
      expect(broker.texts('orders')).toEqual(['once'])
    },
  )

  it('gives up at the deadline with the refusal it got', async () => {
    const { client, broker, clock } = await setup()
    broker.refuse = () => error('RTK_STORE_FULL')
    const publish = client.publish('orders', 'never')
    const outcome = expect(publish).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
    await clock.advance(5_000)
    await outcome
    expect(clock.pending).toBe(0)
  })

  it('does not send again what cannot succeed, and fails only those messages', async () => {
    const { client, broker } = await setup(2)
    broker.refuse = (partition) => (partition === 1 ? error('RTK_BATCH_MALFORMED') : undefined)
    const bad = client.publish('orders', 'bad', { partition: 1 })
    const good = client.publish('orders', 'good', { partition: 0 })
    await expect(bad).rejects.toMatchObject({ code: 'RTK_BATCH_MALFORMED' })
    expect((await good).partition).toBe(0)
  })

  it('sends a batch whose answer was lost again, and it is stored once', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = ['a', 'b'].map((text) => producer.publish('orders', text))
    await Promise.resolve()
    broker.cut()
    broker.holding = false
    await clock.advance(1_000)
    expect((await Promise.all(publishes)).map(({ offset, duplicate }) => [offset, duplicate])).toEqual([
      [1, undefined],
      [2, undefined],
    ])
    expect(broker.publishes).toHaveLength(3)
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b'])
    expect((await producer.publish('orders', 'later')).offset).toBe(3)
  })

  it('takes a new id when the broker has forgotten it, and loses nothing', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer()
    for (const text of ['a', 'b']) await producer.publish('orders', text)
    broker.find('orders').partitions[0].forgetProducers()
    const later = ['c', 'd'].map((text) => producer.publish('orders', text))
    await Promise.all([...later, clock.advance(1_000)])
    expect(broker.texts('orders')).toEqual(['a', 'b', 'c', 'd'])
    expect(broker.lastProducerId).toBe(2)
  })

  it('goes on after a batch whose fate nobody knows, with a new id', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ timeoutMs: 1_000 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const lost = expect(producer.publish('orders', 'a')).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(1_000)
    await lost
    broker.holding = false
    await producer.publish('orders', 'b')
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b'])
    expect(broker.lastProducerId).toBe(2)
  })

  it('keeps its numbers over a batch that the broker refuses for good', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ batchBytesMax: 1 })
    await producer.publish('orders', 'a')
    broker.refuse = () => error('RTK_HOOK_ERROR')
    await expect(producer.publish('orders', 'b')).rejects.toMatchObject({ code: 'RTK_HOOK_ERROR' })
    broker.refuse = () => undefined
    await producer.publish('orders', 'c')
    expect(broker.texts('orders')).toEqual(['a', 'c'])
    expect(broker.lastProducerId).toBe(1)
  })

  it('that is not idempotent reports a lost answer as RTK_DISCONNECTED and does not send it again', async () => {
    const { client: made, broker, clock } = await setup()
    const client = made.producer({ idempotent: false })
    await client.publish('orders', 'known')
    broker.holding = true
    const publish = client.publish('orders', 'maybe')
    await Promise.resolve()
    broker.cut()
    await expect(publish).rejects.toMatchObject({ code: 'RTK_DISCONNECTED', retryable: true })
    broker.holding = false
    await clock.advance(1_000)
    expect(broker.texts('orders')).toEqual(['known', 'maybe'])
    expect((await client.publish('orders', 'later')).offset).toBe(2)
  })

  it('sends a lost batch again, whole and in order, when it is not idempotent and retryIndeterminate is on', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ idempotent: false, retryIndeterminate: true })
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = ['a', 'b'].map((text) => producer.publish('orders', text, { key: text }))
    await Promise.resolve()
    broker.cut()
    broker.holding = false
    await clock.advance(1_000)
    const receipts = await Promise.all(publishes)
    expect(receipts.map((receipt) => receipt.offset)).toEqual([3, 4])
    expect(broker.texts('orders')).toEqual(['known', 'a', 'b', 'a', 'b'])
  })

  it('waits for the connection within the deadline', async () => {
    const { client, broker, clock } = await setup()
    await client.publish('orders', 'known')
    broker.openFailures = 3
    broker.cut()
    const publish = client.publish('orders', 'after')
    await clock.advance(3_000)
    expect((await publish).offset).toBe(1)
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    const late = expect(client.publish('orders', 'too late')).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(5_000)
    await late
  })

  it('refuses what no broker would take, before it can spoil a batch', async () => {
    const { client, broker } = await setup()
    const cases: [Promise<unknown>, string][] = [
      [client.publish('orders', 'x', { headers: { 'rtk-id': 'mine' } }), 'RTK_HEADER_INVALID'],
      [client.publish('orders', 'x', { headers: { 'a\r\nb': '1' } }), 'RTK_HEADER_INVALID'],
      [client.publish('orders', new Uint8Array(9 * 1024 * 1024)), 'RTK_MESSAGE_TOO_LARGE'],
      [client.publish('orders', 'x', { id: 'no uuid' }), 'RTK_INVALID_ARGUMENT'],
      [client.publish('orders', 'x', { partition: 7 }), 'RTK_PARTITION_NOT_FOUND'],
      [client.publish('orders', { not: 'bytes' } as unknown as string), 'RTK_INVALID_ARGUMENT'],
      [client.publish('nowhere', 'x'), 'RTK_TOPIC_NOT_FOUND'],
      [client.publish('orders', 'x', { timeoutMs: 0 }), 'RTK_INVALID_ARGUMENT'],
      [client.publish('orders', 'x', { headers: 5 as never }), 'RTK_HEADER_INVALID'],
      [client.publish('orders', 'x', { headers: ['ab'] as never }), 'RTK_HEADER_INVALID'],
    ]
    await Promise.all(cases.map(([call, code]) => expect(call).rejects.toMatchObject({ code })))
    expect(broker.publishes).toEqual([])
    await client.publish('orders', 'fine')
  })

  it('looks for a topic again after it was not found', async () => {
    const { client, broker } = await setup()
    await expect(client.publish('later', 'x')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    broker.topic('later')
    expect((await client.publish('later', 'x')).offset).toBe(0)
  })

  it('stores what the caller gave, also when he changes his bytes afterwards', async () => {
    const { client, broker } = await setup()
    const payload = utf8('before')
    const waiting = client.publish('orders', payload)
    payload.fill(0x78)
    await waiting
    const sent = client.publish('orders', payload)
    payload.fill(0x79)
    await sent
    expect(broker.texts('orders')).toEqual(['before', 'xxxxxx'])
  })

  it('uses partitions that were added while it runs', async () => {
    const { client, clock } = await setup()
    await client.publish('orders', 'known')
    await client.alterTopic('orders', { partitions: 2 })
    await clock.advance(60_001)
    await client.publish('orders', 'asks again')
    await clock.advance(0)
    expect((await client.publish('orders', 'x', { partition: 1 })).partition).toBe(1)
  })
})

describe('a full producer', () => {
  it('makes publishes wait, in order, and takes them when there is room', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ bufferBytesMax: 1_000, batchBytesMax: 500 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const publishes = Array.from({ length: 20 }, (_, i) =>
      producer.publish('orders', `${i}`.padEnd(300, '.')),
    )
    await Promise.resolve()
    expect(producer.bufferedBytes).toBeLessThan(1_500)
    broker.holding = false
    broker.release()
    const receipts = await Promise.all(publishes)
    expect(receipts.map((receipt) => receipt.offset)).toEqual(receipts.map((_, i) => i + 1))
    expect(producer.bufferedBytes).toBe(0)
  })

  it('refuses with RTK_OVERLOADED when told not to wait, or when too many wait', async () => {
    const { client, broker } = await setup()
    const rejecting = client.producer({ bufferBytesMax: 100, whenFull: 'reject' })
    const bounded = client.producer({ bufferBytesMax: 100, waitingMax: 1 })
    for (const producer of [rejecting, bounded]) await producer.publish('orders', 'known')
    broker.holding = true
    const taken = [rejecting, bounded].map((producer) => producer.publish('orders', new Uint8Array(200)))
    await expect(rejecting.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    const waits = bounded.publish('orders', 'waits')
    await expect(bounded.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    broker.holding = false
    broker.release()
    await Promise.all([...taken, waits])
  })

  it('times out what found no room, and stores none of it', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ bufferBytesMax: 100 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const sent = expect(producer.publish('orders', 'x'.repeat(200))).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    const waiting = expect(producer.publish('orders', 'waits', { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
      message: expect.stringContaining('not stored'),
    })
    await clock.advance(100)
    await waiting
    await clock.advance(5_000)
    await sent
    expect(broker.texts('orders')).not.toContain('waits')
    expect(producer.bufferedBytes).toBe(0)
  })

  it('drops a publish that was cancelled while it waited', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ bufferBytesMax: 100 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const sent = producer.publish('orders', 'x'.repeat(200))
    const cancel = new AbortController()
    const waiting = producer.publish('orders', 'cancelled', { signal: cancel.signal })
    const many = producer.publishMany('orders', [{ payload: 'also' }], { signal: cancel.signal })
    cancel.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    await expect(many).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    broker.holding = false
    broker.release()
    await sent
    await producer.flush()
    expect(broker.texts('orders')).toEqual(['known', 'x'.repeat(200)])
  })
})

describe('publishing many', () => {
  it('takes more than the buffer holds, in order, without using the bytes after it returned to its caller', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ bufferBytesMax: 2_000, batchBytesMax: 500, waitingMax: 3 })
    const messages = Array.from({ length: 200 }, (_, i) => ({ payload: utf8(`${i}`.padEnd(100, '.')) }))
    const publishing = producer.publishMany('orders', messages)
    for (const { payload } of messages) payload.fill(0)
    expect((await publishing).map((result) => ('error' in result ? -1 : result.offset))).toEqual(
      messages.map((_, i) => i),
    )
    expect(broker.texts('orders').map((text) => Number.parseInt(text, 10))).toEqual(messages.map((_, i) => i))
    await expect(producer.publishMany('nowhere', [{ payload: 'x' }])).rejects.toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
    })
  })

  it('asks for the topic again when it was deleted and made anew', async () => {
    const { client, broker } = await setup(3)
    const producer = client.producer()
    await producer.publish('orders', 'x', { partition: 2 })
    broker.topics.delete('orders')
    await expect(producer.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
    broker.topic('orders', 1)
    expect(await producer.publish('orders', 'x')).toMatchObject({ partition: 0, offset: 0 })
    await expect(producer.publish('orders', 'x', { partition: 2 })).rejects.toMatchObject({
      code: 'RTK_PARTITION_NOT_FOUND',
    })
    expect((await producer.addAll('orders', [{ payload: 'y' }, { payload: 'z' }])).messageCount).toBe(2)
  })

  it('gives each message its own result', async () => {
    const { client } = await setup(2)
    const results = await client.publishMany('orders', [
      { payload: 'a', partition: 0 },
      { payload: 'b', partition: 9 },
      { payload: 'c', partition: 0, headers: [['x', 'y']] },
      { payload: 5 as unknown as string },
    ])
    const brief = (result: PublishResult) => ('error' in result ? result.error.code : result.offset)
    expect(results.map(brief)).toEqual([0, 'RTK_PARTITION_NOT_FOUND', 1, 'RTK_INVALID_ARGUMENT'])
    expect(await client.publishMany('orders', [])).toEqual([])
  })

  it('takes a bulk as fast as it is stored, and tells batches only', async () => {
    const { client, broker } = await setup(2)
    const producer = client.producer({ batchBytesMax: 2_000, bufferBytesMax: 8_000 })
    let heldMax = 0
    async function* messages() {
      for (let i = 0; i < 500; i++) {
        heldMax = Math.max(heldMax, producer.bufferedBytes)
        yield { payload: `message ${i}`.padEnd(100, '.'), partition: 0 }
      }
    }
    const receipt = await producer.addAll('orders', messages())
    expect(receipt.messageCount).toBe(500)
    expect(receipt.batches.reduce((sum, batch) => sum + batch.recordCount, 0)).toBe(500)
    expect(broker.texts('orders').map((text) => Number(text.match(/\d+/)))).toEqual(
      Array.from({ length: 500 }, (_, i) => i),
    )
    expect(heldMax).toBeLessThan(9_000)
    expect((await producer.addAll('orders', [{ payload: 'one' }])).messageCount).toBe(1)
    expect((await producer.addAll('orders', [])).batches).toEqual([])
  })

  it('gives the messages of a bulk the time at which they are taken, but for those that bring one', async () => {
    const { client, broker, clock } = await setup()
    const beganMs = clock.now()
    async function* slowly() {
      for (let i = 0; i < 3; i++) {
        yield { payload: 'x' }
        await clock.advance(1_000)
      }
      yield { payload: 'x', timestampMs: 7 }
    }
    await client.producer().addAll('orders', slowly())
    const [partition] = broker.find('orders').partitions
    const cursor = new RecordCursor()
    const times = partition.batches.flatMap(({ bytes }) => {
      const found: number[] = []
      for (cursor.open(bytes); cursor.next(); ) found.push(cursor.timestampMs)
      return found
    })
    expect(times).toEqual([beganMs, beganMs + 1_000, beganMs + 2_000, 7])
  })

  it('says how much of a bulk is stored when it fails', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ batchBytesMax: 300, inFlightMax: 1 })
    let count = 0
    broker.refuse = () => (++count > 2 ? error('RTK_PERMISSION_DENIED') : undefined)
    const messages = Array.from({ length: 20 }, () => ({ payload: 'x'.repeat(100) }))
    await expect(producer.addAll('orders', messages)).rejects.toMatchObject({
      code: 'RTK_PERMISSION_DENIED',
      details: { storedCount: broker.texts('orders').length || 2 },
    })
    await expect(producer.addAll('nowhere', messages)).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
  })
})

describe('flushing and closing', () => {
  it('sends what lingers and waits until it is settled', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ lingerMs: 10_000 })
    const publish = producer.publish('orders', 'a')
    await producer.flush()
    expect(broker.texts('orders')).toEqual(['a'])
    expect((await publish).offset).toBe(0)
    const last = producer.publish('orders', 'b')
    await producer.close()
    expect((await last).offset).toBe(1)
    await expect(producer.publish('orders', 'c')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await producer[Symbol.asyncDispose]()
  })

  it('fails at the deadline what could not be sent', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ timeoutMs: 60_000 })
    await producer.publish('orders', 'known')
    broker.holding = true
    const sent = expect(producer.publish('orders', 'a')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    const closing = producer.close({ timeoutMs: 100 })
    await clock.advance(100)
    await closing
    await sent
    expect(clock.pending).toBe(0)
  })

  it('is checked when it is made', async () => {
    const { client } = await setup()
    for (const options of [{ lingerMs: -1 }, { inFlightMax: 0 }, { batchBytesMax: 1.5 }, { timeoutMs: -1 }]) {
      expect(() => client.producer(options)).toThrow(
        expect.objectContaining({ code: 'RTK_INVALID_ARGUMENT' }),
      )
    }
    expect(() => client.producer({ compression: 'zstd' })).toThrow(
      expect.objectContaining({ code: 'RTK_COMPRESSION_UNAVAILABLE' }),
    )
  })
})

it('never breaks the order of a partition, whatever is refused, held or cut', async () => {
  const fault = fc.constantFrom('none', 'none', 'none', 'refuse', 'hold', 'cut')
  await fc.assert(
    fc.asyncProperty(fc.array(fault, { minLength: 10, maxLength: 60 }), async (faults) => {
      const { client, broker, clock } = await setup(2)
      const producer = client.producer({ batchBytesMax: 250, inFlightMax: 3, timeoutMs: 60_000 })
      let turn = 0
      broker.refuse = () => {
        const next = faults[turn++ % faults.length]
        broker.holding = next === 'hold'
        if (next === 'cut') queueMicrotask(() => broker.cut())
        return next === 'refuse' && turn < 200 ? error('RTK_OVERLOADED') : undefined
      }
      const outcomes: Promise<unknown>[] = []
      for (let i = 0; i < 60; i++) {
        const publish = producer.publish('orders', `${i}`.padEnd(60, '.'), { partition: i % 2 })
        outcomes.push(
          publish.then(
            () => i,
            () => undefined,
          ),
        )
        if (i % 3 === 0) await Promise.resolve()
        if (i % 7 === 0) broker.release(1)
      }
      for (let i = 0; i < 70; i++) {
        broker.release()
        await clock.advance(1_000)
      }
      const acked = (await Promise.all(outcomes)).filter((i) => i !== undefined)
      for (const partition of [0, 1]) {
        const stored = broker.texts('orders', partition).map((text) => Number.parseInt(text, 10))
        expect(stored).toEqual([...stored].sort((a, b) => a - b))
        expect(new Set(stored).size).toBe(stored.length)
        expect(stored).toEqual(expect.arrayContaining(acked.filter((i) => (i as number) % 2 === partition)))
      }
    }),
    { numRuns: 60 },
  )
})
