import { describe, expect, it } from 'vitest'
import type { Diagnostics, Platform, ProfileRequest } from '../ports/index.ts'
import { utf8 } from '../ports/index.ts'
import { Profiler } from './profiler.ts'
import { BrokerBench, codeOf } from './testing/broker-bench.ts'

const principal = { name: 'alice', namespace: 'default' }
const request: ProfileRequest = { kind: 'cpu', durationMs: 1_000 }

/** A profiler that says what it was asked for. */
function bench() {
  const { platform, clock, hooks } = new BrokerBench()
  const did: string[] = []
  const diagnostics: Diagnostics = {
    load: () => ({ residentBytes: 1, heapBytes: 1, bufferBytes: 1, cpuMs: 1, loopDelayMs: 0 }),
    startProfile: async (kind) => {
      did.push(`start ${kind}`)
      return {
        stop: async () => {
          did.push('stop')
          return utf8('{}')
        },
      }
    },
  }
  const withDiagnostics: Platform = { ...platform, diagnostics }
  return {
    profiler: new Profiler(withDiagnostics, hooks),
    bare: new Profiler(platform, hooks),
    clock,
    hooks,
    did,
  }
}

describe('the profiler', () => {
  it('profiles for as long as it is asked to, and tells the plugins before', async () => {
    const { profiler, clock, hooks, did } = bench()
    const taken = profiler.take(request, principal)
    expect(hooks.of('profileStarted')).toEqual([{ principal, ...request }])
    await clock.advance(999)
    expect(did).toEqual(['start cpu'])
    await clock.advance(1)
    expect(await taken).toEqual(utf8('{}'))
    expect(did).toEqual(['start cpu', 'stop'])
  })

  it('takes one at a time, and another when it has ended', async () => {
    const { profiler, clock } = bench()
    const first = profiler.take(request, principal)
    expect(await codeOf(() => profiler.take({ kind: 'heap', durationMs: 5 }, principal))).toBe(
      'RTK_LIMIT_EXCEEDED',
    )
    await clock.advance(1_000)
    await first
    const next = profiler.take(request, principal)
    await clock.advance(1_000)
    expect(await next).toEqual(utf8('{}'))
  })

  it('stops at once when the caller waits no more, and is free again', async () => {
    const { profiler, clock, did } = bench()
    const caller = new AbortController()
    const taken = codeOf(() =>
      profiler.take({ ...request, durationMs: 60_000 }, principal, { signal: caller.signal }),
    )
    await clock.advance(10)
    caller.abort()
    expect(await taken).toBe('RTK_CANCELLED')
    expect(did).toEqual(['start cpu', 'stop'])
    expect(clock.pending).toBe(0)
    const next = profiler.take(request, principal)
    await clock.advance(1_000)
    await next
  })

  it.each([
    [{ kind: 'cpu', durationMs: 0 }],
    [{ kind: 'cpu', durationMs: 60_001 }],
    [{ kind: 'cpu', durationMs: 1.5 }],
    [{ kind: 'cpu', durationMs: '5' }],
    [{ kind: 'snapshot', durationMs: 5 }],
  ])('refuses %j', async (wrong) => {
    const { profiler, hooks, did } = bench()
    expect(await codeOf(() => profiler.take(wrong as ProfileRequest, principal))).toBe('RTK_INVALID_ARGUMENT')
    expect([did, hooks.of('profileStarted')]).toEqual([[], []])
  })

  it('says so where the platform has none', async () => {
    expect(await codeOf(() => bench().bare.take(request, principal))).toBe('RTK_NOT_SUPPORTED')
  })
})
