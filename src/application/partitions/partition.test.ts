import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type BatchReceipt,
  type FetchedBatch,
  messagesOf,
  type PublishReceipt,
  RatatoskrError,
  recordCountOf,
  type Session,
  utf8Text,
} from '../../ports/index.ts'
import { type BenchOptions, BrokerBench, batchOf, codeOf, message, settled } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'

async function started(options: BenchOptions = {}): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench(options)
  const session = await bench.start()
  await session.createTopic('orders')
  return { bench, session }
}

/** What the topic's first partition holds. */
async function textsOf(session: Session): Promise<string[]> {
  const texts: string[] = []
  for (let offset = 0; ; ) {
    const found: FetchedBatch = await session.fetch('orders', { partition: 0, offset, bytesMax: 1_000_000 })
    if (found.bytes.length === 0) return texts
    const source = {
      topic: 'orders',
      topicId: 'x',
      partition: 0,
      expansion: { codecs: new Map(), bytesMax: 1 },
    }
    for (const one of messagesOf(found.bytes, source, found.fromOffset)) texts.push(utf8Text(one.payload))
    offset = found.nextOffset
  }
}

const offsetsOf = (receipts: readonly PublishReceipt[]): number[] => receipts.map(({ offset }) => offset)

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

describe('a store that fails', () => {
  const broken = new Error('EIO on /secret/path')

  it('is opened again after a pause, with nothing lost that was acknowledged', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('kept'))
    bench.logs.onAppend = () => {
      throw broken
    }
    const failure = await session.publish('orders', message('lost')).catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'RTK_STORE_FAILED', retryable: true })
    expect((failure as Error).message).not.toContain('secret')
    bench.logs.onAppend = () => {}
    expect(await codeOf(() => session.publish('orders', message('early')))).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => session.publishBatch('orders', 0, batchOf(['early'])))).toBe('RTK_UNAVAILABLE')
    expect(bench.broker.health()).toMatchObject({
      status: 'degraded',
      components: [{ name: 'partition orders/0', status: 'restarting', lastError: 'RTK_INTERNAL' }],
    })
    expect(await session.describeTopic('orders')).toMatchObject({
      partitions: [{ state: 'recovering', stableOffset: 1, endOffset: 1 }],
    })
    await bench.clock.advance(100)
    expect(bench.broker.health()).toMatchObject({ status: 'ok', components: [] })
    expect(await session.publish('orders', message('after'))).toMatchObject({ offset: 1 })
    expect(await textsOf(session)).toEqual(['kept', 'after'])
    expect(bench.counted).toEqual(['ratatoskr.component.restarts partition'])
  })

  it('fails everything that waits for it', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const codes = Promise.all([
      codeOf(() => session.publishBatch('orders', 0, batchOf(['a']))),
      codeOf(() => session.publishBatch('orders', 0, batchOf(['b']))),
      codeOf(() => session.publish('orders', message('gathered'))),
    ])
    await settled()
    gate.fail(new RatatoskrError('RTK_STORE_FAILED', 'poisoned'))
    expect(await codes).toEqual(['RTK_STORE_FAILED', 'RTK_STORE_FAILED', 'RTK_STORE_FAILED'])
    expect(
      bench.hooks
        .of('publishFailed')
        .map(({ recordCount }) => recordCount)
        .sort(),
    ).toEqual([1, 1, 1])
    await bench.clock.advance(100)
    expect(bench.broker.health().status).toBe('ok')
  })

  it('does not disturb another topic', async () => {
    const { bench, session } = await started()
    const { topic } = await session.createTopic('other')
    bench.logs.onAppend = ({ topicId }) => {
      if (topicId !== topic.id) throw broken
    }
    const other: number[] = []
    for (let round = 0; round < 20; round++) {
      await codeOf(() => session.publish('orders', message('x')))
      other.push((await session.publish('other', message('x'))).offset)
      await bench.clock.advance(50)
    }
    expect(other).toEqual(Array.from({ length: 20 }, (_, place) => place))
    expect(bench.logs.opened.filter(({ id }) => id.topicId === topic.id)).toHaveLength(1)
  })

  it('is given up after too many failures, tried again seldom, and comes back', async () => {
    const { bench, session } = await started()
    bench.logs.onAppend = () => {
      throw broken
    }
    bench.logs.onOpen = () => {
      throw broken
    }
    await codeOf(() => session.publish('orders', message('x')))
    await bench.clock.advance(5_000)
    expect(bench.broker.health()).toMatchObject({
      status: 'degraded',
      ready: true,
      components: [{ name: 'partition orders/0', status: 'failed' }],
    })
    expect(await session.describeTopic('orders')).toMatchObject({ partitions: [{ state: 'failed' }] })
    expect(bench.clock.pending).toBe(3) // unused groups, the next try, and the retention sweep
    bench.logs.onAppend = () => {}
    bench.logs.onOpen = () => {}
    await bench.clock.advance(30_000)
    expect(bench.broker.health().status).toBe('ok')
    expect(await session.publish('orders', message('x'))).toMatchObject({ offset: 0 })
  })

  it('that is full refuses and goes on as it was', async () => {
    const { bench, session } = await started()
    bench.logs.onAppend = () => {
      throw new RatatoskrError('RTK_STORE_FULL', 'no room')
    }
    expect(await codeOf(() => session.publish('orders', message('x')))).toBe('RTK_STORE_FULL')
    const { state } = (await session.describeTopic('orders')).partitions[0]
    expect(state).toBe('online')
    bench.logs.onAppend = () => {}
    expect(await session.publish('orders', message('x'))).toMatchObject({ offset: 0 })
  })

  it('that hangs while closing is opened again all the same', async () => {
    const { bench, session } = await started()
    bench.logs.onAppend = () => {
      throw broken
    }
    bench.logs.onClose = () => new Promise(() => {})
    await codeOf(() => session.publish('orders', message('x')))
    bench.logs.onAppend = () => {}
    await bench.clock.advance(bench.limits.stopTimeoutMs + 1_000)
    expect(bench.logged('closing a log failed')).toHaveLength(1)
    // The double does not open a log twice, as no store may; the partition goes on trying.
    expect(bench.broker.health().components).toMatchObject([{ lastError: 'RTK_INTERNAL' }])
  })

  it('while reading is opened again too; coded refusals are passed on', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('x'))
    const read = (): Promise<FetchedBatch> => session.fetch('orders', { partition: 0, offset: 0 })
    bench.logs.onRead = () => {
      throw new RatatoskrError('RTK_STORE_CORRUPT', 'at offset 0')
    }
    expect(await codeOf(read)).toBe('RTK_STORE_CORRUPT')
    expect(bench.broker.health().status).toBe('ok')
    bench.logs.onRead = () => {
      throw broken
    }
    expect(await codeOf(read)).toBe('RTK_STORE_FAILED')
    expect(bench.broker.health().status).toBe('degraded')
    bench.logs.onRead = () => {}
    await bench.clock.advance(100)
    expect(await read()).toMatchObject({ nextOffset: 1 })
  })

  it('lets subscribers go on where they were', async () => {
    const { bench, session } = await started()
    const texts: number[] = []
    await session.subscribe(
      'orders',
      { credit: { bytes: 100_000 } },
      { deliver: ({ fromOffset, nextOffset }) => void texts.push(fromOffset, nextOffset), ended: () => {} },
    )
    await session.publish('orders', message('a'))
    await settled()
    bench.logs.onAppend = () => {
      throw broken
    }
    await codeOf(() => session.publish('orders', message('lost')))
    bench.logs.onAppend = () => {}
    await bench.clock.advance(100)
    await session.publish('orders', message('b'))
    await bench.clock.advance(1_000)
    expect(texts).toEqual([0, 1, 1, 2])
  })

  it('at the start keeps only its own partition down', async () => {
    const { bench, session } = await started()
    await session.createTopic('other')
    await bench.broker.stop()
    const sick = (await bench.state.get('topics/default/orders'))?.value
    const { id } = JSON.parse(utf8Text(sick as Uint8Array))
    bench.logs.onOpen = ({ topicId }) => {
      if (topicId === id) throw new RatatoskrError('RTK_STORE_CORRUPT', 'damaged')
    }
    const again = await bench.start()
    const refused = { code: 'RTK_STORE_CORRUPT', message: expect.stringContaining('ratatoskr log repair') }
    await expect(again.publish('orders', message('x'))).rejects.toMatchObject(refused)
    await expect(again.fetch('orders', { partition: 0, offset: 0 })).rejects.toMatchObject(refused)
    expect(await again.publish('other', message('x'))).toMatchObject({ offset: 0 })
    expect(bench.broker.health()).toMatchObject({ components: [{ lastError: 'RTK_STORE_CORRUPT' }] })
    bench.logs.onOpen = () => {}
    await bench.clock.advance(60_000)
    expect(await again.publish('orders', message('x'))).toMatchObject({ offset: 0 })
  })

  it('that recovers while the broker stops leaves nothing open', async () => {
    const { bench, session } = await started()
    bench.logs.onAppend = () => {
      throw broken
    }
    await codeOf(() => session.publish('orders', message('x')))
    let open = (): void => {}
    bench.logs.onOpen = () => new Promise((resolve) => (open = resolve))
    await bench.clock.advance(100)
    let openAtStop: unknown = 'not stopped'
    bench.logs.onStop = () => {
      openAtStop = [...bench.logs.kept.values()].map((kept) => kept.open)
    }
    const stopping = bench.broker.stop()
    await settled()
    open()
    await stopping
    expect(openAtStop).toEqual([undefined])
    expect(bench.clock.pending).toBe(0)
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
