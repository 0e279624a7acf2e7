import { describe, expect, it } from 'vitest'
import { RatatoskrError, utf8Text } from '../ports/index.ts'
import { BrokerBench, codeOf, message, settled } from './testing/broker-bench.ts'
import { TransportDouble } from './testing/transport-double.ts'

const never = (): Promise<void> => new Promise(() => {})

/** A bench that writes down the order in which its parts start and stop. */
function tracedBench(): { bench: BrokerBench; steps: string[]; transport: TransportDouble } {
  const steps: string[] = []
  const transport = new TransportDouble()
  const bench = new BrokerBench({ transports: [transport] })
  bench.state.onStart = () => steps.push('+state')
  bench.state.onStop = () => void steps.push('-state')
  bench.logs.onStart = () => steps.push('+logs')
  bench.logs.onStop = () => void steps.push('-logs')
  bench.hooks.onStart = () => steps.push('+plugins')
  bench.hooks.onStop = () => steps.push('-plugins')
  bench.logs.onClose = () => void steps.push('-log')
  transport.onStart = () => void steps.push('+transport')
  transport.onStop = () => void steps.push('-transport')
  return { bench, steps, transport }
}

describe('the life of a broker', () => {
  it('starts its parts in order and stops them in the reverse order', async () => {
    const { bench, steps } = tracedBench()
    const session = await bench.start()
    await session.createTopic('orders')
    await bench.broker.stop()
    expect(steps).toEqual([
      '+state',
      '+logs',
      '+plugins',
      '+transport',
      '-transport',
      '-plugins',
      '-log',
      '-logs',
      '-state',
    ])
  })

  it('does nothing when started or stopped twice, also at the same time', async () => {
    const { bench, steps, transport } = tracedBench()
    await bench.broker.stop()
    await Promise.all([bench.broker.start(), bench.broker.start()])
    await bench.broker.start()
    expect(transport.starts).toBe(1)
    await Promise.all([bench.broker.stop(), bench.broker.stop()])
    expect(steps.filter((step) => step === '-state')).toHaveLength(1)
  })

  it('stops after a start that is still under way, and starts again after a stop', async () => {
    const { bench } = tracedBench()
    const starting = bench.broker.start()
    const stopping = bench.broker.stop()
    await Promise.all([starting, stopping])
    expect(bench.broker.health().status).toBe('stopped')
    const session = await bench.start()
    await session.publish('orders', message('one'))
    expect(bench.broker.health()).toMatchObject({ status: 'ok', ready: true })
  })

  it('drains: is not ready any more and serves on, until it is stopped or started again', async () => {
    const bench = new BrokerBench()
    bench.broker.drain()
    expect(bench.broker.health()).toMatchObject({ status: 'stopped', ready: false })
    const session = await bench.start()
    bench.broker.drain()
    expect(bench.broker.health()).toMatchObject({ status: 'stopping', ready: false })
    await session.createTopic('orders')
    expect((await bench.connect('late')).id).toBeDefined()
    await bench.broker.start()
    expect(bench.broker.health()).toMatchObject({ status: 'ok', ready: true })
    bench.broker.drain()
    await bench.broker.stop()
    expect(await codeOf(() => session.topicExists('orders'))).toBe('RTK_CLOSED')
  })

  it('unwinds a start that fails, and can be started another time', async () => {
    const { bench, steps, transport } = tracedBench()
    transport.onStart = () => {
      throw new RatatoskrError('RTK_ADDRESS_IN_USE', 'taken')
    }
    expect(await codeOf(() => bench.broker.start())).toBe('RTK_ADDRESS_IN_USE')
    expect(steps).toEqual(['+state', '+logs', '+plugins', '-plugins', '-logs', '-state'])
    expect(bench.broker.health()).toMatchObject({ status: 'stopped', ready: false })
    transport.onStart = () => {}
    await bench.broker.start()
    expect(bench.broker.health().ready).toBe(true)
  })

  it('stops transports that started before one that did not', async () => {
    const [first, second] = [new TransportDouble('first'), new TransportDouble('second')]
    second.onStart = () => {
      throw new Error('no socket')
    }
    const bench = new BrokerBench({ transports: [first, second] })
    expect(await codeOf(() => bench.broker.start())).toBe('RTK_INTERNAL')
    expect(first.stops).toHaveLength(1)
    expect(first.address).toBeUndefined()
  })

  it('wraps what a store throws at start, and says which part it was in the log', async () => {
    const bench = new BrokerBench()
    bench.logs.onStart = () => {
      throw new Error('/secret/path')
    }
    const failure = await bench.broker.start().catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(RatatoskrError)
    expect((failure as Error).message).not.toContain('/secret')
    expect(bench.logged('start failed')[0].fields).toMatchObject({ component: 'log store' })
    expect(bench.state.started).toBe(false)
  })

  it('goes on stopping past what hangs and what fails, within its deadline', async () => {
    const { bench, steps, transport } = tracedBench()
    await bench.start()
    transport.onStop = never
    bench.hooks.onStop = () => {
      throw new RatatoskrError('RTK_INTERNAL', 'a plugin')
    }
    const stopping = bench.broker.stop().catch((error: unknown) => error)
    await settled()
    expect(bench.broker.health()).toMatchObject({ status: 'stopping', ready: false })
    expect(transport.stops[0]).toBeLessThan(bench.limits.stopTimeoutMs)
    await bench.clock.advance(bench.limits.stopTimeoutMs)
    expect(await stopping).toMatchObject({ code: 'RTK_TIMEOUT' })
    expect(steps.slice(-2)).toEqual(['-logs', '-state'])
    expect(bench.broker.health().status).toBe('stopped')
    expect(bench.logged('stopping a component failed')).toHaveLength(2)
  })

  it('leaves the stores time to stop in order after a part that hangs', async () => {
    const { bench, steps, transport } = tracedBench()
    await bench.start()
    transport.onStop = never
    bench.logs.onStop = () =>
      new Promise((resolve) => {
        bench.clock.after(1_000, () => {
          steps.push('-logs after a while')
          resolve()
        })
      })
    const stopping = codeOf(() => bench.broker.stop())
    await bench.clock.advance(bench.limits.stopTimeoutMs)
    expect(await stopping).toBe('RTK_TIMEOUT')
    expect(bench.logged('stopping a component failed')).toHaveLength(1)
    expect(steps.slice(-2)).toEqual(['-logs after a while', '-state'])
  })

  it('lets sessions work while transports drain, but opens none', async () => {
    const { bench, transport } = tracedBench()
    const session = await bench.start()
    await session.createTopic('orders')
    let release = (): void => {}
    transport.onStop = () => new Promise((resolve) => (release = resolve))
    const stopping = bench.broker.stop()
    await settled()
    expect(await codeOf(() => bench.connect())).toBe('RTK_UNAVAILABLE')
    expect(await session.publish('orders', message('last'))).toMatchObject({ offset: 0 })
    release()
    await stopping
    expect(await codeOf(() => session.publish('orders', message('late')))).toBe('RTK_CLOSED')
  })

  it('keeps what was published over a restart', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders', { partitions: 3 })
    const receipt = await session.publish('orders', message('one', { partition: 2 }))
    const before = await session.describeTopic('orders')
    await bench.broker.stop()

    bench.broker = bench.makeBroker()
    const again = await bench.start()
    expect(await again.describeTopic('orders')).toEqual(before)
    const texts: string[] = []
    await again.subscribeMessages(
      'orders',
      { from: 'earliest', credit: { messages: 10 } },
      { deliver: ({ id, payload }) => void texts.push(`${id} ${utf8Text(payload)}`), ended: () => {} },
    )
    await settled()
    expect(texts).toEqual([`${receipt.id} one`])
  })
})

