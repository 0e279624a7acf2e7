import { EventEmitter } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { describe, expect, it } from 'vitest'
import { ConnectionBounds, ConnectionUse } from './connection-bounds.ts'

const mib = 1024 * 1024
/** A stream with so many bytes that its peer has not taken. */
const streamOf = (writableLength: number, session: object = {}): ServerHttp2Stream =>
  Object.assign(new EventEmitter(), {
    writableLength,
    session,
    destroyed: false,
  }) as unknown as ServerHttp2Stream

describe('bounds of a connection', () => {
  it('refuse calls while too much of the answers is not taken, and soon no longer when it is', () => {
    const use = new ConnectionUse()
    const streams = Array.from({ length: 200 }, () => streamOf(mib))
    const admitted = streams.filter((stream) => use.enter(stream, undefined) === undefined)
    expect(admitted.length).toBeGreaterThan(64)
    expect(admitted.length).toBeLessThanOrEqual(64 + 32)
    expect(use.enter(streamOf(0), undefined)).toMatchObject({ code: 'RTK_OVERLOADED' })
    for (const stream of admitted) stream.emit('close')
    expect(use.enter(streamOf(0), undefined)).toBeUndefined()
  })

  it('hold for each connection by itself, fetches apart from other calls', () => {
    const bounds = new ConnectionBounds(2, ['/fetch'])
    const [one, other] = [{}, {}]
    expect(bounds.enter(streamOf(0, one), '/fetch')).toBeUndefined()
    expect(bounds.enter(streamOf(0, one), '/fetch')).toBeUndefined()
    expect(bounds.enter(streamOf(0, one), '/fetch')).toMatchObject({ code: 'RTK_OVERLOADED' })
    expect(bounds.enter(streamOf(0, one), '/publish')).toBeUndefined()
    expect(bounds.enter(streamOf(0, other), '/fetch')).toBeUndefined()
  })

  it('let streams keep no more than so much together', () => {
    const use = new ConnectionUse()
    use.keep(128 * mib)
    expect(() => use.keep(1)).toThrow(expect.objectContaining({ code: 'RTK_OVERLOADED' }))
    use.keep(-2)
    use.keep(1)
  })
})
