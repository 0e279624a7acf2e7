/** What a disk log does when the disk does not do what it is asked. */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { ManualClock, sampleBatch } from 'ratatoskr/contract-tests'
import {
  type Durability,
  isRatatoskrError,
  type LogId,
  type LogStore,
  type PartitionLog,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { nodeFileSystem } from '../files/node-file-system.ts'
import { diskStorage } from '../index.ts'
import { FaultyFileSystem } from '../testing/faulty-file-system.ts'
import { makeDirectory } from '../testing/setups.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const other: LogId = { ...id, partition: 1 }

let directory: string
let disk: FaultyFileSystem
let clock: ManualClock
let store: LogStore

beforeEach(async () => {
  directory = await makeDirectory()
  disk = new FaultyFileSystem(nodeFileSystem)
  clock = new ManualClock()
  const platform = nodePlatform({ clock, logger: silentLogger })
  store = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1 }).open(platform).logs
  await store.start()
})

afterEach(async () => {
  disk.heal()
  disk.syncGate = undefined
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

const openLog = (segmentBytes = 1 << 20): Promise<PartitionLog> => store.openLog(id, { segmentBytes })

function append(log: PartitionLog, durability: Durability, payloadBytes = 50): Promise<void> {
  const { endOffset } = log
  return Promise.resolve(
    log.append(sampleBatch({ baseOffset: endOffset, payloadBytes }), endOffset, 1, durability),
  )
}

const codesOf = async (promises: readonly Promise<unknown>[]): Promise<unknown[]> =>
  (await Promise.allSettled(promises)).map((outcome) =>
    outcome.status === 'fulfilled'
      ? 'ok'
      : isRatatoskrError(outcome.reason)
        ? outcome.reason.code
        : outcome.reason,
  )

const syncsOf = (suffix: string): number =>
  disk.calls.filter(({ call, path }) => call === 'sync' && path.endsWith(suffix)).length

describe('group commit', () => {
  it('one sync serves all appends that came while another was under way', async () => {
    const log = await openLog()
    let open = (): void => {}
    disk.syncGate = new Promise((resolve) => {
      open = resolve
    })
    const first = append(log, 'fsync')
    while (disk.calls.every(({ call, path }) => call !== 'write' || !path.endsWith('.log')))
      await new Promise((resolve) => setImmediate(resolve))
    const rest = Array.from({ length: 100 }, () => append(log, 'fsync'))
    open()
    disk.syncGate = undefined
    await Promise.all([first, ...rest])
    expect(syncsOf('.log')).toBe(2)
  })

  it('level os is not synced, level interval is when its time has come, fsync is before the ack', async () => {
    const log = await openLog()
    await append(log, 'os')
    await clock.advance(1_000)
    expect(syncsOf('.log')).toBe(0)
    await append(log, 'interval')
    await clock.advance(49)
    expect(syncsOf('.log')).toBe(0)
    await clock.advance(1)
    await log.truncateBefore(0)
    expect(syncsOf('.log')).toBe(1)
    await append(log, 'fsync')
    expect(syncsOf('.log')).toBe(2)
    await clock.advance(1_000)
    await log.close()
    expect(syncsOf('.log')).toBe(2)
  })

  it('closing syncs what was not', async () => {
    const log = await openLog()
    await append(log, 'os')
    await log.close()
    expect(syncsOf('.log')).toBe(1)
  })

  it('a new segment is synced with its directory before its first ack, after the segment before it', async () => {
    const log = await openLog(200)
    await append(log, 'os')
    await append(log, 'os')
    disk.calls.length = 0
    await append(log, 'fsync')
    const placeOf = (wanted: string, suffix: string): number =>
      disk.calls.findIndex(({ call, path }) => call === wanted && path.endsWith(suffix))
    const order = [
      placeOf('sync', '1.log'),
      placeOf('open', '2.log'),
      placeOf('syncDirectory', '/0'),
      placeOf('sync', '2.log'),
    ]
    expect(order).toEqual([...order].sort((one, two) => one - two))
    expect(order).not.toContain(-1)
  })
})

describe('a failed sync', () => {
  it('fails everything unsettled, is never tried again on that descriptor, and the log must be opened anew', async () => {
    const log = await openLog()
    await append(log, 'fsync')
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO', times: 1 })
    const before = syncsOf('.log')
    expect(await codesOf([append(log, 'fsync'), append(log, 'fsync'), append(log, 'os')])).toEqual([
      'RTK_STORE_FAILED',
      'RTK_STORE_FAILED',
      'RTK_STORE_FAILED',
    ])
    expect({ end: log.endOffset, stable: log.stableOffset }).toEqual({ end: 1, stable: 1 })
    await expect(async () => append(log, 'os')).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    expect((await log.read(0, 1000)).length).toBe(log.sizeBytes)
    await log.close()
    expect(syncsOf('.log')).toBe(before + 1)
    const again = await openLog()
    expect({ end: again.endOffset, start: again.startOffset }).toEqual({ end: 1, start: 0 })
    await append(again, 'fsync')
    expect(again.stableOffset).toBe(2)
  })

  it('keeps what had settled at a lower level in the same group', async () => {
    const log = await openLog()
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO' })
    expect(await codesOf([append(log, 'os'), append(log, 'os'), append(log, 'fsync')])).toEqual([
      'ok',
      'ok',
      'RTK_STORE_FAILED',
    ])
    await log.close()
    disk.heal()
    expect((await openLog()).endOffset).toBe(2)
  })

  it('does not touch other logs', async () => {
    const log = await openLog()
    const healthy = await store.openLog(other, { segmentBytes: 1 << 20 })
    disk.inject({ call: 'sync', suffix: '/0/00000000000000000000.log', code: 'EIO' })
    expect(await codesOf([append(log, 'fsync'), append(healthy, 'fsync')])).toEqual([
      'RTK_STORE_FAILED',
      'ok',
    ])
  })

  it('of the interval timer ends the log as well', async () => {
    const log = await openLog()
    await append(log, 'interval')
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO' })
    await clock.advance(50)
    await log.truncateBefore(0)
    await expect(async () => append(log, 'os')).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
  })

  it('of the directory of a new segment fails the appends in it', async () => {
    const log = await openLog(200)
    await append(log, 'fsync')
    await append(log, 'fsync')
    disk.inject({ call: 'syncDirectory', suffix: '/0', code: 'EIO', times: 1 })
    expect(await codesOf([append(log, 'fsync')])).toEqual(['RTK_STORE_FAILED'])
    await log.close()
    const again = await openLog(200)
    expect(again.endOffset).toBe(2)
    await append(again, 'fsync')
    expect(again.endOffset).toBe(3)
  })
})

describe('a descriptor whose sync failed', () => {
  /** Every file has a place of its own in the pool, and hardly any may stay open: what is released may be closed at once. */
  async function openTight(): Promise<PartitionLog> {
    await store.stop()
    const platform = nodePlatform({ clock, logger: silentLogger })
    store = diskStorage({ directory, fileSystem: disk, hotBytesMax: 1, openFilesMax: 1 }).open(platform).logs
    await store.start()
    return openLog()
  }

  it.each([
    ['of an append', async (log: PartitionLog) => append(log, 'fsync')],
    [
      'of the interval',
      async (log: PartitionLog) => {
        await append(log, 'interval')
        await clock.advance(50)
        await log.truncateBefore(0)
      },
    ],
    ['of a cut', async (log: PartitionLog) => log.truncateAfter(1)],
    ['of closing', async (log: PartitionLog) => append(log, 'os').then(() => log.close())],
    [
      'to make room for another file',
      async (log: PartitionLog) => {
        await append(log, 'os')
        await log.read(0, 1)
        await append(log, 'os').catch(() => undefined)
      },
    ],
  ])('%s is never synced again, and never closed with another try', async (_, run) => {
    const log = await openTight()
    await append(log, 'fsync')
    await append(log, 'fsync')
    disk.calls.length = 0
    disk.inject({ call: 'sync', suffix: '.log', code: 'EIO', times: 1 })
    await run(log).catch(() => undefined)
    await log.close()
    const outcomes = disk.calls.filter(({ call, path }) => call === 'sync' && path.endsWith('.log'))
    expect(outcomes.map(({ failed }) => failed)).toEqual([true])
  })
})

describe('a failed write', () => {
  it('fails everything unsettled, and nothing of it is there when the log is opened again', async () => {
    const log = await openLog()
    await append(log, 'fsync')
    disk.inject({ call: 'write', suffix: '.log', code: 'EIO', times: 1 })
    expect(await codesOf([append(log, 'fsync'), append(log, 'os')])).toEqual([
      'RTK_STORE_FAILED',
      'RTK_STORE_FAILED',
    ])
    await log.close()
    expect((await openLog()).endOffset).toBe(1)
  })

  it('for lack of room is taken back, and the log goes on by itself', async () => {
    const log = await openLog()
    await append(log, 'fsync')
    disk.inject({ call: 'write', suffix: '.log', code: 'ENOSPC', times: 2 })
    expect(await codesOf([append(log, 'fsync'), append(log, 'os')])).toEqual([
      'RTK_STORE_FULL',
      'RTK_STORE_FULL',
    ])
    expect({ end: log.endOffset, stable: log.stableOffset }).toEqual({ end: 1, stable: 1 })
    expect(await codesOf([append(log, 'fsync')])).toEqual(['RTK_STORE_FULL'])
    await append(log, 'fsync')
    await log.close()
    expect((await openLog()).endOffset).toBe(2)
  })

  it('for lack of room at a new segment leaves the one before to go on with', async () => {
    const log = await openLog(200)
    await append(log, 'fsync')
    await append(log, 'fsync')
    disk.inject({ call: 'open', suffix: '02.log', code: 'ENOSPC', times: 1 })
    expect(await codesOf([append(log, 'fsync'), append(log, 'fsync')])).toEqual([
      'RTK_STORE_FULL',
      'RTK_STORE_FULL',
    ])
    for (let i = 0; i < 5; i++) await append(log, 'fsync')
    expect(await log.offsetForTime(0)).toBe(0)
    await log.close()
    const again = await openLog(200)
    expect(again.endOffset).toBe(7)
  })

  it.each([
    ['the directory of a new segment is synced', { call: 'syncDirectory', suffix: '/0' }],
    ['the directory above a new log is synced', { call: 'syncDirectory', suffix: id.topicId }],
  ] as const)('for lack of room while %s is taken back', async (_, { call, suffix }) => {
    const log = await openLog(200)
    disk.inject({ call, suffix, code: 'ENOSPC', times: 1 })
    expect(await codesOf([append(log, 'fsync'), append(log, 'fsync')])).toEqual([
      'RTK_STORE_FULL',
      'RTK_STORE_FULL',
    ])
    expect({ end: log.endOffset, bytes: log.sizeBytes }).toEqual({ end: 0, bytes: 0 })
    for (let i = 0; i < 5; i++) await append(log, 'fsync')
    disk.inject({ call, suffix: '/0', code: 'ENOSPC', times: 1 })
    expect(await codesOf([append(log, 'fsync', 300)])).toEqual(['RTK_STORE_FULL'])
    for (let i = 0; i < 5; i++) await append(log, 'fsync')
    await log.close()
    expect((await openLog(200)).endOffset).toBe(10)
  })

  it.each(['open', 'write', 'rename'] as const)(
    'of an index, at its %s, fails nothing, and leaves no half of it',
    async (call) => {
      const log = await openLog(200)
      disk.inject({ call, suffix: '.index.tmp', code: 'ENOSPC' })
      for (let i = 0; i < 8; i++) await append(log, 'fsync')
      expect((await log.read(0, 1)).length).toBeGreaterThan(50)
      await log.close()
      const files = await readdir(join(directory, 'logs', id.topicId, '0'))
      expect(files.every((name) => name.endsWith('.log'))).toBe(true)
      const again = await openLog(200)
      expect([again.startOffset, again.endOffset]).toEqual([0, 8])
      for (let offset = 0; offset < 8; offset++)
        expect((await again.read(offset, 1)).length).toBeGreaterThan(50)
    },
  )

  it('for lack of room at a new segment, while all before it is let go of, keeps the file that holds the offset', async () => {
    const log = await openLog(200)
    await append(log, 'fsync')
    await append(log, 'fsync')
    disk.inject({ call: 'open', suffix: '02.log', code: 'ENOSPC', times: 1 })
    const letGo = log.truncateBefore(2)
    expect(await codesOf([append(log, 'fsync')])).toEqual(['RTK_STORE_FULL'])
    expect(await letGo).toBe(1)
    await log.close()
    const again = await openLog(200)
    expect([again.startOffset, again.endOffset]).toEqual([1, 2])
  })

  it('that cannot even be taken back ends the log', async () => {
    const log = await openLog()
    await append(log, 'fsync')
    disk.inject({ call: 'write', suffix: '.log', code: 'ENOSPC', times: 1 })
    disk.inject({ call: 'truncate', suffix: '.log', code: 'EIO', times: 1 })
    expect(await codesOf([append(log, 'fsync')])).toEqual(['RTK_STORE_FAILED'])
    await log.close()
    expect((await openLog()).endOffset).toBe(1)
  })
})

describe('a failed read', () => {
  it('is a typed error, and the next one may succeed', async () => {
    const log = await openLog()
    for (let i = 0; i < 3; i++) await append(log, 'fsync', 20_000)
    disk.inject({ call: 'read', suffix: '.log', code: 'EIO', times: 1 })
    await expect(async () => log.read(0, 10)).rejects.toMatchObject({
      code: 'RTK_STORE_UNREADABLE',
      details: { offset: 0 },
    })
    expect((await log.read(0, 10)).length).toBeGreaterThan(0)
    await append(log, 'fsync')
  })

  it('too few descriptors are met by closing idle files', async () => {
    const log = await openLog(200)
    for (let i = 0; i < 6; i++) await append(log, 'fsync')
    disk.inject({ call: 'open', suffix: '.log', code: 'EMFILE', times: 1 })
    expect((await log.read(0, 10)).length).toBeGreaterThan(0)
  })
})
