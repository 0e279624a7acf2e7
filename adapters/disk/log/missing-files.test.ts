/** What a disk log makes of files that are gone, though nobody let go of them: no offset is given out twice. */
import { cp, mkdir, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { type LogId, type LogStore, nextOffsetOf, type PartitionLog } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { filesIn, makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const other: LogId = { ...id, partition: 1 }
const records = 30

let directory: string
let logDirectory: string
let disk: FaultyFileSystem
let store: LogStore
let errors: string[]

beforeEach(async () => {
  directory = await makeDirectory()
  place()
  await start()
})

afterEach(async () => {
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

function place(): void {
  logDirectory = join(directory, 'logs', id.topicId, '0')
}

async function start(): Promise<void> {
  errors = []
  disk = new FaultyFileSystem(nodeFileSystem)
  const error = (message: string) => errors.push(message)
  const logger = { ...silentLogger, child: () => logger, error }
  store = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1 }).open(nodePlatform({ logger })).logs
  await store.start()
}

const openLog = (log = id): Promise<PartitionLog> => store.openLog(log, { segmentBytes: 1_000 })

async function append(log: PartitionLog, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const baseOffset = log.endOffset
    const batch = sampleBatch({ baseOffset, payloadBytes: 100, timestampMs: 1_000 + baseOffset })
    await log.append(batch, baseOffset, 1, 'fsync')
  }
}

/** What a killed process leaves, with a new store on it after something was done to it. */
async function killed(damage: () => Promise<void> = async () => undefined): Promise<void> {
  const copy = await makeDirectory()
  await cp(directory, copy, { recursive: true })
  await store.stop()
  await rm(directory, { recursive: true })
  directory = copy
  place()
  await damage()
  await start()
}

async function stopped(damage: () => Promise<void> = async () => undefined): Promise<void> {
  await store.stop()
  await damage()
  await start()
}

const segments = (): Promise<string[]> => filesIn(logDirectory, '.log')
const baseOf = (path: string): number => Number(basename(path, '.log'))

/** The offsets of a log that can be read; the others must say that they are lost. */
async function readable(log: PartitionLog): Promise<number[]> {
  const found: number[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; ) {
    try {
      const next = nextOffsetOf(await log.read(offset, 1))
      for (; offset < next; offset++) found.push(offset)
    } catch (error) {
      expect(error).toMatchObject({ code: 'RTK_STORE_CORRUPT', details: { offset } })
      offset = (error as { details: { nextOffset: number } }).details.nextOffset
    }
  }
  return found
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)

/** Expects a log from 0 to `end` in which these are lost, and that it stays so whatever happens next. */
async function expectLost(from: number, to: number, end = records): Promise<void> {
  const all = (appended: number) => [...range(0, from), ...range(to, end + appended)]
  let log = await openLog()
  expect({ damaged: log.damaged, end: log.endOffset }).toEqual({ damaged: [{ from, to }], end })
  expect(errors.length).toBeGreaterThan(0)
  for (const [i, again] of [killed, stopped, killed, stopped, stopped].entries()) {
    expect(await readable(log)).toEqual(all(i))
    expect(await log.offsetForTime(0)).toBe(all(i)[0] ?? end)
    await append(log, 1)
    await again()
    log = await openLog()
    expect({ damaged: log.damaged, end: log.endOffset }).toEqual({
      damaged: [{ from, to }],
      end: end + i + 1,
    })
  }
  expect(await log.truncateBefore(log.endOffset)).toBeGreaterThanOrEqual(to)
  expect(log.damaged).toEqual([])
}

describe('after a clean stop', () => {
  const lost = {
    'the last segment': (paths: string[]) => paths.slice(-1),
    'the first segment': (paths: string[]) => paths.slice(0, 1),
    'two segments in the middle': (paths: string[]) => paths.slice(1, 3),
    'the last two segments': (paths: string[]) => paths.slice(-2),
    'all segments': (paths: string[]) => paths,
  }
  for (const [what, pick] of Object.entries(lost)) {
    for (const withIndex of [false, true]) {
      it(`${what} ${withIndex ? 'with' : 'without'} the index: lost, and no offset is used again`, async () => {
        await append(await openLog(), records)
        const paths = await segments()
        const gone = pick(paths)
        const next = paths[paths.indexOf(gone[gone.length - 1]) + 1]
        await stopped(async () => {
          for (const path of gone) await rm(path)
          if (withIndex) for (const path of gone) await rm(path.replace(/log$/, 'index'))
        })
        await expectLost(baseOf(gone[0]), next === undefined ? records : baseOf(next))
      })
    }
  }

  it.each([
    ['the partition', () => logDirectory],
    ['the topic', () => join(logDirectory, '..')],
    ['all logs', () => join(directory, 'logs')],
  ])('the directory of %s: lost, and no offset is used again', async (_, path) => {
    await append(await openLog(), records)
    await stopped(() => rm(path(), { recursive: true }))
    await expectLost(0, records)
  })

  it('the end of the last segment, with its index', async () => {
    await append(await openLog(), records)
    const last = (await segments()).at(-1) as string
    await stopped(async () => {
      await truncate(last, 0)
      await rm(last.replace(/log$/, 'index'))
    })
    await expectLost(baseOf(last), records)
  })

  it('a failure on the way leaves what is known for the next try', async () => {
    await append(await openLog(), records)
    await stopped(async () => {
      for (const path of await filesIn(logDirectory, '')) await rm(path)
    })
    for (const call of ['open', 'syncDirectory'] as const) {
      disk.inject({ call, suffix: call === 'open' ? '.log' : '/0', code: 'EIO', times: 1 })
      await expect(openLog()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    }
    await expectLost(0, records)
  })

  it('a crash on the way never leaves a log that goes on where it had been', async () => {
    await append(await openLog(), records)
    const last = basename((await segments()).at(-1) as string)
    await stopped(async () => {
      await rm(join(logDirectory, last))
      await rm(join(logDirectory, last.replace(/log$/, 'index')))
    })
    disk.inject({ call: 'open', suffix: last, code: 'EIO' })
    await expect(openLog()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await killed()
    await expectLost(baseOf(last), records)
  })

  it('a log without records that is gone is no loss', async () => {
    const log = await openLog()
    await append(log, records)
    await log.truncateAfter(0)
    await stopped(() => rm(logDirectory, { recursive: true }))
    const again = await openLog()
    expect([again.startOffset, again.endOffset, again.damaged]).toEqual([0, 0, []])
  })
})

describe('after a kill', () => {
  it('an index without its segment at the end of the log says what is lost', async () => {
    const log = await openLog()
    await append(log, records)
    await log.close()
    const last = (await segments()).at(-1) as string
    await killed(() => rm(join(logDirectory, basename(last))))
    await expectLost(baseOf(last), records)
  })

  it('indexes alone as well', async () => {
    const log = await openLog()
    await append(log, records)
    await log.close()
    await killed(async () => {
      for (const path of await segments()) await rm(path)
    })
    await expectLost(0, records)
  })

  it('an index without its segment at the front, or in the middle, says so as well', async () => {
    const log = await openLog()
    await append(log, records)
    await log.close()
    const paths = (await segments()).map((path) => basename(path))
    await killed(async () => {
      for (const path of [paths[0], paths[2]]) await rm(join(logDirectory, path))
    })
    const again = await openLog()
    expect(again.damaged).toEqual([
      { from: 0, to: baseOf(paths[1]) },
      { from: baseOf(paths[2]), to: baseOf(paths[3]) },
    ])
  })

  it('a segment in the middle is known to be gone without an index, too, and the rest is served', async () => {
    await append(await openLog(), records)
    const paths = (await segments()).map((path) => basename(path))
    await killed(async () => {
      await rm(join(logDirectory, paths[1]))
      await rm(join(logDirectory, paths[1].replace(/log$/, 'index')), { force: true })
    })
    await expectLost(baseOf(paths[1]), baseOf(paths[2]))
  })

  it('what is removed from the front of a log is not lost: its index goes first, for good', async () => {
    const log = await openLog()
    await append(log, records)
    const paths = await segments()
    disk.calls.length = 0
    await log.truncateBefore(baseOf(paths[1]))
    const calls = disk.calls.filter(({ call }) => call === 'remove' || call === 'syncDirectory')
    expect(calls.map(({ call, path }) => `${call} ${path.split('.').at(-1)?.slice(-5)}`)).toMatchObject([
      'remove index',
      expect.stringMatching(/^syncDirectory/),
      'remove log',
      expect.stringMatching(/^syncDirectory/),
    ])
    await killed()
    const again = await openLog()
    expect([again.startOffset, again.endOffset, again.damaged]).toEqual([baseOf(paths[1]), records, []])
  })

  it('a cut removes all indexes for good before the first segment', async () => {
    const log = await openLog()
    await append(log, records)
    disk.calls.length = 0
    await log.truncateAfter(1)
    const calls = disk.calls.filter(({ call }) => call === 'remove' || call === 'syncDirectory')
    const firstSegment = calls.findIndex(({ path }) => path.endsWith('.log'))
    const synced = calls.findIndex(({ call }) => call === 'syncDirectory')
    const indexes = calls.slice(0, synced).filter(({ path }) => path.endsWith('.index'))
    expect(indexes.length).toBeGreaterThan(2)
    expect(synced).toBeLessThan(firstSegment)
    expect(await readable(log)).toEqual([0])
  })
})

describe('the directory of a topic', () => {
  const topics = (): Promise<string[]> => readdir(join(directory, 'logs'))

  it('goes with its last log', async () => {
    await append(await openLog(), 1)
    await append(await openLog(other), 1)
    await store.deleteLog(id)
    expect(await topics()).toEqual([id.topicId])
    await store.deleteLog(other)
    expect(await topics()).toEqual([])
  })

  it('goes when all logs are deleted at once, and comes back for one that is opened meanwhile', async () => {
    const ids = Array.from({ length: 8 }, (_, partition) => ({ ...id, partition }))
    for (let round = 0; round < 10; round++) {
      for (const one of ids) await append(await openLog(one), 1)
      await Promise.all(ids.map((one) => store.deleteLog(one)))
      expect(await topics()).toEqual([])
      await append(await openLog(other), 1)
      const [log] = await Promise.all([openLog(), store.deleteLog(other)])
      await append(log, 1)
      expect(await topics()).toEqual([id.topicId])
      await store.deleteLog(id)
    }
  })

  it('is not taken from under a log that is opened while it goes', async () => {
    await append(await openLog(), 1)
    let isOpen = false
    let wasOpen: boolean | undefined
    let opening: Promise<PartitionLog> | undefined
    const removeTree = disk.removeTree.bind(disk)
    disk.removeTree = async (path) => {
      if (path.endsWith(`logs/${id.topicId}`)) {
        opening = openLog(other)
        void opening.then(() => {
          isOpen = true
        })
        // Long enough for an opening that does not wait.
        for (let i = 0; i < 50; i++) await readdir(directory)
        wasOpen = isOpen
      }
      await removeTree(path)
    }
    await store.deleteLog(id)
    expect(wasOpen).toBe(false)
    const log = (await opening) as PartitionLog
    await append(log, 1)
    expect(await readable(log)).toEqual([0])
    expect(await topics()).toEqual([id.topicId])
  })

  it('that was left empty goes when the logs are listed; what is not ours stays', async () => {
    await store.stop()
    await mkdir(join(directory, 'logs', id.topicId))
    await mkdir(join(directory, 'logs', 'mine'))
    await start()
    for await (const log of store.listLogs()) expect(log).toBeUndefined()
    expect(await topics()).toEqual(['mine'])
  })
})

describe("what is not the store's own", () => {
  it('a file in place of a topic directory is left where it is when logs are listed', async () => {
    const file = join(directory, 'logs', '0b0b0b0b-2222-4222-9222-bbbbbbbbbbbb')
    await writeFile(file, 'somebody else put this here')
    const found: LogId[] = []
    for await (const log of store.listLogs()) found.push(log)
    expect(found).toEqual([])
    expect(await readFile(file, 'utf8')).toBe('somebody else put this here')
  })
})
