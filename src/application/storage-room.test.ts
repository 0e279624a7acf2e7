/** A storage without room: what health and the log say of it, and that everything but publishing goes on. */
import { describe, expect, it } from 'vitest'
import { RatatoskrError, type Session } from '../ports/index.ts'
import { BrokerBench, batchOf, codeOf, message, settled } from './testing/broker-bench.ts'
import { AppendGate } from './testing/log-store-double.ts'

const full = new RatatoskrError('RTK_STORE_FULL', 'no room')
const large = 'x'.repeat(1_000)

async function started(): Promise<{ bench: BrokerBench; session: Session }> {
  const bench = new BrokerBench()
  const session = await bench.start()
  await session.createTopic('orders')
  await session.createTopic('other')
  await session.publish('orders', message('first'))
  return { bench, session }
}

/** Appends are refused from here on, those above `bytesMax`. */
function refuse(bench: BrokerBench, bytesMax = 0): void {
  bench.logs.onAppend = (_id, batch) => {
    if (batch.length > bytesMax) throw full
  }
}

const trouble = { name: 'storage', status: 'failed', restarts: 0, lastError: 'RTK_STORE_FULL' }

describe('a storage without room', () => {
  it('is told of once, and keeps the broker ready', async () => {
    const { bench, session } = await started()
    refuse(bench)
    for (const topic of ['orders', 'orders', 'other']) {
      expect(await codeOf(() => session.publish(topic, message('x')))).toBe('RTK_STORE_FULL')
    }
    expect(bench.broker.health()).toMatchObject({ status: 'degraded', ready: true, components: [trouble] })
    expect(bench.logged('has no room')).toMatchObject([{ level: 'warn' }])
  })

  it('lets reads, deletes and retention go on', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('second'))
    await session.alterTopic('orders', { retentionMessages: 1 })
    refuse(bench)
    await codeOf(() => session.publish('orders', message('x')))
    expect(await session.fetch('orders', { partition: 0, offset: 0 })).toMatchObject({ nextOffset: 2 })
    await bench.clock.advance(60_000)
    expect((await session.describeTopic('orders')).partitions[0].startOffset).toBe(1)
    await session.deleteTopic('other')
  })

  it('is well again with the next append that is stored, in whatever partition', async () => {
    const { bench, session } = await started()
    refuse(bench)
    await codeOf(() => session.publish('orders', message('x')))
    await bench.clock.advance(3_600_000)
    expect(bench.broker.health().status).toBe('degraded') // nobody has seen that there is room
    refuse(bench, 10_000)
    await session.publish('other', message('x'))
    expect(bench.broker.health()).toMatchObject({ status: 'ok', components: [] })
    expect(bench.logged('has room again')).toMatchObject([{ level: 'info', fields: { refusals: 1 } }])
    refuse(bench)
    await codeOf(() => session.publish('orders', message('x')))
    expect(bench.logged('has no room')).toHaveLength(2)
  })

  it('is not taken for well because a smaller batch still fits', async () => {
    const { bench, session } = await started()
    refuse(bench, 500)
    for (let i = 0; i < 3; i++) {
      await codeOf(() => session.publish('orders', message(large)))
      await session.publish('orders', message('small'))
      expect(bench.broker.health().components).toEqual([trouble])
    }
    expect(bench.logged('has no room')).toHaveLength(1)
    await bench.clock.advance(1_000)
    await session.publish('orders', message('small')) // nobody was refused for a while
    expect(bench.broker.health().components).toEqual([])
  })

  it('is not taken for well because of an append that was under way before', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const early = session.publishBatch('orders', 0, batchOf([large]))
    refuse(bench)
    await codeOf(() => session.publish('other', message('x')))
    gate.release()
    await early
    await settled()
    expect(bench.broker.health().components).toEqual([trouble])
  })

  it('is found out from appends that fail later, too', async () => {
    const { bench, session } = await started()
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    const failing = codeOf(() => session.publish('orders', message('x')))
    await settled()
    gate.fail(full)
    expect(await failing).toBe('RTK_STORE_FULL')
    expect(bench.broker.health().components).toEqual([trouble])
    bench.logs.onAppend = async () => {}
    await session.publish('orders', message('x'))
    expect(bench.broker.health().components).toEqual([])
  })
})

describe('a partition that has lost records', () => {
  it('is described with them, and makes the broker degraded but ready', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('second'))
    const { id } = await session.describeTopic('orders')
    bench.logs.damage(id, { from: 0, to: 1 })
    const [described] = (await session.describeTopic('orders')).partitions
    expect(described.damaged).toEqual([{ from: 0, to: 1 }])
    expect((await session.topicStats('orders')).partitions[0].damaged).toEqual([{ from: 0, to: 1 }])
    expect(bench.broker.health()).toMatchObject({
      status: 'degraded',
      ready: true,
      components: [
        { name: 'partition orders/0', status: 'degraded', restarts: 0, lastError: 'RTK_STORE_CORRUPT' },
      ],
    })
  })

  it('is reported once while it is restarted, and well when the loss is deleted', async () => {
    const { bench, session } = await started()
    await session.publish('orders', message('second'))
    const { id } = await session.describeTopic('orders')
    bench.logs.damage(id, { from: 0, to: 1 })
    bench.logs.onAppend = () => {
      throw new Error('broken')
    }
    await codeOf(() => session.publish('orders', message('x')))
    expect(bench.broker.health().components).toMatchObject([
      { name: 'partition orders/0', status: 'restarting' },
    ])
    bench.logs.onAppend = () => {}
    await bench.clock.advance(5_000)
    expect(bench.broker.health().components).toMatchObject([{ status: 'degraded', restarts: 1 }])
    await session.alterTopic('orders', { retentionMessages: 1 })
    await bench.clock.advance(60_000)
    expect(bench.broker.health().status).toBe('ok')
  })
})
