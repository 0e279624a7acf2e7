/** What the link over gRPC makes of errors that may come. */
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import * as proto from '../../../proto/index.ts'
import { restoreError } from './grpc-errors.ts'

describe('restored errors', () => {
  const trailers = (error: Partial<proto.Error>): Uint8Array =>
    proto.Error.encode({ code: '', message: 'm', retryable: false, details: [], ...error }).finish()
  const restored = (code: status, details = '', error?: Uint8Array) => restoreError({ code, details, error })

  it('have the code, the message and the details of the original', () => {
    const details = [
      { name: 'text', text: 'a' },
      { name: 'number', number: 1.5 },
      { name: 'flag', flag: false },
      { name: 'nothing' },
    ]
    const error = restored(status.NOT_FOUND, '', trailers({ code: 'RTK_TOPIC_NOT_FOUND', details }))
    expect(error).toMatchObject({
      code: 'RTK_TOPIC_NOT_FOUND',
      message: 'm',
      details: { text: 'a', number: 1.5, flag: false, nothing: null },
    })
  })

  it('stand for codes of a later version', () => {
    const later = restored(status.INTERNAL, '', trailers({ code: 'RTK_LATER', retryable: true }))
    expect(later).toMatchObject({ code: 'RTK_UNAVAILABLE', message: 'RTK_LATER: m' })
    expect(restored(status.INTERNAL, '', trailers({ code: 'RTK_LATER' })).code).toBe('RTK_INTERNAL')
  })

  it('stand for statuses without a code', () => {
    const foreign = Buffer.from([0xff, 0xff])
    expect(restored(status.UNAVAILABLE, 'x', foreign).code).toBe('RTK_DISCONNECTED')
    expect(restored(status.DEADLINE_EXCEEDED).code).toBe('RTK_TIMEOUT')
    expect(restored(status.RESOURCE_EXHAUSTED).code).toBe('RTK_BATCH_TOO_LARGE')
    expect(restored(status.UNIMPLEMENTED).code).toBe('RTK_NOT_SUPPORTED')
    expect(restored(status.INTERNAL, 'else').code).toBe('RTK_INTERNAL')
    expect(restored(status.DATA_LOSS).code).toBe('RTK_INTERNAL')
    expect(restored(99 as status).message).toContain('99')
  })
})