describe('sessions', () => {
  it('are refused before the start', async () => {
    const bench = new BrokerBench()
    expect(await codeOf(() => bench.connect())).toBe('RTK_UNAVAILABLE')
    expect(await codeOf(() => bench.broker.connectEmbedded())).toBe('RTK_UNAVAILABLE')
  })

  it('need credentials that the authenticator knows, and tell nothing of what went wrong', async () => {
    const bench = new BrokerBench()
    await bench.broker.start()
    const peer = { transport: 'double', address: 'x', local: true, encrypted: false }
    const refusal = await bench.broker.facade.connect(peer, { kind: 'none' }).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    expect((refusal as Error).message).not.toContain('secret')
  })

  it('are bounded, also while authenticators are slow', async () => {
    const bench = new BrokerBench({ limits: { sessionsMax: 2 } })
    await bench.broker.start()
    const results = await Promise.all([1, 2, 3].map(() => codeOf(() => bench.connect())))
    expect(results).toEqual([undefined, undefined, 'RTK_LIMIT_EXCEEDED'])
  })

  it('make room when they close', async () => {
    const bench = new BrokerBench({ limits: { sessionsMax: 1 } })
    await bench.broker.start()
    const session = await bench.connect()
    await Promise.all([session.close(), session.close()])
    expect(bench.broker.stats().sessions).toBe(0)
    await bench.connect()
    expect(bench.hooks.of('connected')).toHaveLength(2)
    expect(bench.hooks.of('disconnected')).toHaveLength(1)
  })

  it('may be refused by a guard', async () => {
    const bench = new BrokerBench()
    await bench.broker.start()
    bench.hooks.refusals.connect = ({ principal }) => {
      throw new RatatoskrError('RTK_PERMISSION_DENIED', `not ${principal.name}`)
    }
    expect(await codeOf(() => bench.connect())).toBe('RTK_PERMISSION_DENIED')
    expect(bench.broker.stats().sessions).toBe(0)
  })

  it('that wait for their authenticator when the broker stops are not opened', async () => {
    const bench = new BrokerBench()
    await bench.broker.start()
    const connecting = codeOf(() => bench.connect())
    const stopping = bench.broker.stop()
    // Whichever came first: no session is left.
    await Promise.all([connecting, stopping])
    expect(bench.broker.stats().sessions).toBe(0)
  })
})

