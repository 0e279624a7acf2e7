import { describe, expect, it } from 'vitest'
import { type FetchedBatch, RatatoskrError, utf8Text } from '../../ports/index.ts'
import { batchOf, codeOf, message, settled } from '../testing/broker-bench.ts'
import { AppendGate } from '../testing/log-store-double.ts'
import { started, textsOf } from './testing/orders.ts'

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
