/** What the disk state store does when the disk does not do what it is asked, or what it finds is damaged. */
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { simulatedDisk } from 'ratatoskr/contract-tests'
import type { StateStore } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { filesIn, makeDirectory } from '../testing/setups.ts'

let directory: string
let disk: FaultyFileSystem
let store: StateStore

beforeEach(async () => {
  directory = await makeDirectory()
  await restart()
})

afterEach(async () => {
  disk.heal()
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

/** Opens the store on what the disk has, after leaving the old one as it is or stopping it. */
async function restart(): Promise<void> {
  disk?.heal()
  await store?.stop()
  open()
  await store.start()
}

function open(): void {
  disk = new FaultyFileSystem(nodeFileSystem)
  store = diskStorage({ directory, fileSystem: disk }).open(nodePlatform({ logger: silentLogger })).state
}

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const contentOf = async (key: string): Promise<number[] | undefined> => {
  const entry = await store.get(key)
  return entry && [...entry.value]
}
const files = (): Promise<string[]> => filesIn(join(directory, 'state'), '.log')

/** The second copy of a state file. */
const copyOf = (path: string): string => path.replace(/log$/, 'copy')

describe('a failing disk', () => {
  it.each(['.log', '.copy'])(
    'a failed sync of %s refuses the changes, the next change goes to new files, and only what settled is kept',
    async (ending) => {
      await store.put('a', bytes(1))
      const [before] = await files()
      // Opened under its first name, which the descriptor keeps here.
      const descriptor = `${before.replace(/\.log$/, ending)}.tmp`
      disk.inject({ call: 'sync', suffix: `${ending}.tmp`, code: 'EIO', times: 1 })
      await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
      expect(await contentOf('a')).toEqual([1])
      const syncs = disk.calls.filter(({ call, path }) => call === 'sync' && path === descriptor).length
      expect(await store.put('b', bytes(3), 0)).toBe(1)
      expect(disk.calls.filter(({ call, path }) => call === 'sync' && path === descriptor).length).toBe(syncs)
      expect((await files()).length).toBe(1)
      expect((await files())[0]).not.toBe(before)
      await restart()
      expect([await contentOf('a'), await contentOf('b')]).toEqual([[1], [3]])
    },
  )

  it('goes on failing for as long as the disk does, and then recovers', async () => {
    await store.put('a', bytes(1))
    disk.inject({ call: 'sync', code: 'EIO' })
    for (let i = 0; i < 3; i++) {
      await expect(store.put('a', bytes(2), 1)).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    }
    disk.heal()
    expect(await store.put('a', bytes(2), 1)).toBe(2)
    await restart()
    expect(await contentOf('a')).toEqual([2])
  })

  it.each(['.log', '.copy'])(
    'a full disk at %s refuses changes, and both copies are taken back',
    async (ending) => {
      await store.put('a', bytes(1))
      const [path] = await files()
      const { size } = await stat(path)
      disk.inject({ call: 'write', suffix: `${ending}.tmp`, code: 'ENOSPC', times: 1 })
      await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
      expect((await stat(path)).size).toBe(size)
      expect((await stat(copyOf(path))).size).toBe(size)
      await store.put('a', bytes(3))
      expect((await files())[0]).toBe(path)
      await restart()
      expect(await contentOf('a')).toEqual([3])
    },
  )

  it('a full disk that cannot be taken back begins a new file', async () => {
    await store.put('a', bytes(1))
    disk.inject({ call: 'write', code: 'ENOSPC', times: 1 })
    disk.inject({ call: 'truncate', code: 'EIO', times: 1 })
    await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect(await store.put('a', bytes(3))).toBe(2)
    await restart()
    expect(await contentOf('a')).toEqual([3])
  })

  it('a sync that fails for lack of room poisons like any other', async () => {
    await store.put('a', bytes(1))
    const [before] = await files()
    disk.inject({ call: 'sync', code: 'ENOSPC', times: 1 })
    await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    const syncs = disk.calls.filter(({ call }) => call === 'sync').length
    expect(await store.put('a', bytes(3))).toBe(2)
    const later = disk.calls.filter(({ call }) => call === 'sync').slice(syncs)
    expect(later.map(({ path }) => path)).not.toContain(`${before}.tmp`)
    await restart()
    expect(await contentOf('a')).toEqual([3])
  })

  it.each(['rename', 'syncDirectory'] as const)(
    'a %s that finds no room does not leave a file that is newer and knows less',
    async (call) => {
      const value = new Uint8Array(150_000)
      for (let i = 0; i < 2; i++) await store.put('large', value.fill(i))
      // The next change writes the state anew; the second of the two files fails.
      disk.inject({ call, suffix: call === 'rename' ? '.copy.tmp' : 'state', code: 'ENOSPC', times: 1 })
      const outcome = await store.put('a', bytes(1)).catch((error: { code: string }) => error.code)
      expect(outcome).toMatch(/^RTK_STORE_F/)
      await store.put('a', bytes(2))
      // As a crash leaves it: nothing is closed in order.
      const crashed = await makeDirectory()
      await cp(directory, crashed, { recursive: true })
      const { state } = diskStorage({ directory: crashed }).open(nodePlatform({ logger: silentLogger }))
      await state.start()
      expect((await state.get('a'))?.value).toEqual(bytes(2))
      await state.stop()
      await rm(crashed, { recursive: true })
    },
  )

  it('a change fits where there is no room to write all anew', async () => {
    const value = new Uint8Array(150_000)
    for (let i = 0; i < 2; i++) await store.put('large', value.fill(i))
    disk.inject({ call: 'write', suffix: '2.log.tmp', code: 'ENOSPC' })
    await store.put('a', bytes(1))
    await store.put('a', bytes(2))
    expect((await files())[0]).toMatch(/1\.log$/)
    await restart()
    expect(await contentOf('a')).toEqual([2])
  })

  it('a rewrite that fails leaves the old file, and no temporary one', async () => {
    await store.put('a', bytes(1))
    disk.inject({ call: 'sync', code: 'EIO', times: 1 })
    disk.inject({ call: 'rename', code: 'EIO', times: 1 })
    await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await expect(store.put('a', bytes(2))).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect((await readdir(join(directory, 'state'))).filter((name) => name.endsWith('.tmp'))).toEqual([])
    await restart()
    expect(await contentOf('a')).toEqual([1])
  })

  it('a start that fails gives the directory back', async () => {
    await store.stop()
    open()
    disk.inject({ call: 'open', suffix: '.log', code: 'EACCES', times: 1 })
    await expect(store.start()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await store.start()
    await store.put('a', bytes(1))
  })
})

describe('the file', () => {
  it('is written anew when most of it is history', async () => {
    const value = new Uint8Array(50_000)
    for (let i = 0; i < 60; i++) await store.put('a', value.fill(i))
    const sizes = await Promise.all((await files()).map(async (path) => (await stat(path)).size))
    expect(sizes.length).toBe(1)
    expect(sizes[0]).toBeLessThan(1_000_000)
    await restart()
    expect((await store.get('a'))?.version).toBe(60)
  })

  it('with a table of several batches is written anew whole', async () => {
    const value = new Uint8Array(400_000)
    for (let round = 0; round < 3; round++) {
      for (let key = 0; key < 8; key++) await store.put(`k/${key}`, value.fill(key))
    }
    await restart()
    for (let key = 0; key < 8; key++) expect((await store.get(`k/${key}`))?.value).toEqual(value.fill(key))
  })

  it('torn at any byte, holds a whole number of changes', async () => {
    for (let i = 0; i < 4; i++) {
      await store.putMany([
        { key: 'a', value: bytes(i) },
        { key: 'b', value: bytes(i) },
      ])
    }
    await store.stop()
    const [path] = await files()
    const whole = await readFile(path)
    for (let size = whole.length; size >= 0; size -= 11) {
      await rm(join(directory, 'state'), { recursive: true })
      await mkdir(join(directory, 'state'))
      for (const copy of [path, copyOf(path)]) await writeFile(copy, whole.subarray(0, size))
      open()
      await store.start()
      expect(await contentOf('a')).toEqual(await contentOf('b'))
      await store.stop()
    }
  })

  it('left over from a rewrite that a crash interrupted, does no harm', async () => {
    await store.put('a', bytes(1))
    await store.stop()
    const [path] = await files()
    await writeFile(path.replace('00000000000000000001', '00000000000000000000'), await readFile(path))
    await writeFile(`${path.replace('00000000000000000001', '00000000000000000009')}.tmp`, 'half')
    await restart()
    expect(await contentOf('a')).toEqual([1])
    expect(await readdir(join(directory, 'state'))).toEqual(
      [path, copyOf(path)].map((file) => basename(file)).sort(),
    )
  })
})

it('a change that comes at any turn after another is written too', async () => {
  const fileSystem = simulatedDisk({ delayTurnsMax: 0 })
  const { state } = diskStorage({ directory, fileSystem }).open(nodePlatform({ logger: silentLogger }))
  await state.start()
  let settled = 0
  for (let turns = 0; turns < 100; turns++) {
    void state.put('a', bytes(turns))
    for (let turn = 0; turn < turns; turn++) await undefined
    void state.put('b', bytes(turns)).then(() => settled++)
    await new Promise((resolve) => setImmediate(resolve))
    expect(settled).toBe(turns + 1)
  }
})
