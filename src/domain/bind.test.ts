import { describe, expect, it } from 'vitest'
import { assertBindAllowed, isLocalHost } from './bind.ts'
import { isRatatoskrError } from './errors.ts'

const open = { authenticator: { requiresCredentials: false } }

describe('where a transport may listen', () => {
  it.each([
    '127.0.0.1',
    '127.255.255.254',
    'localhost',
    'LOCALHOST',
    'localhost.',
    '::1',
    '[::1]',
    '0:0:0:0:0:0:0:1',
    '::ffff:127.0.0.1',
    '::FFFF:127.9.9.9',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:7f12:3456',
    '/run/ratatoskr.sock',
    'unix:/run/ratatoskr.sock',
    '\\\\.\\pipe\\ratatoskr',
  ])('%s is local', (host) => {
    expect(isLocalHost(host)).toBe(true)
    expect(() => assertBindAllowed(host, open)).not.toThrow()
  })

  it.each([
    '',
    '0.0.0.0',
    '::',
    '[::]',
    '10.0.0.1',
    '192.168.1.1',
    '128.0.0.1',
    '127.1',
    '127.0.0.1.example.org',
    '127.evil.example',
    '127.0.0.256',
    '127.0.0.01',
    '0127.0.0.1',
    'example.org',
    'localhost.example.org',
    '::2',
    '::1:0',
    '1::1',
    '::1::',
    ':::1',
    '::ffff:128.0.0.1',
    '::fffe:127.0.0.1',
    '::127.0.0.1:1',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7::8',
    '0:0:0:0:0:0:1',
    'fe80::1%lo',
    'gggg::1',
  ])('%j is not', (host) => {
    expect(isLocalHost(host)).toBe(false)
    const refused = () => assertBindAllowed(host, open)
    expect(refused).toThrow(expect.objectContaining({ code: 'RTK_INSECURE_BIND' }))
  })

  it('is anywhere with credentials, or on the word of the operator', () => {
    expect(() => assertBindAllowed('0.0.0.0', { authenticator: { requiresCredentials: true } })).not.toThrow()
    expect(() => assertBindAllowed('0.0.0.0', { ...open, insecure: true })).not.toThrow()
    expect(() => assertBindAllowed('0.0.0.0', { ...open, insecure: false })).toThrow()
  })

  it('takes what is no string for all addresses', () => {
    let error: unknown
    try {
      assertBindAllowed(undefined as unknown as string, open)
    } catch (caught) {
      error = caught
    }
    expect(isRatatoskrError(error, 'RTK_INSECURE_BIND')).toBe(true)
  })
})
