/** Publishing many messages in one call, each on its own or as a bulk. */
import { describe, expect, it } from 'vitest'
import { type PublishResult, RecordCursor, utf8 } from '../ports/index.ts'
import { error, setup } from './testing/producing.ts'

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

  it('holds no more of a bulk of bytes than its buffer may, and lets its maker end when it fails', async () => {
    const { client, broker } = await setup()
    const producer = client.producer({ batchBytesMax: 2_000, bufferBytesMax: 8_000 })
    let heldMax = 0
    let made = 0
    let ended = false
    function* messages() {
      try {
        for (; made < 500; made++) {
          heldMax = Math.max(heldMax, producer.bufferedBytes)
          yield { payload: new Uint8Array(100) }
        }
      } finally {
        ended = true
      }
    }
    await producer.publish('orders', 'so that the topic is known')
    broker.holding = true
    const bulk = producer.addAll('orders', messages())
    await new Promise((resolve) => setImmediate(resolve))
    expect(producer.bufferedBytes).toBeGreaterThan(7_900)
    expect(producer.bufferedBytes).toBeLessThan(8_200)
    broker.refuse = () => error('RTK_PERMISSION_DENIED')
    broker.holding = false
    broker.release()
    await expect(bulk).rejects.toMatchObject({ code: 'RTK_PERMISSION_DENIED' })
    expect(ended).toBe(true)
    expect(made).toBeLessThan(300)
    expect(heldMax).toBeLessThan(8_200)
    expect(producer.bufferedBytes).toBe(0)
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
