/** Two copies of the state: whatever is whole in either counts, and a damaged file is kept aside. */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { nodePlatform } from 'ratatoskr/adapters/node'
import {
  BatchBuilder,
  batchStarts,
  type LogFields,
  type Logger,
  type StateStore,
  stampBatch,
  utf8,
  utf8Text,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rounds } from '../../../src/testing/rounds.ts'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { makeDirectory } from '../testing/setups.ts'

let directory: string
beforeEach(async () => {
  directory = await makeDirectory()
})
afterEach(() => rm(directory, { recursive: true, force: true }))

type Line = { level: string; message: string; fields: LogFields | undefined }
const checksum = nodePlatform().checksum
const copies = ['log', 'copy'] as const
type Copy = (typeof copies)[number]

const stateFile = (copy: Copy, generation = 1): string =>
  join(directory, 'state', `${String(generation).padStart(20, '0')}.${copy}`)

/** A store on the directory, with what it logs. */
async function start(
  disk = new FaultyFileSystem(nodeFileSystem),
): Promise<{ store: StateStore; lines: Line[] }> {
  const lines: Line[] = []
  const note = (level: string) => (message: string, fields?: LogFields) => {
    lines.push({ level, message, fields })
  }
  const logger: Logger = {
    debug: note('debug'),
    info: note('info'),
    warn: note('warn'),
    error: note('error'),
    child: () => logger,
  }
  const { state } = diskStorage({ directory, fileSystem: disk }).open(nodePlatform({ logger }))
  await state.start()
  return { store: state, lines }
}

/** Everything in a store: values as text. */
async function contents(store: StateStore): Promise<Record<string, string>> {
  const all: Record<string, string> = {}
  for await (const { key, value, version } of store.list('')) all[key] = `${utf8Text(value)} v${version}`
  return all
}

/** Starts on the directory, reads everything and stops. */
async function opened(): Promise<{ found: Record<string, string>; lines: Line[] }> {
  const { store, lines } = await start()
  const found = await contents(store)
  await store.stop()
  return { found, lines }
}

/** A state of some changes, one batch each. @returns the bytes of a copy, and where the changes begin: behind the first batch */
async function written(
  changes: readonly (readonly (readonly [key: string, value: string])[])[],
): Promise<{ bytes: Uint8Array; starts: number[] }> {
  const { store } = await start()
  for (const change of changes) {
    await store.putMany(change.map(([key, value]) => ({ key, value: utf8(value) })))
  }
  await store.stop()
  const bytes = new Uint8Array(await readFile(stateFile('log')))
  return { bytes, starts: [...batchStarts(bytes)].slice(1) }
}

/** Puts copies in place of what is there. */
async function place(files: Partial<Record<Copy, Uint8Array>>): Promise<void> {
  await rm(join(directory, 'state'), { recursive: true, force: true })
  await rm(join(directory, 'quarantine'), { recursive: true, force: true })
  await mkdir(join(directory, 'state'))
  for (const copy of copies) {
    const bytes = files[copy]
    if (bytes !== undefined) await writeFile(stateFile(copy), bytes)
  }
}

const flipped = (bytes: Uint8Array, at: number, mask = 1): Uint8Array => {
  const changed = new Uint8Array(bytes)
  changed[at] ^= mask
  return changed
}

const quarantined = (): Promise<string[]> => readdir(join(directory, 'quarantine', 'state')).catch(() => [])

const four = [
  [['a', 'one']],
  [
    ['b', 'two'],
    ['c', 'three'],
  ],
  [['a', 'four']],
  [['d', 'five']],
] as const
const all = { a: 'four v2', b: 'two v1', c: 'three v1', d: 'five v1' }

