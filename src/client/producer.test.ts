import { describe, expect, it } from 'vitest'
import { partitionForKey, utf8 } from '../ports/index.ts'
import { error, idPattern, setup } from './testing/producing.ts'

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

  it('has sixteen full batches under way, but keeps one that is not full growing while five are', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ batchBytesMax: 1_000 })
    await producer.publish('orders', 'known')
    broker.publishes.length = 0
    broker.holding = true
    const all: Promise<unknown>[] = []
    const publish = async (payload: string): Promise<void> => {
      all.push(producer.publish('orders', payload))
      await Promise.resolve()
      await Promise.resolve()
    }
    for (let i = 0; i < 8; i++) await publish('small')
    expect(broker.publishes.map((batch) => batch.recordCount)).toEqual([1, 1, 1, 1, 1])
    for (let i = 0; i < 20; i++) await publish('full'.repeat(250))
    expect(broker.publishes).toHaveLength(16)
    broker.holding = false
    broker.release()
    await Promise.all(all)
    expect(broker.publishes.reduce((sum, batch) => sum + batch.recordCount, 0)).toBe(28)
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

  // The `slice` of a Buffer of Node is no copy.
  it.each([
    ['a Uint8Array', (text: string) => utf8(text)],
    ['a Buffer', (text: string) => Buffer.from(text)],
  ])('stores what the caller gave, also when he changes his bytes afterwards: %s', async (_, bytesOf) => {
    const { client, broker } = await setup()
    const payload = bytesOf('before')
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

  it('lets go of a refused message for later whose publisher has gone on at the deadline', async () => {
    const { client, broker, clock } = await setup()
    const escaped: unknown[] = []
    const onEscaped = (reason: unknown): void => void escaped.push(reason)
    process.on('unhandledRejection', onEscaped)
    try {
      broker.refuseLater = () => error('RTK_STORE_FULL')
      broker.holding = true
      const publish = client.publish('orders', 'later', { delayMs: 5_000, timeoutMs: 100 })
      const outcome = expect(publish).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
      await clock.advance(100)
      await outcome
      broker.release()
      await clock.advance(1)
    } finally {
      process.off('unhandledRejection', onEscaped)
    }
    expect(escaped).toEqual([])
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
