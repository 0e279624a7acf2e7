/** What the log store suite asks of a setup, and what its cases share. */
import { batchStarts, type Durability, type LogId, type LogStore, type PartitionLog } from 'ratatoskr/ports'
import { expect } from 'vitest'
import { type SampleBatch, sampleBatch } from './batches.ts'
import type { ContractCase, ContractContext } from './suite.ts'

/** One fresh store and what can be done to it from outside. */
export interface LogStoreContext extends ContractContext {
  /** Not started. */
  readonly subject: LogStore
  /** Stops the store that is in use and starts one on the same data. */
  reopen(): Promise<LogStore>
  /**
   * Abandons the store that is in use without stopping it, as `kill -9` would, and starts a new one on the same data.
   * What was abandoned is cleaned up at teardown.
   */
  crash(): Promise<LogStore>
  /**
   * Crashes likewise, but leaves the last batch of a log half-written. For stores that keep data: a store whose medium
   * cannot tear declares the case as a known gap.
   */
  tearLastBatch?(id: LogId): Promise<LogStore>
  /**
   * Crashes likewise, but damages the stored batch that holds `offset`: changes a byte that its checksum covers. For stores
   * that keep data: one whose medium cannot be damaged from outside declares the cases as known gaps.
   */
  damageBatch?(id: LogId, offset: number): Promise<LogStore>
  /**
   * Starts another store of the same kind that has room for about `bytesMax` bytes of batches: between a quarter and four
   * times as many. Stopped at teardown.
   */
  bounded?(bytesMax: number): Promise<LogStore>
}

/** One case of the log store suite. */
export type LogStoreCase = ContractCase<LogStoreContext>

export const topicA = '0a0a0a0a-1111-4111-8111-aaaaaaaaaaaa'
export const topicB = '0b0b0b0b-2222-4222-9222-bbbbbbbbbbbb'
export const logA: LogId = { topicId: topicA, partition: 0 }

/** Small enough that a few batches fill several. */
export const smallSegments = { segmentBytes: 1_000 }
export const largeSegments = { segmentBytes: 64 * 1024 * 1024 }

export const idText = (id: LogId): string => `${id.topicId}/${id.partition}`

/** The level that a store reaches at best. */
export const strongest = (store: LogStore): Durability => store.supports.durability.at(-1) as Durability

export const endOf = (batches: readonly Uint8Array[]): number =>
  batches.length === 0 ? 0 : nextOffset(batches[batches.length - 1])

const nextOffset = (batch: Uint8Array): number => {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  return Number(view.getBigInt64(0)) + view.getInt32(23) + 1
}

export const sizeOf = (batches: readonly Uint8Array[]): number =>
  batches.reduce((sum, batch) => sum + batch.length, 0)

/** Appends one batch at the end of a log, and waits for it. */
export async function appendOne(
  log: PartitionLog,
  durability: Durability,
  sample: Omit<SampleBatch, 'baseOffset'> = {},
): Promise<Uint8Array> {
  const batch = sampleBatch({ ...sample, baseOffset: log.endOffset })
  await log.append(batch, log.endOffset, sample.count ?? 1, durability)
  return batch
}

/** Appends `count` batches of one to three records, one after the other. @returns what was appended */
export async function appendMany(
  log: PartitionLog,
  durability: Durability,
  count: number,
  sample: Omit<SampleBatch, 'baseOffset' | 'count'> = {},
): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = []
  for (let i = 0; i < count; i++) {
    batches.push(await appendOne(log, durability, { ...sample, count: 1 + (i % 3) }))
  }
  return batches
}

/**
 * A promise that a case will look at later. Should the case fail before, its rejection is no news of its own.
 */
export function later<T>(promise: T | Promise<T>): Promise<T> {
  const pending = Promise.resolve(promise)
  pending.catch(() => undefined)
  return pending
}

/** Starts many appends without waiting for one. */
export function appendAtOnce(
  log: PartitionLog,
  durability: Durability,
  count: number,
  sample: Omit<SampleBatch, 'baseOffset' | 'count'> = {},
): { readonly batches: readonly Uint8Array[]; readonly settled: readonly Promise<void>[] } {
  const batches: Uint8Array[] = []
  const settled: Promise<void>[] = []
  for (let i = 0; i < count; i++) {
    const records = 1 + (i % 3)
    const batch = sampleBatch({ ...sample, baseOffset: log.endOffset, count: records })
    batches.push(batch)
    settled.push(later(log.append(batch, log.endOffset, records, durability)))
  }
  return { batches, settled }
}

/** Cuts what a read gave into its batches. */
export const split = (bytes: Uint8Array): Uint8Array[] => {
  const starts = [...batchStarts(bytes)]
  return starts.map((start, i) => bytes.subarray(start, starts[i + 1] ?? bytes.length))
}

/** Reads a log from an offset to its stable end. */
export async function readAll(
  log: PartitionLog,
  from = log.startOffset,
  bytesMax = 4096,
): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = []
  let offset = from
  while (offset < log.stableOffset) {
    const found = split(await log.read(offset, bytesMax))
    expect(found.length, `a read at ${offset}, below the stable offset, must give a batch`).toBeGreaterThan(0)
    batches.push(...found)
    const next = endOf(found)
    expect(next, `a read at ${offset} must lead beyond it`).toBeGreaterThan(offset)
    offset = next
  }
  return batches
}

/** Expects equal bytes; quicker and shorter to read than a deep comparison of arrays. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  expect(actual.length, `${what}: length`).toBe(expected.length)
  expect(Buffer.compare(actual, expected), `${what}: bytes differ`).toBe(0)
}

export function expectBatches(actual: readonly Uint8Array[], expected: readonly Uint8Array[]): void {
  const offsets = (batches: readonly Uint8Array[]) => batches.map((batch) => endOf([batch]))
  expect(offsets(actual), 'end offsets of the batches').toEqual(offsets(expected))
  for (let i = 0; i < expected.length; i++) expectBytes(actual[i], expected[i], `batch ${i}`)
}

/** Expects that a log holds exactly these batches, whichever way it is read. */
export async function expectLog(log: PartitionLog, batches: readonly Uint8Array[]): Promise<void> {
  expect({ endOffset: log.endOffset, stableOffset: log.stableOffset, sizeBytes: log.sizeBytes }).toEqual({
    endOffset: endOf(batches),
    stableOffset: endOf(batches),
    sizeBytes: sizeOf(batches),
  })
  expectBatches(await readAll(log), batches)
  expectBatches(await readAll(log, log.startOffset, 1), batches)
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

/** Opens the usual log of a store that is not started yet. */
export async function openFirst(
  { subject }: LogStoreContext,
  options = smallSegments,
): Promise<{ readonly store: LogStore; readonly log: PartitionLog; readonly level: Durability }> {
  await subject.start()
  return { store: subject, log: await subject.openLog(logA, options), level: strongest(subject) }
}
