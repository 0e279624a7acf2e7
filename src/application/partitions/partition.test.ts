import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BatchReceipt, type PublishReceipt, recordCountOf } from '../../ports/index.ts'
import { batchOf, codeOf, message, settled } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'
import { offsetsOf, started, textsOf } from './testing/orders.ts'

describe('messages published one by one', () => {
  it('of one turn become one batch, in order', async () => {
    const { bench, session } = await started()
    const receipts = await Promise.all(
      ['a', 'b', 'c'].map((text) => session.publish('orders', message(text))),
    )
    expect(bench.logs.appends).toBe(1)
    expect(offsetsOf(receipts)).toEqual([0, 1, 2])
    expect(await textsOf(session)).toEqual(['a', 'b', 'c'])
  })

  it('keep their place before a batch of the same turn', async () => {
    const { session } = await started()
    const first = session.publish('orders', message('a'))
    const batch = session.publishBatch('orders', 0, batchOf(['b', 'c'])) as BatchReceipt
    const last = session.publish('orders', message('d'))
    expect([(await first).offset, batch.baseOffset, (await last).offset]).toEqual([0, 1, 3])
    expect(await textsOf(session)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('gather while the store is busy, and go on together when it is not', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    const sizes: number[] = []
    bench.logs.onAppend = (_id, batch) => {
      sizes.push(recordCountOf(batch))
      return gate.hold()
    }
    const published: Promise<PublishReceipt>[] = []
    for (const text of ['a', 'b', 'c', 'd']) {
      published.push(session.publish('orders', message(text)))
      await settled()
    }
    expect(sizes).toEqual([1])
    gate.release()
    await settled()
    expect(sizes).toEqual([1, 3])
    gate.release()
    expect(offsetsOf(await Promise.all(published))).toEqual([0, 1, 2, 3])
  })

  it('close a batch that is full, by messages or by bytes, without waiting', async () => {
    const { bench, session } = await started({ limits: { messagesPerBatchMax: 3 } })
    const gate = new AppendGate()
    const sizes: number[] = []
    bench.logs.onAppend = (_id, batch) => {
      sizes.push(recordCountOf(batch))
      return gate.hold()
    }
    const small = Array.from({ length: 7 }, () => session.publish('orders', message('x')))
    await settled()
    expect(sizes).toEqual([3, 3])
    const large = { payload: new Uint8Array(200_000) }
    const big = [
      session.publish('orders', large),
      session.publish('orders', large),
      session.publish('orders', large),
    ]
    await settled()
    expect(sizes).toEqual([3, 3, 2, 1])
    while (gate.waiting > 0) {
      gate.release()
      await settled()
    }
    expect(offsetsOf(await Promise.all([...small, ...big]))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })

  it('are as durable as the one that asked for most', async () => {
    const { session } = await started({
      durability: ['os', 'fsync'],
      settings: { topicDefaults: { durability: 'os' } },
    })
    const receipts = await Promise.all([
      session.publish('orders', message('a')),
      session.publish('orders', message('b'), { durability: 'fsync' }),
      session.publish('orders', message('c'), { durability: 'memory' }),
    ])
    expect(receipts.map(({ durability }) => durability)).toEqual(['fsync', 'fsync', 'fsync'])
    expect(await session.publish('orders', message('d'), { durability: 'memory' })).toMatchObject({
      durability: 'os',
    })
  })
})

it('every publish of a session keeps its order, however the store settles (R21)', async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.constant('message' as const) },
    { weight: 2, arbitrary: fc.constant('batch' as const) },
    fc.constant('many' as const),
    fc.constant('turn' as const),
    fc.constant('release' as const),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 100 }), fc.boolean(), async (steps, slow) => {
      const { bench, session } = await started()
      const gate = new AppendGate()
      if (slow) bench.logs.onAppend = gate.hold
      const offsets: Promise<number[]>[] = []
      let sent = 0
      for (const what of steps) {
        const text = `${sent}`
        if (what === 'message') {
          offsets.push(session.publish('orders', message(text)).then(({ offset }) => [offset]))
          sent++
        } else if (what === 'batch') {
          const receipt = session.publishBatch('orders', 0, batchOf([text, `${sent + 1}`]))
          offsets.push(Promise.resolve(receipt).then(({ baseOffset }) => [baseOffset, baseOffset + 1]))
          sent += 2
        } else if (what === 'many') {
          const results = session.publishMany('orders', [message(text), message(`${sent + 1}`)])
          offsets.push(results.then((all) => offsetsOf(all as PublishReceipt[])))
          sent += 2
        } else if (what === 'turn') await settled()
        else gate.release()
      }
      do {
        gate.release(gate.waiting)
        await settled()
      } while (gate.waiting > 0)
      const expected = Array.from({ length: sent }, (_, place) => place)
      expect((await Promise.all(offsets)).flat()).toEqual(expected)
      expect(await textsOf(session)).toEqual(expected.map(String))
    }),
    { numRuns: 80 },
  )
})

