/**
 * The run that the syscalls battery disturbs: uses a disk storage in the directory that it is given, and prints each step
 * before it begins and when it is acknowledged or fails. Runs under strace, with one thread for the file system, so that the
 * n-th call of a kind is the same in each run. Whatever fails, it goes on: a failed log is opened again, once.
 *
 *     node --conditions=source contract-tests/batteries/syscalls/script.ts DIRECTORY [NTH]
 *
 * With NTH the n-th write takes only a part of what it is given, as a full disk does.
 */
import { writevSync } from 'node:fs'
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodePlatform, silentLogger } from 'ratatoskr/adapters/node'
import { type Durability, type FileSystem, isRatatoskrError, type PartitionLog } from 'ratatoskr/ports'
import { nodeFileSystem } from '../../../adapters/disk/files/node-file-system.ts'
import { ManualClock } from '../../manual-clock.ts'
import { batchOf, logIds, segmentBytes, valueAt } from './plan.ts'

const [directory, nth] = process.argv.slice(2)
const clock = new ManualClock()
const platform = nodePlatform({ clock, logger: silentLogger })
const { logs, state } = diskStorage({
  directory,
  hotBytesMax: 1,
  fileSystem: nth === undefined ? nodeFileSystem : withShortWrite(Number(nth)),
}).open(platform)
const open = new Map<string, PartitionLog>()
/** More than 64 KiB, whatever the payloads. */
const recordsOfLarge = 2_000
let steps = 0

const say = (line: string): void => {
  // Two parts make it writev: the calls named write are the storage's alone, so that they can be counted.
  writevSync(1, [Buffer.from(line), Buffer.from('\n')])
}

/** A file system whose n-th write takes only a part. */
function withShortWrite(shortNth: number): FileSystem {
  let writes = 0
  return {
    ...nodeFileSystem,
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode)
      return {
        read: (into, position) => file.read(into, position),
        write(bytes, position) {
          const short = ++writes === shortNth && bytes.length > 1
          return file.write(short ? bytes.subarray(0, bytes.length >> 1) : bytes, position)
        },
        sync: () => file.sync(),
        truncate: (sizeBytes) => file.truncate(sizeBytes),
        size: () => file.size(),
        close: () => file.close(),
      }
    },
  }
}

/** One step. @returns what it gave, undefined when it failed */
async function step<T>(what: string, run: (number: number) => Promise<T> | T): Promise<T | undefined> {
  const number = ++steps
  say(`try ${number} ${what}`)
  try {
    const result = await run(number)
    say(`ack ${number} ${typeof result === 'number' ? result : ''}`)
    return result
  } catch (error) {
    say(`fail ${number} ${isRatatoskrError(error) ? error.code : `UNTYPED ${String(error)}`}`)
    return undefined
  }
}

async function openLog(name: string): Promise<PartitionLog | undefined> {
  const log = await step(`open ${name}`, () =>
    logs.openLog(logIds[name], { segmentBytes: segmentBytes[name] }),
  )
  if (log === undefined) open.delete(name)
  else open.set(name, log)
  return log
}

async function reopen(name: string): Promise<PartitionLog | undefined> {
  await open.get(name)?.close()
  return openLog(name)
}

/** Appends one batch; when the log has failed, opens it again and tries once more. */
async function append(name: string, level: Durability, count = 1): Promise<void> {
  const log = open.get(name) ?? (await openLog(name))
  if (log === undefined) return
  if (await appendTo(log, name, level, count)) return
  const again = await reopen(name)
  if (again !== undefined) await appendTo(again, name, level, count)
}

async function appendTo(log: PartitionLog, name: string, level: Durability, count: number): Promise<boolean> {
  const from = log.endOffset
  const done = await step(`append ${name} ${from} ${from + count} ${level}`, async (number) => {
    // In a buffer of its own, as one that comes over a socket: the store keeps large ones as they are.
    const batch = batchOf(number, from, from + count, platform.checksum).slice()
    const pending = log.append(batch, from, count, level)
    await pending
    return count
  })
  return done !== undefined
}

async function readBack(name: string, offset: number): Promise<void> {
  const log = open.get(name)
  if (log === undefined || offset >= log.stableOffset) return
  await step(`read ${name} ${offset}`, async () => {
    await log.read(offset, 1)
  })
}

const put = (key: string): Promise<unknown> =>
  step(`put ${key}`, async (number) => {
    await state.put(key, valueAt(number, key))
  })

async function appends(): Promise<void> {
  const levels: readonly Durability[] = ['fsync', 'os', 'interval', 'fsync']
  for (let i = 0; i < 18; i++) {
    await append('a', levels[i % 4], 1 + (i % 3))
    if (i % 2 === 0) await append('b', levels[(i >> 1) % 4])
    if (i % 5 === 4) clock.advance(1000)
    if (i % 6 === 0) await put(`offsets/${i}`)
  }
  // Several in flight: one group.
  const log = open.get('b')
  if (log !== undefined) {
    await Promise.all(levels.map((level) => appendTo(log, 'b', level, 1)))
    await append('b', 'fsync')
  }
  // Large ones, which are written with one call as well.
  const again = open.get('b')
  if (again !== undefined) {
    await Promise.all(Array.from({ length: 3 }, () => appendTo(again, 'b', 'fsync', recordsOfLarge)))
    await append('b', 'fsync')
  }
}

async function cuts(): Promise<void> {
  const a = open.get('a')
  if (a !== undefined) {
    await step(`before a ${a.endOffset >> 1}`, () => a.truncateBefore(a.endOffset >> 1))
    await cutAfter(a)
  }
  for (const level of ['fsync', 'os', 'fsync'] as const) await append('a', level)
  for (const offset of [0, 5, 12, 20]) await readBack('a', Math.max(offset, open.get('a')?.startOffset ?? 0))
  await readBack('b', 3)
}

/** Cuts off the last batches, to where one begins. A log that took nothing has none: there all writes may have failed. */
async function cutAfter(log: PartitionLog): Promise<void> {
  const from = Math.max(log.startOffset, log.stableOffset - 6)
  if (from >= log.stableOffset) return
  const offset = await step('boundary a', async () => {
    const bytes = await log.read(from, 1)
    return Number(new DataView(bytes.buffer, bytes.byteOffset).getBigInt64(0))
  })
  if (offset !== undefined) await step(`after a ${offset}`, () => log.truncateAfter(offset))
}

async function run(): Promise<void> {
  await state.start()
  await logs.start()
  for (const key of ['topics/a', 'topics/b']) await put(key)
  for (const name of ['a', 'b']) await openLog(name)
  await appends()
  for (let i = 0; i < 3; i++) await append('c', 'fsync')
  await step('delete c', () => logs.deleteLog(logIds.c))
  open.delete('c')
  await cuts()
  for (let i = 0; i < 12; i++) await put(`large/${i % 2}`)
  await step('drop topics/b', () => state.delete('topics/b'))
  await reopen('a')
  await append('a', 'fsync')
  await append('c', 'fsync')
  // The last of each, twice: a single fault may strike the first, and then everything must work again.
  say('last')
  for (let round = 0; round < 2; round++) {
    for (const name of ['a', 'b', 'c']) await append(name, 'fsync')
    await put('last')
  }
  await logs.stop()
  await state.stop()
}

try {
  await run()
  say('end')
} catch (error) {
  say(`over ${isRatatoskrError(error) ? error.code : `UNTYPED ${String(error)}`}`)
}
// Descriptors of logs that failed may keep the process alive for nothing.
process.exit(0)
