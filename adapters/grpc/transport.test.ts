/** The transport as a whole: binding, sessions, windows, health, reflection, stopping, and what comes from strangers. */
import { once } from 'node:events'
import http2 from 'node:http2'
import net from 'node:net'
import { Client, credentials, loadPackageDefinition, Metadata, status } from '@grpc/grpc-js'
import { ReflectionService } from '@grpc/reflection'
import { service as healthDefinition } from 'grpc-health-check'
import { grpcTransport } from 'ratatoskr/adapters/grpc'
import {
  type Authenticator,
  type BrokerFacade,
  type Credentials,
  defaultLimits,
  type Health,
  type Peer,
  RatatoskrError,
} from 'ratatoskr/ports'
import * as proto from 'ratatoskr/proto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { call, Harness, type HarnessOptions, platform, Received, rawStream } from './testing/harness.ts'
import { tls } from './testing/tls.ts'

const topics = proto.TopicServiceService
const brokers = proto.BrokerServiceService
const windowBytes = 8 * 1024 * 1024

const harnesses: Harness[] = []
async function start(options?: HarnessOptions): Promise<Harness> {
  const harness = await Harness.start(options)
  harnesses.push(harness)
  return harness
}

afterEach(async () => {
  for (const harness of harnesses.splice(0)) await harness.stop()
})

/** Notes who connects; `secret` is the one token. */
class TokenAuthenticator implements Authenticator {
  readonly requiresCredentials = true
  readonly seen: [Peer, Credentials][] = []

  async authenticate(peer: Peer, given: Credentials) {
    this.seen.push([peer, given])
    const ok =
      given.kind === 'bearer' ? given.token === 'secret' : given.kind === 'basic' && given.password === 'pw'
    if (!ok) throw new RatatoskrError('RTK_UNAUTHENTICATED', 'wrong credentials')
    return { name: 'someone', namespace: 'default' }
  }
}

/** The status that a stream ends with. */
const statusOf = (stream: NodeJS.ReadableStream): Promise<number> =>
  new Promise((resolve) => {
    stream.on('error', () => undefined).resume()
    stream.once('status', ({ code }) => resolve(code))
  })

const allowAll = { grants: async () => ({ allows: () => true }) }

describe('binding', () => {
  it('tells its address, and is started and stopped any number of times', async () => {
    const harness = await start()
    const { address } = harness
    expect(address).toEqual({
      host: '127.0.0.1',
      port: address.port,
      url: `grpc://127.0.0.1:${address.port}`,
    })
    await harness.broker.stop()
    expect(harness.transport.address).toBeUndefined()
    await harness.transport.stop(1_000)
    await harness.broker.start()
    expect(await call(harness.client(), topics.listTopics, {})).toEqual({ topics: [] })
  })

  it('refuses a port that is taken', async () => {
    const { address } = await start()
    const starting = start({ transport: { port: address.port } })
    await expect(starting).rejects.toMatchObject({ code: 'RTK_ADDRESS_IN_USE' })
  })

  it('refuses an address that is none of this machine', async () => {
    const starting = start({ transport: { host: '192.0.2.1', insecure: true } })
    await expect(starting).rejects.toMatchObject({ code: 'RTK_CONFIG_INVALID' })
  })

  it('refuses to listen beyond loopback without authentication', async () => {
    await expect(start({ transport: { host: '0.0.0.0' } })).rejects.toMatchObject({
      code: 'RTK_INSECURE_BIND',
    })
    const { address } = await start({ transport: { host: '0.0.0.0', insecure: true } })
    expect(address.host).toBe('0.0.0.0')
    const security = { authenticator: new TokenAuthenticator(), authorizer: allowAll }
    expect(
      (await start({ transport: { host: '0.0.0.0' }, broker: { security } })).address.port,
    ).toBeGreaterThan(0)
  })

  it('tells its supervisor when the listener fails', async () => {
    const transport = grpcTransport({ port: 0 })
    const failed = vi.fn()
    const listen = vi.spyOn(net.Server.prototype, 'listen')
    await transport.start(facade(), { failed })
    const listener = listen.mock.contexts[0] as net.Server
    listen.mockRestore()
    listener.emit('error', new Error('EMFILE'))
    expect(failed).toHaveBeenCalledExactlyOnceWith(expect.objectContaining({ code: 'RTK_UNAVAILABLE' }))
    await transport.stop(1_000)
  })

  it('serves TLS', async () => {
    const authenticator = new TokenAuthenticator()
    const harness = await start({
      transport: { tls },
      broker: { security: { authenticator, authorizer: allowAll } },
    })
    expect(harness.address.url).toMatch(/^grpcs:/)
    const client = new Client(
      `localhost:${harness.address.port}`,
      credentials.createSsl(Buffer.from(tls.cert)),
    )
    await call(client, brokers.getSession, {}, { authorization: 'Bearer secret' })
    expect(authenticator.seen[0][0]).toMatchObject({ transport: 'grpc', encrypted: true, local: true })
    client.close()
  })
})

