import { describe, expect, it } from 'vitest'
import type { Action, BatchReceipt, Session } from '../ports/index.ts'
import { RatatoskrError } from '../ports/index.ts'
import { impliedBy, type Operation, operationPermissions } from './permissions.ts'
import { BrokerBench, batchOf, codeOf, message, settled } from './testing/broker-bench.ts'
import { AppendGate } from './testing/log-store-double.ts'

const sink = { deliver: (): void => {}, ended: (): void => {}, lost: (): void => {} }
const fromStart = { position: 'earliest' } as const

/** How each operation is called, on a topic and a group that may not exist. */
const calls: Record<Operation, (session: Session, topic: string) => unknown> = {
  createTopic: (session, topic) => session.createTopic(topic),
  deleteTopic: (session, topic) => session.deleteTopic(topic),
  alterTopic: (session, topic) => session.alterTopic(topic, { retentionMs: 5 }),
  listTopics: (session) => session.listTopics(),
  topicExists: (session, topic) => session.topicExists(topic),
  describeTopic: (session, topic) => session.describeTopic(topic),
  topicStats: (session, topic) => session.topicStats(topic),
  resolveTopic: (session, topic) => session.resolveTopic(topic),
  publish: (session, topic) => session.publish(topic, message('x')),
  publishMany: (session, topic) => session.publishMany(topic, [message('x')]),
  publishBatch: (session, topic) => session.publishBatch(topic, 0, batchOf(['x'])),
  cancelScheduled: (session, topic) => session.cancelScheduled(topic, '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20'),
  listScheduled: (session, topic) => session.listScheduled(topic),
  deadLetters: (session, topic) => session.deadLetters(topic),
  redriveDeadLetters: (session, topic) => session.redriveDeadLetters(topic),
  purgeDeadLetters: (session, topic) => session.purgeDeadLetters(topic),
  subscribe: (session, topic) => session.subscribe(topic, { group: 'billing' }, sink),
  subscribeMessages: (session, topic) => session.subscribeMessages(topic, { group: 'billing' }, sink),
  fetch: (session, topic) => session.fetch(topic, { partition: 0, offset: 'earliest' }),
  fetchGroup: (session, topic) => session.fetchGroup(topic, { group: 'billing' }),
  offsets: (session, topic) => session.offsets(topic, 'earliest'),
  commit: (session, topic) => session.commit(topic, { group: 'billing', offsets: [] }),
  seekGroup: (session, topic) => session.seekGroup(topic, 'billing', fromStart),
  deleteGroup: (session, topic) => session.deleteGroup(topic, 'billing'),
  describeGroup: (session, topic) => session.describeGroup(topic, 'billing'),
  listGroups: (session, topic) => session.listGroups(topic),
  consume: (session, topic) => session.consume(topic, { group: 'billing' }, sink),
  take: (session, topic) => session.take(topic, { group: 'billing' }),
  settle: (session, topic) => session.settle(topic, { group: 'billing', settlements: [] }),
  heartbeat: (session, topic) => session.heartbeat(topic, 'billing', 'worker'),
  leaveQueue: (session, topic) => session.leaveQueue(topic, 'billing', 'worker'),
  createQueue: (session, topic) => session.createQueue(topic, 'billing'),
  alterQueue: (session, topic) => session.alterQueue(topic, 'billing', {}),
  describeQueue: (session, topic) => session.describeQueue(topic, 'billing'),
  pauseQueue: (session, topic) => session.pauseQueue(topic, 'billing', true),
  brokerStats: (session) => session.brokerStats(),
  profile: (session) => session.profile({ kind: 'cpu', durationMs: 1 }),
}

/** Those that are about queue groups; the others are about stream groups, if about any. */
const queueOperations: ReadonlySet<string> = new Set([
  'consume',
  'take',
  'settle',
  'heartbeat',
  'leaveQueue',
  'createQueue',
  'alterQueue',
  'describeQueue',
  'pauseQueue',
])

/** The actions that an operation asks for before it does anything; lists only leave out what they may not name. */
const actionsOf = (operation: Operation): readonly Action[] => {
  const permission: { topic?: Action; group?: Action; broker?: Action; eachTopic?: Action } =
    operationPermissions[operation]
  return [permission.topic, permission.group, permission.broker].filter((action) => action !== undefined)
}

const operations = Object.keys(operationPermissions) as Operation[]
const needed = operations.flatMap((operation) =>
  actionsOf(operation).map((action) => ({ operation, action })),
)

