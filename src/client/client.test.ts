import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../contract-tests/manual-clock.ts'
import { BatchBuilder, portableCrc32c, RatatoskrError, utf8, utf8Text } from '../ports/index.ts'
import { type ConnectOptions, clientOver } from './connect-with.ts'
import type { Link } from './link.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { testPlatform } from './testing/test-platform.ts'

async function setup(options: ConnectOptions = {}) {
  const clock = new ManualClock()
  const broker = new FakeBroker()
  broker.topic('orders')
  const client = await broker.client(testPlatform(clock), options)
  return { clock, broker, client }
}

const never = <T>(): Promise<T> => new Promise(() => {})

function batchOf(...texts: string[]): Uint8Array {
  const builder = new BatchBuilder({ checksum: portableCrc32c })
  for (const text of texts) builder.add({ payload: utf8(text), timestampMs: 1 })
  return builder.build()
}

describe('the calls of a client', () => {
  it('reach the broker and come back', async () => {
    const { client } = await setup()
    expect((await client.createTopic('invoices', { partitions: 2 })).created).toBe(true)
    expect((await client.listTopics()).map((topic) => topic.name)).toEqual(['orders', 'invoices'])
    expect(await client.topicExists('invoices')).toBe(true)
    expect((await client.describeTopic('invoices')).config.partitions).toBe(2)
    expect((await client.alterTopic('invoices', { partitions: 3 })).config.partitions).toBe(3)
    await client.commit('invoices', 'g', [{ partition: 0, offset: 0 }])
    expect(await client.listGroups('invoices')).toEqual(['g'])
    expect((await client.describeGroup('invoices', 'g')).group).toBe('g')
    expect(await client.seek('invoices', 'g', 'earliest')).toHaveLength(3)
    expect(await client.offsets('invoices', 'latest')).toHaveLength(3)
    await client.deleteGroup('invoices', 'g')
    expect(await client.listGroups('invoices')).toEqual([])
    expect((await client.topicStats('invoices')).topic).toBe('invoices')
    expect((await client.brokerStats()).topics).toBe(2)
    await client.deleteTopic('invoices')
    await expect(client.describeTopic('invoices')).rejects.toMatchObject({ code: 'RTK_TOPIC_NOT_FOUND' })
  })

  it('publish record batches and fetch messages', async () => {
    const { client } = await setup()
    expect(await client.publishBatch('orders', 0, batchOf('a', 'b'))).toMatchObject({
      baseOffset: 0,
      recordCount: 2,
    })
    await client.publishBatch('orders', 0, batchOf('c'))
    const messages = await client.fetch('orders')
    expect(messages.map((message) => utf8Text(message.payload))).toEqual(['a', 'b'])
    expect(messages[0].topic).toBe('orders')
    expect(messages[0].id[14]).toBe('8')
    expect((await client.fetch('orders', { offset: 1, max: 1 })).map((message) => message.offset)).toEqual([
      1,
    ])
    expect(await client.fetch('orders', { offset: 'latest' })).toEqual([])
  })

  it('have a deadline each, the client’s or their own', async () => {
    const { client, broker, clock } = await setup({ timeoutMs: 1_000 })
    for (const link of broker.links) link.listTopics = never
    const usual = expect(client.listTopics()).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
      message: expect.stringContaining('1000 ms'),
    })
    const short = expect(client.listTopics({ timeoutMs: 10 })).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(10)
    await short
    await clock.advance(990)
    await usual
    await expect(client.listTopics({ timeoutMs: Number.NaN })).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    expect(clock.pending).toBe(0)
  })

  it('can be cancelled, before and while they run', async () => {
    const { client, broker, clock } = await setup()
    for (const link of broker.links) link.listTopics = never
    const cancel = new AbortController()
    const running = client.listTopics({ signal: cancel.signal, timeoutMs: Number.POSITIVE_INFINITY })
    cancel.abort(new Error('changed my mind'))
    await expect(running).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
      cause: { message: 'changed my mind' },
    })
    await expect(client.listTopics({ signal: cancel.signal })).rejects.toMatchObject({
      code: 'RTK_CANCELLED',
    })
    const timeout = new AbortController()
    const late = client.publish('orders', 'x', { signal: timeout.signal })
    timeout.abort(new DOMException('too slow', 'TimeoutError'))
    await expect(late).rejects.toMatchObject({ code: 'RTK_TIMEOUT' })
    await clock.advance(0)
    expect(clock.pending).toBe(0)
  })

  it('report every failure as a RatatoskrError', async () => {
    const { client, broker } = await setup()
    for (const link of broker.links)
      link.listTopics = () => Promise.reject(new Error('a bug, with /secret/path'))
    const failure = await client.listTopics().catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'RatatoskrError', code: 'RTK_INTERNAL' })
    expect(String(failure)).not.toContain('secret')
  })
})

