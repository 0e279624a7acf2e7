import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { ConnectionUse, type CountedCall } from './connection-bounds.ts'

const mib = 1024 * 1024
/** A call with so many bytes that its peer has not taken. */
const callOf = (bytesWaiting: number): CountedCall => ({ bytesWaiting })

function ofSomebody(): ConnectionUse {
  const use = new ConnectionUse()
  use.asks(Promise.resolve())
  return use
}

describe('bounds of a connection', () => {
  it('refuse calls while too much of the answers is not taken, and soon no longer when it is', () => {
    const use = new ConnectionUse()
    const calls = Array.from({ length: 200 }, () => callOf(mib))
    const admitted = calls.filter((call) => use.enter(call, undefined) === undefined)
    expect(admitted.length).toBeGreaterThan(64)
    expect(admitted.length).toBeLessThanOrEqual(64 + 32)
    expect(use.enter(callOf(0), undefined)).toMatchObject({ code: 'RTK_OVERLOADED' })
    for (const call of admitted) use.leave(call, undefined)
    expect(use.enter(callOf(0), undefined)).toBeUndefined()
  })

  it('count fetches apart from other calls', () => {
    const use = new ConnectionUse()
    const [one, other, refused] = [callOf(0), callOf(0), callOf(0)]
    expect(use.enter(one, 2)).toBeUndefined()
    expect(use.enter(other, 2)).toBeUndefined()
    expect(use.enter(refused, 2)).toMatchObject({ code: 'RTK_OVERLOADED' })
    expect(use.enter(callOf(0), undefined)).toBeUndefined()
    // A call that was refused leaves no room when it is over.
    use.leave(refused, 2)
    expect(use.enter(callOf(0), 2)).toMatchObject({ code: 'RTK_OVERLOADED' })
    use.leave(one, 2)
    expect(use.enter(callOf(0), 2)).toBeUndefined()
  })

  it('let calls keep no more than so much together', () => {
    const use = ofSomebody()
    use.keep(128 * mib)
    expect(() => use.keep(1)).toThrow(expect.objectContaining({ code: 'RTK_OVERLOADED' }))
    use.keep(-2)
    use.keep(1)
  })

  it('hold for what is compressed, before and when it is expanded', async () => {
    const use = ofSomebody()
    const zipped = gzipSync(Buffer.alloc(mib))
    expect(await use.expand(zipped, 'gzip', mib)).toHaveLength(mib)
    await expect(use.expand(zipped, 'gzip', mib - 1)).rejects.toMatchObject({ isTooLarge: true })
    await expect(use.expand(zipped, 'deflate', mib)).rejects.toMatchObject({ isTooLarge: false })
    await expect(use.expand(zipped, 'identity', mib)).rejects.toMatchObject({ isTooLarge: false })
    use.keep(128 * mib)
    await expect(use.expand(zipped, 'gzip', mib)).rejects.toMatchObject({ code: 'RTK_OVERLOADED' })
    use.keep(-zipped.length)
    expect(await use.expand(zipped, 'gzip', mib)).toHaveLength(mib)
  })

  it('let strangers keep little, and have what comes wait while it is found out who they are', async () => {
    const use = new ConnectionUse()
    let wakes = 0
    const goOn = (): void => void wakes++
    use.keep(mib)
    expect(() => use.keep(1)).toThrow(expect.objectContaining({ code: 'RTK_OVERLOADED' }))
    expect(use.mustWait(goOn)).toBe(false)
    const [refused, admitted] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    use.asks(refused.promise)
    use.asks(admitted.promise)
    use.keep(1)
    expect(use.mustWait(goOn)).toBe(true)
    refused.reject(new Error('nobody knows them'))
    await expect.poll(() => wakes).toBe(1)
    expect(use.mustWait(goOn)).toBe(true)
    admitted.resolve()
    await expect.poll(() => wakes).toBe(2)
    expect(use.mustWait(goOn)).toBe(false)
    use.keep(100 * mib)
  })
})