describe('permissions', () => {
  it.each(needed)(
    '$operation needs $action, whether or not the topic exists',
    async ({ operation, action }) => {
      const bench = new BrokerBench({ settings: { autoCreateTopics: false } })
      const owner = await bench.start()
      await owner.createTopic('there')
      const session = await bench.connect('mallory')
      const stronger: readonly Action[] = impliedBy[action] ?? []
      bench.allows = (asked) => asked !== action && !stronger.includes(asked)
      for (const topic of ['there', 'missing']) {
        expect(await codeOf(() => calls[operation](session, topic))).toBe('RTK_PERMISSION_DENIED')
      }
      const resource = {
        'topic:': 'topic there',
        'group:': 'group billing of topic there',
        broker: 'the broker',
      }
      const expected = Object.entries(resource).find(([kind]) => action.startsWith(kind))?.[1]
      expect(bench.hooks.of('denied')[0]).toEqual({
        principal: session.principal,
        action,
        resource: expected,
      })
      expect(await owner.describeTopic('there')).toMatchObject({ config: { retentionMs: 604_800_000 } })
    },
  )

  it('tells observers of peers that were not let in', async () => {
    const bench = new BrokerBench({ limits: { sessionsMax: 2 } })
    await bench.start()
    await bench.connect('alice')
    expect(await codeOf(() => bench.connect('bob'))).toBe('RTK_LIMIT_EXCEEDED')
    expect(bench.hooks.of('connectRefused').map(({ error }) => error.code)).toEqual(['RTK_LIMIT_EXCEEDED'])
  })

  it.each(['topic:consume', 'topic:publish'] as const)(
    '%s alone lets a client look up what it needs',
    async (right) => {
      const bench = new BrokerBench()
      const owner = await bench.start()
      await owner.createTopic('there')
      const session = await bench.connect('reader')
      bench.allows = (asked) => asked === right
      expect((await session.describeTopic('there')).name).toBe('there')
      expect(await codeOf(() => session.alterTopic('there', { retentionMs: 1 }))).toBe(
        'RTK_PERMISSION_DENIED',
      )
    },
  )

  it.each(operations)('%s works for who may do it', async (operation) => {
    const bench = new BrokerBench()
    const owner = await bench.start()
    await owner.createTopic('there')
    if (queueOperations.has(operation)) {
      if (operation !== 'consume' && operation !== 'take')
        await owner.take('there', { group: 'billing', member: 'worker' })
    } else if (operation !== 'subscribe' && operation !== 'subscribeMessages') {
      await owner.commit('there', { group: 'billing', offsets: [{ partition: 0, offset: 0 }] })
    }
    const session = await bench.connect('alice')
    // The bench's platform has no profiler, which is found out by who may have one.
    const code = operation === 'profile' ? 'RTK_NOT_SUPPORTED' : undefined
    expect(await codeOf(() => calls[operation](session, 'there'))).toBe(code)
  })

  it('hide topics and groups from lists', async () => {
    const bench = new BrokerBench()
    const owner = await bench.start()
    for (const topic of ['b', 'a', 'secret']) await owner.createTopic(topic)
    for (const group of ['mine', 'theirs']) {
      await owner.commit('a', { group, offsets: [{ partition: 0, offset: 0 }] })
    }
    const session = await bench.connect()
    bench.allows = (_action, resource) =>
      resource.kind === 'group'
        ? resource.name === 'mine'
        : resource.kind === 'topic' && resource.name !== 'secret'
    expect((await session.listTopics()).map(({ name }) => name)).toEqual(['a', 'b'])
    expect(await session.listGroups('a')).toEqual(['mine'])
    expect((await owner.listTopics()).map(({ name }) => name)).toEqual(['a', 'b', 'secret'])
  })

  it('are asked each time: what is revoked works no more', async () => {
    const bench = new BrokerBench()
    const session = await bench.start().then(() => bench.connect())
    await session.publish('orders', message('x'))
    bench.allows = () => false
    expect(await codeOf(() => session.publish('orders', message('y')))).toBe('RTK_PERMISSION_DENIED')
  })

  it('to publish do not create a topic for who may not create it', async () => {
    const bench = new BrokerBench({ allows: (action) => action !== 'topic:create' })
    await bench.broker.start()
    const session = await bench.connect()
    expect(await codeOf(() => session.publish('orders', message('x')))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(bench.broker.stats().topics).toBe(0)
  })

  it('are for the topic as it is in the namespace of the principal', async () => {
    const asked: string[] = []
    const bench = new BrokerBench({
      allows: (_action, resource) => {
        if (resource.kind === 'topic') asked.push(`${resource.namespace}/${resource.name}`)
        return true
      },
    })
    await bench.broker.start()
    const session = await bench.connect()
    await session.topicExists('orders')
    await session.topicExists('acme/orders')
    expect(asked).toEqual(['default/orders', 'acme/orders'])
  })
})

describe('names', () => {
  it('of the broker cannot be created, changed or published to by clients', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    expect(await codeOf(() => session.createTopic('_offsets'))).toBe('RTK_TOPIC_NAME_INVALID')
    for (const operation of [
      'publish',
      'publishMany',
      'publishBatch',
      'resolveTopic',
      'deleteTopic',
      'alterTopic',
    ] as const) {
      expect(await codeOf(() => calls[operation](session, '_offsets'))).toBe('RTK_PERMISSION_DENIED')
    }
    expect(await codeOf(() => calls.subscribe(session, '_offsets'))).toBe('RTK_TOPIC_NOT_FOUND')
    expect(bench.broker.stats().topics).toBe(0)
  })

  it.each(['', '.', '..', 'a..b', 'a\u0000b', 'ä', 'x'.repeat(250), 'a/b/c', '__proto__ '])(
    'such as %j are refused',
    async (name) => {
      const bench = new BrokerBench()
      const session = await bench.start()
      expect(await codeOf(() => session.publish(name, message('x')))).toBe('RTK_TOPIC_NAME_INVALID')
      expect(await codeOf(() => session.createTopic(name))).toBe('RTK_TOPIC_NAME_INVALID')
    },
  )

  it('of groups are checked', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    expect(await codeOf(() => session.describeGroup('orders', 'a/b'))).toBe('RTK_INVALID_ARGUMENT')
    expect(await codeOf(() => session.subscribe('orders', { group: '' }, sink))).toBe('RTK_INVALID_ARGUMENT')
  })

  it('are remembered only up to a bound', async () => {
    const bench = new BrokerBench({ settings: { autoCreateTopics: false } })
    const session = await bench.start()
    for (let i = 0; i < 5_000; i++) expect(await session.topicExists(`t${i}`)).toBe(false)
    await session.createTopic('t1')
    expect(await session.topicExists('t1')).toBe(true)
  })
})

