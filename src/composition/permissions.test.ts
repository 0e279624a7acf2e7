/** Who may do what: each operation of a session, for each role, over every way into the broker. */
import type { EmbeddedBroker } from 'ratatoskr'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import { httpTransport } from 'ratatoskr/adapters/http'
import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { tcpTransport } from 'ratatoskr/adapters/tcp'
import { webSocketTransport } from 'ratatoskr/adapters/websocket'
import { BatchBuilder, type Credentials, isRatatoskrError, type QueueConfig, utf8 } from 'ratatoskr/ports'
import { startTestBroker } from 'ratatoskr/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { operationPermissions } from '../application/permissions.ts'
import { embeddedLink } from '../client/embedded.ts'
import type { Link } from '../client/link.ts'
import { openGrpcLink } from '../client/links/grpc.ts'
import { openHttpLink } from '../client/links/http.ts'
import { openTcpLink } from '../client/links/tcp.ts'
import { openWebSocketLink } from '../client/links/websocket-node.ts'

/** What each role may do; every action of the broker is somebody's. */
const roles = {
  admin: ['*'],
  publisher: ['topic:publish'],
  consumer: ['topic:consume', 'group:consume', 'group:describe', 'topic:describe'],
  viewer: ['topic:list', 'topic:describe', 'group:describe', 'broker:describe'],
  operator: ['topic:create', 'topic:alter', 'topic:delete', 'topic:consume', 'group:seek', 'group:configure'],
  nobody: [],
} satisfies Record<string, string[]>

type Role = keyof typeof roles
const tokenOf = (role: string): string => `the-token-of-${role}-is-long`
const credentialsOf = (role: string): Credentials => ({ kind: 'bearer', token: tokenOf(role) })

const sink = { deliver() {}, ended() {} }
const leaseSink = { ...sink, lost() {} }
let broker: EmbeddedBroker
const openers = { gRPC: openGrpcLink, WebSocket: openWebSocketLink, HTTP: openHttpLink, TCP: openTcpLink }
const ways = ['embedded', ...Object.keys(openers)]
const links = new Map<string, Link>()

beforeAll(async () => {
  const tokens = Object.entries(roles).map(([name, actions]) => [
    tokenOf(name),
    { name, allow: actions.length === 0 ? [] : [{ actions, topics: ['orders', 'orders.**', 'made.**'] }] },
  ])
  broker = await startTestBroker({
    transports: [
      grpcTransport({ port: 0 }),
      webSocketTransport({ port: 0 }),
      httpTransport({ port: 0 }),
      tcpTransport({ port: 0 }),
    ],
    security: staticTokens({ tokens: Object.fromEntries(tokens) }),
  })
  for (const role of Object.keys(roles)) {
    for (const way of ways) links.set(`${way} ${role}`, await open(way, credentialsOf(role)))
  }
})

afterAll(async () => {
  for (const link of links.values()) await link.close()
  await broker.stop()
})

async function open(way: string, credentials: Credentials): Promise<Link> {
  if (way === 'embedded') {
    const peer = { transport: 'embedded', address: 'embedded', local: true, encrypted: false }
    return embeddedLink(
      await broker.facade.connect(peer, credentials),
      new Promise(() => {}),
      broker.platform.clock,
    )
  }
  const i = Object.keys(openers).indexOf(way)
  const { platform } = broker
  return openers[way as keyof typeof openers](new URL(broker.addresses[i].url), {
    credentials,
    platform,
    frameBytesMax: 1024 * 1024,
  })
}

const batch = (): Uint8Array => {
  const builder = new BatchBuilder({ checksum: broker.platform.checksum })
  builder.add({ payload: utf8('x'), timestampMs: 1_000 })
  return builder.build().slice()
}

