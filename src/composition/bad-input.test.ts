/**
 * One table of bad input, sent past the client's own checks over every way into the broker: a coded error each time,
 * nothing half-done, nothing learnt about the machine behind it, and the broker serves on.
 */
import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { isRatatoskrError } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { embeddedLink } from '../client/embedded.ts'
import type { Link, OpenLink } from '../client/link.ts'
import { openGrpcLink } from '../client/links/grpc.ts'
import { openHttpLink } from '../client/links/http.ts'
import { openTcpLink } from '../client/links/tcp.ts'
import { openWebSocketLink } from '../client/links/websocket-node.ts'
import { badInput, badInputLimits } from './testing/bad-input.ts'

const MIB = 1024 * 1024

let broker: EmbeddedBroker
const links = new Map<string, Link>()
const openers: readonly (readonly [string, OpenLink])[] = [
  ['gRPC', openGrpcLink],
  ['WebSocket', openWebSocketLink],
  ['HTTP', openHttpLink],
  ['TCP', openTcpLink],
]
const ways = ['embedded', ...openers.map(([name]) => name)]

beforeAll(async () => {
  const transports = [grpcTransport, webSocketTransport, httpTransport, tcpTransport].map((make) =>
    make({ port: 0 }),
  )
  broker = await startTestBroker({ transports, limits: badInputLimits })
  const anonymous = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
  const session = await broker.facade.connect(anonymous, { kind: 'none' })
  links.set('embedded', embeddedLink(session, new Promise(() => {}), broker.platform.clock))
  for (const [i, [name, open]] of openers.entries()) {
    const { platform } = broker
    const options = { credentials: { kind: 'none' }, platform, frameBytesMax: 64 * MIB } as const
    links.set(name, await open(new URL(broker.addresses[i].url), options))
  }
  await broker.createTopic('orders', { partitions: 2 })
  for (const partition of [0, 0, 0, 1]) await broker.publish('orders', 'kept', { partition })
  await broker.commit('orders', 'billing', [{ partition: 0, offset: 1 }])
})

afterAll(async () => {
  for (const link of links.values()) await link.close()
  await broker.stop()
})

/** What must not change, however bad the input. */
async function everything() {
  const topics = await broker.listTopics()
  const stats = await broker.topicStats('orders')
  const groups = await broker.listGroups('orders')
  const billing = await broker.describeGroup('orders', 'billing')
  const { messagesPublished, subscriptions, topics: topicCount } = broker.stats()
  return { topics, stats, groups, billing, messagesPublished, subscriptions, topicCount }
}

const leaks = [
  /\n\s+at /,
  /\.ts\b/,
  /node_modules/,
  /\/(home|tmp|usr|var|work|root)\//,
  /node:/,
  new RegExp(process.cwd()),
]

describe.each(ways)('bad input over %s', (way) => {
  const link = (): Link => links.get(way) as Link

  it.each(badInput)('is refused by code and changes nothing: %s', async (_kind, cases) => {
    const before = await everything()
    const wrong: string[] = []
    for (const { what, code, send } of cases) {
      const outcome = await Promise.try(() => send(link())).then(
        () => 'accepted',
        (error: unknown) => error,
      )
      const wanted: readonly string[] = typeof code === 'string' ? [code] : code
      const got = isRatatoskrError(outcome) ? outcome.code : String(outcome)
      if (!wanted.includes(got))
        wrong.push(`${what}: expected ${wanted.join(' or ')}, got ${got}: ${outcome}`)
      const told = isRatatoskrError(outcome) ? `${outcome.message} ${JSON.stringify(outcome.details)}` : ''
      if (leaks.some((leak) => leak.test(told))) wrong.push(`${what}: tells ${told}`)
      if (told.length > 500) wrong.push(`${what}: tells ${told.length} characters`)
    }
    expect(wrong).toEqual([])
    expect(await everything()).toEqual(before)
    expect(Object.prototype).not.toHaveProperty('partitions')
  })

  it('leaves a broker that serves on', async () => {
    expect((await link().resolveTopic('orders')).partitions).toHaveLength(2)
    expect((await link().fetch('orders', { partition: 0, offset: 0 })).nextOffset).toBe(3)
    expect(broker.health()).toMatchObject({ status: 'ok', ready: true })
  })
})

