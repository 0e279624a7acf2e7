import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBroker } from 'ratatoskr'
import { memoryStorage } from 'ratatoskr/adapters/memory'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import {
  binarySubprotocol,
  type Credentials,
  jsonSubprotocol,
  type Peer,
  RatatoskrError,
} from 'ratatoskr/ports'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { webSocketTransport } from './index.ts'
import { bareHandshake, RawClient } from './testing/raw-client.ts'
import { startRig } from './testing/rig.ts'

/** Lets those in who say `secret`, and remembers who came how. */
function recordingSecurity() {
  const seen: { peer: Peer; credentials: Credentials }[] = []
  const authenticator = {
    requiresCredentials: true,
    async authenticate(peer: Peer, credentials: Credentials) {
      seen.push({ peer, credentials })
      const secret =
        credentials.kind === 'bearer'
          ? credentials.token
          : credentials.kind === 'basic'
            ? credentials.password
            : ''
      if (secret !== 'secret') throw new RatatoskrError('RTK_UNAUTHENTICATED', 'who are you?')
      return { name: 'ann', namespace: 'team-a' }
    },
  }
  return { seen, security: { authenticator, authorizer: { grants: async () => ({ allows: () => true }) } } }
}

describe('the handshake', () => {
  it('tells whoever asks without WebSocket what is here', async () => {
    const { port } = await startRig()
    const response = await fetch(`http://127.0.0.1:${port}/`)
    expect(response.status).toBe(426)
    expect(await response.json()).toMatchObject({ code: 'RTK_NOT_SUPPORTED' })
  })

  it.each([
    ['no subprotocol', {}],
    ['an unknown one', { 'sec-websocket-protocol': 'mqtt, ratatoskr.v2+json' }],
  ])('refuses %s', async (_, headers: Record<string, string>) => {
    const { port } = await startRig()
    const { socket, answer } = await bareHandshake(port, headers)
    socket.destroy()
    expect(answer).toContain('HTTP/1.1 400 Bad Request')
    expect(answer).toContain(binarySubprotocol)
  })

  it('speaks what the client likes best of what both know', async () => {
    const { port } = await startRig()
    const { socket, answer } = await bareHandshake(port, {
      'sec-websocket-protocol': `mqtt, ${jsonSubprotocol}, ${binarySubprotocol}`,
    })
    socket.destroy()
    expect(answer).toContain('101 Switching Protocols')
    expect(answer).toContain(`Sec-WebSocket-Protocol: ${jsonSubprotocol}`)
    expect(answer.toLowerCase()).not.toContain('permessage-deflate')
  })

  it('never compresses, whatever the client offers', async () => {
    const { client } = await startRig()
    const { ws } = await client(jsonSubprotocol, { perMessageDeflate: true })
    expect(ws.extensions).toBe('')
  })

  it.each<[string, readonly string[] | undefined, string | undefined, number]>([
    ['a page of a foreign origin', undefined, 'https://evil.example', 403],
    ['a page of an origin not in the list', ['https://app.example'], 'https://app.example.evil.example', 403],
    ['the origin "null" of sandboxed pages', ['https://app.example'], 'null', 403],
    ['a page of an allowed origin', ['https://app.example'], 'https://app.example', 101],
    ['every page, when all are allowed', ['*'], 'https://any.example', 101],
    ['a client that is no browser', undefined, undefined, 101],
  ])('answers %s', async (_, allowedOrigins, origin, status) => {
    const { port } = await startRig({ transport: { allowedOrigins } })
    const headers: Record<string, string> = { 'sec-websocket-protocol': jsonSubprotocol }
    if (origin !== undefined) headers.origin = origin
    const { socket, answer } = await bareHandshake(port, headers)
    socket.destroy()
    expect(answer).toContain(`HTTP/1.1 ${status}`)
    if (status === 403) expect(answer).toContain('RTK_PERMISSION_DENIED')
  })

  it('refuses connections above the limit of sessions', async () => {
    const { client, port } = await startRig({ limits: { sessionsMax: 2 } })
    await client()
    await client()
    const { socket, answer } = await bareHandshake(port)
    socket.destroy()
    expect(answer).toContain('HTTP/1.1 503')
    expect(answer).toContain('RTK_LIMIT_EXCEEDED')
  })
})