/** A facade that knows nobody. */
const facade = (health: () => Partial<Health> = () => ({ ready: true })): BrokerFacade => ({
  limits: defaultLimits,
  platform,
  authenticator: {
    requiresCredentials: false,
    authenticate: async () => ({ name: 'x', namespace: 'default' }),
  },
  connect: async () => {
    throw new RatatoskrError('RTK_UNAVAILABLE', 'nobody is let in')
  },
  health: () => ({ status: 'ok', ready: true, uptimeMs: 1.5, components: [], ...health() }),
})

describe('sessions', () => {
  it('are one for a connection and its credentials, and end with the connection', async () => {
    const authenticator = new TokenAuthenticator()
    const harness = await start({ broker: { security: { authenticator, authorizer: allowAll } } })
    const sessions = () => harness.broker.stats().sessions
    const before = sessions()
    const client = harness.client()
    const bearer = { authorization: 'Bearer secret' }
    const basic = { authorization: `Basic ${Buffer.from('me:pw').toString('base64')}` }
    const one = await call(client, brokers.getSession, {}, bearer)
    const again = await call(client, brokers.getSession, {}, bearer)
    expect({ ...again, timeMs: one.timeMs }).toEqual(one)
    expect((await call(client, brokers.getSession, {}, basic)).sessionId).not.toBe(one.sessionId)
    expect(authenticator.seen.map(([, given]) => given)).toEqual([
      { kind: 'bearer', token: 'secret' },
      { kind: 'basic', username: 'me', password: 'pw' },
    ])
    expect(sessions()).toBe(before + 2)
    client.close()
    await expect.poll(sessions, { interval: 5 }).toBe(before)
  })

  it('are refused without the right credentials, on every kind of call', async () => {
    const security = { authenticator: new TokenAuthenticator(), authorizer: allowAll }
    const harness = await start({ broker: { security } })
    const client = harness.client()
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'Digest x' }]) {
      const answer = call(client, topics.listTopics, {}, headers as Record<string, string>)
      await expect(answer).rejects.toMatchObject({ code: status.UNAUTHENTICATED })
    }
    for (const rpc of ['ratatoskr.v1.MessageService/Produce', 'ratatoskr.v1.MessageService/Consume']) {
      const stream = rawStream(client, `/${rpc}`)
      expect(await statusOf(stream)).toBe(status.UNAUTHENTICATED)
    }
    const legacy = call(client, proto.legacy.MessageBrokerService.createTopic, { name: 'x' })
    await expect(legacy).rejects.toMatchObject({ code: status.UNAUTHENTICATED })
    expect(await call(client, brokers.getHealth, {})).toMatchObject({ ready: true })
  })

  it('are bounded in the credentials of one connection', async () => {
    const harness = await start()
    const client = harness.client()
    for (let i = 0; i < 16; i++) await call(client, brokers.getSession, {}, { authorization: `Bearer ${i}` })
    const more = call(client, brokers.getSession, {}, { authorization: 'Bearer more' })
    await expect(more).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED })
  })
})

