/** What a log does about damage: in files that it opens, and in files that it has open. */
import { copyFile, readdir, readFile, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { type LogId, type LogStore, nextOffsetOf, type PartitionLog, stampBatch } from 'ratatoskr/ports'
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
let errors: unknown[]

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
  errors = []
  const logger = {
    ...silentLogger,
    child: () => logger,
    error: (_: string, fields: unknown) => errors.push(fields),
  }
  const platform = nodePlatform({ logger })
  store = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1 }).open(platform).logs
  await store.start()
}

/** As if the store had been killed, and its indexes lost. */
async function forget(): Promise<void> {
  await store.stop()
  await rm(join(directory, 'clean'), { force: true })
  for (const path of await filesIn(logDirectory, '.index')) await unlink(path)
}

const openLog = (bytes = segmentBytes): Promise<PartitionLog> => store.openLog(id, { segmentBytes: bytes })
const segments = (): Promise<string[]> => filesIn(logDirectory, '.log')

async function append(log: PartitionLog, count: number): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    const baseOffset = log.endOffset
    batches.push(sampleBatch({ baseOffset, payloadBytes: 100, timestampMs: 1_000 + baseOffset }))
    await log.append(batches[i], baseOffset, 1, 'fsync')
  }
  return batches
}

async function flip(path: string, at: number): Promise<void> {
  const bytes = await readFile(path)
  bytes[at] ^= 0x10
  await writeFile(path, bytes)
}

/** Reads a log as a consumer does: on from what is lost. */
async function readAround(log: PartitionLog): Promise<{ found: Uint8Array[]; lost: number[] }> {
  const found: Uint8Array[] = []
  const lost: number[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; ) {
    try {
      const bytes = await log.read(offset, 1)
      found.push(bytes)
      offset = nextOffsetOf(bytes)
    } catch (error) {
      expect(error).toMatchObject({ code: 'RTK_STORE_CORRUPT', details: { offset } })
      const { nextOffset } = (error as { details: { nextOffset: number } }).details
      for (; offset < nextOffset; offset++) lost.push(offset)
    }
  }
  return { found, lost }
}

async function expectAllBut(log: PartitionLog, batches: readonly Uint8Array[], lost: readonly number[]) {
  const read = await readAround(log)
  const hex = (all: readonly Uint8Array[]): string[] => all.map((one) => Buffer.from(one).toString('hex'))
  expect(read.lost).toEqual(lost)
  expect(hex(read.found)).toEqual(hex(batches.filter((_, offset) => !lost.includes(offset))))
  expect(
    log.damaged.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i)),
  ).toEqual(lost)
}

describe('damage in files that are opened', () => {
  it('in several places is several gaps, which the index remembers', async () => {
    const batches = await append(await openLog(), 20)
    await forget()
    const [first, second] = await segments()
    const size = batches[0].length
    for (const batch of [1, 3, 4]) await flip(first, size * batch + 70)
    const contents = await readFile(first)
    const base = Number(second.slice(-24, -4))
    await flip(second, 5)
    for (const _ of ['by reading the files', 'by the indexes']) {
      await restart()
      const log = await openLog()
      await expectAllBut(log, batches, [1, 3, 4, base])
      expect(log.damaged[1]).toEqual({ from: 3, to: 6 })
      expect([log.startOffset, log.endOffset]).toEqual([0, 20])
      expect(await log.offsetForTime(1_003)).toBe(6)
      await store.stop()
      await rm(join(directory, 'clean'))
    }
    expect(disk.calls.filter(({ call, path }) => call === 'read' && path === first).length).toBeLessThan(20)
    expect((await readFile(first)).equals(contents)).toBe(true)
  })

  it('in the segment that was written: a new one is begun behind it, and the old one never changes', async () => {
    const batches = await append(await openLog(), 4)
    await forget()
    const [path] = await segments()
    await flip(path, batches[0].length + 70)
    const contents = await readFile(path)
    await restart()
    let log = await openLog()
    await expectAllBut(log, batches, [1])
    batches.push(...(await append(log, 2)))
    await expectAllBut(log, batches, [1])
    expect((await segments()).map((name) => name.slice(-24))).toEqual([
      '00000000000000000000.log',
      '00000000000000000004.log',
    ])
    await forget()
    await restart()
    log = await openLog()
    await expectAllBut(log, batches, [1])
    expect((await readFile(path)).equals(contents)).toBe(true)
  })

  it('of a sealed segment that was cut short, or all of it, reaches to the next one', async () => {
    const batches = await append(await openLog(), 20)
    const [first, second, third] = await segments()
    const [secondBase, thirdBase] = [second, third].map((name) => Number(name.slice(-24, -4)))
    await store.stop()
    await rm(join(directory, 'clean'))
    await truncate(first, batches[0].length * 2)
    await writeFile(second, new Uint8Array(500).fill(3))
    await restart()
    const lost = Array.from({ length: thirdBase - 2 }, (_, i) => i + 2)
    const log = await openLog()
    await expectAllBut(log, batches, lost)
    expect(log.damaged).toEqual([{ from: 2, to: thirdBase }])
    expect(secondBase).toBeLessThan(thirdBase)
  })

  it('of the last segment that was cut below what its index vouched for: no offset is used again', async () => {
    const batches = await append(await openLog(), 4)
    await store.stop()
    await rm(join(directory, 'clean'))
    const [path] = await segments()
    await truncate(path, batches[0].length * 2)
    await restart()
    const log = await openLog()
    await expectAllBut(log, batches, [2, 3])
    batches.push(...(await append(log, 1)))
    await expectAllBut(log, batches, [2, 3])
  })

  it('is not hidden by another leader epoch, and none is stored', async () => {
    const log = await openLog()
    const batches = await append(log, 3)
    const batch = sampleBatch({ baseOffset: 3 })
    stampBatch(batch, 3, 1)
    await expect(async () => log.append(batch, 3, 1, 'fsync')).rejects.toMatchObject({
      code: 'RTK_INVALID_ARGUMENT',
    })
    expect(log.endOffset).toBe(3)
    await log.close()
    const [path] = await segments()
    await flip(path, batches[0].length + 13)
    await expectAllBut(await openLog(), batches, [1])
  })
})

