/**
 * The format on disk, held by files that are kept in testing/golden: what the first version wrote is read, and what is written
 * today is the same to the byte. See FORMAT.md. Whatever changes it gets files of its own beside these.
 */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { testPlatform } from 'ratatoskr/contract-tests'
import {
  BatchBuilder,
  baseOffsetOf,
  batchStarts,
  messagesOf,
  nextOffsetOf,
  type PartitionLog,
  parseUuid,
  type Stores,
  stampBatch,
  utf8,
  utf8Text,
} from 'ratatoskr/ports'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { diskStorage } from './index.ts'

const golden = fileURLToPath(new URL('testing/golden/format-1', import.meta.url))
// Written by this test when RATATOSKR_WRITE_GOLDEN is 1: only when what is written is meant to change.
const today = fileURLToPath(new URL('testing/golden/format-1-3', import.meta.url))
// As today's, with a note of a clean stop that says nothing of the state.
const earlier = fileURLToPath(new URL('testing/golden/format-1-2', import.meta.url))
const topicId = '6b1f5f3e-8a52-4a1d-9d0e-3f5b7c2a1e90'
const segmentBytes = 1_000
const platform = testPlatform()

let directory: string
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ratatoskr-golden-'))
})
afterEach(() => rm(directory, { recursive: true, force: true }))

async function started(path: string): Promise<Stores> {
  const stores = diskStorage({ directory: path }).open(platform)
  await stores.state.start()
  await stores.logs.start()
  return stores
}

async function stop({ logs, state }: Stores): Promise<void> {
  await logs.stop()
  await state.stop()
}

/** Two segments of one partition, and a state with a change, a deletion and two keys at once. */
async function write(path: string): Promise<void> {
  const stores = await started(path)
  const log = await stores.logs.openLog({ topicId, partition: 3 }, { segmentBytes })
  const builder = new BatchBuilder({ checksum: platform.checksum })
  for (const [i, text] of ['first', 'second', 'third'].entries()) {
    builder.add({
      payload: utf8(text),
      key: utf8(`key-${i}`),
      headers: [['content-type', utf8('text/plain')]],
      id: parseUuid(`00000000-0000-4000-8000-00000000000${i}`),
      timestampMs: 1_700_000_000_000 + i,
    })
  }
  await append(log, builder.build(), 3)
  builder.add({ payload: new Uint8Array(1_000).fill(7), timestampMs: 1_700_000_000_500 })
  await append(log, builder.build(), 1)
  builder.add({ payload: utf8('in the second segment'), timestampMs: 1_700_000_001_000 })
  await append(log, builder.build(), 1)
  await stores.state.put('topics/default/orders', utf8('{"version":1}'), 0)
  await stores.state.put('topics/default/orders', utf8('{"version":2}'), 1)
  await stores.state.putMany([
    { key: 'groups/a/0', value: utf8('1') },
    { key: 'groups/b/0', value: utf8('2') },
  ])
  await stores.state.delete('groups/b/0')
  await stop(stores)
}

/** The same, and then a damaged batch, what was appended behind it, and a log of which a damaged segment was let go of. */
async function writeToday(path: string): Promise<void> {
  await write(path)
  const builder = new BatchBuilder({ checksum: platform.checksum })
  const add = async (log: PartitionLog, text: string): Promise<void> => {
    builder.add({ payload: utf8(text.padEnd(300, '.')), timestampMs: 1_700_000_002_000 + log.endOffset })
    await append(log, builder.build(), 1)
  }
  const damage = async (partition: number, base: number, at: number): Promise<void> => {
    const name = `logs/${topicId}/${partition}/${String(base).padStart(20, '0')}.log`
    const bytes = await readFile(join(path, name))
    bytes[at] ^= 1
    await writeFile(join(path, name), bytes)
  }
  const stores = await started(path)
  const log = await stores.logs.openLog({ topicId, partition: 3 }, { segmentBytes })
  await add(log, 'sixth')
  await log.close()
  await damage(3, 4, 80)
  const damaged = await stores.logs.openLog({ topicId, partition: 3 }, { segmentBytes })
  await expect(async () => damaged.read(4, 1)).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
  await add(damaged, 'seventh, in a segment of its own')
  await add(damaged, 'eighth')
  const other = await stores.logs.openLog({ topicId, partition: 10 }, { segmentBytes })
  for (const text of ['one', 'two', 'three', 'four']) await add(other, text)
  await other.close()
  await damage(10, 0, 70)
  const again = await stores.logs.openLog({ topicId, partition: 10 }, { segmentBytes })
  await expect(async () => again.read(0, 1)).rejects.toMatchObject({ code: 'RTK_STORE_CORRUPT' })
  expect(await again.truncateBefore(2)).toBe(2)
  await stop(stores)
}

async function append(log: PartitionLog, batch: Uint8Array, records: number): Promise<void> {
  stampBatch(batch, log.endOffset, 0)
  await log.append(batch, log.endOffset, records, 'fsync')
}

/** Every file below a directory with its bytes; the lock and the reserve are no part of the format. */
const isFormat = (path: string): boolean => !/(^|[/])(ratatoskr[.]lock|reserve)$/.test(path)

