/** What a disk log makes of files that were torn, damaged, lost or put there by someone else. */
import { copyFile, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { batchStarts, type LogId, type LogStore, nextOffsetOf, type PartitionLog } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { filesIn, makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 1_000

let directory: string
let logDirectory: string
let disk: FaultyFileSystem
let store: LogStore

beforeEach(async () => {
  directory = await makeDirectory()
  logDirectory = join(directory, 'logs', id.topicId, '0')
  await restart()
})

afterEach(async () => {
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

async function restart(): Promise<void> {
  await store?.stop()
  disk = new FaultyFileSystem(nodeFileSystem)
  const platform = nodePlatform({ logger: silentLogger })
  store = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1 }).open(platform).logs
  await store.start()
}

const openLog = (): Promise<PartitionLog> => store.openLog(id, { segmentBytes })

/** Writes batches of one record, and stops the store. */
async function write(count: number, payloadBytes = 100): Promise<Uint8Array[]> {
  const log = await openLog()
  const batches: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    const baseOffset = log.endOffset
    batches.push(sampleBatch({ baseOffset, payloadBytes, timestampMs: 1_000 + baseOffset }))
    await log.append(batches[i], baseOffset, 1, 'os')
  }
  await store.stop()
  return batches
}

/** What a log gives, whole batches each. */
async function readAll(log: PartitionLog): Promise<Buffer[]> {
  const found: Buffer[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; ) {
    const bytes = Buffer.from(await log.read(offset, 1))
    found.push(bytes)
    offset = nextOffsetOf(bytes)
  }
  return found
}

const expectAll = async (log: PartitionLog, batches: readonly Uint8Array[]): Promise<void> =>
  expect((await readAll(log)).map((batch) => batch.toString('hex'))).toEqual(
    batches.map((batch) => Buffer.from(batch).toString('hex')),
  )

const segments = (): Promise<string[]> => filesIn(logDirectory, '.log')
const indexes = (): Promise<string[]> => filesIn(logDirectory, '.index')
const lastSegment = async (): Promise<string> => (await segments()).at(-1) as string

/** Removes what vouches for the last segment, as if the store had been killed. */
async function forgetCheckpoint(): Promise<void> {
  await rm(join(directory, 'clean'), { force: true })
  await rm((await lastSegment()).replace('.log', '.index'), { force: true })
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at] ^= 0x10
  await writeFile(path, bytes)
}

describe('the end of a log', () => {
  it('torn at any byte, is cut after the last whole batch', async () => {
    const batches = await write(4)
    const path = await lastSegment()
    const whole = await readFile(path)
    for (let size = whole.length - 1; size >= 0; size -= 7) {
      await forgetCheckpoint()
      await writeFile(path, whole.subarray(0, size))
      await restart()
      const log = await openLog()
      const expected = batches.filter((_, i) => (i + 1) * batches[0].length <= size)
      await expectAll(log, expected)
      const baseOffset = log.endOffset
      await log.append(sampleBatch({ baseOffset }), baseOffset, 1, 'fsync')
      expect(log.endOffset).toBe(expected.length + 1)
      await store.stop()
    }
  })

  it('filled with zeros, as a file system may after a power cut, is cut', async () => {
    const batches = await write(4)
    await forgetCheckpoint()
    await truncate(await lastSegment(), 100_000)
    await restart()
    await expectAll(await openLog(), batches)
    expect((await stat(await lastSegment())).size).toBe(batches.reduce((sum, batch) => sum + batch.length, 0))
  })

  it('is not read again after a clean stop', async () => {
    await write(6)
    await restart()
    await openLog()
    expect(disk.calls.filter(({ call, path }) => call === 'read' && path.endsWith('.log'))).toEqual([])
  })

  it('is read from the checkpoint on after a crash', async () => {
    const batches = await write(3)
    const path = await lastSegment()
    const checkpoint = await readFile(path.replace('.log', '.index'))
    await restart()
    batches.push(...(await write(3)))
    await writeFile(path.replace('.log', '.index'), checkpoint)
    await restart()
    const log = await openLog()
    await expectAll(log, batches)
    expect(await log.offsetForTime(1_004)).toBe(4)
  })

  it('cut below the checkpoint and written again, does not trust the old one', async () => {
    await write(5)
    await restart()
    const log = await openLog()
    await log.truncateAfter(2)
    expect((await indexes()).length).toBe(0)
    const next = sampleBatch({ baseOffset: 2, payloadBytes: 133, seed: 9 })
    await log.append(next, 2, 1, 'fsync')
    expect(Buffer.from(await log.read(2, 10)).equals(next)).toBe(true)
  })
})