describe('topics on demand', () => {
  it('are created once by many who publish and subscribe at the same time', async () => {
    const bench = new BrokerBench({ settings: { topicDefaults: { partitions: 3 } } })
    const session = await bench.start()
    await Promise.all([
      ...[1, 2, 3].map((n) => session.publish('orders', message(`${n}`))),
      session.subscribe('orders', {}, sink),
      session.resolveTopic('orders'),
      session.publishBatch('orders', 1, batchOf(['b'])),
    ])
    expect(bench.broker.stats()).toMatchObject({ topics: 1, partitions: 3, messagesPublished: 4 })
    expect(bench.hooks.of('topicCreated')).toHaveLength(1)
  })

  it('are not created when that is turned off, nor by looking', async () => {
    const bench = new BrokerBench({ settings: { autoCreateTopics: false } })
    const session = await bench.start()
    for (const operation of [
      'publish',
      'publishMany',
      'publishBatch',
      'subscribe',
      'resolveTopic',
    ] as const) {
      expect(await codeOf(() => calls[operation](session, 'orders'))).toBe('RTK_TOPIC_NOT_FOUND')
    }
    expect(await session.topicExists('orders')).toBe(false)
  })

  it('are found anew after they were deleted and created again', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.publish('orders', message('old'))
    await session.deleteTopic('orders')
    expect(await session.topicExists('orders')).toBe(false)
    expect(await session.publish('orders', message('new'))).toMatchObject({ offset: 0 })
  })
})

