import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { LogStoreTally } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { makeDirectory, openDisk } from '../testing/setups.ts'
import { FilePool } from './file-pool.ts'
import { nodeFileSystem } from './node-file-system.ts'

let directory: string
let disk: FaultyFileSystem

beforeEach(async () => {
  directory = await makeDirectory()
  disk = new FaultyFileSystem(nodeFileSystem)
})

afterEach(() => rm(directory, { recursive: true, force: true }))

async function paths(count: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => join(directory, `file-${i}`))
  for (const name of names) await writeFile(name, name)
  return names
}

const opens = (): number => disk.calls.filter(({ call }) => call === 'open').length

it('opens a file once for all who use it at the same time', async () => {
  const pool = new FilePool(disk, 4, new LogStoreTally())
  const [path] = await paths(1)
  const files = await Promise.all([
    pool.acquire(path, 'read'),
    pool.acquire(path, 'read'),
    pool.acquire(path, 'read'),
  ])
  expect(new Set(files).size).toBe(1)
  expect(opens()).toBe(1)
  for (const file of files) pool.release(file)
  await pool.closeIdle()
  expect(pool.size).toBe(0)
})

it('closes what was used longest ago, and never what is in use', async () => {
  const pool = new FilePool(disk, 2, new LogStoreTally())
  const [a, b, c] = await paths(3)
  const used = await pool.acquire(a, 'read')
  pool.release(await pool.acquire(b, 'read'))
  pool.release(await pool.acquire(c, 'read'))
  expect(pool.size).toBe(2)
  const content = new Uint8Array(4)
  expect(await used.file.read(content, 0)).toBe(4)
  pool.release(used)
  expect(opens()).toBe(3)
  pool.release(await pool.acquire(c, 'read'))
  expect(opens()).toBe(3)
  pool.release(await pool.acquire(b, 'read'))
  expect(opens()).toBe(4)
  await pool.closeIdle()
})

it('syncs a written file before it closes it, and tells when that fails', async () => {
  const pool = new FilePool(disk, 1, new LogStoreTally())
  const [a, b] = await paths(2)
  const written = await pool.acquire(a, 'write')
  const failures: unknown[] = []
  written.dirty = true
  written.onSyncFailed = (error) => failures.push(error)
  disk.inject({ call: 'sync', code: 'EIO', times: 1 })
  pool.release(written)
  pool.release(await pool.acquire(b, 'read'))
  await pool.closeIdle()
  expect(disk.calls.filter(({ call }) => call === 'sync').length).toBe(1)
  expect(failures).toMatchObject([{ code: 'EIO' }])
})

it('never syncs what is discarded', async () => {
  const pool = new FilePool(disk, 4, new LogStoreTally())
  const [a] = await paths(1)
  const written = await pool.acquire(a, 'write')
  written.dirty = true
  await pool.discard(a)
  pool.release(written)
  await pool.closeIdle()
  expect(disk.calls.some(({ call }) => call === 'sync')).toBe(false)
  await expect(written.file.size()).rejects.toMatchObject({ code: 'EBADF' })
})

it('never syncs a file again whose sync failed, whoever needs its place, and opens it anew for the next user', async () => {
  const pool = new FilePool(disk, 2, new LogStoreTally())
  const [a, b, c] = await paths(3)
  const written = await pool.acquire(a, 'write')
  written.dirty = true
  pool.poison(written)
  pool.release(written)
  for (const other of [b, c]) pool.release(await pool.acquire(other, 'read'))
  const again = await pool.acquire(a, 'write')
  expect(again).not.toBe(written)
  pool.release(again)
  await pool.closeIdle()
  expect(disk.calls.some(({ call }) => call === 'sync')).toBe(false)
  await expect(written.file.size()).rejects.toMatchObject({ code: 'EBADF' })
})

it('lets as many be in use as may be open, and the others wait their turn', async () => {
  const pool = new FilePool(disk, 2, new LogStoreTally())
  const all = await paths(6)
  let inUse = 0
  let most = 0
  await Promise.all(
    all.map(async (path) => {
      const file = await pool.acquire(path, 'read')
      most = Math.max(most, ++inUse)
      await file.file.size()
      inUse--
      pool.release(file)
    }),
  )
  expect(most).toBe(2)
  await expect(pool.acquire(join(directory, 'missing'), 'read')).rejects.toMatchObject({ code: 'ENOENT' })
  await Promise.all([pool.acquire(all[0], 'read'), pool.acquire(all[1], 'read')])
  expect(pool.size).toBe(2)
})

it('closes what was still in use when the pool was closed, and keeps files again afterwards', async () => {
  const pool = new FilePool(disk, 4, new LogStoreTally())
  const [a] = await paths(1)
  const used = await pool.acquire(a, 'read')
  await pool.closeIdle()
  expect(pool.size).toBe(1)
  pool.release(used)
  expect(pool.size).toBe(0)
  pool.keepOpen()
  pool.release(await pool.acquire(a, 'read'))
  expect(pool.size).toBe(1)
  await pool.closeIdle()
})

it('a file that cannot be opened is an error for each who asked', async () => {
  const pool = new FilePool(disk, 4, new LogStoreTally())
  const missing = join(directory, 'missing')
  const outcomes = await Promise.allSettled([pool.acquire(missing, 'read'), pool.acquire(missing, 'write')])
  expect(outcomes.map((outcome) => outcome.status)).toEqual(['rejected', 'rejected'])
  expect(pool.size).toBe(0)
})

it('a thousand logs share few descriptors and little memory, and keep their word', async () => {
  const { logs } = openDisk(directory, { openFilesMax: 32, hotBytesMax: 1 << 20 })
  await logs.start()
  const open = await Promise.all(
    Array.from({ length: 1_000 }, (_, partition) =>
      logs.openLog({ topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition }, { segmentBytes: 1 << 20 }),
    ),
  )
  for (const baseOffset of [0, 1]) {
    await Promise.all(
      open.map((log, seed) => log.append(sampleBatch({ baseOffset, seed }), baseOffset, 1, 'os')),
    )
  }
  for (const partition of [0, 500, 999]) {
    const found = Buffer.from(await open[partition].read(1, 100))
    expect(found.equals(sampleBatch({ baseOffset: 1, seed: partition }))).toBe(true)
  }
  await logs.stop()
})
