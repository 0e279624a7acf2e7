/** Large batches stay in the buffers in which they came: in memory, in the file, and for whoever reads them. */
import { readFile, rm } from 'node:fs/promises'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { sampleBatch } from 'ratatoskr/contract-tests'
import { isKeepable, type LogId, type LogStore, LogStoreTally, type PartitionLog } from 'ratatoskr/ports'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { diskStorage } from '../index.ts'
import { makeDirectory } from '../testing/setups.ts'
import { HotBudget } from './hot-budget.ts'
import { HotTail } from './hot-tail.ts'
import type { Segment } from './segment.ts'

const id: LogId = { topicId: '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa', partition: 0 }
const segmentBytes = 1 << 30

let directory: string
let store: LogStore
let log: PartitionLog

const open = async (hotBytesMax: number): Promise<void> => {
  store = diskStorage({ directory, hotBytesMax }).open(nodePlatform({ logger: silentLogger })).logs
  await store.start()
  log = await store.openLog(id, { segmentBytes })
}

beforeEach(async () => {
  directory = await makeDirectory()
  await open(64 * 1024 * 1024)
})

afterEach(async () => {
  await store.stop()
  await rm(directory, { recursive: true, force: true })
})

/** A batch that fills its buffer, as one that came over a socket does. */
const batchOf = (baseOffset: number, payloadBytes: number): Uint8Array =>
  Uint8Array.from(sampleBatch({ baseOffset, payloadBytes }))

it('a large batch is read from the buffer in which it came; a small one is copied', async () => {
  const [large, small] = [batchOf(0, 100_000), batchOf(1, 100)]
  expect([isKeepable(large), isKeepable(small)]).toEqual([true, false])
  await Promise.all([log.append(large, 0, 1, 'fsync'), log.append(small, 1, 1, 'fsync')])
  const copy = small.slice()
  small.fill(0) // the caller's again
  expect((await log.read(0, 1)).buffer).toBe(large.buffer)
  expect(await log.read(1, 1)).toEqual(copy)
})

it('large and small ones between each other are on file back to back, and read the same from memory and disk', async () => {
  const sizes = [100_000, 10, 70_000, 300, 20, 90_000, 4_000, 80_000, 80_000, 5]
  const batches = sizes.map((size, offset) => batchOf(offset, size))
  const copies = batches.map((batch) => batch.slice())
  await Promise.all(batches.map((batch, offset) => log.append(batch, offset, 1, 'fsync')))
  const file = `${directory}/logs/${id.topicId}/0/${'0'.repeat(20)}.log`
  expect((await readFile(file)).equals(Buffer.concat(copies))).toBe(true)
  for (const [offset, copy] of copies.entries()) expect(await log.read(offset, 1)).toEqual(copy)
  await store.stop()
  await open(1)
  for (const [offset, copy] of copies.entries()) expect(await log.read(offset, 1)).toEqual(copy)
})

it('the tail finds each offset among many chunks, before and after the oldest are dropped and the newest cut', () => {
  const tally = new LogStoreTally()
  const tail = new HotTail(new HotBudget(20 * 100_000, tally), () => 60)
  const segment = {} as Segment
  let position = 0
  for (let offset = 0; offset < 60; offset++) {
    const batch = batchOf(offset, offset % 3 === 2 ? 50 : 70_000)
    tail.append(segment, position, offset, batch, 1, segmentBytes)
    position += batch.length
  }
  const found = Array.from({ length: 60 }, (_, offset) => tail.find(offset))
  const first = found.findIndex((buffer) => buffer !== undefined)
  expect(first).toBeGreaterThan(10)
  expect(first).toBeLessThan(40)
  for (let offset = first; offset < 60; offset++) {
    const buffer = found[offset]
    expect(buffer?.read(offset, 60, 1)).toEqual(batchOf(offset, offset % 3 === 2 ? 50 : 70_000))
  }
  expect(tail.find(60)).toBeUndefined()
  tail.cut(55)
  expect([tail.find(54) === undefined, tail.find(55)]).toEqual([false, undefined])
  tail.clear()
  expect(tally.hotBytes).toBe(0)
})