describe('damage in files that are open', () => {
  it('is found by a read, once, and the neighbours are served', async () => {
    const log = await openLog()
    const batches = await append(log, 20)
    const [first] = await segments()
    await flip(first, batches[0].length * 2 + 80)
    await expect(async () => log.read(2, 1)).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      details: { offset: 2, nextOffset: 3 },
    })
    expect(errors).toMatchObject([{ segment: 0, gaps: 1, first: [{ offset: 2, endOffset: 3 }] }])
    await expectAllBut(log, batches, [2])
    expect(errors.length).toBe(1)
    await restart()
    await expectAllBut(await openLog(), batches, [2])
  })

  it('seals the segment that is written, with appends in flight', async () => {
    const log = await openLog(1 << 20)
    const batches = await append(log, 6)
    const [path] = await segments()
    await flip(path, batches[0].length * 3 + 80)
    const inFlight = Array.from({ length: 5 }, (_, i) => {
      const baseOffset = 6 + i
      batches.push(sampleBatch({ baseOffset, payloadBytes: 100, timestampMs: 1_000 + baseOffset }))
      return log.append(batches[baseOffset], baseOffset, 1, 'os')
    })
    await expect(async () => log.read(3, 1)).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
    await Promise.all(inFlight)
    batches.push(...(await append(log, 3)))
    expect((await segments()).length).toBe(2)
    await expectAllBut(log, batches, [3])
    await forget()
    await restart()
    await expectAllBut(await openLog(1 << 20), batches, [3])
  })

  it('is found by looking for a time, which steps over it', async () => {
    const log = await openLog()
    const batches = await append(log, 12)
    const [first] = await segments()
    await flip(first, batches[0].length + 40)
    expect(await log.offsetForTime(1_001)).toBe(2)
    expect(log.damaged).toEqual([{ from: 1, to: 2 }])
  })

  it('of a file that lost its end is a gap as well', async () => {
    const log = await openLog()
    const batches = await append(log, 20)
    const [first, second] = await segments()
    await truncate(first, batches[0].length)
    const base = Number(second.slice(-24, -4))
    await expectAllBut(
      log,
      batches,
      Array.from({ length: base - 1 }, (_, i) => i + 1),
    )
  })

  it('does not keep the end of the log from being cut', async () => {
    const log = await openLog(1 << 20)
    const batches = await append(log, 8)
    const [path] = await segments()
    await flip(path, batches[0].length * 2 + 8)
    await log.truncateAfter(6)
    await expectAllBut(log, batches.slice(0, 6), [2])
    await expect(log.truncateAfter(2)).resolves.toBeUndefined()
    await expectAllBut(log, batches.slice(0, 2), [])
    await append(log, 1)
    expect((await segments()).length).toBe(1)
  })
})

describe('a damaged segment', () => {
  it('that the log lets go of is kept in quarantine; the last file of the log stays', async () => {
    const log = await openLog()
    const batches = await append(log, 20)
    const [first] = await segments()
    await flip(first, 80)
    await readAround(log)
    const contents = await readFile(first)
    const start = await log.truncateBefore(15)
    expect(start).toBeGreaterThan(6)
    const name = `${id.topicId}-0-00000000000000000000.log`
    expect(await readdir(join(directory, 'quarantine'))).toEqual([name])
    expect((await readFile(join(directory, 'quarantine', name))).equals(contents)).toBe(true)
    expect(log.damaged).toEqual([])
    await restart()
    const again = await openLog()
    expect([again.startOffset, again.endOffset]).toEqual([start, batches.length])
    await store.deleteLog(id)
    expect(await readdir(join(directory, 'quarantine'))).toEqual([name])
    const fresh = await openLog()
    await append(fresh, 12)
    await flip((await segments())[0], 80)
    await readAround(fresh)
    await fresh.truncateBefore(9)
    expect(await readdir(join(directory, 'quarantine'))).toEqual([name, `${name}.2`])
  })

  it('at the end of the log stays, for it holds the offset at which the log goes on', async () => {
    const log = await openLog(1 << 20)
    const batches = await append(log, 4)
    const [path] = await segments()
    await flip(path, 80)
    await readAround(log)
    expect(await log.truncateBefore(4)).toBe(0)
    await forget()
    await restart()
    await expectAllBut(await openLog(1 << 20), batches, [0])
  })
})

describe('files that contradict each other', () => {
  it('refuse the log, say what to do, and are left as they are', async () => {
    await append(await openLog(), 30)
    await forget()
    const paths = await segments()
    const duplicate = join(logDirectory, '00000000000000000900.log')
    await copyFile(paths[0], duplicate)
    const { size } = await stat(duplicate)
    await restart()
    await expect(openLog()).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      message: expect.stringMatching(/is a copy of another.*ratatoskr log verify.*ratatoskr log repair/s),
      details: { offset: 0, nextOffset: 900 },
    })
    expect((await stat(duplicate)).size).toBe(size)
    await unlink(duplicate)
    await copyFile(paths[1], join(logDirectory, '00000000000000000003.log'))
    await expect(openLog()).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      message: expect.stringContaining('are in two segments'),
    })
  })
})
