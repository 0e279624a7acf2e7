/** Letting go of old segments: beside the appends, the oldest first, and again when it failed. */
import { readdir, rm } from 'node:fs/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import type { FileSystem, LogId, LogStore, PartitionLog } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }

let directory: string
let store: LogStore
let log: PartitionLog
/** Called before a segment is removed. */
let onRemove: (path: string) => Promise<void>

const fileSystem: FileSystem = {
  ...nodeFileSystem,
  async remove(path) {
    if (path.endsWith('.log')) await onRemove(path)
    await nodeFileSystem.remove(path)
  },
}

const append = (): Promise<void> => {
  const { endOffset } = log
  return Promise.resolve(
    log.append(sampleBatch({ baseOffset: endOffset, payloadBytes: 50 }), endOffset, 1, 'fsync'),
  )
}

const segments = async (): Promise<number[]> => {
  const names = await readdir(`${directory}/logs/${id.topicId}/0`)
  return names
    .filter((name) => name.endsWith('.log'))
    .map((name) => Number.parseInt(name, 10))
    .sort((a, b) => a - b)
}

beforeEach(async () => {
  directory = await makeDirectory()
  onRemove = async () => undefined
  store = diskStorage({ directory, fileSystem }).open(nodePlatform({ logger: silentLogger })).logs
  await store.start()
  log = await store.openLog(id, { segmentBytes: 1 }) // a segment for each batch
  for (let i = 0; i < 5; i++) await append()
})

afterEach(async () => {
  onRemove = async () => undefined
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

it('appends settle and segments roll while the disk takes its time to remove a file', async () => {
  const held = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  onRemove = () => {
    begun.resolve()
    return held.promise
  }
  const letGo = log.truncateBefore(3)
  await begun.promise
  await append()
  await append()
  expect([log.startOffset, log.stableOffset]).toEqual([3, 7])
  expect(await segments()).toEqual([0, 1, 2, 3, 4, 5, 6])
  held.resolve()
  expect(await letGo).toBe(3)
  expect(await segments()).toEqual([3, 4, 5, 6])
})

it('a file that could not be removed is removed before the next ones are, so that no hole is left', async () => {
  let refusals = 2
  onRemove = async () => {
    if (refusals-- > 0) throw Object.assign(new Error('injected'), { code: 'EIO' })
  }
  for (const offset of [2, 3]) {
    await expect(log.truncateBefore(offset)).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect(await segments()).toEqual([0, 1, 2, 3, 4])
  }
  expect(await log.truncateBefore(3)).toBe(3)
  expect(await segments()).toEqual([3, 4])
})

it('tells without reading where the segments end that lie within so many bytes', async () => {
  const batchBytes = log.sizeBytes / 5
  const within = (batches: number) => log.offsetAfterBytes?.(Math.floor(batches * batchBytes))
  expect([0, 0.9, 1, 2.5, 99].map(within)).toEqual([0, 0, 1, 2, 5])
  await log.truncateBefore(2)
  expect([0.9, 1, 2].map(within)).toEqual([2, 3, 4])
})

it('closing waits until the files are gone', async () => {
  const held = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  onRemove = () => {
    begun.resolve()
    return held.promise
  }
  const letGo = log.truncateBefore(3)
  await begun.promise
  let closed = false
  const closing = log.close().then(() => {
    closed = true
  })
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(closed).toBe(false)
  held.resolve()
  await Promise.all([letGo, closing])
  log = await store.openLog(id, { segmentBytes: 1 })
  expect([log.startOffset, log.endOffset]).toEqual([3, 5])
})