describe('back-pressure', () => {
  it('refuses what is above the bound of waiting messages, and takes again when some have settled', async () => {
    const { bench, session } = await started({ limits: { partitionQueueMessagesMax: 3 } })
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const admitted = session.publishBatch('orders', 0, batchOf(['a', 'b'])) as Promise<BatchReceipt>
    const third = session.publish('orders', message('c'))
    expect(await codeOf(() => session.publish('orders', message('d')))).toBe('RTK_OVERLOADED')
    expect(await codeOf(() => session.publishBatch('orders', 0, batchOf(['d'])))).toBe('RTK_OVERLOADED')
    gate.release()
    await admitted
    const fourth = session.publish('orders', message('d'))
    await settled()
    gate.release()
    await settled()
    gate.release()
    expect(offsetsOf(await Promise.all([third, fourth]))).toEqual([2, 3])
  })

  it('refuses what is above the bound of waiting bytes', async () => {
    const { bench, session } = await started({ limits: { partitionQueueBytesMax: 10_000 } })
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const first = session.publish('orders', { payload: new Uint8Array(6_000) })
    expect(await codeOf(() => session.publish('orders', { payload: new Uint8Array(6_000) }))).toBe(
      'RTK_OVERLOADED',
    )
    await settled()
    expect(await codeOf(() => session.publish('orders', { payload: new Uint8Array(6_000) }))).toBe(
      'RTK_OVERLOADED',
    )
    gate.release()
    await first
  })

  it('takes a lone batch whatever its size: otherwise it could never be published', async () => {
    const { session } = await started({ limits: { partitionQueueMessagesMax: 1, partitionQueueBytesMax: 1 } })
    expect(session.publishBatch('orders', 0, batchOf(['a', 'b', 'c']))).toMatchObject({ recordCount: 3 })
  })

  it('costs no memory: whatever is offered, no more than the bound waits', async () => {
    const { bench, session } = await started({ limits: { partitionQueueMessagesMax: 50 } })
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const codes = Promise.all(
      Array.from({ length: 1_000 }, () => codeOf(() => session.publish('orders', message('x')))),
    )
    await settled()
    gate.release()
    await settled()
    gate.release()
    expect((await codes).filter((code) => code === undefined)).toHaveLength(50)
  })
})

describe('the stop of the broker', () => {
  it('writes what was gathered, then refuses', async () => {
    const { bench, session } = await started()
    const publishing = session.publish('orders', message('last'))
    await bench.broker.stop()
    expect(await publishing).toMatchObject({ offset: 0 })
    const again = await bench.start()
    expect(await textsOf(again)).toEqual(['last'])
  })
})

describe('reading by time', () => {
  it('finds the first message that is new enough, within its batch', async () => {
    const { session } = await started()
    for (const timestampMs of [100, 200, 300]) {
      await session.publishMany('orders', [
        message('x', { timestampMs }),
        message('y', { timestampMs: timestampMs + 50 }),
      ])
    }
    const at = async (timestampMs: number): Promise<number> =>
      (await session.offsets('orders', { timestampMs }))[0].offset
    expect([await at(0), await at(101), await at(150), await at(151), await at(350), await at(351)]).toEqual([
      0, 1, 1, 2, 5, 6,
    ])
  })

  it('passes over what is lost to damage, also when that was the first', async () => {
    const { bench, session } = await started()
    for (const timestampMs of [100, 200, 300]) {
      await session.publish('orders', message('x', { timestampMs }))
    }
    const { id } = await session.describeTopic('orders')
    bench.logs.damage(id, { from: 1, to: 2 })
    const at = async (timestampMs: number): Promise<number> =>
      (await session.offsets('orders', { timestampMs }))[0].offset
    expect([await at(50), await at(150), await at(250), await at(350)]).toEqual([0, 2, 2, 3])
  })

  it('is refused by a store without a time index', async () => {
    const { session } = await started({ timeIndex: false })
    await session.publish('orders', message('x'))
    expect(await codeOf(() => session.offsets('orders', { timestampMs: 1 }))).toBe('RTK_NOT_SUPPORTED')
  })
})
