/** What the simulation found once, each on its own: acknowledged data that a power cut took. */
import { silentLogger } from 'ratatoskr/adapters/node'
import {
  ManualClock,
  type SimulatedDisk,
  sampleBatch,
  simulatedDisk,
  testPlatform,
} from 'ratatoskr/contract-tests'
import type { Durability, LogId, LogStore, PartitionLog, Stores } from 'ratatoskr/ports'
import { describe, expect, it } from 'vitest'
import { diskStorage } from './index.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }

const storesOn = (disk: SimulatedDisk): Stores =>
  diskStorage({ directory: '/srv/broker/data', fileSystem: disk }).open({
    ...testPlatform(),
    clock: new ManualClock(),
    logger: silentLogger,
  })

describe('after a power cut that leaves only what was synced', () => {
  it('a data directory that was new, with all above it, is there', async () => {
    const disk = simulatedDisk()
    const { logs } = storesOn(disk)
    await logs.start()
    const log = await logs.openLog(id, { segmentBytes: 1000 })
    await log.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'fsync')
    const after = storesOn(disk.powerCut({ survival: 'nothing' }))
    await after.logs.start()
    expect((await after.logs.openLog(id, { segmentBytes: 1000 })).endOffset).toBe(1)
  })

  it('state is there that a store wrote whose files another had made and not synced', async () => {
    const disk = simulatedDisk()
    const killed: SimulatedDisk[] = []
    disk.onCall = (call) => {
      if (call === 'syncDirectory') killed.push(disk.fork())
    }
    await storesOn(disk).state.start()
    for (const left of killed) {
      const { state } = storesOn(left)
      await state.start()
      await state.put('a', Uint8Array.of(1))
      const after = storesOn(left.powerCut({ survival: 'nothing' }))
      await after.state.start()
      expect(await after.state.get('a')).toMatchObject({ version: 1 })
    }
    expect(killed.length).toBeGreaterThan(3)
  })

  it('a log is there whose files a killed process had made and not synced', async () => {
    const disk = simulatedDisk()
    const killed: SimulatedDisk[] = []
    const first = storesOn(disk).logs
    await first.start()
    disk.onCall = (call) => {
      if (call === 'syncDirectory' || call === 'write') killed.push(disk.fork())
    }
    const made = await first.openLog(id, { segmentBytes: 1000 })
    await made.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'os')
    for (const left of killed) {
      const { logs } = storesOn(left)
      await logs.start()
      const log = await logs.openLog(id, { segmentBytes: 1000 })
      const { endOffset } = log
      await log.append(sampleBatch({ baseOffset: endOffset }), endOffset, 1, 'fsync')
      const after = storesOn(left.powerCut({ survival: 'nothing' }))
      await after.logs.start()
      expect((await after.logs.openLog(id, { segmentBytes: 1000 })).endOffset).toBe(endOffset + 1)
    }
    expect(killed.length).toBe(6)
  })

  it('a log stays cut that a killed process cut to nothing', async () => {
    const disk = simulatedDisk()
    const first = storesOn(disk).logs
    await first.start()
    const log = await first.openLog(id, { segmentBytes: 1000 })
    await log.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'fsync')
    let killed = disk
    disk.onCall = (call) => {
      if (call === 'sync') killed = disk.fork()
    }
    await log.truncateAfter(0)
    const { logs } = storesOn(killed)
    await logs.start()
    expect((await logs.openLog(id, { segmentBytes: 1000 })).endOffset).toBe(0)
    const after = storesOn(killed.powerCut({ survival: 'nothing' })).logs
    await after.start()
    expect((await after.openLog(id, { segmentBytes: 1000 })).endOffset).toBe(0)
  })

  it('a log is all there, or gone, whose deletion a kill interrupted', async () => {
    const disk = simulatedDisk()
    const first = storesOn(disk).logs
    await first.start()
    const log = await first.openLog(id, { segmentBytes: 200 })
    for (let i = 0; i < 3; i++)
      await log.append(sampleBatch({ baseOffset: i, payloadBytes: 60 }), i, 1, 'fsync')
    const killed: SimulatedDisk[] = []
    disk.onCall = () => killed.push(disk.fork())
    await first.deleteLog(id)
    for (const left of killed) {
      const cut: SimulatedDisk[] = []
      left.onCall = () => {
        for (let seed = 1; seed <= 8; seed++) cut.push(left.powerCut({ seed }))
      }
      await storesOn(left).logs.start()
      for (const after of cut) {
        const { logs } = storesOn(after)
        await logs.start()
        const { startOffset, endOffset } = await logs.openLog(id, { segmentBytes: 200 })
        expect([startOffset, endOffset]).toEqual([0, endOffset === 0 ? 0 : 3])
      }
    }
    expect(killed.length).toBeGreaterThan(5)
  })

  it('a log is whole that went on after a cut that a kill interrupted', async () => {
    const disk = simulatedDisk()
    const first = storesOn(disk).logs
    await first.start()
    const log = await first.openLog(id, { segmentBytes: 200 })
    for (let i = 0; i < 3; i++)
      await log.append(sampleBatch({ baseOffset: i, payloadBytes: 60 }), i, 1, 'fsync')
    const killed: SimulatedDisk[] = []
    disk.onCall = () => killed.push(disk.fork())
    await log.truncateAfter(0)
    for (const left of killed) {
      const { logs } = storesOn(left)
      await logs.start()
      const open = await logs.openLog(id, { segmentBytes: 200 })
      const { endOffset } = open
      await open.append(sampleBatch({ baseOffset: endOffset, count: 3 }), endOffset, 3, 'fsync')
      const after = storesOn(left.powerCut({ survival: 'nothing' })).logs
      await after.start()
      expect((await after.openLog(id, { segmentBytes: 200 })).endOffset).toBe(endOffset + 3)
    }
  })

  it('a log is gone that was deleted at the second try', async () => {
    const disk = simulatedDisk()
    const { logs } = storesOn(disk)
    await logs.start()
    const log = await logs.openLog(id, { segmentBytes: 1000 })
    await log.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'fsync')
    disk.inject({ call: 'syncDirectory', code: 'EIO', times: 1 })
    await expect(logs.deleteLog(id)).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await logs.deleteLog(id)
    const after = storesOn(disk.powerCut({ survival: 'nothing' })).logs
    await after.start()
    expect((await after.openLog(id, { segmentBytes: 1000 })).endOffset).toBe(0)
  })

  it('a data directory below one that may not be opened is used all the same', async () => {
    const disk = simulatedDisk()
    disk.inject({ call: 'syncDirectory', path: /^\/(srv)?$/, code: 'EACCES' })
    const { logs } = storesOn(disk)
    await logs.start()
    const other = simulatedDisk()
    other.inject({ call: 'syncDirectory', path: '/srv', code: 'EIO' })
    await expect(storesOn(other).logs.start()).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
  })
})