/** What a client of ours cannot send: JSON as others might write it. */
const payload = 'eA=='
const documents: readonly (readonly [what: string, body: unknown])[] = [
  ['no list', { messages: 'x' }],
  ['an unknown field', { messages: [{ payload, colour: 'red' }] }],
  ['an unknown field beside', { messages: [{ payload }], colour: 'red' }],
  ['a payload that is no base64', { messages: [{ payload: '*' }] }],
  ['a payload of null', { messages: [{ payload: null }] }],
  ['a key of 5', { messages: [{ payload, key: 5 }] }],
  ['a partition as text', { messages: [{ payload, partition: '0' }] }],
  ['a timestamp of 1.5', { messages: [{ payload, timestamp: 1.5 }] }],
  ['headers that are none', { messages: [{ payload, headers: 5 }] }],
  ['nesting beyond the limit', { messages: [JSON.parse('['.repeat(1_000) + ']'.repeat(1_000))] }],
]

describe('JSON of others', () => {
  const post = (path: string, body: string) =>
    fetch(`${broker.addresses[2].url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })

  it.each<readonly [string, string]>([
    ...documents.map(([what, body]) => [what, JSON.stringify(body)] as const),
    [
      'a prototype',
      `{"__proto__": {"messages": []}, "messages": [{"payload": "${payload}", "__proto__": {}}]}`,
    ],
    ['half a document', '{"messages": ['],
    ['nothing', ''],
    ['100,000 brackets', '['.repeat(100_000)],
  ])('over HTTP is refused and stores nothing: %s', async (_what, body) => {
    const before = await everything()
    const response = await post('/v1/topics/orders/messages', body)
    const told = await response.text()
    expect([response.status, told]).toEqual([400, expect.stringMatching(/RTK_[A-Z_]+/)])
    expect(leaks.filter((leak) => leak.test(told))).toEqual([])
    expect(await everything()).toEqual(before)
  })

  it.each([
    ['an offset of null', { offsets: [{ partition: 0, offset: null }] }],
    ['an offset as text', { offsets: [{ partition: 0, offset: '1' }] }],
    ['offsets as one object', { offsets: { partition: 0, offset: 1 } }],
  ])('never moves a group: %s', async (_what, body) => {
    const before = await everything()
    const response = await post('/v1/topics/orders/groups/billing/ack', JSON.stringify(body))
    expect(response.status).toBe(400)
    expect(await everything()).toEqual(before)
  })

  it('over a WebSocket is refused, and the connection serves on while requests can be read', async () => {
    const before = await everything()
    const socket = new WebSocket(broker.addresses[1].url, 'ratatoskr.v1+json')
    const replies: AsyncIterator<{ id?: number; error?: { code: string } }> = replyIterator(socket)
    await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }))
    const nested = documents.at(-1)?.[1]
    for (const [id, [what, body]] of documents.slice(0, -1).entries()) {
      socket.send(JSON.stringify({ op: 'publishMany', id: id + 1, topic: 'orders', ...(body as object) }))
      const { value } = await replies.next()
      expect(value, what).toMatchObject({ id: id + 1, error: { code: expect.stringMatching(/^RTK_/) } })
      expect(leaks.filter((leak) => leak.test(JSON.stringify(value)))).toEqual([])
    }
    socket.send(JSON.stringify({ op: 'topicExists', id: 99, topic: 'orders' }))
    expect((await replies.next()).value).toMatchObject({ id: 99 })
    // What cannot be read at all has no id to answer to: the connection is told why, and ends.
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve, { once: true }))
    socket.send(JSON.stringify(nested))
    expect((await replies.next()).value).toMatchObject({ error: { code: 'RTK_FRAME_MALFORMED' } })
    await closed
    expect(await everything()).toEqual(before)
  })
})

/** The replies that a socket gets, in order. */
function replyIterator(socket: WebSocket): AsyncIterator<{ id?: number; error?: { code: string } }> {
  const waiting: ((data: string) => void)[] = []
  const arrived: string[] = []
  socket.addEventListener('message', ({ data }) => {
    const next = waiting.shift()
    if (next === undefined) arrived.push(data)
    else next(data)
  })
  return {
    async next() {
      const data = arrived.shift() ?? (await new Promise<string>((resolve) => waiting.push(resolve)))
      return { done: false, value: JSON.parse(data) }
    },
  }
}