describe('the copies', () => {
  it('are the same to the byte, and nothing is said of them', async () => {
    const { bytes } = await written(four)
    expect(new Uint8Array(await readFile(stateFile('copy')))).toEqual(bytes)
    expect(await opened()).toEqual({ found: all, lines: [] })
  })

  it('make up for one another, whatever byte of one of them is wrong', async () => {
    const { bytes, starts } = await written(four)
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...copies),
        fc.nat({ max: bytes.length - 1 }),
        fc.integer({ min: 1, max: 255 }),
        async (copy, at, mask) => {
          // The epoch of the owner says nothing in a state file, and no checksum covers it.
          const batch = starts.findLast((from) => from <= at) ?? 0
          fc.pre(at - batch < 12 || at - batch >= 16)
          await place({ log: bytes, copy: bytes, [copy]: flipped(bytes, at, mask) })
          const { found, lines } = await opened()
          expect(found).toEqual(all)
          const last = batch === starts.at(-1)
          expect(lines.map(({ level }) => level)).toEqual([last ? 'warn' : 'error'])
          expect(lines[0].message).toContain(last ? 'as after a crash' : 'nothing is lost')
          expect(await quarantined()).toEqual(last ? [] : [`${'1'.padStart(20, '0')}.${copy}`])
          expect((await readdir(join(directory, 'state'))).length).toBe(2)
          expect(await opened()).toEqual({ found: all, lines: [] })
        },
      ),
      { numRuns: rounds(40, 15) },
    )
  })

  it('make up for one another where both are damaged at different places', async () => {
    const { bytes, starts } = await written(four)
    await place({ log: flipped(bytes, starts[0] + 70), copy: flipped(bytes, starts[1] + 70) })
    const { found, lines } = await opened()
    expect([found, lines.length, lines[0].level]).toEqual([all, 1, 'error'])
    expect((await quarantined()).length).toBe(2)
    expect(
      new Uint8Array(await readFile(join(directory, 'quarantine/state', `${'1'.padStart(20, '0')}.log`))),
    ).toEqual(flipped(bytes, starts[0] + 70))
  })

  it('damaged at the same place lose that change as a whole, and no other', async () => {
    const { bytes, starts } = await written(four)
    const regressed = [{ ...all }, { a: 'four v2', d: 'five v1' }, { ...all, a: 'one v1' }]
    for (const [i, expected] of regressed.entries()) {
      // In the header, in the length, in the records: wherever it is, the next change is found.
      for (const within of [16, 10, 75]) {
        await place({ log: flipped(bytes, starts[i] + within), copy: flipped(bytes, starts[i] + within, 4) })
        const { found, lines } = await opened()
        expect(found).toEqual(expected)
        expect(lines).toMatchObject([{ level: 'error', message: expect.stringContaining('are lost') }])
        const from = [1, 2, 4][i]
        expect(lines[0].fields).toMatchObject({ lost: [{ from, to: [2, 4, 5][i] }] })
        expect((await quarantined()).length).toBe(2)
        expect((await opened()).lines).toEqual([])
      }
    }
  })

  it('cut anywhere hold what is whole in either', async () => {
    const { bytes, starts } = await written(four)
    const states = [
      {},
      { a: 'one v1' },
      { a: 'one v1', b: 'two v1', c: 'three v1' },
      { ...all, d: undefined },
      all,
    ]
    const ends = [...starts, bytes.length]
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bytes.length }), fc.nat({ max: bytes.length }), async (one, other) => {
        await place({ log: bytes.subarray(0, one), copy: bytes.subarray(0, other) })
        const { found } = await opened()
        const whole = ends.filter((end) => end <= Math.max(one, other)).length - 1
        expect(found).toEqual(JSON.parse(JSON.stringify(states[Math.max(0, whole)])))
        // Without even the batch that every file begins with, they are not what a crash leaves.
        expect((await quarantined()).length).toBe(whole < 0 ? 2 : 0)
        expect(await opened()).toEqual({ found, lines: [] })
      }),
      { numRuns: rounds(40, 15) },
    )
  })

  it('that differ: the first counts, and the other is kept aside with all that follows in it', async () => {
    const { bytes, starts } = await written(four)
    const builder = new BatchBuilder({ checksum })
    const version = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 9])
    builder.add({ key: utf8('b'), payload: utf8('forged'), headers: [['v', version]], timestampMs: 1 })
    const other = builder.build()
    stampBatch(other, 2, 0)
    const copy = Buffer.concat([bytes.subarray(0, starts[1]), other])
    await place({ log: bytes, copy })
    const { found, lines } = await opened()
    expect([found, lines.map(({ level }) => level)]).toEqual([all, ['error']])
    expect((await quarantined()).map((name) => name.slice(-5))).toEqual(['.copy'])
  })

  it('of which one is missing, as an earlier version leaves it, are two again', async () => {
    const { bytes } = await written(four)
    for (const copy of copies) {
      await place({ [copy]: bytes })
      expect((await opened()).found).toEqual(all)
      const names = await readdir(join(directory, 'state'))
      expect(names.map((name) => name.slice(20)).sort()).toEqual(['.copy', '.log'])
      expect(await opened()).toEqual({ found: all, lines: [] })
    }
  })

  it('of an earlier format are completed', async () => {
    const golden = fileURLToPath(new URL('../testing/golden/format-1', import.meta.url))
    await cp(golden, directory, { recursive: true })
    const { found } = await opened()
    expect(found).toEqual({ 'topics/default/orders': '{"version":2} v2', 'groups/a/0': '1 v1' })
    expect((await readdir(join(directory, 'state'))).length).toBe(2)
  })
})