describe('cancelling', () => {
  async function heldBench(): Promise<{ session: Session; gate: AppendGate }> {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    const gate = new AppendGate()
    bench.logs.onAppend = gate.hold
    return { session, gate }
  }

  it('before the call does nothing', async () => {
    const { session, gate } = await heldBench()
    const signal = AbortSignal.abort()
    expect(await codeOf(() => session.publish('orders', message('x'), { signal }))).toBe('RTK_CANCELLED')
    expect(await codeOf(() => session.fetch('orders', { partition: 0, offset: 0 }, { signal }))).toBe(
      'RTK_CANCELLED',
    )
    expect(await codeOf(() => session.fetchGroup('orders', { group: 'g' }, { signal }))).toBe('RTK_CANCELLED')
    await settled()
    expect(gate.waiting).toBe(0)
  })

  it('while the call runs ends the waiting, not the publish', async () => {
    const { session, gate } = await heldBench()
    const controller = new AbortController()
    const code = codeOf(() =>
      session.publishBatch('orders', 0, batchOf(['x']), { signal: controller.signal }),
    )
    controller.abort()
    expect(await code).toBe('RTK_CANCELLED')
    gate.release()
    await settled()
    expect(await session.topicStats('orders')).toMatchObject({ messageCount: 1 })
  })

  it('by a deadline is RTK_TIMEOUT', async () => {
    const { session } = await heldBench()
    const controller = new AbortController()
    const code = codeOf(() => session.publish('orders', message('x'), { signal: controller.signal }))
    controller.abort(new DOMException('too late', 'TimeoutError'))
    expect(await code).toBe('RTK_TIMEOUT')
  })

  it('that does not happen changes nothing', async () => {
    const { session, gate } = await heldBench()
    const { signal } = new AbortController()
    const receipt = session.publish('orders', message('x'), { signal })
    await settled()
    gate.release()
    expect(await receipt).toMatchObject({ offset: 0 })
    const batch = session.publishBatch('orders', 0, batchOf(['y']), { signal }) as Promise<BatchReceipt>
    gate.fail(new RatatoskrError('RTK_STORE_FULL', 'full'))
    expect(await codeOf(() => batch)).toBe('RTK_STORE_FULL')
  })
})

describe('the subscriptions of a session', () => {
  it('are bounded, and make room when they end', async () => {
    const bench = new BrokerBench({ limits: { subscriptionsPerSessionMax: 1 } })
    const session = await bench.start()
    const ended: unknown[] = []
    const first = await session.subscribe(
      'orders',
      {},
      { ...sink, ended: (reason) => void ended.push(reason) },
    )
    expect(await codeOf(() => session.subscribeMessages('orders', {}, sink))).toBe('RTK_LIMIT_EXCEEDED')
    await first.close()
    expect(ended).toEqual([undefined])
    await session.subscribe('orders', {}, sink)
    expect(bench.broker.stats().subscriptions).toBe(1)
  })

  it('end with it', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    let endings = 0
    await session.subscribe('orders', {}, { ...sink, ended: () => void endings++ })
    await session.close()
    expect(endings).toBe(1)
    expect(bench.broker.stats()).toMatchObject({ sessions: 0, subscriptions: 0 })
    for (const operation of operations) {
      expect(await codeOf(() => calls[operation](session, 'orders'))).toBe('RTK_CLOSED')
    }
  })

  it('that open while it closes are closed', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.createTopic('orders')
    const opening = codeOf(() => session.subscribe('orders', { from: { timestampMs: 1 } }, sink))
    await session.close()
    expect(await opening).toBe('RTK_CLOSED')
    await settled()
    expect(bench.broker.stats().subscriptions).toBe(0)
  })

  it('keep what their sinks are: methods are called on the sink itself', async () => {
    const bench = new BrokerBench()
    const session = await bench.start()
    await session.publish('orders', message('x'))
    class Collector {
      assignments = 0
      deliveries = 0
      assigned(): void {
        this.assignments++
      }
      deliver(): void {
        this.deliveries++
      }
      ended(): void {}
    }
    const collector = new Collector()
    await session.subscribe('orders', { from: 'earliest', credit: { bytes: 1_000 } }, collector)
    await settled()
    expect(collector).toMatchObject({ assignments: 1, deliveries: 1 })
  })
})

describe('a subscription that begins at an offset', () => {
  it('makes no topic, which could not have it', async () => {
    const session = await new BrokerBench().start()
    const from = { offset: 5 }
    const credit = { messages: 1 }
    for (const subscribe of [
      () => session.subscribe('nope', { from }, sink),
      () => session.subscribeMessages('nope', { from }, sink),
      () => session.consume('nope', { group: 'g', from, credit }, sink),
      () => session.take('nope', { group: 'g', from }),
    ])
      expect(await codeOf(subscribe)).toBe('RTK_TOPIC_NOT_FOUND')
    expect(await session.listTopics()).toEqual([])
    await (await session.subscribe('yes', { from: { offset: 0 } }, sink)).close()
    expect((await session.listTopics()).map(({ name }) => name)).toEqual(['yes'])
  })
})
