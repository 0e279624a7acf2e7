/**
 * The format on disk, held by files of format 1 that are kept in testing/golden: what is written today is the same to the
 * byte, and what was written then is read. See FORMAT.md. A new format gets files of its own beside these.
 */
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { testPlatform } from 'ratatoskr/contract-tests'
import {
  BatchBuilder,
  messagesOf,
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

async function append(log: PartitionLog, batch: Uint8Array, records: number): Promise<void> {
  stampBatch(batch, log.endOffset, 0)
  await log.append(batch, log.endOffset, records, 'fsync')
}

/** Every file below a directory with its bytes; the lock is no part of the format. */
async function files(path: string): Promise<Record<string, string>> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true })
  const found = entries.filter((entry) => entry.isFile() && entry.name !== 'ratatoskr.lock')
  const read = found.map(async (entry) => {
    const file = join(entry.parentPath, entry.name)
    return [relative(path, file), (await readFile(file)).toString('hex')] as const
  })
  return Object.fromEntries((await Promise.all(read)).sort(([a], [b]) => (a < b ? -1 : 1)))
}

describe('format 1', () => {
  it('is written as it always was', async () => {
    await write(directory)
    const first = 'state/00000000000000000001'
    const then = await files(golden)
    // The state had one copy then: the second is the same to the byte. Indexes are another version now, and
    // a clean stop leaves a file of its own.
    const kept = (all: Record<string, string>) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => name !== 'clean' && !name.endsWith('.index')))
    expect(kept(await files(directory))).toEqual({ ...kept(then), [`${first}.copy`]: then[`${first}.log`] })
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
