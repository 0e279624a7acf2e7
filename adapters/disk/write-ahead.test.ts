/** The group that is written while the one before it is synced: settled by its own sync, and never before. */
import { rm, stat } from 'node:fs/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import {
  type FileSystem,
  isRatatoskrError,
  type LogId,
  type LogStore,
  type PartitionLog,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from './files/node-file-system.ts'
import { diskStorage } from './index.ts'
import { FaultyFileSystem } from './testing/faulty-file-system.ts'
import { makeDirectory } from './testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const payloadBytes = 400 * 1024
/** Eight of them are more than three megabytes: a group is half of that. */
const appends = 8
const batchBytes = sampleBatch({ baseOffset: 0, payloadBytes }).length

let directory: string
let disk: FaultyFileSystem
let store: LogStore

async function startOn(bytesMax?: number, machine: FileSystem = nodeFileSystem): Promise<PartitionLog> {
  disk = new FaultyFileSystem(machine, bytesMax)
  const storage = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1 })
  store = storage.open(nodePlatform({ logger: silentLogger })).logs
  await store.start()
  return store.openLog(id, { segmentBytes: 100_000_000 })
}

beforeEach(async () => {
  directory = await makeDirectory()
})

afterEach(async () => {
  disk.heal()
  disk.syncGate = undefined
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

const file = (): string => `${directory}/logs/${id.topicId}/0/${'0'.repeat(20)}.log`
const sizeOfFile = async (): Promise<number> => (await stat(file()).catch(() => ({ size: 0 }))).size
const syncs = (): number =>
  disk.calls.filter(({ call, path }) => call === 'sync' && path.endsWith('.log')).length

/** Appends all at once. @returns their promises, and what came of each so far */
function appendAll(log: PartitionLog): { readonly done: Promise<unknown>; readonly outcomes: string[] } {
  const outcomes: string[] = []
  const all = Array.from({ length: appends }, async (_, i) => {
    const baseOffset = log.endOffset
    try {
      await log.append(sampleBatch({ baseOffset, payloadBytes }), baseOffset, 1, 'fsync')
      outcomes[i] = 'ok'
    } catch (error) {
      outcomes[i] = isRatatoskrError(error) ? error.code : String(error)
    }
  })
  return { done: Promise.all(all), outcomes }
}

/** The machine's file system, whose first write at or after a position fails. */
function failingOnce(position: number): FileSystem {
  let failed = false
  return {
    ...nodeFileSystem,
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode)
      return {
        read: (into, at) => file.read(into, at),
        async write(bytes, at) {
          if (failed || at < position) return file.write(bytes, at)
          failed = true
          throw Object.assign(new Error('injected'), { code: 'EIO' })
        },
        sync: () => file.sync(),
        truncate: (sizeBytes) => file.truncate(sizeBytes),
        size: () => file.size(),
        close: () => file.close(),
      }
    },
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve))
}

describe('write-ahead', () => {
  it('is on file while the sync before it is under way, and settles with the next', async () => {
    const log = await startOn()
    const first = Promise.withResolvers<void>()
    const second = Promise.withResolvers<void>()
    disk.syncGate = first.promise
    const { done, outcomes } = appendAll(log)
    const group = Math.floor(appends / 2)
    await until(async () => (await sizeOfFile()) > group * batchBytes)
    expect(outcomes).toEqual([])
    expect(log.stableOffset).toBe(0)
    disk.syncGate = second.promise
    first.resolve()
    await until(() => outcomes.length > 0)
    expect(syncs()).toBe(1)
    expect(outcomes.length).toBeLessThanOrEqual(group)
    expect(log.stableOffset).toBe(outcomes.length)
    second.resolve()
    await done
    expect(outcomes).toEqual(Array(appends).fill('ok'))
    expect(await sizeOfFile()).toBe(appends * batchBytes)
  })

  it('fails with the sync before it: the log is over, and opened anew it has none of it', async () => {
    const log = await startOn()
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO', times: 1 })
    const { done, outcomes } = appendAll(log)
    await done
    expect(outcomes).toEqual(Array(appends).fill('RTK_STORE_FAILED'))
    expect(syncs()).toBe(1)
    await log.close()
    const again = await store.openLog(id, { segmentBytes: 100_000_000 })
    expect([again.endOffset, again.sizeBytes]).toEqual([0, 0])
  })

  it('that fails once ends the log, with the group before it kept: nobody tries to write it again', async () => {
    const group = appends / 2
    const log = await startOn(undefined, failingOnce(group * batchBytes))
    const { done, outcomes } = appendAll(log)
    await done
    expect(outcomes).toEqual(
      Array.from({ length: appends }, (_, i) => (i < group ? 'ok' : 'RTK_STORE_FAILED')),
    )
    expect(log.stableOffset).toBe(group)
  })

  it('that does not fit on the disk is cut off, and the group before it is kept', async () => {
    const log = await startOn(Math.floor(5.5 * batchBytes))
    const { done, outcomes } = appendAll(log)
    await done
    const kept = outcomes.indexOf('RTK_STORE_FULL')
    expect(kept).toBeGreaterThan(0)
    expect(outcomes).toEqual(outcomes.map((_, i) => (i < kept ? 'ok' : 'RTK_STORE_FULL')))
    expect(log.endOffset).toBe(kept)
    expect(await sizeOfFile()).toBe(kept * batchBytes)
    await log.append(sampleBatch({ baseOffset: kept, payloadBytes: 10 }), kept, 1, 'fsync')
    expect(log.stableOffset).toBe(kept + 1)
  })
})