it('files of the state that do not close well keep nobody from starting again', async () => {
  const disk = simulatedDisk()
  const { state } = storesOn(disk)
  await state.start()
  await state.put('a', Uint8Array.of(1))
  disk.inject({ call: 'close', path: /state/, code: 'EIO' })
  await state.stop()
  await state.start()
  expect(await state.get('a')).toMatchObject({ version: 1 })
})

describe('after any power cut', () => {
  it('what was taken back for lack of room does not come back at the end of a sealed segment', async () => {
    const disk = simulatedDisk()
    const { logs } = storesOn(disk)
    await logs.start()
    const log = await logs.openLog(id, { segmentBytes: 300 })
    await log.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'fsync')
    disk.capacityBytes = disk.usedBytes + 50
    const tooLarge = sampleBatch({ baseOffset: 1, payloadBytes: 60 })
    await expect(log.append(tooLarge, 1, 1, 'fsync')).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
    disk.capacityBytes = Number.POSITIVE_INFINITY
    await log.append(sampleBatch({ baseOffset: 1, payloadBytes: 400 }), 1, 1, 'fsync')
    for (let seed = 0; seed < 40; seed++) {
      const after = storesOn(disk.powerCut({ seed }))
      await after.logs.start()
      const again = await after.logs.openLog(id, { segmentBytes: 300 })
      expect([again.endOffset, again.damaged]).toEqual([2, []])
    }
  })

  it('what a failed sync left in memory alone is there once more is acknowledged after it', async () => {
    const disk = simulatedDisk()
    const { logs } = storesOn(disk)
    await logs.start()
    const failing = await logs.openLog(id, { segmentBytes: 1000 })
    await failing.append(sampleBatch({ baseOffset: 0 }), 0, 1, 'os')
    disk.inject({ call: 'sync', code: 'EIO', times: 1 })
    const failed = failing.append(sampleBatch({ baseOffset: 1 }), 1, 1, 'fsync')
    await expect(failed).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await failing.close()
    disk.inject({ call: 'write', code: 'ENOSPC', times: 1 })
    await expect(logs.openLog(id, { segmentBytes: 1000 })).rejects.toMatchObject({ code: 'RTK_STORE_FULL' })
    const log = await logs.openLog(id, { segmentBytes: 1000 })
    await log.append(sampleBatch({ baseOffset: 1, seed: 9 }), 1, 1, 'fsync')
    const after = storesOn(disk.powerCut({ survival: 'nothing' })).logs
    await after.start()
    const again = await after.openLog(id, { segmentBytes: 1000 })
    expect([again.startOffset, again.endOffset, again.damaged]).toEqual([0, 2, []])
    expect((await again.read(0, 1)).length).toBeGreaterThan(0)
  })

  it('no batch is served at the offset that a hole left in its header', async () => {
    const disk = simulatedDisk()
    const { logs } = storesOn(disk)
    await logs.start()
    const log = await logs.openLog(id, { segmentBytes: 10_000 })
    for (let i = 0; i < 4; i++) await log.append(sampleBatch({ baseOffset: i }), i, 1, 'fsync')
    await logs.stop()
    // All of it is zero up to the end of the last batch's base offset, which its checksum does not cover.
    const after = disk.powerCut({ survival: 'nothing' })
    const path = after.paths().find((name) => name.endsWith('.log') && name.includes('/logs/')) as string
    const { length } = sampleBatch({ baseOffset: 3 })
    after.damage(path, 0, new Uint8Array(3 * length + 8))
    for (const name of after.paths()) if (/clean|index/.test(name)) await after.remove(name)
    const again = storesOn(after).logs
    await again.start()
    const left = await again.openLog(id, { segmentBytes: 10_000 })
    for (let offset = left.startOffset; offset < left.stableOffset; offset++) {
      await expect(async () => left.read(offset, 1)).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
    }
  })
})