describe('a sealed segment', () => {
  it("keeps Kafka's bytes as they were appended, back to back", async () => {
    const batches = await write(12)
    const files = await Promise.all((await segments()).map((path) => readFile(path)))
    expect(Buffer.concat(files).equals(Buffer.concat(batches))).toBe(true)
    expect(files.length).toBeGreaterThan(1)
    for (const file of files) expect([...batchStarts(file)].length).toBeGreaterThan(0)
  })

  it("is served when its index is missing, damaged, stale, or another segment's", async () => {
    const batches = await write(30)
    const paths = await indexes()
    await unlink(paths[0])
    await flip(paths[1], 20)
    await flip(paths[2], 60)
    await writeFile(paths[3], (await readFile(paths[3])).subarray(0, 55))
    await copyFile(paths[paths.length - 2], paths[paths.length - 3])
    await restart()
    const log = await openLog()
    await expectAll(log, batches)
    for (let offset = 0; offset < 30; offset++) expect(await log.offsetForTime(1_000 + offset)).toBe(offset)
  })

  it('reads its index again when more segments are in use than indexes may be in memory', async () => {
    const batches = await write(400)
    expect((await segments()).length).toBeGreaterThan(64)
    await restart()
    const log = await openLog()
    await expectAll(log, batches)
    await expectAll(log, batches)
    for (const offset of [0, 7, 200, 399]) expect(await log.offsetForTime(1_000 + offset)).toBe(offset)
    await log.truncateAfter(3)
    const kept = batches.slice(0, 3)
    for (let baseOffset = 3; baseOffset < 30; baseOffset++) {
      kept.push(sampleBatch({ baseOffset, payloadBytes: 60, seed: 5, timestampMs: 5_000 + baseOffset }))
      await log.append(kept[baseOffset], baseOffset, 1, 'os')
    }
    await expectAll(log, kept)
    expect(await log.offsetForTime(5_020)).toBe(20)
    await restart()
    await expectAll(await openLog(), kept)
  })

  it('is served though its index could not be written', async () => {
    const log = await openLog()
    disk.inject({ call: 'write', suffix: '.index', code: 'ENOSPC' })
    const batches: Uint8Array[] = []
    for (let baseOffset = 0; baseOffset < 20; baseOffset++) {
      batches.push(sampleBatch({ baseOffset, payloadBytes: 100 }))
      await log.append(batches[baseOffset], baseOffset, 1, 'fsync')
    }
    await expectAll(log, batches)
    await restart()
    await expectAll(await openLog(), batches)
  })

  it('with a flipped bit, is refused at that batch only: its neighbours are served', async () => {
    const batches = await write(12)
    const [path] = await segments()
    await flip(path, batches[0].length * 2 + 80)
    await restart()
    const log = await openLog()
    for (let offset = 0; offset < 12; offset++) {
      const found = Promise.resolve(log.read(offset, 1))
      if (offset === 2)
        await expect(found).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT', details: { offset: 2 } })
      else expect(Buffer.from(await found).equals(batches[offset])).toBe(true)
    }
  })

  it('with a flipped bit in any byte of a batch header, loses that batch and no other', async () => {
    const batches = await write(12)
    const [path] = await segments()
    const whole = await readFile(path)
    await restart()
    let log = await openLog()
    await log.close()
    for (let at = 0; at < 61; at++) {
      const bytes = Buffer.from(whole)
      bytes[batches[0].length + at] ^= 1 << (at % 8)
      await writeFile(path, bytes)
      await rm(path.replace('.log', '.index'))
      log = await openLog()
      await expect(async () => log.read(1, 1), `byte ${at}`).rejects.toMatchObject({
        code: 'RTK_STORE_CORRUPT',
        details: { offset: 1, nextOffset: 2 },
      })
      expect(Buffer.from(await log.read(0, 1)).equals(batches[0])).toBe(true)
      expect(Buffer.from(await log.read(2, 1)).equals(batches[2])).toBe(true)
      await log.close()
    }
  })
})

describe('the files of a log', () => {
  it('with a segment missing, have a gap there', async () => {
    await write(30)
    await rm(join(directory, 'clean'))
    const paths = await segments()
    const [from, to] = [paths[2], paths[3]].map((path) => Number(basename(path, '.log')))
    await unlink(paths[2])
    await restart()
    expect((await openLog()).damaged).toEqual([{ from, to }])
  })

  it('with a segment under another name, refuse the log', async () => {
    await write(30)
    const paths = await segments()
    await copyFile(paths[1], join(logDirectory, '00000000000000000003.log'))
    await restart()
    await expect(openLog()).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
  })

  it('that are not ours are left alone, indexes without a segment are removed', async () => {
    const batches = await write(3)
    await writeFile(join(logDirectory, 'notes.txt'), 'mine')
    await writeFile(join(logDirectory, '00000000000000000777.index'), 'junk')
    await rm(join(directory, 'clean'))
    await writeFile(join(directory, 'logs', 'README'), 'mine')
    await restart()
    await expectAll(await openLog(), batches)
    expect(await readFile(join(logDirectory, 'notes.txt'), 'utf8')).toBe('mine')
    expect((await indexes()).some((path) => path.includes('777'))).toBe(false)
    const found: LogId[] = []
    for await (const one of store.listLogs()) found.push(one)
    expect(found).toEqual([id])
  })

  it('are readable by their owner only', async () => {
    await write(12)
    for (const path of [...(await segments()), ...(await indexes()), join(directory, 'format.json')]) {
      expect((await stat(path)).mode & 0o777, path).toBe(0o600)
    }
    for (const path of [logDirectory, join(directory, 'logs'), join(directory, 'trash')]) {
      expect((await stat(path)).mode & 0o777, path).toBe(0o700)
    }
  })

  it('of a deletion that a crash interrupted are removed at the next start', async () => {
    await write(3)
    await rm(join(directory, 'clean'))
    await nodeFileSystem.rename(logDirectory, join(directory, 'trash', 'half-deleted'))
    await restart()
    expect(await nodeFileSystem.list(join(directory, 'trash'))).toEqual([])
    expect((await openLog()).endOffset).toBe(0)
  })
})