/** Each operation of a link, on a topic that is there. */
const operations: Readonly<Record<string, (link: Link, topic: string) => unknown>> = {
  createTopic: (link, topic) => link.createTopic(topic),
  alterTopic: (link, topic) => link.alterTopic(topic, { retentionMs: 60_000 }),
  topicExists: (link, topic) => link.topicExists(topic),
  describeTopic: (link, topic) => link.describeTopic(topic),
  topicStats: (link, topic) => link.topicStats(topic),
  publishBatch: (link, topic) => link.publishBatch(topic, 0, batch()),
  publishMany: (link, topic) => link.publishMany(topic, [{ payload: utf8('x') }]),
  cancelScheduled: (link, topic) => link.cancelScheduled(topic, '3f0cdd6c-57d5-4f65-8c8a-97c9e5c0fa20'),
  listScheduled: (link, topic) => link.listScheduled(topic),
  deadLetters: (link, topic) => link.deadLetters(topic),
  redriveDeadLetters: (link, topic) => link.redriveDeadLetters(topic),
  purgeDeadLetters: (link, topic) => link.purgeDeadLetters(topic),
  fetch: (link, topic) => link.fetch(topic, { partition: 0, offset: 0 }),
  subscribe: async (link, topic) => (await link.subscribe(topic, {}, sink)).close(),
  'subscribe with a group': async (link, topic) =>
    (await link.subscribe(topic, { group: 'g' }, sink)).close(),
  commit: (link, topic) => link.commit(topic, { group: 'c', offsets: [{ partition: 0, offset: 0 }] }),
  seekGroup: (link, topic) => link.seekGroup(topic, 'c', { position: 'earliest' }),
  listGroups: (link, topic) => link.listGroups(topic),
  describeGroup: (link, topic) => link.describeGroup(topic, 'c'),
  deleteGroup: (link, topic) => link.deleteGroup(topic, 'c'),
  consume: async (link, topic) => (await link.consume(topic, { group: 'q' }, leaseSink)).close(),
  take: (link, topic) => link.take(topic, { group: 'q' }),
  settle: (link, topic) =>
    link.settle(topic, {
      group: 'q',
      settlements: [{ action: 'ack', partition: 0, lease: 1, from: 0, to: 1 }],
    }),
  heartbeat: (link, topic) => link.heartbeat(topic, 'q', 'm'),
  leaveQueue: (link, topic) => link.leaveQueue(topic, 'q', 'm'),
  createQueue: (link, topic) => link.createQueue(topic, 'q'),
  alterQueue: (link, topic) => link.alterQueue(topic, 'q', { retriesMax: 1 }),
  describeQueue: (link, topic) => link.describeQueue(topic, 'q'),
  pauseQueue: (link, topic) => link.pauseQueue(topic, 'q', false),
  deleteTopic: (link, topic) => link.deleteTopic(topic),
}

/** What an operation needs, from the broker's own table. */
function needed(operation: string): string[] {
  const [name, , grouped] = operation.split(' ')
  const permission = operationPermissions[name as keyof typeof operationPermissions]
  const named = grouped !== undefined || name !== 'subscribe'
  const actions = 'topic' in permission ? [permission.topic as string] : []
  if (name === 'redriveDeadLetters') actions.push('topic:consume') // of the dead letter topic
  if ('group' in permission && named) actions.push(permission.group)
  return actions
}

/** Who may read or write a topic may look it up: without its partitions he could do neither. */
function has(role: Role, action: string): boolean {
  const actions: readonly string[] = roles[role]
  if (actions.includes('*') || actions.includes(action)) return true
  return (
    action === 'topic:describe' && (actions.includes('topic:publish') || actions.includes('topic:consume'))
  )
}

const mayDo = (role: Role, operation: string): boolean =>
  needed(operation).every((action) => has(role, action))

const outcomeOf = (call: () => unknown): Promise<string> =>
  Promise.try(call).then(
    () => 'done',
    (error: unknown) => (isRatatoskrError(error) ? error.code : String(error)),
  )