async function files(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  const found = entries.filter((entry) => entry.isFile() && isFormat(entry.name))
  const read = found.map(async (entry) => {
    const file = join(entry.parentPath, entry.name)
    return [relative(path, file), (await readFile(file)).toString('hex')] as const
  })
  return Object.fromEntries((await Promise.all(read)).sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('format 1', () => {
  it("is written as it always was, but for what is today's own", async () => {
    await write(directory)
    const first = 'state/00000000000000000001'
    const [then, now] = [await files(golden), await files(directory)]
    // Indexes are another version now, and a clean stop leaves a file of its own.
    const kept = (all: Record<string, string>) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => !/^clean$|\.index$|^state/.test(name)))
    expect(kept(now)).toEqual(kept(then))
    // The state had one copy then, without the batch that each begins with now: the changes behind it are the same.
    const state = Buffer.from(now[`${first}.log`], 'hex')
    const [, second] = batchStarts(state)
    const changes = state.subarray(second)
    for (const at of batchStarts(changes)) stampBatch(changes.subarray(at), baseOffsetOf(changes, at) - 1, 0)
    expect(changes.toString('hex')).toBe(then[`${first}.log`])
    expect(now[`${first}.copy`]).toBe(now[`${first}.log`])
  })

  it('is written by this version as these files are, to the byte', async () => {
    await writeToday(directory)
    if (process.env.RATATOSKR_WRITE_GOLDEN === '1') {
      await rm(today, { recursive: true, force: true })
      await cp(directory, today, { recursive: true, filter: isFormat })
    }
    expect(await files(directory)).toEqual(await files(today))
  })

  it('differs from what the version before wrote in the note of a clean stop alone', async () => {
    const { clean: now, ...others } = await files(today)
    const { clean: then, ...same } = await files(earlier)
    expect(others).toEqual(same)
    // Between the flags and the number of logs; the version and the checksum are others.
    expect(now.slice(16 + 56, -8)).toBe(then.slice(16, -8))
  })

  it.each([
    ['as this version writes it, after its clean stop', today, []],
    ['as this version writes it, after a crash', today, ['clean']],
    ['as this version writes it, without its indexes', today, ['clean', '.index']],
    ['as the version before wrote it, after its clean stop', earlier, []],
    ['as the version before wrote it, without its indexes', earlier, ['clean', '.index']],
  ])('is read, gaps and all, %s', async (_, written, missing) => {
    await cp(written, directory, { recursive: true })
    for (const name of Object.keys(await files(directory))) {
      if (missing.some((ending) => name.endsWith(ending))) await rm(join(directory, name))
    }
    const stores = await started(directory)
    const log = await stores.logs.openLog({ topicId, partition: 3 }, { segmentBytes })
    expect([log.startOffset, log.stableOffset, log.damaged]).toEqual([0, 8, [{ from: 4, to: 5 }]])
    await expect(async () => log.read(4, 1)).rejects.toMatchObject({
      code: 'RTK_STORE_CORRUPT',
      details: { offset: 4, nextOffset: 5 },
    })
    expect(await log.offsetForTime(1_700_000_000_600)).toBe(5)
    for (const offset of [0, 3, 5, 6, 7])
      expect(nextOffsetOf(await log.read(offset, 1))).toBeGreaterThan(offset)
    expect((await stores.state.get('groups/a/0'))?.value).toEqual(utf8('1'))
    await stop(stores)
  })

  it('is read: records, times, state', async () => {
    await cp(golden, directory, { recursive: true })
    const stores = await started(directory)
    const log = await stores.logs.openLog({ topicId, partition: 3 }, { segmentBytes })
    expect([log.startOffset, log.stableOffset, log.endOffset]).toEqual([0, 5, 5])
    const source = {
      topic: 'orders',
      topicId,
      partition: 3,
      expansion: { codecs: platform.compression, bytesMax: 1 << 20 },
    }
    const first = [...messagesOf(await log.read(0, 1), source)]
    expect(
      first.map(({ offset, id, key, payload }) => [offset, id, utf8Text(key ?? utf8('')), utf8Text(payload)]),
    ).toEqual([
      [0, '00000000-0000-4000-8000-000000000000', 'key-0', 'first'],
      [1, '00000000-0000-4000-8000-000000000001', 'key-1', 'second'],
      [2, '00000000-0000-4000-8000-000000000002', 'key-2', 'third'],
    ])
    const [last] = messagesOf(await log.read(4, 1), source)
    expect([last.offset, last.timestampMs, utf8Text(last.payload)]).toEqual([
      4,
      1_700_000_001_000,
      'in the second segment',
    ])
    expect(await log.offsetForTime(1_700_000_000_600)).toBe(4)
    expect(await stores.state.get('topics/default/orders')).toEqual({
      value: utf8('{"version":2}'),
      version: 2,
    })
    expect((await stores.state.get('groups/a/0'))?.value).toEqual(utf8('1'))
    expect(await stores.state.get('groups/b/0')).toBeUndefined()
    await stop(stores)
  })
})
