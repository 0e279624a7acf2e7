import { portableCrc32c } from 'ratatoskr/ports'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { nodeChecksum, nodePlatform, silentLogger, systemClock, systemRandom } from './index.ts'
import { optionalPackage } from './optional-package.ts'

describe('nodePlatform', () => {
  it('has all parts, frozen', () => {
    const platform = nodePlatform()
    expect(platform.clock).toBe(systemClock)
    expect(platform.random).toBe(systemRandom)
    expect(platform.checksum(new TextEncoder().encode('123456789'))).toBe(0xe3069283)
    expect([...platform.compression.keys()].sort()).toEqual([1, 2, 4])
    expect(Object.isFrozen(platform)).toBe(true)
  })

  it('takes other parts in their place', () => {
    const platform = nodePlatform({ logger: silentLogger, checksum: () => 7 })
    expect(platform.logger).toBe(silentLogger)
    expect(platform.checksum(new Uint8Array(1))).toBe(7)
    expect(platform.clock).toBe(systemClock)
  })
})

describe('nodeChecksum', () => {
  it('gives the same with and without the native package', () => {
    const portable = nodeChecksum(() => undefined)
    expect(portable).toBe(portableCrc32c)
    const bytes = crypto.getRandomValues(new Uint8Array(10_000))
    expect(nodeChecksum()(bytes)).toBe(portable(bytes))
  })

  it('uses the native package where there is one', () => {
    expect(nodeChecksum(() => ({ crc32c: () => 3 }))(new Uint8Array(1))).toBe(3)
    expect(optionalPackage('@node-rs/crc32')).toHaveProperty('crc32c')
  })

  it('does not mind a package that is missing', () => {
    expect(optionalPackage('ratatoskr-no-such-package')).toBeUndefined()
  })
})

describe('systemRandom', () => {
  it('fills in place', () => {
    const bytes = new Uint8Array(64)
    expect(systemRandom.fill(bytes)).toBe(bytes)
    expect(new Set(bytes).size).toBeGreaterThan(16)
  })

  it('makes UUIDs of version 4, and numbers below 1', () => {
    expect(systemRandom.uuid()).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    )
    expect(systemRandom.uuid()).not.toBe(systemRandom.uuid())
    for (let i = 0; i < 100; i++) {
      const value = systemRandom.next()
      expect(value).toBeGreaterThanOrEqual(0)
      expect(value).toBeLessThan(1)
    }
  })
})

// What the contract cannot see: delays longer than Node's timers, and Node firing early.
describe('systemClock', () => {
  afterEach(() => vi.useRealTimers())

  it('waits out a delay of more than 24.8 days', () => {
    vi.useFakeTimers()
    const delayMs = 60 * 24 * 3_600_000
    let ran = 0
    systemClock.after(delayMs, () => ran++)
    vi.advanceTimersByTime(delayMs - 1)
    expect(ran).toBe(0)
    vi.advanceTimersByTime(1)
    expect(ran).toBe(1)
    expect(vi.getTimerCount()).toBe(0)
  })

  it('can be disposed of between two parts of a long delay', () => {
    vi.useFakeTimers()
    let ran = 0
    const timer = systemClock.after(2 ** 32, () => ran++)
    vi.advanceTimersByTime(2 ** 31 + 1_000)
    timer[Symbol.dispose]()
    vi.advanceTimersByTime(2 ** 33)
    expect([ran, vi.getTimerCount()]).toEqual([0, 0])
  })

  it('waits for the rest when the timer fires early', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const now = vi.spyOn(performance, 'now')
    now.mockReturnValue(1_000)
    let ran = 0
    systemClock.after(10, () => ran++)
    now.mockReturnValue(1_009.4)
    vi.advanceTimersByTime(10)
    expect(ran).toBe(0)
    now.mockReturnValue(1_010)
    vi.advanceTimersByTime(1)
    expect(ran).toBe(1)
    now.mockRestore()
  })

  it('keeps the process alive while a timer waits', () => {
    // The real one: a spy on a fake timer puts the fake back after the test, for every test that follows.
    const set = vi.spyOn(globalThis, 'setTimeout')
    const timer = systemClock.after(10, () => {})
    expect(set.mock.results[0].value.hasRef()).toBe(true)
    timer[Symbol.dispose]()
    set.mockRestore()
  })
})