describe('credentials', () => {
  it.each<[string, Record<string, string>, Credentials]>([
    ['bearer', { authorization: 'Bearer secret' }, { kind: 'bearer', token: 'secret' }],
    [
      'basic',
      { authorization: `basic ${btoa('ann:secret')}` },
      { kind: 'basic', username: 'ann', password: 'secret' },
    ],
  ])('come by the %s header', async (_, headers, credentials) => {
    const { security, seen } = recordingSecurity()
    const { client } = await startRig({ security })
    const raw = await client(jsonSubprotocol, { headers })
    expect(await raw.ask('createTopic', { topic: 'orders' })).toMatchObject({
      topic: { namespace: 'team-a' },
    })
    expect(seen).toHaveLength(1)
    expect(seen[0].credentials).toEqual(credentials)
    expect(seen[0].peer).toMatchObject({ transport: 'websocket', local: true, encrypted: false })
    expect(seen[0].peer.address).toMatch(/^127\.0\.0\.1:\d+$/)
  })

  it.each([
    ['a token', { token: 'secret' }],
    ['a name and password', { username: 'ann', password: 'secret' }],
  ])('come by a first frame with %s, before that of the header', async (_, fields) => {
    const { security } = recordingSecurity()
    const { client } = await startRig({ security })
    const raw = await client(jsonSubprotocol, { headers: { authorization: 'Bearer wrong' } })
    const hello = await raw.ask('hello', fields)
    expect(hello).toMatchObject({
      protocol: jsonSubprotocol,
      version: 1,
      principal: { name: 'ann', namespace: 'team-a' },
      limits: { batchBytesMax: 16 * 1024 * 1024 },
    })
    expect(await raw.ask('listTopics')).toEqual({ topics: [] })
  })

  it('come by the header when the first frame has none', async () => {
    const { security } = recordingSecurity()
    const { client } = await startRig({ security })
    const raw = await client(jsonSubprotocol, { headers: { authorization: 'Bearer secret' } })
    expect(await raw.ask('hello')).toMatchObject({ principal: { name: 'ann' } })
  })

  it.each([
    ['wrong ones', { token: 'wrong' }],
    ['none', {}],
  ])('%s end the connection, and the error says nothing about why', async (_, fields) => {
    const { security } = recordingSecurity()
    const { client } = await startRig({ security })
    const raw = await client()
    expect(await raw.ask('hello', fields)).toMatchObject({ code: 'RTK_UNAUTHENTICATED', retryable: false })
    expect(await raw.closed).toEqual({ code: 1008, reason: 'RTK_UNAUTHENTICATED' })
  })

  it('that are missing end the connection at the first request, and nothing behind it is done', async () => {
    const { security } = recordingSecurity()
    const { client, broker } = await startRig({ security })
    const raw = await client(jsonSubprotocol, { headers: { authorization: 'Digest abc' } })
    raw.say({ op: 'createTopic', id: 1, topic: 'orders' })
    raw.say({ op: 'createTopic', id: 2, topic: 'orders' })
    expect(await raw.takeEvent('error')).toMatchObject({ error: { code: 'RTK_UNAUTHENTICATED' } })
    expect((await raw.closed).code).toBe(1008)
    expect(await broker.listTopics()).toEqual([])
  })

  it.each([
    [{ token: 'secret', username: 'ann' }, 'hello takes a token, or username and password'],
    [{ username: 'ann' }, 'hello takes'],
    [{ tokne: 'secret' }, 'did you mean token?'],
    [{ token: 5 }, 'token must be a string, got 5'],
  ])('refuses the hello %j', async (fields, message) => {
    const { client } = await startRig()
    const raw = await client()
    const error = await raw.ask('hello', fields)
    expect(error).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(error.message).toContain(message)
    expect((await raw.closed).code).toBe(1008)
  })

  it('are asked for once: a second hello is refused', async () => {
    const { client } = await startRig()
    const raw = await client()
    await raw.ask('hello')
    expect(await raw.ask('hello')).toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    expect(await raw.ask('ping')).toEqual({})
  })

  it('are waited for while requests behind them wait', async () => {
    const { security, seen } = recordingSecurity()
    const gate = Promise.withResolvers<void>()
    const { authenticate } = security.authenticator
    security.authenticator.authenticate = async (peer, credentials) => {
      await gate.promise
      return authenticate(peer, credentials)
    }
    const { client } = await startRig({ security })
    const raw = await client()
    raw.say({ op: 'hello', id: 1, token: 'secret' })
    raw.say({ op: 'ping', id: 2 })
    raw.say({ op: 'ping', id: 3 })
    gate.resolve()
    expect([(await raw.take()).id, (await raw.take()).id, (await raw.take()).id]).toEqual([1, 2, 3])
    expect(seen).toHaveLength(1)
  })

  it('of one who left while he was asked make no session that stays', async () => {
    const { security } = recordingSecurity()
    const gate = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const { authenticate } = security.authenticator
    security.authenticator.authenticate = async (peer, credentials) => {
      asked.resolve()
      await gate.promise
      return authenticate(peer, credentials)
    }
    const { client, broker, transport } = await startRig({ security })
    const raw = await client()
    raw.say({ op: 'hello', id: 1, token: 'secret' })
    await asked.promise
    const sessions = broker.stats().sessions
    raw.ws.terminate()
    await raw.closed
    await transport.stop(50)
    gate.resolve()
    await vi.waitFor(() => expect(broker.stats().sessions).toBe(sessions))
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) console.warn('the test of wss: is skipped: there is no openssl to make a certificate with')

describe('listening', () => {
  const platform = nodePlatform({ logger: silentLogger })
  const supervision = { failed: () => {} }

  async function facade() {
    const broker = await createBroker({ storage: memoryStorage(), platform })
    await broker.start()
    onTestFinished(() => broker.stop())
    return broker.facade
  }

  it('says what it can', () => {
    const transport = webSocketTransport()
    expect(transport.name).toBe('websocket')
    expect(Object.values(transport.supports)).toEqual([true, true, true, true, true, true])
    expect(Object.isFrozen(transport.supports)).toBe(true)
    expect(transport.address).toBeUndefined()
  })

  it('starts, stops, and starts again; doing either twice changes nothing', async () => {
    const broker = await facade()
    const transport = webSocketTransport({ port: 0 })
    await transport.stop(100)
    for (let round = 0; round < 2; round++) {
      const address = await transport.start(broker, supervision)
      expect(await transport.start(broker, supervision)).toBe(address)
      expect(address).toMatchObject({ host: '127.0.0.1', url: `ws://127.0.0.1:${address.port}` })
      const raw = await RawClient.open(address.url)
      expect(await raw.ask('ping')).toEqual({})
      await Promise.all([transport.stop(1_000), transport.stop(1_000)])
      expect(transport.address).toBeUndefined()
      expect((await raw.closed).code).toBe(1001)
      await expect(RawClient.open(address.url)).rejects.toThrow('ECONNREFUSED')
    }
  })

  it('refuses a port that is taken, and an address that is not here', async () => {
    const broker = await facade()
    const first = webSocketTransport({ port: 0 })
    const { port } = await first.start(broker, supervision)
    onTestFinished(() => first.stop(100))
    await expect(webSocketTransport({ port }).start(broker, supervision)).rejects.toMatchObject({
      code: 'RTK_ADDRESS_IN_USE',
    })
    await expect(
      webSocketTransport({ host: '203.0.113.1', port: 0, insecure: true }).start(broker, supervision),
    ).rejects.toMatchObject({ code: 'RTK_CONFIG_INVALID' })
  })

  it('listens beyond loopback only when told that this is meant', async () => {
    const broker = await facade()
    await expect(
      webSocketTransport({ host: '0.0.0.0', port: 0 }).start(broker, supervision),
    ).rejects.toMatchObject({
      code: 'RTK_INSECURE_BIND',
    })
    const open = webSocketTransport({ host: '0.0.0.0', port: 0, insecure: true })
    expect((await open.start(broker, supervision)).host).toBe('0.0.0.0')
    await open.stop(100)
  })

  it('tells its supervisor when the listener fails', async () => {
    const listeners: Server[] = []
    const { listen } = Server.prototype
    const spy = vi.spyOn(Server.prototype, 'listen').mockImplementation(function (
      this: Server,
      ...args: unknown[]
    ) {
      listeners.push(this)
      return (listen as (...args: unknown[]) => Server).apply(this, args)
    } as never)
    onTestFinished(() => spy.mockRestore())
    const failures: RatatoskrError[] = []
    const transport = webSocketTransport({ port: 0 })
    await transport.start(await facade(), { failed: (error) => failures.push(error) })
    onTestFinished(() => transport.stop(100))
    listeners[0].emit('error', new Error('EMFILE'))
    expect(failures).toMatchObject([{ code: 'RTK_UNAVAILABLE' }])
  })

  it.skipIf(!hasOpenssl)('serves wss: with a certificate', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ratatoskr-tls-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
    execFileSync('openssl', ['req', '-x509', ...key, '-out', certFile, '-days', '2', ...subject], {
      stdio: 'pipe',
    })
    const cert = readFileSync(certFile)
    const { security, seen } = recordingSecurity()
    const { url, client } = await startRig({
      security,
      transport: { tls: { cert, key: readFileSync(keyFile) } },
    })
    expect(url).toMatch(/^wss:/)
    const raw = await client(jsonSubprotocol, { ca: cert })
    expect(await raw.ask('hello', { token: 'secret' })).toMatchObject({ version: 1 })
    expect(seen[0].peer.encrypted).toBe(true)
  })
})
