/** Deleting works on a full disk: what is kept in reserve makes way for it, and only for it. */
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { ManualClock, sampleBatch, simulatedDisk } from 'ratatoskr/contract-tests'
import type { StateStore, Stores } from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { diskStorage } from '../index.ts'

const value = new Uint8Array(200).fill(7)
const reserveBytes = 4_096
let disk: ReturnType<typeof simulatedDisk>
let clock: ManualClock
let stores: Stores
let state: StateStore

beforeEach(async () => {
  disk = simulatedDisk({ seed: 1 })
  clock = new ManualClock()
  await start()
})
afterEach(() => state.stop())

async function start(): Promise<void> {
  const platform = nodePlatform({ clock, logger: silentLogger })
  stores = diskStorage({ directory: '/data', fileSystem: disk, reserveBytes }).open(platform)
  state = stores.state
  await state.start()
}

const reserve = async (): Promise<number> => disk.sizeOf('/data/reserve').catch(() => 0)
const full = { code: 'RTK_STORE_FULL' }

describe('on a full disk', () => {
  beforeEach(async () => {
    await state.put('topics/a', value)
    await state.put('topics/b', value)
    disk.capacityBytes = disk.usedBytes
  })

  it('a key is deleted, while what only adds is refused', async () => {
    expect(await reserve()).toBe(reserveBytes)
    await expect(state.put('topics/c', value)).rejects.toMatchObject(full)
    expect(await reserve()).toBe(reserveBytes)
    await state.delete('topics/a')
    expect([await state.get('topics/a'), await reserve()]).toEqual([undefined, 0])
  })

  it('a change that says that it frees space is let through, and survives', async () => {
    await state.putMany([{ key: 'topics/b', value, frees: true }])
    await state.stop()
    await start()
    expect((await state.get('topics/b'))?.version).toBe(2)
  })

  it('of changes that come together only those that free space are done', async () => {
    const [adding, deleting] = await Promise.allSettled([
      state.put('topics/c', value),
      state.delete('topics/a'),
    ])
    expect(adding).toMatchObject({ status: 'rejected', reason: full })
    expect(deleting.status).toBe('fulfilled')
    expect(await state.get('topics/c')).toBeUndefined()
  })

  it('the reserve is used up in the end, and comes back when there is room', async () => {
    let done = 0
    for (const round of Array.from({ length: 100 }).keys()) {
      const change = state.putMany([{ key: `topics/${round}`, value, frees: true }])
      if (
        await change.then(
          () => true,
          () => false,
        )
      )
        done++
      else await expect(change).rejects.toMatchObject(full)
    }
    // Each change is written twice.
    expect(done).toBeGreaterThan(reserveBytes / 2 / 400)
    expect(done).toBeLessThan(reserveBytes / 2 / 200)
    disk.capacityBytes = Number.POSITIVE_INFINITY
    await state.put('topics/c', value)
    expect(await reserve()).toBe(reserveBytes)
  })

  it('room that is freed goes to the reserve before anything else may take it', async () => {
    const { logs } = stores
    await logs.start()
    const log = await logs.openLog(
      { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 },
      { segmentBytes: 1 << 20 },
    )
    const append = async (): Promise<void> => {
      const batch = sampleBatch({ baseOffset: log.endOffset, payloadBytes: 100 })
      await log.append(batch, log.endOffset, 1, 'fsync')
    }
    disk.capacityBytes = disk.usedBytes + 1_000
    await append()
    disk.capacityBytes = disk.usedBytes
    await state.delete('topics/a')
    disk.capacityBytes = disk.usedBytes + reserveBytes - 1
    await expect(append()).rejects.toMatchObject(full)
    await expect(state.put('topics/c', value)).rejects.toMatchObject(full)
    await state.delete('topics/b')
    disk.capacityBytes = disk.usedBytes + reserveBytes + 1_000
    await append()
    expect([await reserve(), log.stableOffset]).toEqual([reserveBytes, 2])
    await logs.stop()
  })

  it('the reserve is tried for again when there was no room for it at the start', async () => {
    await state.stop()
    await disk.remove('/data/reserve')
    disk.capacityBytes = disk.usedBytes + 1_000
    await start()
    disk.capacityBytes = Number.POSITIVE_INFINITY
    await state.put('topics/c', value)
    await state.put('topics/c', value)
    expect(await reserve()).toBe(0)
    await clock.advance(1_000)
    await state.put('topics/c', value)
    await state.put('topics/c', value)
    expect(await reserve()).toBe(reserveBytes)
  })

  it('a store is opened without a reserve', async () => {
    await state.delete('topics/a')
    await state.stop()
    disk.capacityBytes = disk.usedBytes
    await start()
    expect((await state.get('topics/b'))?.version).toBe(1)
    expect(await reserve()).toBe(0)
  })
})
