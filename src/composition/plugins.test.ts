/** Plugins in the whole broker: what they see, what they may refuse, and that they cannot hurt it. */
import { type GuardEvents, type ObserverEvents, type Plugin, RatatoskrError } from 'ratatoskr/ports'
import { publishAndAssertDelivery, startTestBroker } from 'ratatoskr/testing'
import { describe, expect, it } from 'vitest'
import { observerEvents as observerSamples } from '../../contract-tests/plugin-events.ts'

const observerEvents = Object.keys(observerSamples) as readonly (keyof ObserverEvents)[]
const guarded = ['publish', 'subscribe', 'topicCreate', 'topicAlter', 'topicDelete'] as const
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`)

/** Records the events of every observer, in order. */
function recorder(name: string, seen: { plugin: string; event: string; fields: object }[]): Plugin {
  return {
    name,
    setup(context) {
      for (const event of observerEvents) {
        context.on(event, (fields) => void seen.push({ plugin: name, event, fields }))
      }
    },
  }
}

const guarding = <Name extends keyof GuardEvents>(
  event: Name,
  guard: (event: GuardEvents[Name]) => undefined,
): Plugin => ({
  name: `guard-${event}`,
  setup: (context) => void context.before(event, guard),
})

describe('a plugin that misbehaves', () => {
  it('loses no message and stops no other when it throws in every observer', async () => {
    const seen: { plugin: string; event: string; fields: object }[] = []
    const throwing: Plugin = {
      name: 'throwing',
      setup(context) {
        for (const event of observerEvents) {
          context.on(event, () => {
            throw new Error('as planned')
          })
        }
      },
    }
    await using broker = await startTestBroker({ plugins: [throwing, recorder('after', seen)] })
    for (let i = 0; i < 20; i++) {
      const messages = numbers(20)
      await publishAndAssertDelivery({ topic: 'orders', messages, publisher: broker, subscriber: broker })
    }
    expect((await broker.topicStats('orders')).messageCount).toBe(400)
    const published = seen.filter(({ event }) => event === 'messagePublished')
    const count = published.reduce(
      (sum, { fields }) => sum + (fields as { recordCount: number }).recordCount,
      0,
    )
    expect(count).toBe(400)
    expect(broker.health().ready).toBe(true)
  })

  it('slows nobody when its queue stalls for ever, and is told of what it missed', async () => {
    const given = { taken: 0, refused: 0 }
    let dropped = () => 0
    const stalling: Plugin = {
      name: 'stalling',
      setup(context) {
        const queue = context.backgroundQueue<number>({
          name: 'stuck',
          itemsMax: 10,
          handle: () => new Promise(() => {}),
        })
        dropped = () => queue.dropped
        context.on('messagePublished', ({ baseOffset }) => {
          if (queue.offer(baseOffset)) given.taken++
          else given.refused++
          return undefined
        })
      },
    }
    const limits = { pluginCloseTimeoutMs: 50 }
    await using broker = await startTestBroker({ plugins: [stalling], limits })
    for (const payload of numbers(500)) await broker.publish('orders', payload)
    expect((await broker.topicStats('orders')).messageCount).toBe(500)
    expect(given.taken + given.refused).toBe(500)
    expect(given.refused).toBeGreaterThan(0)
    expect(dropped()).toBe(given.refused)
    await broker.stop() // does not wait for ever either
    expect(broker.health().status).toBe('stopped')
  })

  it('starves nobody when it floods its own queue', async () => {
    let handled = 0
    let offered = 0
    const flooding: Plugin = {
      name: 'flooding',
      setup(context) {
        const queue = context.backgroundQueue<number>({
          name: 'flood',
          itemsMax: 100_000,
          async handle(items) {
            handled += items.length
          },
        })
        context.on('messagePublished', () => {
          for (let i = 0; i < 1_000; i++) if (queue.offer(i)) offered++
          return undefined
        })
      },
    }
    await using broker = await startTestBroker({ plugins: [flooding] })
    for (let i = 0; i < 50; i++) {
      const messages = [`${i}`]
      await publishAndAssertDelivery({ topic: 'orders', messages, publisher: broker, subscriber: broker })
    }
    await broker.stop()
    expect(offered).toBeGreaterThanOrEqual(50_000)
    expect(handled).toBe(offered)
  })
})

describe('hooks', () => {
  it('run in the order of the list, and plugins close in reverse', async () => {
    const order: string[] = []
    const named = (name: string, requires?: string[]): Plugin => ({
      name,
      requires,
      setup(context) {
        order.push(`setup ${name}`)
        context.before('publish', () => void order.push(`guard ${name}`))
        context.on('messagePublished', () => void order.push(`observe ${name}`))
      },
      close: () => void order.push(`close ${name}`),
    })
    await using broker = await startTestBroker({ plugins: [named('a'), named('b', ['a']), named('c')] })
    await broker.publish('orders', 'x')
    await broker.stop()
    expect(order).toEqual(
      ['setup', 'guard', 'observe']
        .flatMap((what) => ['a', 'b', 'c'].map((name) => `${what} ${name}`))
        .concat('close c', 'close b', 'close a'),
    )
  })

  it('vanish at run time with their plugin; the others stay', async () => {
    const seen: { plugin: string; event: string; fields: object }[] = []
    await using broker = await startTestBroker({ plugins: [recorder('stays', seen), recorder('goes', seen)] })
    await broker.publish('orders', 'before')
    await broker.removePlugin('goes')
    seen.length = 0
    await broker.publish('orders', 'after')
    expect(seen.map(({ plugin, event }) => [plugin, event])).toEqual([['stays', 'messagePublished']])
  })

  it.each(guarded)('may refuse: %s', async (event) => {
    const refused = new RatatoskrError('RTK_PERMISSION_DENIED', 'not on a Saturday')
    let armed = false
    const plugin = guarding(event, () => {
      if (armed) throw refused
      return undefined
    })
    await using broker = await startTestBroker({ plugins: [plugin] })
    await broker.createTopic('orders')
    armed = true
    const calls: Record<(typeof guarded)[number], () => Promise<unknown>> = {
      publish: () => broker.publish('orders', 'x'),
      subscribe: () => broker.subscribe('orders'),
      topicCreate: () => broker.createTopic('fresh'),
      topicAlter: () => broker.alterTopic('orders', { partitions: 2 }),
      topicDelete: () => broker.deleteTopic('orders'),
    }
    await expect(calls[event]()).rejects.toMatchObject({
      code: 'RTK_PERMISSION_DENIED',
    })
    const [topic, ...others] = await broker.listTopics()
    expect([topic.name, topic.config.partitions, others]).toEqual(['orders', 1, []])
    expect(await broker.topicStats('orders')).toMatchObject({ messageCount: 0, subscriberCount: 0 })
  })

  it('that fail on their own account fail closed', async () => {
    const plugin = guarding('publish', () => {
      throw new TypeError('a bug at /secret/path.js:3')
    })
    await using broker = await startTestBroker({ plugins: [plugin] })
    const error = await broker.publish('orders', 'x').catch((thrown: RatatoskrError) => thrown)
    expect(error).toMatchObject({ code: 'RTK_HOOK_ERROR' })
    expect((error as RatatoskrError).message).not.toContain('/secret')
    expect((await broker.topicStats('orders')).messageCount).toBe(0)
  })
})

describe('telemetry', () => {
  it('tells of every step, field by field', async () => {
    const seen: { plugin: string; event: string; fields: object }[] = []
    await using broker = await startTestBroker({
      plugins: [recorder('telemetry', seen)],
      limits: { messageBytesMax: 1_000 },
    })
    const only = <Name extends keyof ObserverEvents>(event: Name): ObserverEvents[Name][] =>
      seen.filter((one) => one.event === event).map(({ fields }) => fields as ObserverEvents[Name])
    await broker.createTopic('orders', { partitions: 2 })
    const subscription = await broker.subscribe('orders', { group: 'g' })
    await broker.publish('orders', 'hello', { partition: 1 })
    for (const message of await subscription.take(1, { waitMs: 5_000 })) message.ack()
    await subscription.close()
    const batch = new Uint8Array(100)
    await broker.publishBatch('orders', 1, batch).catch(() => undefined)
    await broker.alterTopic('orders', { partitions: 3 })
    await broker.deleteTopic('orders')

    const principal = expect.objectContaining({ name: expect.any(String), namespace: 'default' })
    const topic = { topic: 'orders', topicId: expect.stringMatching(/^[0-9a-f-]{36}$/), principal }
    const config = expect.objectContaining({ partitions: 2, durability: 'memory' })
    expect(only('topicCreated')).toEqual([{ ...topic, config }])
    const member = expect.any(String)
    const subscriber = { topic: 'orders', group: 'g', member, subscriptionId: expect.any(String), principal }
    expect(only('subscriberJoined')).toEqual([subscriber])
    expect(only('messagePublished')).toEqual([
      {
        topic: 'orders',
        topicId: topic.topicId,
        partition: 1,
        baseOffset: 0,
        recordCount: 1,
        sizeBytes: expect.any(Number),
        durability: 'memory',
        durationMs: expect.any(Number),
        batch: expect.any(Uint8Array),
      },
    ])
    const [published] = only('messagePublished')
    expect(published.sizeBytes).toBe(published.batch.length)
    expect(published.durationMs).toBeGreaterThanOrEqual(0)
    expect(only('messageDelivered')).toEqual([
      {
        topic: 'orders',
        partition: 1,
        group: 'g',
        subscriptionId: only('subscriberJoined')[0].subscriptionId,
        fromOffset: 0,
        recordCount: 1,
        sizeBytes: published.sizeBytes,
      },
    ])
    expect(only('messageAcked')).toEqual([
      { topic: 'orders', partition: 1, group: 'g', fromOffset: 0, offset: 1 },
    ])
    expect(only('subscriberLeft')).toEqual([{ ...subscriber, error: undefined }])
    expect(only('publishFailed')).toEqual([
      {
        topic: 'orders',
        partition: 1,
        recordCount: expect.any(Number),
        sizeBytes: 100,
        error: expect.objectContaining({ code: 'RTK_BATCH_MALFORMED' }),
        durationMs: expect.any(Number),
      },
    ])
    expect(only('topicAltered')).toEqual([{ ...topic, config: expect.objectContaining({ partitions: 3 }) }])
    expect(only('topicDeleted')).toEqual([{ ...topic, config: expect.objectContaining({ partitions: 3 }) }])
    expect(only('subscriberFailed')).toEqual([])
  })

  it('tells of a subscriber that failed', async () => {
    const seen: { plugin: string; event: string; fields: object }[] = []
    await using broker = await startTestBroker({ plugins: [recorder('telemetry', seen)] })
    const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
    const session = await broker.facade.connect(peer, { kind: 'none' })
    const ended = Promise.withResolvers<unknown>()
    const sink = {
      deliver() {
        throw new Error('the sink is broken')
      },
      ended: ended.resolve,
    }
    await session.subscribe('orders', { credit: { bytes: 1_000 } }, sink)
    await broker.publish('orders', 'x')
    await ended.promise
    expect(seen.filter(({ event }) => event === 'subscriberFailed').map(({ fields }) => fields)).toEqual([
      expect.objectContaining({ topic: 'orders', group: undefined, error: expect.any(RatatoskrError) }),
    ])
  })
})
