import { type Authenticator, type ErrorCode, errorCodes, RatatoskrError } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { type LogLine, recordingLogger } from '../../contract-tests/test-platform.ts'
import { allowAllAuthorizer } from '../../src/application/security/index.ts'
import { errorOfThrown, problemOf, statusOf } from './problem.ts'
import { startRig } from './testing/rig.ts'

describe('problem documents', () => {
  it.each(Object.keys(errorCodes) as ErrorCode[])('has a status and a document for %s', (code) => {
    const error = new RatatoskrError(code, 'what to do', { cause: new Error('secret /etc/passwd') })
    const problem = problemOf(error)
    expect(problem).toEqual({
      type: `urn:ratatoskr:error:${code}`,
      title: errorCodes[code].summary,
      status: statusOf(error),
      detail: 'what to do',
      code,
      retryable: errorCodes[code].retryable,
    })
    expect(problem.status).toBeGreaterThanOrEqual(400)
    expect(problem.status).toBeLessThan(600)
    expect(problem.status >= 500).toBe(
      ['unsupported', 'unavailable', 'timeout', 'corrupt', 'config', 'internal'].includes(error.kind),
    )
  })

  it('carries details', () => {
    const error = new RatatoskrError('RTK_TOPIC_NOT_FOUND', 'none', { details: { topic: 'orders' } })
    expect(problemOf(error).details).toEqual({ topic: 'orders' })
  })

  it('gives what is not ours the code for it, without its text', () => {
    expect(errorOfThrown(new Error('at /home/x')).code).toBe('RTK_INTERNAL')
    expect(problemOf(errorOfThrown(new Error('at /home/x'))).detail).not.toContain('/home')
    expect(errorOfThrown(undefined).code).toBe('RTK_INTERNAL')
  })

  it('names what alternatives have in common deepest', () => {
    const validation = [
      { instancePath: '', params: { additionalProperty: 'messages' } },
      { instancePath: '/messages/2', params: { additionalProperty: 'x'.repeat(500) } },
    ]
    const { message } = errorOfThrown({ validation, validationContext: 'body' })
    expect(message).toMatch(/^body\.messages\.2 has an unknown field "x{60}[^x]/)
  })
})

describe('paths and methods', () => {
  it('answers an unknown path with 404 and nothing of it', async () => {
    const { call } = await startRig()
    for (const path of ['/', '/v2/topics', '/v1/topics/a/b/c', '/admin/../secret']) {
      const { status, json, text, headers } = await call('GET', path)
      expect([path, status, json.code]).toEqual([path, 404, 'RTK_INVALID_ARGUMENT'])
      expect(headers.get('content-type')).toMatch('application/problem+json')
      expect(text).not.toContain('secret')
    }
  })

  it('answers a method that a path does not take with 405, and OPTIONS with those it takes', async () => {
    const { call } = await startRig()
    const wrong = await call('POST', '/v1/topics/orders', {})
    expect([wrong.status, wrong.json.code]).toEqual([405, 'RTK_INVALID_ARGUMENT'])
    expect(wrong.headers.get('allow')).toBe('PUT, GET, HEAD, PATCH, DELETE, OPTIONS')
    expect((await call('DELETE', '/livez')).status).toBe(405)
    const options = await call('OPTIONS', '/v1/topics/orders/messages')
    expect([options.status, options.headers.get('allow')]).toEqual([204, 'POST, GET, HEAD, OPTIONS'])
    expect((await call('PROPFIND', '/v1/topics/orders')).status).toBeGreaterThanOrEqual(400)
  })

  it('answers HEAD as GET without the body', async () => {
    const { call } = await startRig()
    const head = await call('HEAD', '/livez')
    expect([head.status, head.text, head.headers.get('content-length')]).toEqual([200, '', '15'])
  })

  it.each(['/v1/topics/%zz', '/%', `/v1/topics/${'x'.repeat(2_000)}`])(
    'answers %s with a problem document',
    async (path) => {
      const { raw } = await startRig()
      const answer = await raw(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`)
      expect(answer).toMatch(/^HTTP\/1.1 4\d\d .*application\/problem\+json.*"code":"RTK_INVALID_ARGUMENT"/s)
      expect(answer).not.toMatch(/zz|xxxx/)
    },
  )
})

describe('what failed inside', () => {
  it('is logged, and not told', async () => {
    const lines: LogLine[] = []
    const authenticator: Authenticator = {
      requiresCredentials: false,
      authenticate: () => Promise.reject(new Error('ENOENT /etc/broker/tokens.json')),
    }
    const { call } = await startRig({
      platform: { logger: recordingLogger(lines) },
      broker: { security: { authenticator, authorizer: allowAllAuthorizer } },
    })
    const { status, text } = await call('GET', '/v1/topics')
    expect(status).toBeGreaterThanOrEqual(400)
    expect(text).not.toMatch(/ENOENT|tokens|node_modules|\.ts/)
  })

  it('is not what a client does that leaves within its request', async () => {
    const lines: LogLine[] = []
    const { socket, call } = await startRig({ platform: { logger: recordingLogger(lines) } })
    const caller = await socket()
    caller.write('POST /v1/topics/orders/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nx')
    expect((await call('GET', '/livez')).status).toBe(200)
    caller.resetAndDestroy()
    for (let i = 0; i < 5; i++) await call('GET', '/livez')
    expect(lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
