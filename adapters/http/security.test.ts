import { staticTokens } from 'ratatoskr/adapters/static-auth'
import { type Authenticator, RatatoskrError } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { allowAllAuthorizer } from '../../src/application/security/index.ts'
import { credentialsOf } from './sessions.ts'
import { startRig, statusFor } from './testing/rig.ts'

const adminToken = 'token-of-the-admin-0123456789'
const readerToken = 'token-of-a-reader-0123456789'
const tokens = () =>
  staticTokens({
    tokens: {
      [adminToken]: { name: 'admin', allow: [{ actions: ['*'], topics: ['*'] }] },
      [readerToken]: {
        name: 'reader',
        allow: [{ actions: ['topic:consume', 'topic:describe'], topics: ['orders'] }],
      },
    },
  })

describe('requests that can be read in two ways', () => {
  const head = 'POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\n'
  it.each([
    ['two hosts', `${head}host: other\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`],
    ['no host', 'GET /livez HTTP/1.1\r\n\r\n'],
    ['two lengths', `${head}content-length: 1\r\ncontent-length: 2\r\n\r\nxx`],
    ['a length and chunks', `${head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['chunks that are none', `${head}transfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n`],
    ['an unknown coding', `${head}transfer-encoding: xchunked\r\n\r\n`],
    ['chunked not last', `${head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a negative length', `${head}content-length: -1\r\n\r\n`],
    ['a bare line feed', 'GET /livez HTTP/1.1\nhost: localhost\n\n'],
    ['a folded header', `${head}a: b\r\n c\r\ncontent-length: 0\r\n\r\n`],
    ['a space before the colon', `${head}a : b\r\n\r\n`],
    ['a NUL', `${head}a: \0\r\n\r\n`],
    ['no HTTP at all', '\u0016\u0003\u0001 hello\r\n\r\n'],
  ])('refuses %s', async (what, request) => {
    const { raw } = await startRig()
    const answer = await raw(request)
    expect(answer).toMatch(/^HTTP\/1.1 400 /)
    expect(answer).not.toMatch(/HPE_|at |node:/)
    // Node itself refuses what has no Host, without a body.
    if (what !== 'no host') expect(answer).toMatch(/"code":"RTK_/)
  })

  it('refuses more than 100 headers, and headers above 16 KiB', async () => {
    const { raw } = await startRig()
    const many = await raw(
      `GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${'a: b\r\n'.repeat(99)}\r\n`,
    )
    expect(many).toMatch(/^HTTP\/1.1 400 .*RTK_HEADER_INVALID/s)
    const hidden = await raw(
      `GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${'a: b\r\n'.repeat(2_000)}\r\n`,
    )
    expect(hidden).toMatch(/^HTTP\/1.1 4(00|31) .*RTK_HEADER_INVALID/s)
    const huge = await raw(`GET /livez HTTP/1.1\r\nhost: localhost\r\na: ${'b'.repeat(20_000)}\r\n\r\n`)
    expect(huge).toMatch(/^HTTP\/1.1 431 .*application\/problem\+json.*RTK_HEADER_INVALID/s)
  })

  it('cuts requests that trickle in, head or body, with 408', async () => {
    const { raw, call } = await startRig({ transport: { headersTimeoutMs: 100, requestTimeoutMs: 200 } })
    const slow = [
      'GET /livez HTTP/1.1\r\nhost: loc',
      `POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx`,
    ]
    for (const answer of await Promise.all(slow.map(raw)))
      expect(answer).toMatch(/^HTTP\/1.1 408 .*"code":"RTK_TIMEOUT"/s)
    expect((await call('GET', '/livez')).status).toBe(200)
  })

  it('lets answers take longer than requests may', async () => {
    const { call, broker, events } = await startRig({
      transport: { headersTimeoutMs: 150, requestTimeoutMs: 150, heartbeatMs: 20 },
    })
    await broker.createTopic('orders')
    const stream = await events('/v1/topics/orders/subscribe?from=earliest')
    const answer = await call('GET', '/v1/topics/orders/messages?waitMs=400')
    expect(answer.status).toBe(200)
    for (let i = 0; i < 5; i++) await stream.comment()
    await broker.publish('orders', 'x')
    expect(await stream.take(1)).toHaveLength(1)
  })
})

describe('web pages', () => {
  it('refuses pages of other origins, sites and names', async () => {
    const { address } = await startRig()
    const host = `localhost:${address.port}`
    const status = (headers: Record<string, string>) => statusFor(address, { host, ...headers })
    expect(await status({})).toBe(200)
    expect(await status({ origin: `http://${host}` })).toBe(200)
    expect(await status({ origin: 'http://evil.example' })).toBe(403)
    expect(await status({ origin: 'null' })).toBe(403)
    expect(await status({ 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await status({ 'sec-fetch-site': 'same-site' })).toBe(403)
    expect(await status({ 'sec-fetch-site': 'same-origin' })).toBe(200)
    expect(await status({ 'sec-fetch-site': 'none' })).toBe(200)
    for (const name of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1'])
      expect([name, await status({ host: name })]).toEqual([name, 403])
    for (const name of ['127.0.0.1', '127.1.2.3:80', '[::1]:8080', 'LOCALHOST'])
      expect([name, await status({ host: name })]).toEqual([name, 200])
  })

  it('lets pages of allowed origins call and read, and nobody else', async () => {
    const { url } = await startRig({ transport: { allowedOrigins: ['https://console.example'] } })
    const origin = 'https://console.example'
    const answer = await fetch(`${url}/livez`, { headers: { origin } })
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, origin])
    expect(answer.headers.get('vary')).toBe('origin')
    expect(answer.headers.get('access-control-expose-headers')).toContain('ratatoskr-next-offset')
    const preflight = await fetch(`${url}/v1/topics/orders/messages`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,ratatoskr-key',
      },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers.get('access-control-allow-headers')).toBe('content-type,ratatoskr-key')
    expect(preflight.headers.get('access-control-allow-methods')).toContain('POST')
    const foreign = await fetch(`${url}/livez`, { headers: { origin: 'https://evil.example' } })
    expect([foreign.status, foreign.headers.get('access-control-allow-origin')]).toEqual([403, null])
  })

  it('shows events to pages of allowed origins', async () => {
    const rig = await startRig({ transport: { allowedOrigins: ['*'] } })
    await rig.broker.createTopic('orders')
    const events = await rig.events('/v1/topics/orders/subscribe', { origin: 'https://any.example' })
    expect(events.response.headers.get('access-control-allow-origin')).toBe('https://any.example')
  })
})

describe('credentials', () => {
  it('asks for them, and tells principals apart', async () => {
    const { call } = await startRig({ broker: { security: tokens() } })
    const nobody = await call('GET', '/v1/session')
    expect([nobody.status, nobody.json.code]).toEqual([401, 'RTK_UNAUTHENTICATED'])
    expect(nobody.headers.get('www-authenticate')).toBe('Bearer')
    const authorization = `Bearer ${readerToken}`
    expect((await call('GET', '/v1/session', undefined, { authorization })).json).toMatchObject({
      principal: 'reader',
      namespace: 'default',
    })
    const wrong = await call('GET', '/v1/session', undefined, { authorization: 'Bearer wrong' })
    expect(wrong.status).toBe(401)
    const denied = await call('PUT', '/v1/topics/orders', {}, { authorization })
    expect([denied.status, denied.json.code]).toEqual([403, 'RTK_PERMISSION_DENIED'])
    expect((await call('GET', '/livez')).status).toBe(200)
    expect((await call('GET', '/readyz')).status).toBe(200)
    expect((await call('GET', '/healthz')).status).toBe(401)
  })

  it('reads Bearer and Basic, and nothing else', () => {
    expect(credentialsOf(undefined)).toEqual({ kind: 'none' })
    expect(credentialsOf('')).toEqual({ kind: 'none' })
    expect(credentialsOf('Bearer abc')).toEqual({ kind: 'bearer', token: 'abc' })
    expect(credentialsOf('bearer  abc ')).toEqual({ kind: 'bearer', token: 'abc' })
    const basic = Buffer.from('anna:pass:wörd').toString('base64')
    expect(credentialsOf(`Basic ${basic}`)).toEqual({
      kind: 'basic',
      username: 'anna',
      password: 'pass:wörd',
    })
    for (const bad of ['Bearer', 'Bearer ', 'Basic', 'Basic !!!', `Basic ${btoa(':x')}`, 'Digest x', 'abc'])
      expect(() => credentialsOf(bad), bad).toThrow(expect.objectContaining({ code: 'RTK_UNAUTHENTICATED' }))
  })

  it('authenticates a connection once for each of its credentials, and bounds those', async () => {
    let asked = 0
    const authenticator: Authenticator = {
      requiresCredentials: true,
      async authenticate(peer, credentials) {
        asked++
        expect(peer).toMatchObject({ transport: 'http', local: true, encrypted: false })
        if (credentials.kind !== 'bearer') throw new RatatoskrError('RTK_UNAUTHENTICATED', 'no')
        return { name: credentials.token, namespace: 'default' } as never
      },
    }
    const { socket, broker } = await startRig({
      broker: { security: { authenticator, authorizer: allowAllAuthorizer } },
    })
    const before = broker.stats().sessions
    const caller = (await socket()).setEncoding('utf8')
    const statuses: string[] = []
    let wake = () => {}
    caller.on('data', (text: string) => {
      for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d+)/g)) statuses.push(status)
      wake()
    })
    const ask = async (token: string) => {
      caller.write(`GET /v1/session HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\n\r\n`)
      await new Promise<void>((resolve) => {
        wake = resolve
      })
      return statuses.at(-1)
    }
    for (const token of ['a', 'a', 'b', 'a']) expect(await ask(token)).toBe('200')
    expect(asked).toBe(2)
    expect(broker.stats().sessions).toBe(before + 2)
    for (const token of ['c', 'd', 'e', 'f', 'g', 'h']) expect(await ask(token)).toBe('200')
    expect(await ask('i')).toBe('429')
    caller.destroy()
    await expect.poll(() => broker.stats().sessions).toBe(before)
  })
})