describe('HTTP/2', () => {
  it('has windows of 8 MiB for streams and the connection', async () => {
    const { address } = await start()
    const session = http2.connect(`http://127.0.0.1:${address.port}`)
    const [settings] = await once(session, 'remoteSettings')
    expect(settings.initialWindowSize).toBe(windowBytes)
    expect(settings.maxConcurrentStreams).toBeGreaterThanOrEqual(defaultLimits.subscriptionsPerSessionMax)
    await expect.poll(() => session.state.remoteWindowSize, { interval: 5 }).toBe(windowBytes)
    session.destroy()
  })

  it('cuts a connection that gives no sign of life', async () => {
    const { address } = await start({ transport: { keepaliveIntervalMs: 20, keepaliveTimeoutMs: 20 } })
    const socket = net.connect(address.port, '127.0.0.1')
    socket.on('error', () => undefined).resume()
    await once(socket, 'close')
  })

  it('outlives noise, HTTP/1 and torn frames', async () => {
    const harness = await start()
    const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
    const noise: (string | Uint8Array)[] = [
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      platform.random.fill(new Uint8Array(500)),
      `${preface}\0\0\0`,
      Buffer.concat([Buffer.from(preface), platform.random.fill(new Uint8Array(500))]),
      Buffer.concat([Buffer.from(preface), Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
    ]
    for (const bytes of noise) {
      const socket = net.connect(harness.address.port, '127.0.0.1')
      socket.on('error', () => undefined).resume()
      socket.end(bytes)
      await once(socket, 'close')
    }
    expect(await call(harness.client(), topics.listTopics, {})).toEqual({ topics: [] })
  })

  /** One request as raw gRPC frames. */
  async function post(harness: Harness, path: string, body: Uint8Array, headers = {}): Promise<number> {
    const session = http2.connect(`http://127.0.0.1:${harness.address.port}`)
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...headers,
    })
    let code = Number.NaN
    const note = (sent: Record<string, unknown>) => {
      if (sent['grpc-status'] !== undefined) code = Number(sent['grpc-status'])
      else if (Number.isNaN(code) && sent[':status'] !== 200) code = Number(sent[':status'])
    }
    stream
      .on('response', note)
      .on('trailers', note)
      .on('error', () => undefined)
      .resume()
    stream.end(body)
    await once(stream, 'close')
    session.destroy()
    return code
  }
  const frame = (flag: number, length: number, body: Uint8Array): Uint8Array => {
    const head = Buffer.alloc(5)
    head[0] = flag
    head.writeUInt32BE(length, 1)
    return Buffer.concat([head, body])
  }

  it.each<[string, Uint8Array, object, number[]]>([
    ['a whole message', frame(0, 0, new Uint8Array(0)), {}, [status.OK]],
    ['compressed flag 7', frame(7, 0, new Uint8Array(0)), {}, [status.INTERNAL]],
    ['a length of 2 GiB', frame(0, 0x7fff_ffff, new Uint8Array(9)), {}, [status.RESOURCE_EXHAUSTED]],
    ['a length cut short', new Uint8Array([0, 0, 0]), {}, [status.INTERNAL]],
    ['a message cut short', frame(0, 10, new Uint8Array(3)), {}, [status.INTERNAL]],
    ['broken gzip', frame(1, 4, Buffer.from('gzip')), { 'grpc-encoding': 'gzip' }, [status.INTERNAL]],
    [
      'an unknown encoding',
      frame(1, 1, Buffer.from('x')),
      { 'grpc-encoding': 'lzma' },
      [status.UNIMPLEMENTED],
    ],
    ['a message of noise', frame(0, 3, Buffer.from([0xff, 0xff, 0xff])), {}, [status.INVALID_ARGUMENT]],
    ['another content type', new Uint8Array(0), { 'content-type': 'text/html' }, [415]],
    ['a bad timeout', frame(0, 0, new Uint8Array(0)), { 'grpc-timeout': 'soon' }, [status.INTERNAL]],
  ])('answers %s', async (_, body, headers, codes) => {
    const harness = await start()
    expect(codes).toContain(await post(harness, '/ratatoskr.v1.TopicService/ListTopics', body, headers))
    expect(await post(harness, '/ratatoskr.v1.TopicService/Nothing', body, headers)).not.toBe(status.OK)
  })
})

