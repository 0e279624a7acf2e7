/** The real disk storage on a simulated disk: how the simulation opens it, waits for it and reads all that is in it. */
import { diskStorage } from 'ratatoskr/adapters/disk'
import { nodeChecksum, silentLogger } from 'ratatoskr/adapters/node'
import { type ManualClock, type SimulatedDisk, seededRandom } from 'ratatoskr/contract-tests'
import {
  BatchBuilder,
  baseOffsetOf,
  batchSizeOf,
  isRatatoskrError,
  type LogId,
  nextOffsetOf,
  type PartitionLog,
  type Platform,
  type Stores,
  stampBatch,
} from 'ratatoskr/ports'
import type { FoundLog, FoundState } from './model.ts'

export const syncIntervalMs = 50
const checksum = nodeChecksum()
const directory = '/data'

/** What differs from seed to seed. */
export interface StorageShape {
  readonly segmentBytes: number
  readonly openFilesMax: number
  readonly hotBytesMax: number
}

export function openStores(disk: SimulatedDisk, clock: ManualClock, shape: StorageShape): Stores {
  const platform: Platform = {
    clock,
    checksum,
    random: seededRandom(1),
    compression: new Map(),
    logger: silentLogger,
  }
  const { openFilesMax, hotBytesMax } = shape
  // A small reserve: writing a large one at each of a million starts is what the simulation would be busy with.
  const reserveBytes = 512
  const fileSystem = disk
  return diskStorage({ directory, fileSystem, syncIntervalMs, openFilesMax, hotBytesMax, reserveBytes }).open(
    platform,
  )
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Waits for something that depends on microtasks and on the manual clock only, which is moved when nothing else goes on.
 * @throws Error when it never settles
 */
export async function settled<T>(promise: Promise<T>, clock: ManualClock): Promise<T> {
  let done = false
  const mark = (): void => {
    done = true
  }
  promise.then(mark, mark)
  await turn()
  for (let waits = 0; !done; waits++) {
    if (waits > 100) throw new Error('a call of the store never settled')
    await clock.advance(100)
  }
  return promise
}

/** Everything of a log, as a reader gets it. */
export async function readLog(log: PartitionLog): Promise<FoundLog> {
  const batches: { base: number; end: number; bytes: Uint8Array }[] = []
  let offset = log.startOffset
  while (offset < log.stableOffset) {
    const bytes = await readAt(log, offset)
    if (typeof bytes === 'number') {
      if (bytes <= offset)
        throw new Error(`offset ${offset} is damaged up to ${bytes}: a reader gets nowhere`)
      offset = bytes
      continue
    }
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
      const batch = bytes.subarray(at, at + batchSizeOf(bytes, at))
      batches.push({ base: baseOffsetOf(batch, 0), end: nextOffsetOf(batch, 0), bytes: batch })
      offset = nextOffsetOf(batch, 0)
    }
    if (bytes.length === 0) throw new Error(`a read at ${offset} gave nothing before the end`)
  }
  return { start: log.startOffset, end: log.endOffset, batches, damaged: [...log.damaged] }
}

/** The batches at an offset, or where to read on when it is damaged. */
async function readAt(log: PartitionLog, offset: number): Promise<Uint8Array | number> {
  try {
    return await log.read(offset, 4096)
  } catch (error) {
    if (!isRatatoskrError(error) || error.code !== 'RTK_STORE_CORRUPT') throw error
    const { nextOffset } = error.details ?? {}
    if (typeof nextOffset !== 'number') throw error
    return nextOffset
  }
}

export async function readState(stores: Stores): Promise<FoundState> {
  const found = new Map<string, readonly [number, number]>()
  for await (const { key, value, version } of stores.state.list('')) {
    found.set(key, [numberOf(value), version])
  }
  return found
}

/** A value that says its number, of any length from 4 bytes on. */
export function stateValue(number: number, sizeBytes: number): Uint8Array {
  const value = new Uint8Array(Math.max(4, sizeBytes)).fill(number)
  new DataView(value.buffer).setUint32(0, number)
  return value
}

const numberOf = (value: Uint8Array): number =>
  value.length < 4 ? -1 : new DataView(value.buffer, value.byteOffset).getUint32(0)

const builder = new BatchBuilder({ checksum })

/** A batch like no other: its number is in every payload. */
export function batchOf(number: number, base: number, count: number, payloadBytes: number): Uint8Array {
  for (let i = 0; i < count; i++) {
    builder.add({ payload: stateValue(number, payloadBytes + i), timestampMs: number })
  }
  const batch = builder.build().slice()
  stampBatch(batch, base, 0)
  return batch
}

export const keyOf = ({ topicId, partition }: LogId): string => `${topicId}/${partition}`

/** What was refused, in a word. */
export const codeOf = (error: unknown): string => (isRatatoskrError(error) ? error.code : String(error))