describe('transports', () => {
  it('that fail are started again with a pause, while the others go on', async () => {
    const [sick, well] = [new TransportDouble('sick'), new TransportDouble('well')]
    const bench = new BrokerBench({ transports: [sick, well] })
    const session = await bench.start()
    sick.breakDown(new RatatoskrError('RTK_INTERNAL', 'the socket broke'))
    expect(bench.broker.health()).toMatchObject({
      status: 'degraded',
      ready: true,
      components: [
        { name: 'transport sick', status: 'restarting', restarts: 0, lastError: 'RTK_INTERNAL' },
        { name: 'transport well', status: 'ok', restarts: 0 },
      ],
    })
    await session.publish('orders', message('meanwhile'))
    await bench.clock.advance(100)
    expect(sick.starts).toBe(2)
    expect(sick.stops).toEqual([0])
    expect(well.starts).toBe(1)
    expect(well.stops).toEqual([])
    expect(bench.broker.health()).toMatchObject({
      status: 'ok',
      components: [{ restarts: 1 }, { restarts: 0 }],
    })
    expect(bench.counted).toEqual(['ratatoskr.component.restarts transport'])
  })

  it('that hang while stopping are started again all the same', async () => {
    const transport = new TransportDouble()
    const bench = new BrokerBench({ transports: [transport] })
    await bench.start()
    transport.onStop = never
    transport.breakDown(new RatatoskrError('RTK_INTERNAL', 'broken'))
    await bench.clock.advance(bench.limits.stopTimeoutMs + 100)
    expect(transport.starts).toBe(2)
    expect(bench.broker.health().status).toBe('ok')
  })

  it('are not restarted for what an earlier binding reports late', async () => {
    const transport = new TransportDouble()
    const bench = new BrokerBench({ transports: [transport] })
    await bench.start()
    const first = transport.supervision
    transport.breakDown(new RatatoskrError('RTK_INTERNAL', 'broken'))
    await bench.clock.advance(100)
    first?.failed(new RatatoskrError('RTK_INTERNAL', 'late'))
    await bench.clock.advance(100)
    expect(transport.starts).toBe(2)
  })

  it('whose restart hangs are stopped all the same', async () => {
    const transport = new TransportDouble()
    const bench = new BrokerBench({ transports: [transport] })
    await bench.start()
    transport.onStart = never
    transport.breakDown(new RatatoskrError('RTK_INTERNAL', 'broken'))
    await bench.clock.advance(100)
    const stopping = bench.broker.stop()
    await bench.clock.advance(bench.limits.stopTimeoutMs)
    await stopping
    expect(transport.stops).toHaveLength(2)
    expect(bench.logged('a restart did not end')).toHaveLength(1)
  })

  it('are not started again after the stop', async () => {
    const transport = new TransportDouble()
    const bench = new BrokerBench({ transports: [transport] })
    await bench.start()
    transport.breakDown(new RatatoskrError('RTK_INTERNAL', 'broken'))
    await bench.broker.stop()
    await bench.clock.advance(60_000)
    expect(transport.starts).toBe(1)
    expect(bench.clock.pending).toBe(0)
  })
})

describe('stats', () => {
  it('count what there is and what was done', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await bench.clock.advance(1_000)
    await session.createTopic('orders', { partitions: 2 })
    await session.publish('orders', message('one', { partition: 0 }))
    await session.publish('orders', message('two', { partition: 0 }))
    await session.subscribe(
      'orders',
      { from: 'earliest', credit: { bytes: 1_000 } },
      { deliver: () => {}, ended: () => {} },
    )
    await settled()
    expect(await session.brokerStats()).toMatchObject({
      topics: 1,
      partitions: 2,
      sessions: 1,
      subscriptions: 1,
      messagesPublished: 2,
      messagesDelivered: 2,
      uptimeMs: 1_000,
    })
    expect(await session.topicStats('orders')).toMatchObject({
      topic: 'orders',
      messageCount: 2,
      subscriberCount: 1,
      messagesDelivered: 2,
      partitions: [{ stableOffset: 2 }, { stableOffset: 0 }],
    })
  })
})

it('takes settings that are given as undefined for settings that are not given', async () => {
  const bench = new BrokerBench({ settings: { autoCreateTopics: undefined, topicDefaults: undefined } })
  const session = await bench.start()
  expect(await session.publish('orders', message('x'))).toMatchObject({ offset: 0 })
})

it('refuses defaults of topics that the store cannot keep', () => {
  expect(() => new BrokerBench({ settings: { topicDefaults: { durability: 'fsync' } } })).toThrow(
    expect.objectContaining({ code: 'RTK_DURABILITY_UNAVAILABLE' }),
  )
})
