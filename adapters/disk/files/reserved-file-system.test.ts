/** A process that has no descriptor left, and a store that goes on all the same. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { diskStorage } from '../index.ts'
import { nodeFileSystem } from './node-file-system.ts'
import { ReservedFileSystem } from './reserved-file-system.ts'

let directory: string
/** Descriptors that the process has left, the store's own among them. */
let free: number

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-reserve-'))
  free = 1_000
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function withDescriptor<T>(use: () => Promise<T>): Promise<T> {
  if (free === 0) throw Object.assign(new Error('no descriptor left'), { code: 'EMFILE' })
  free--
  try {
    return await use()
  } finally {
    free++
  }
}

/** The machine's file system with as many descriptors as `free` says. */
const bounded: FileSystem = {
  ...nodeFileSystem,
  list: (path) => withDescriptor(() => nodeFileSystem.list(path)),
  syncDirectory: (path) => withDescriptor(() => nodeFileSystem.syncDirectory(path)),
  removeTree: (path) => withDescriptor(() => nodeFileSystem.removeTree(path)),
  async open(path, mode) {
    const file = await withDescriptor(() => nodeFileSystem.open(path, mode))
    free--
    const counted: DiskFile = {
      read: (into, position) => file.read(into, position),
      write: (bytes, position) => file.write(bytes, position),
      sync: () => file.sync(),
      truncate: (sizeBytes) => file.truncate(sizeBytes),
      size: () => file.size(),
      close() {
        free++
        return file.close()
      },
    }
    return counted
  },
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('keeps sixteen descriptors, gives one up when a call fails for want of it, and takes it back', async () => {
  const path = join(directory, 'file')
  await writeFile(path, 'content')
  const files = new ReservedFileSystem(bounded)
  let closedIdle = 0
  files.onScarce = async () => {
    closedIdle++
  }
  await files.reserve(path)
  expect([files.reserved, free]).toEqual([16, 984])
  free = 0
  const opened = [await files.open(path, 'read'), await files.open(path, 'read')]
  expect(await files.list(directory)).toEqual(['file'])
  await files.syncDirectory(directory)
  expect([files.reserved, closedIdle]).toEqual([13, 3])
  for (const file of opened) await file.close()
  // Added, for some may be on their way back to the reserve.
  free += 100
  await files.list(directory)
  while (files.reserved < 16) await settled()
  await files.release()
  expect([files.reserved, free]).toEqual([0, 116])
})

it('gives everything up before it fails', async () => {
  const path = join(directory, 'file')
  await writeFile(path, 'content')
  const files = new ReservedFileSystem(bounded)
  await files.reserve(path)
  free = 0
  const opened: DiskFile[] = []
  for (let i = 0; i < 16; i++) opened.push(await files.open(path, 'read'))
  await expect(files.open(path, 'read')).rejects.toMatchObject({ code: 'EMFILE' })
  for (const file of opened) await file.close()
  await files.release()
})

it('a flood that takes every descriptor stops neither appends nor new segments nor reads', async () => {
  const { logs } = diskStorage({ directory, fileSystem: bounded, hotBytesMax: 1 }).open(
    nodePlatform({ logger: silentLogger }),
  )
  await logs.start()
  const id = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
  const log = await logs.openLog(id, { segmentBytes: 1_000 })
  for (let baseOffset = 0; baseOffset < 40; baseOffset++) {
    // Whatever becomes free somebody else takes at once.
    free = 0
    await log.append(sampleBatch({ baseOffset, payloadBytes: 100 }), baseOffset, 1, 'fsync')
  }
  for (const offset of [0, 11, 39]) expect((await log.read(offset, 1)).length).toBeGreaterThan(100)
  await log.truncateBefore(20)
  expect(log.startOffset).toBeGreaterThan(0)
  free = 1_000
  await logs.stop()
})