describe('health', () => {
  interface HealthClient extends Client {
    check(request: { service: string }, done: (error: Error | null, reply: { status: string }) => void): void
    list(
      request: object,
      done: (error: Error | null, reply: { statuses: Record<string, unknown> }) => void,
    ): void
    watch(request: { service: string }): ReturnType<Client['makeServerStreamRequest']>
  }
  const { Health } = loadPackageDefinition({ Health: healthDefinition }) as unknown as {
    Health: new (target: string, credentials: unknown) => HealthClient
  }
  const open = (target: string) => new Health(target, credentials.createInsecure())
  const check = (client: HealthClient, service: string) =>
    new Promise((resolve, reject) => {
      client.check({ service }, (error, reply) => (error ? reject(error) : resolve(reply.status)))
    })

  it('answers for the server and each service, without credentials', async () => {
    const security = { authenticator: new TokenAuthenticator(), authorizer: allowAll }
    const harness = await start({ broker: { security } })
    const client = open(harness.target)
    expect(await check(client, '')).toBe('SERVING')
    expect(await check(client, 'ratatoskr.v1.MessageService')).toBe('SERVING')
    await expect(check(client, 'nothing')).rejects.toMatchObject({ code: status.NOT_FOUND })
    const list = await new Promise<{ statuses: object }>((resolve, reject) => {
      client.list({}, (error, reply) => (error ? reject(error) : resolve(reply)))
    })
    expect(list.statuses).toMatchObject({ '': { status: 'SERVING' }, 'ratatoskr.MessageBroker': {} })
    client.close()
  })

  it('tells watchers of a change, and lets them go at the stop', async () => {
    let ready = true
    const transport = grpcTransport({ port: 0 })
    const { host, port } = await transport.start(
      facade(() => ({ ready })),
      { failed() {} },
    )
    const client = open(`${host}:${port}`)
    const received = new Received<{ status: string }>()
    const watch = client.watch({ service: '' })
    watch.on('data', (reply) => received.add(reply)).on('error', () => undefined)
    const unknown = client.watch({ service: 'nothing' })
    const [first] = await once(unknown, 'data')
    expect(first.status).toBe('SERVICE_UNKNOWN')
    unknown.on('error', () => undefined)
    unknown.cancel()
    await received.atLeast(1)
    ready = false
    await received.atLeast(2)
    expect(received.items.map((reply) => reply.status)).toEqual(['SERVING', 'NOT_SERVING'])
    const ended = statusOf(watch)
    await transport.stop(5_000)
    expect(await ended).toBe(status.OK)
    client.close()
  })
})

describe('reflection', () => {
  const reflection = new ReflectionService({})
  const definitions: Record<string, unknown>[] = []
  reflection.addToServer({ addService: (definition: never) => definitions.push(definition) } as never)

  const ask = async (harness: Harness, request: object): Promise<Record<string, never>> => {
    const method = definitions[0].ServerReflectionInfo as typeof proto.MessageServiceService.produce
    const stream = harness
      .client()
      .makeBidiStreamRequest<unknown, Record<string, never>>(
        method.path,
        method.requestSerialize as never,
        method.responseDeserialize as never,
        new Metadata(),
      )
    stream.on('error', () => undefined)
    stream.write(request)
    const [answer] = await once(stream, 'data')
    stream.end()
    return answer
  }

  it('lists the services and gives their descriptors', async () => {
    const harness = await start()
    const listed = await ask(harness, { listServices: '*' })
    const names = (listed.listServicesResponse as { service: { name: string }[] }).service.map(
      ({ name }) => name,
    )
    expect(names).toEqual(
      expect.arrayContaining([
        'ratatoskr.MessageBroker',
        'ratatoskr.v1.MessageService',
        'ratatoskr.v1.TopicService',
        'grpc.health.v1.Health',
      ]),
    )
    const found = await ask(harness, { fileContainingSymbol: 'ratatoskr.v1.MessageService' })
    const files = (found.fileDescriptorResponse as { fileDescriptorProto: number[][] }).fileDescriptorProto
    expect(Buffer.from(files.flat()).includes('ProduceRequest')).toBe(true)
  })

  it('can be turned off', async () => {
    const harness = await start({ transport: { reflection: false } })
    const stream = rawStream(harness.client(), '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo')
    expect(await statusOf(stream)).toBe(status.UNIMPLEMENTED)
  })
})

describe('stopping', () => {
  it('lets a call in flight finish', async () => {
    const harness = await start()
    const client = harness.client()
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    const request = { topic: 'orders', partition: 0, offset: 0, waitMs: 100, format: 0 as const }
    const waiting = call(client, proto.MessageServiceService.fetch, request)
    await call(client, topics.getTopic, { topic: 'orders' })
    await harness.transport.stop(10_000)
    expect((await waiting).batches?.nextOffset).toBe(0)
  })

  it('cuts what is left at the deadline', async () => {
    const harness = await start()
    const client = harness.client()
    await call(client, topics.createTopic, { topic: 'orders', config: undefined })
    const request = { topic: 'orders', partition: 0, offset: 0, waitMs: 60_000, format: 0 as const }
    const waiting = call(client, proto.MessageServiceService.fetch, request)
    waiting.catch(() => undefined)
    await call(client, topics.getTopic, { topic: 'orders' })
    await harness.transport.stop(30)
    await expect(waiting).rejects.toMatchObject({ code: expect.any(Number) })
    expect(harness.broker.stats().sessions).toBeLessThanOrEqual(1)
  })
})