describe.each(ways)('permissions over %s', (way) => {
  const link = (role: string): Link => links.get(`${way} ${role}`) as Link

  it.each(Object.keys(roles) as Role[])('each operation as %s', async (role) => {
    const topic = `orders.${way.toLowerCase()}.${role}`
    const outcomes: Record<string, string> = {}
    for (const [operation, call] of Object.entries(operations)) {
      await broker
        .createTopic(topic, { retentionMs: operation === 'createTopic' ? 604_800_000 : 60_000 })
        .catch(() => {})
      await broker.commit(topic, 'c', [{ partition: 0, offset: 0 }])
      // A queue group with the member that is to give a sign of life, and to leave.
      await (links.get('embedded admin') as Link).take(topic, { group: 'q', member: 'm' })
      outcomes[operation] = await outcomeOf(() => call(link(role), topic))
    }
    const wanted = Object.keys(operations).map((operation) => [
      operation,
      mayDo(role, operation) ? 'done' : 'RTK_PERMISSION_DENIED',
    ])
    expect(outcomes).toEqual(Object.fromEntries(wanted))
  })

  it('settings that come with joining are only of those who may set them, and dead letters go only where they may publish', async () => {
    const topic = `orders.${way.toLowerCase()}.joined`
    await broker.createTopic(topic)
    const joins = {
      consume: async (role: string, config: Partial<QueueConfig>, group: string) =>
        (await link(role).consume(topic, { group, config }, leaseSink)).close(),
      take: (role: string, config: Partial<QueueConfig>, group: string) =>
        link(role).take(topic, { group, config }),
    }
    for (const [door, join] of Object.entries(joins)) {
      expect(await outcomeOf(() => join('consumer', {}, door))).toBe('done')
      for (const config of [{ retriesMax: 9 }, { deadLetterTopic: 'orders.letters' }]) {
        for (const group of [door, `${door}-new`]) {
          expect(await outcomeOf(() => join('consumer', config, group))).toBe('RTK_PERMISSION_DENIED')
        }
        expect(await outcomeOf(() => join('admin', config, `${door}-${Object.keys(config)}`))).toBe('done')
      }
    }
    const alter = (role: string, deadLetterTopic: string) =>
      outcomeOf(() => link(role).alterQueue(topic, 'consume', { deadLetterTopic }))
    expect(await alter('operator', 'orders.letters')).toBe('RTK_PERMISSION_DENIED')
    expect(await alter('operator', 'none')).toBe('done')
    expect(await alter('admin', 'orders.letters')).toBe('done')
  })

  it('lists show what may be seen, and counts of the broker are for some', async () => {
    await broker.createTopic('secret')
    const names = async (role: string) => (await link(role).listTopics()).map(({ name }) => name)
    expect(await names('viewer')).not.toContain('secret')
    expect((await names('viewer')).length).toBeGreaterThan(0)
    expect(await names('publisher')).toEqual([])
    expect(await outcomeOf(() => link('viewer').brokerStats())).toBe('done')
    expect(await outcomeOf(() => link('publisher').brokerStats())).toBe('RTK_PERMISSION_DENIED')
  })

  it('who may not see a topic cannot tell it from one that is missing', async () => {
    await broker.createTopic('secret')
    const told = async (topic: string, call: (link: Link, topic: string) => unknown, role: string) =>
      Promise.try(() => call(link(role), topic)).then(
        () => 'done',
        (error: Error & { code?: string }) => [error.code, error.message.replaceAll(topic, 'TOPIC')],
      )
    for (const role of ['nobody', 'publisher', 'consumer', 'viewer', 'operator']) {
      for (const call of Object.values(operations)) {
        const hidden = await told('secret', call, role)
        expect(hidden).toEqual(await told('missing', call, role))
        expect(hidden[0]).toBe('RTK_PERMISSION_DENIED')
      }
    }
    expect(await broker.topicExists('secret')).toBe(true)
    expect(await broker.topicExists('missing')).toBe(false)
  })

  it.each([
    ['no credentials', { kind: 'none' }],
    ['a wrong token', { kind: 'bearer', token: 'the-token-of-admin-is-longer' }],
    ['the name of another', { kind: 'basic', username: 'admin', password: tokenOf('viewer') }],
  ] as const)('%s is refused, always in the same words', async (_what, credentials) => {
    const refusal = await open(way, credentials)
      .then((opened) => opened.listTopics().finally(() => opened.close()))
      .catch((error: Error & { code?: string }) => error)
    expect(refusal).toMatchObject({
      code: 'RTK_UNAUTHENTICATED',
      message: 'a valid token is needed: none was given, or a wrong one',
    })
  })
})