describe('a client whose link is lost', () => {
  it('makes reading calls again on the next link, and reports the others as RTK_DISCONNECTED', async () => {
    const { client, broker, clock } = await setup()
    for (const link of broker.links) {
      link.listTopics = () =>
        link.closed.then(() => Promise.reject(new RatatoskrError('RTK_DISCONNECTED', 'cut')))
      link.deleteTopic = link.listTopics as unknown as Link['deleteTopic']
    }
    const reading = client.listTopics()
    const deleting = client.deleteTopic('orders')
    broker.cut()
    await expect(deleting).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    await clock.advance(1_000)
    expect(await reading).toHaveLength(1)
  })

  it('lets calls wait for the next link, no longer than their deadline, and runs none afterwards', async () => {
    const { client, broker, clock } = await setup()
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    const late = expect(client.createTopic('late', {}, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    await clock.advance(100)
    await late
    broker.openFailures = 0
    await clock.advance(20_000)
    expect(await client.topicExists('late')).toBe(false)
    expect(await client.topicExists('orders')).toBe(true)
  })

  it('pauses longer and longer between attempts, within bounds, and begins anew after a good link', async () => {
    const { broker, clock } = await setup({ reconnect: { baseMs: 100, maxMs: 1_000 } })
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    await clock.advance(1_000)
    const early = broker.opened - 1
    await clock.advance(60_000)
    const perSecond = (broker.opened - 1 - early) / 60
    expect(early).toBeGreaterThan(2)
    expect(perSecond).toBeGreaterThanOrEqual(1)
    expect(perSecond).toBeLessThanOrEqual(2)
    broker.openFailures = 0
    await clock.advance(10_000)
    const before = broker.opened
    broker.cut()
    await clock.advance(100)
    expect(broker.opened).toBe(before + 1)
  })

  it('bounds the calls that wait', async () => {
    const { client, broker, clock } = await setup({ limits: { requestsInFlightMax: 2 } })
    broker.openFailures = 1
    broker.cut()
    const waiting = [client.listTopics(), client.listTopics()]
    await expect(client.listTopics()).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    await clock.advance(1_000)
    await Promise.all(waiting)
  })

  it('gives up after so many attempts, and ends everything with the reason', async () => {
    const { client, broker, clock } = await setup({ reconnect: { attemptsMax: 3 } })
    const subscription = await client.subscribe('orders', () => {})
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    const waiting = expect(client.listTopics()).rejects.toMatchObject({ code: 'RTK_CLOSED' })
    await clock.advance(10_000)
    await waiting
    expect(broker.opened).toBe(4)
    expect(await client.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(await subscription.closed).toMatchObject({
      code: 'RTK_CLOSED',
      cause: { code: 'RTK_DISCONNECTED' },
    })
    await expect(client.publish('orders', 'x')).rejects.toMatchObject({ code: 'RTK_CLOSED' })
  })

  it('gives up at once when it is refused for good, or when told not to reconnect', async () => {
    const first = await setup()
    first.broker.openFailures = Number.POSITIVE_INFINITY
    first.broker.openError = () => new RatatoskrError('RTK_UNAUTHENTICATED', 'who are you')
    first.broker.cut()
    await first.clock.advance(1_000)
    expect(await first.client.closed).toMatchObject({ code: 'RTK_UNAUTHENTICATED' })
    const second = await setup({ reconnect: false })
    second.broker.cut()
    expect(await second.client.closed).toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(second.broker.opened).toBe(1)
  })
})

describe('connecting', () => {
  it('rejects when nobody answers, with the reason, and tries each address once', async () => {
    const clock = new ManualClock()
    const platform = testPlatform(clock)
    const attempts: number[] = []
    const refused = async (_signal: AbortSignal, attempt: number): Promise<Link> => {
      attempts.push(attempt)
      throw new RatatoskrError('RTK_DISCONNECTED', 'nobody there')
    }
    await expect(clientOver(refused, 3, {}, platform)).rejects.toMatchObject({ code: 'RTK_DISCONNECTED' })
    expect(attempts).toEqual([0, 1, 2])
    const broker = new FakeBroker()
    const second = await clientOver(
      async (_signal, attempt) => (attempt === 0 ? refused(_signal, attempt) : broker.open()),
      2,
      {},
      platform,
    )
    expect(await second.listTopics()).toEqual([])
  })

  it('has a deadline, can be cancelled, and closes a link that comes too late', async () => {
    const clock = new ManualClock()
    const platform = testPlatform(clock)
    const late = expect(clientOver(never, 1, { timeoutMs: 100 }, platform)).rejects.toMatchObject({
      code: 'RTK_TIMEOUT',
    })
    await clock.advance(100)
    await late
    const attempt = expect(
      clientOver(never, 1, { connectTimeoutMs: 50, timeoutMs: 1_000 }, platform),
    ).rejects.toMatchObject({ code: 'RTK_TIMEOUT', message: expect.stringContaining('connectTimeoutMs') })
    await clock.advance(50)
    await attempt
    const cancel = new AbortController()
    const broker = new FakeBroker()
    const opening = Promise.withResolvers<Link>()
    const cancelled = clientOver(() => opening.promise, 1, { signal: cancel.signal }, platform)
    cancel.abort()
    await expect(cancelled).rejects.toMatchObject({ code: 'RTK_CANCELLED' })
    opening.resolve(broker.open())
    await clock.advance(0)
    expect(broker.links.size).toBe(0)
    expect(clock.pending).toBe(0)
  })
})

describe('closing a client', () => {
  it('sends and commits what it holds, and refuses what comes later', async () => {
    const { client, broker, clock } = await setup()
    const producer = client.producer({ lingerMs: 60_000 })
    const publish = producer.publish('orders', 'a')
    const subscription = await client.subscribe('orders', () => {}, { group: 'g' })
    const [member] = broker.members
    member.deliver(0, 0, batchOf('b'))
    const batches = await client.batches('orders', { group: 'h', commitIntervalMs: 60_000, ack: 'manual' })
    broker.store('orders', 0, batchOf('b'))
    await clock.advance(0)
    const { value } = await batches[Symbol.asyncIterator]().next()
    value?.ack()
    await client.close()
    await client.close()
    await client[Symbol.asyncDispose]()
    expect((await publish).offset).toBe(1)
    expect(broker.commits.at(-1)?.[0].offset).toBeGreaterThan(0)
    expect(member.settled).toEqual(['ack 0-1'])
    expect(await subscription.closed).toBeUndefined()
    expect(await client.closed).toBeUndefined()
    expect([broker.links.size, broker.subscriptions.size]).toEqual([0, 0])
    const calls = [client.listTopics(), client.publish('orders', 'x'), client.subscribe('orders')]
    await Promise.all(calls.map((call) => expect(call).rejects.toMatchObject({ code: 'RTK_CLOSED' })))
    await clock.advance(60_000)
    expect(clock.pending).toBe(0)
  })

  it('aborts everything within its deadline while a dead broker is being called', async () => {
    const { client, broker, clock } = await setup()
    const publish = client.publish('orders', 'known')
    await publish
    const subscription = await client.subscribe('orders', () => new Promise(() => {}), { group: 'g' })
    broker.members[0].deliver(0, 0, batchOf('handled forever'))
    await clock.advance(0)
    broker.openFailures = Number.POSITIVE_INFINITY
    broker.cut()
    const outcomes = Promise.allSettled([client.publish('orders', 'x'), client.listTopics()])
    await clock.advance(10)
    const closing = client.close({ timeoutMs: 500 })
    await clock.advance(500)
    await closing
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ reason: { code: 'RTK_CLOSED' } })
    await subscription.closed
    const opened = broker.opened
    await clock.advance(60_000)
    expect(broker.opened).toBe(opened)
    expect(clock.pending).toBe(0)
  })
})