describe('what a log held unsynced when its sync failed', () => {
  const append = (log: PartitionLog, level: Durability) =>
    log.append(sampleBatch({ baseOffset: log.endOffset, payloadBytes: 3000 }), log.endOffset, 1, level)

  /** A log whose first batches are synced, those up to 4 in the cache alone, and whose last sync has failed. */
  async function failedLog(seed: number, synced: number): Promise<{ disk: SimulatedDisk; logs: LogStore }> {
    const disk = simulatedDisk({ seed })
    const { logs } = storesOn(disk)
    await logs.start()
    let log = await logs.openLog(id, { segmentBytes: 100_000 })
    for (let i = 0; i < synced; i++) await append(log, 'fsync')
    await log.close()
    log = await logs.openLog(id, { segmentBytes: 100_000 })
    while (log.endOffset < 4) await append(log, 'os')
    disk.inject({ call: 'sync', path: '.log', code: 'EIO', times: 1 })
    await expect(append(log, 'fsync')).rejects.toMatchObject({ code: 'RTK_STORE_FAILED' })
    await log.close()
    return { disk, logs }
  }

  async function openOn(disk: SimulatedDisk): Promise<PartitionLog> {
    const { logs } = storesOn(disk)
    await logs.start()
    return logs.openLog(id, { segmentBytes: 100_000 })
  }

  /** Everything from 0 to its end can be read. @returns where it ends */
  async function endOf(log: PartitionLog): Promise<number> {
    expect([log.startOffset, log.damaged]).toEqual([0, []])
    for (let offset = 0; offset < log.stableOffset; offset++) {
      expect((await log.read(offset, 1)).length).toBeGreaterThan(3000)
    }
    return log.endOffset
  }

  it.each([0, 2])(
    'survives with what is acknowledged after it, behind %d that were synced',
    async (synced) => {
      for (let seed = 1; seed <= 12; seed++) {
        const { disk, logs } = await failedLog(seed, synced)
        const log = await logs.openLog(id, { segmentBytes: 100_000 })
        expect(log.endOffset).toBe(4)
        await append(log, 'fsync')
        const after = disk.powerCut({ survival: 'nothing' })
        const segments = after.paths().filter((path) => /\/logs\/.*\.log$/.test(path))
        const bytes = segments.reduce((sum, path) => sum + after.contents(path).length, 0)
        expect([bytes, segments.length]).toEqual([log.sizeBytes, synced === 0 ? 1 : 2])
        expect(await endOf(await openOn(after))).toBe(5)
      }
    },
  )

  it.each([0, 2])(
    'survives a kill at every call of the next opening, behind %d that were synced',
    async (synced) => {
      const { disk, logs } = await failedLog(3, synced)
      const killed: SimulatedDisk[] = []
      const cut: SimulatedDisk[] = []
      disk.onCall = () => {
        killed.push(disk.fork())
        for (let seed = 0; seed < 10; seed++) cut.push(disk.powerCut({ seed }))
      }
      await logs.openLog(id, { segmentBytes: 100_000 })
      for (const left of killed) {
        const log = await openOn(left)
        // The process that comes after knows nothing of the sync, nor of what was refused with it.
        expect(log.endOffset).toBeGreaterThanOrEqual(4)
        const { endOffset } = log
        await append(log, 'fsync')
        expect(await endOf(await openOn(left.powerCut({ survival: 'nothing' })))).toBe(endOffset + 1)
      }
      for (const left of cut) expect(await endOf(await openOn(left))).toBeGreaterThanOrEqual(synced)
      expect(killed.length).toBeGreaterThan(8)
    },
  )

  it('is moved again as long as that fails, with nothing acknowledged and no descriptor synced twice', async () => {
    for (const fault of [
      { call: 'sync', code: 'EIO' },
      { call: 'syncDirectory', code: 'EIO', path: '/0' },
      { call: 'rename', code: 'EIO' },
      { call: 'truncate', code: 'EIO' },
      { call: 'write', code: 'ENOSPC' },
    ] as const) {
      for (let nth = 1; nth <= 3; nth++) {
        const { disk, logs } = await failedLog(7, 2)
        disk.inject({ ...fault, nth, times: 2 })
        let log: PartitionLog | undefined
        for (let tries = 0; log === undefined; tries++) {
          expect(tries).toBeLessThan(4)
          log = await logs.openLog(id, { segmentBytes: 100_000 }).catch((error: unknown) => {
            expect(error).toMatchObject({ code: expect.stringMatching(/^RTK_STORE_(FAILED|FULL)$/) })
            return undefined
          })
        }
        disk.heal()
        expect(log.endOffset).toBe(4)
        await append(log, 'fsync')
        expect(await endOf(log)).toBe(5)
        expect(await endOf(await openOn(disk.powerCut({ survival: 'nothing' })))).toBe(5)
        const failed = new Set<number | undefined>()
        for (const { call, descriptor, result } of disk.trace) {
          if (call !== 'sync') continue
          expect(failed.has(descriptor)).toBe(false)
          if (result !== 'ok') failed.add(descriptor)
        }
      }
    }
  })

  it('is served by a new process on a full disk, and what comes next has blocks of its own', async () => {
    const { disk } = await failedLog(3, 2)
    const left = disk.fork()
    left.capacityBytes = left.usedBytes
    left.inject({ call: 'open', path: '.tail.tmp', code: 'ENOSPC' })
    const log = await openOn(left)
    const { endOffset } = log
    expect(await endOf(log)).toBe(endOffset)
    left.capacityBytes = Number.POSITIVE_INFINITY
    await append(log, 'fsync')
    expect(left.paths().filter((path) => path.includes('/logs/') && path.endsWith('.log')).length).toBe(2)
  })
})
