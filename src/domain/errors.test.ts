import { describe, expect, it } from 'vitest'
import {
  type ErrorCode,
  errorCodes,
  isErrorCode,
  isRatatoskrError,
  RatatoskrError,
  toRatatoskrError,
} from './errors.ts'

describe('the table of codes', () => {
  it.each(Object.entries(errorCodes))('%s says in one line what to do', (code, facts) => {
    expect(code).toMatch(/^RTK(_[A-Z0-9]+)+$/)
    expect(facts.summary).toMatch(/^[^\n]{20,}\.$/)
    expect(isErrorCode(code)).toBe(true)
  })

  it('has no entries that it did not define', () => {
    for (const code of ['constructor', '__proto__', 'RTK_NO_SUCH', '', 1, undefined])
      expect(isErrorCode(code)).toBe(false)
  })
})

describe('RatatoskrError', () => {
  it('carries code, kind, details and cause', () => {
    const cause = new Error('disk')
    const error = new RatatoskrError('RTK_STORE_FAILED', 'message', { cause, details: { partition: 3 } })
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({
      name: 'RatatoskrError',
      code: 'RTK_STORE_FAILED',
      kind: 'unavailable',
      retryable: true,
      message: 'message',
      details: { partition: 3 },
      cause,
    })
  })

  it('has neither cause nor details unless they are given', () => {
    const error = new RatatoskrError('RTK_CLOSED', 'closed')
    expect(error.details).toEqual({})
    expect('cause' in error).toBe(false)
    expect(error.retryable).toBe(false)
  })
})

describe('isRatatoskrError', () => {
  it('knows its own, by code when asked', () => {
    const error = new RatatoskrError('RTK_TIMEOUT', 'late')
    expect(isRatatoskrError(error)).toBe(true)
    expect(isRatatoskrError(error, 'RTK_TIMEOUT')).toBe(true)
    expect(isRatatoskrError(error, 'RTK_CLOSED')).toBe(false)
  })

  it('knows those of another copy of the package, and nothing else', () => {
    const twin = Object.assign(new Error('late'), { name: 'RatatoskrError', code: 'RTK_TIMEOUT' })
    expect(isRatatoskrError(twin, 'RTK_TIMEOUT')).toBe(true)
    const others = [
      new Error('x'),
      { name: 'RatatoskrError', code: 'RTK_TIMEOUT' },
      'RTK_TIMEOUT',
      undefined,
      null,
    ]
    for (const other of others) expect(isRatatoskrError(other)).toBe(false)
  })
})

describe('toRatatoskrError', () => {
  it('leaves its own as they are', () => {
    const error = new RatatoskrError('RTK_TIMEOUT', 'late')
    expect(toRatatoskrError(error, 'RTK_STORE_FAILED')).toBe(error)
  })

  it.each<readonly [ErrorCode | undefined, ErrorCode]>([
    [undefined, 'RTK_INTERNAL'],
    ['RTK_STORE_FAILED', 'RTK_STORE_FAILED'],
  ])('keeps what a foreign one says to the log (fallback %s)', (fallback, code) => {
    const foreign = new Error("ENOENT: no such file, open '/secret/path'")
    const error = toRatatoskrError(foreign, fallback)
    expect(error).toMatchObject({ code, message: errorCodes[code].summary, cause: foreign })
    expect(error.message).not.toContain('secret')
  })
})
