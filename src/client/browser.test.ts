import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { BatchBuilder, portableCrc32c, utf8 } from '../ports/index.ts'
import { connect } from './browser.ts'
import { browserPlatform } from './browser-platform.ts'

const importPattern =
  /(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/g
const typesOnly = /(?:^|\n)\s*(?:import|export) type\b[^'"`;]*?from\s*['"][^'"]+['"]/g

/** Every specifier that is reachable from a file, type-only imports left out: they are gone at run time. */
function reachable(entry: string): { files: Set<string>; packages: Set<string> } {
  const files = new Set<string>()
  const packages = new Set<string>()
  const visit = (file: string): void => {
    if (files.has(file)) return
    files.add(file)
    for (const match of readFileSync(file, 'utf8').replaceAll(typesOnly, '').matchAll(importPattern)) {
      const specifier = (match[1] ?? match[2]) as string
      if (specifier.startsWith('.')) visit(join(dirname(file), specifier))
      else packages.add(specifier)
    }
  }
  visit(entry)
  return { files, packages }
}

const here = dirname(fileURLToPath(import.meta.url))

describe('the browser entry', () => {
  it('reaches no module of Node or npm', () => {
    const { files, packages } = reachable(join(here, 'browser.ts'))
    expect([...packages]).toEqual([])
    expect(files.size).toBeGreaterThan(30)
  })

  it('would notice one', () => {
    expect([...reachable(join(here, 'connect.ts')).packages]).toEqual(
      expect.arrayContaining(['ratatoskr/adapters/node']),
    )
  })

  it('connects by WebSocket only', async () => {
    for (const url of ['grpc://127.0.0.1:1', 'http://127.0.0.1:1', 'nonsense']) {
      await expect(connect(url)).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
    }
    await expect(connect([])).rejects.toMatchObject({ code: 'RTK_INVALID_ARGUMENT' })
  })
})

describe('the browser platform', () => {
  const { clock, random, checksum, compression, logger } = browserPlatform()

  it('has random bytes in any number, and UUIDs', () => {
    const bytes = random.fill(new Uint8Array(100_000))
    expect(new Set(bytes).size).toBe(256)
    expect(new Set(bytes.subarray(70_000)).size).toBe(256)
    expect(random.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(random.next()).toBeLessThan(1)
  })

  it('has a clock whose timers can be cancelled', async () => {
    const before = clock.monotonic()
    let ran = false
    clock
      .after(0, () => {
        ran = true
      })
      [Symbol.dispose]()
    await new Promise<void>((resolve) => clock.after(1, resolve))
    expect(ran).toBe(false)
    expect(clock.monotonic()).toBeGreaterThan(before)
    expect(Math.abs(clock.now() - Date.now())).toBeLessThan(1_000)
  })

  it('lets others have a turn without waiting for a timer', async () => {
    const order: string[] = []
    const timer = new Promise<void>((resolve) => setTimeout(resolve, 50)).then(() => order.push('timer'))
    for (let turn = 0; turn < 3; turn++) {
      const next = new Promise<void>((resolve) => clock.after(0, resolve))
      order.push('asked')
      await next
      order.push('turn')
    }
    await timer
    expect(order).toEqual(['asked', 'turn', 'asked', 'turn', 'asked', 'turn', 'timer'])
  })

  it('makes valid batches and has no codec', () => {
    const builder = new BatchBuilder({ checksum })
    builder.add({ payload: utf8('x'), timestampMs: 1 })
    const other = new BatchBuilder({ checksum: portableCrc32c })
    other.add({ payload: utf8('x'), timestampMs: 1 })
    expect(builder.build()).toEqual(other.build())
    expect(compression.size).toBe(0)
    expect(logger.child({ a: 1 }).debug('nothing')).toBeUndefined()
  })
})
