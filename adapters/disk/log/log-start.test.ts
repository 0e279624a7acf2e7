/** What a start reads: of a log that was closed well nothing, of one that a crash left what came since its checkpoint. */
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { ManualClock, sampleBatch } from 'ratatoskr/contract-tests'
import {
  type Durability,
  indexIntervalBytes,
  type LogId,
  type LogStore,
  type PartitionLog,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { filesIn, makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const mib = 1024 * 1024

let directory: string
let disk: FaultyFileSystem
let clock: ManualClock
let store: LogStore
let lines: { message: string; fields: unknown }[]
/** Bytes of segments that were asked for. */
let bytesRead: number
let stores: LogStore[]

beforeEach(async () => {
  directory = await makeDirectory()
  stores = []
  await start(directory)
})

afterEach(async () => {
  for (const one of stores) await one.stop()
  await rm(directory, { recursive: true, force: true })
})

/** Counts the bytes that are read of segments. */
class CountingFileSystem extends FaultyFileSystem {
  override async open(...[path, mode]: Parameters<FaultyFileSystem['open']>) {
    const file = await super.open(path, mode)
    if (!path.endsWith('.log')) return file
    const read = file.read.bind(file)
    file.read = async (into, position) => {
      const count = await read(into, position)
      bytesRead += count
      return count
    }
    return file
  }
}

async function start(path: string, hotBytesMax = 1): Promise<void> {
  bytesRead = 0
  disk = new CountingFileSystem(nodeFileSystem)
  clock = new ManualClock()
  lines = []
  const note = (message: string, fields: unknown) => lines.push({ message, fields })
  const logger = { ...silentLogger, child: () => logger, info: note, warn: note }
  store = diskStorage({ directory: path, fileSystem: disk, hotBytesMax }).open(
    nodePlatform({ clock, logger }),
  ).logs
  stores.push(store)
  await store.start()
}

const openLog = (log = id, segmentBytes = 100 * mib): Promise<PartitionLog> =>
  store.openLog(log, { segmentBytes })

async function append(log: PartitionLog, count: number, payloadBytes: number, durability: Durability) {
  for (let i = 0; i < count; i++) {
    const baseOffset = log.endOffset
    const batch = sampleBatch({ baseOffset, payloadBytes, timestampMs: 1_000 + baseOffset })
    await log.append(batch, baseOffset, 1, durability)
  }
}

/** What a killed process leaves, with a new store on it. */
async function crash(): Promise<void> {
  const copy = await makeDirectory()
  await cp(directory, copy, { recursive: true })
  await store.stop()
  await rm(directory, { recursive: true })
  directory = copy
  await start(copy)
}

const untilIndexed = async (): Promise<void> => {
  const path = join(directory, 'logs', id.topicId, '0')
  while ((await filesIn(path, '.index')).length === 0) await new Promise((resolve) => setImmediate(resolve))
}

describe('after a clean stop', () => {
  it('a log is opened with a listing and a look at its last file, and its index is read when it is needed', async () => {
    await append(await openLog(id, 1_000), 30, 100, 'os')
    await store.stop()
    expect(await readdir(directory)).toContain('clean')
    await start(directory)
    expect(await readdir(directory)).not.toContain('clean')
    disk.calls.length = 0
    const log = await openLog(id, 1_000)
    expect(disk.calls).toEqual([])
    expect([log.startOffset, log.endOffset, log.stableOffset]).toEqual([0, 30, 30])
    await append(log, 1, 100, 'fsync')
    expect(disk.calls.filter(({ call }) => call === 'read')).toEqual([])
    for (const offset of [0, 17, 29, 30]) expect((await log.read(offset, 1)).length).toBeGreaterThan(0)
    expect(await log.offsetForTime(1_030)).toBe(30)
    await store.stop()
    await start(directory)
    expect((await openLog()).endOffset).toBe(31)
    expect(lines).toEqual([])
  })

  it('logs that were not opened in between are as clean as before', async () => {
    const other = { ...id, partition: 1 }
    await append(await openLog(), 3, 100, 'os')
    await append(await openLog(other), 4, 100, 'os')
    for (let round = 0; round < 3; round++) {
      await store.stop()
      await start(directory)
    }
    disk.calls.length = 0
    expect((await openLog(other)).endOffset).toBe(4)
    expect(disk.calls).toEqual([])
    await store.deleteLog(id)
    await store.stop()
    await start(directory)
    expect([(await openLog()).endOffset, (await openLog(other)).endOffset]).toEqual([0, 4])
  })

  it('files that are not those that were closed are looked into', async () => {
    await append(await openLog(), 3, 100, 'os')
    await store.stop()
    const [path] = await filesIn(join(directory, 'logs', id.topicId, '0'), '.log')
    await writeFile(path, (await readFile(path)).subarray(0, -7))
    await start(directory)
    const log = await openLog()
    expect(log.damaged).toEqual([{ from: 2, to: 3 }])
    expect(lines.map(({ message }) => message)).toEqual([
      'the files of a log are not those that were closed; they are checked',
    ])
  })

  it('a log that failed is not taken for clean', async () => {
    const log = await openLog()
    await append(log, 2, 100, 'fsync')
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO', times: 1 })
    await expect(append(log, 1, 100, 'fsync')).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await store.stop()
    await start(directory)
    expect((await openLog()).endOffset).toBeGreaterThanOrEqual(2)
    expect(bytesRead).toBeGreaterThan(0)
  })

  it.each([
    ['damaged', (bytes: Uint8Array) => bytes.with(20, bytes[20] ^ 1)],
    ['cut short', (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ['empty', (bytes: Uint8Array) => bytes.subarray(0, 0)],
    ['of a later version', (bytes: Uint8Array) => bytes.with(5, 3)],
  ])('a note that is %s is as good as none', async (_, change) => {
    await append(await openLog(), 3, 100, 'os')
    await store.stop()
    const path = join(directory, 'clean')
    await writeFile(path, change(new Uint8Array(await readFile(path))))
    await start(directory)
    expect((await openLog()).endOffset).toBe(3)
    await clock.advance(1_000)
    expect(lines.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^the last run did not stop cleanly/),
    ])
  })

  it('a note that cannot be written costs a message, and leaves nothing behind', async () => {
    await append(await openLog(), 3, 100, 'os')
    disk.inject({ call: 'write', suffix: '.clean', code: 'ENOSPC' })
    await store.stop()
    expect(lines.map(({ message }) => message)).toEqual([
      'the clean stop could not be noted; the next start looks into every log',
    ])
    expect((await readdir(directory)).filter((name) => name.includes('clean'))).toEqual([])
    await start(directory)
    expect((await openLog()).endOffset).toBe(3)
  })
})

describe('after a crash', () => {
  it.each(['os', 'interval', 'fsync'] as const)(
    'at level %s a log is read from its checkpoint on, however long it is',
    { timeout: 30_000 },
    async (durability) => {
      const log = await openLog()
      await append(log, 36, mib / 2, durability)
      await untilIndexed()
      await append(log, 2, mib / 2, durability)
      await log.truncateBefore(0)
      const { size } = await stat((await filesIn(join(directory, 'logs', id.topicId, '0'), '.log'))[0])
      await crash()
      const again = await openLog()
      expect(again.endOffset).toBe(38)
      // What is found after a crash is read once to be checked and once to be written again.
      expect(size).toBeGreaterThan(19 * mib)
      expect(bytesRead).toBeLessThan(10 * mib)
      expect((await again.read(5, 1)).length).toBeGreaterThan(mib / 2)
      expect(await again.offsetForTime(1_037)).toBe(37)
    },
  )

  it('what was checked once is not read again after the next crash, though nothing was written since', async () => {
    await append(await openLog(), 4, mib / 2, 'os')
    await crash()
    await openLog()
    expect(bytesRead).toBeGreaterThan(2 * mib)
    await crash()
    expect((await openLog()).endOffset).toBe(4)
    expect(bytesRead).toBe(0)
  })

  it('a start says what it recovered, once', async () => {
    await append(await openLog(), 3, 100, 'os')
    await append(await openLog({ ...id, partition: 1 }), 3, 100, 'os')
    await crash()
    await openLog()
    await clock.advance(500)
    await openLog({ ...id, partition: 1 })
    expect(lines).toEqual([])
    await clock.advance(1_000)
    expect(lines).toMatchObject([
      {
        message: expect.stringMatching(/^the last run did not stop cleanly/),
        fields: { logs: 2, durationMs: 500 },
      },
    ])
    expect((lines[0].fields as { bytesScanned: number }).bytesScanned).toBe(
      (await openLog({ ...id, partition: 2 })).endOffset + bytesRead / 2,
    )
    await clock.advance(5_000)
    expect(lines.length).toBe(1)
  })

  it('a new directory has nothing to say', async () => {
    await clock.advance(5_000)
    expect(lines).toEqual([])
  })
})

describe('seeking', () => {
  it('by offset and by time reads a few blocks of a large segment, not more', async () => {
    const log = await openLog()
    for (let i = 0; i < 200; i++) {
      await Promise.all(
        Array.from({ length: 100 }, () => {
          const baseOffset = log.endOffset
          const batch = sampleBatch({ baseOffset, payloadBytes: 400, timestampMs: 1_000 + baseOffset })
          return log.append(batch, baseOffset, 1, 'os')
        }),
      )
    }
    expect(log.sizeBytes).toBeGreaterThan(8 * mib)
    for (const offset of [0, 4_321, 12_345, 19_999]) {
      bytesRead = 0
      expect((await log.read(offset, 1)).length).toBeGreaterThan(400)
      expect(bytesRead).toBeLessThan(3 * indexIntervalBytes)
      bytesRead = 0
      expect(await log.offsetForTime(1_000 + offset)).toBe(offset)
      expect(bytesRead).toBeLessThan(4 * indexIntervalBytes)
    }
  })
})

describe('the hot tail', () => {
  it('of a thousand busy logs stays within the budget that they share', async () => {
    const budget = mib
    await store.stop()
    await start(directory, budget)
    const logs = await Promise.all(
      Array.from({ length: 300 }, (_, partition) => openLog({ ...id, partition })),
    )
    for (let round = 0; round < 4; round++) {
      await Promise.all(logs.map((log) => append(log, 2, 3_000, 'os')))
      expect(store.counters.hotBytes).toBeLessThanOrEqual(budget)
    }
    const { hotReads, coldReads } = store.counters
    for (const log of logs) expect((await log.read(log.endOffset - 1, 1)).length).toBeGreaterThan(3_000)
    const { counters } = store
    expect(counters.hotReads - hotReads + counters.coldReads - coldReads).toBe(logs.length)
    expect(counters.hotReads).toBeGreaterThan(hotReads)
    expect(counters.coldReads).toBeGreaterThan(coldReads)
    for (const log of logs) await log.close()
    expect(store.counters.hotBytes).toBe(0)
  })
})