describe('damage in both copies', () => {
  /** A batch that makes an admin of whoever it is read for. */
  const forgedAt = (offset: number): Uint8Array => {
    const builder = new BatchBuilder({ checksum })
    const version = new Uint8Array([0, 0, 0, 0, 0, 0, 0, 7])
    builder.add({ key: utf8('role'), payload: utf8('admin'), headers: [['v', version]], timestampMs: 1 })
    const forged = builder.build()
    stampBatch(forged, offset, 0)
    return forged
  }

  it.each([
    // The records, the length, and the magic of the change that holds it.
    [[75, 10, 16], [forgedAt(3)]],
    [[75], [forgedAt(3), forgedAt(4)]],
  ])(
    'does not make a change of what a value holds, though it looks like one (%j)',
    async (places, forged) => {
      const { store } = await start()
      await store.put('role', utf8('guest'))
      await store.put('metadata', Buffer.concat(forged))
      await store.put('role', utf8('reader'))
      await store.stop()
      const bytes = new Uint8Array(await readFile(stateFile('log')))
      const [, , second] = batchStarts(bytes)
      for (const within of places) {
        const damaged = flipped(bytes, second + within)
        await place({ log: damaged, copy: damaged })
        expect((await opened()).found).toEqual({ role: 'reader v2' })
      }
    },
  )

  it('of the state as it was written anew is made up for by the generation before, when that is still there', async () => {
    const { bytes, starts } = await written(four)
    const { store } = await start()
    await store.put('e', utf8('six'))
    await store.stop()
    const later = new Uint8Array(await readFile(stateFile('log')))
    const damaged = flipped(later, starts[1] + 75)
    await place({ log: bytes, copy: bytes })
    for (const copy of copies) await writeFile(stateFile(copy, 2), damaged)
    expect((await opened()).found).toEqual({ ...all, e: 'six v1' })
    expect((await quarantined()).length).toBe(2)
  })

  it('is not guessed at where the disk gives an error: the store does not start, and no file is changed', async () => {
    const { bytes } = await written(four)
    const disk = new FaultyFileSystem(nodeFileSystem)
    disk.inject({ call: 'read', suffix: '.log', code: 'EIO' })
    disk.inject({ call: 'read', suffix: '.copy', code: 'EIO' })
    await expect(start(disk)).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect(new Uint8Array(await readFile(stateFile('log')))).toEqual(bytes)
    expect(await opened()).toEqual({ found: all, lines: [] })
  })
})

describe('a copy', () => {
  it.each(['open', 'read'] as const)(
    'that cannot be read (%s) is kept aside, and the other counts',
    async (call) => {
      await written(four)
      const disk = new FaultyFileSystem(nodeFileSystem)
      disk.inject({ call, suffix: '1.copy', code: 'EIO' })
      const { store, lines } = await start(disk)
      expect(await contents(store)).toEqual(all)
      await store.put('e', utf8('six'))
      await store.stop()
      expect(lines.map(({ level }) => level)).toEqual(['error'])
      expect((await quarantined()).length).toBe(1)
      expect((await opened()).found).toEqual({ ...all, e: 'six v1' })
    },
  )

  it('that is damaged on a full disk is served from the other, and made again when there is room', async () => {
    const { bytes, starts } = await written(four)
    await place({ log: flipped(bytes, starts[1] + 70), copy: bytes })
    const disk = new FaultyFileSystem(nodeFileSystem)
    disk.inject({ call: 'write', suffix: '.tmp', code: 'ENOSPC' })
    const { store } = await start(disk)
    expect(await contents(store)).toEqual(all)
    await expect(store.put('e', utf8('six'))).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
    expect(await quarantined()).toEqual([])
    disk.heal()
    await store.put('e', utf8('six'))
    await store.stop()
    expect((await quarantined()).length).toBe(1)
    expect((await opened()).found).toEqual({ ...all, e: 'six v1' })
  })

  it('kept aside never replaces one that is there', async () => {
    const { bytes, starts } = await written(four)
    await place({ log: flipped(bytes, starts[1] + 70), copy: bytes })
    await mkdir(join(directory, 'quarantine', 'state'), { recursive: true })
    const first = join(directory, 'quarantine', 'state', `${'1'.padStart(20, '0')}.log`)
    await writeFile(first, 'kept before')
    await opened()
    expect(await readFile(first, 'utf8')).toBe('kept before')
    expect((await quarantined()).length).toBe(2)
  })
})
