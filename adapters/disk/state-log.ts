/**
 * The file of the state store: one record batch for each change, in order, so that a change is whole or not there at all.
 * A record is one key: its value as payload, its version as header `v` (8 bytes, big-endian); version 0 deletes the key.
 * The file is written anew, as the table is now, when most of it is history; the new file takes the next generation.
 */

import type { DiskFile, FileSystem } from 'ratatoskr/ports'
import {
  BatchBuilder,
  batchSizeOf,
  type Checksum,
  type Header,
  type PlannedChange,
  RecordCursor,
  type StateTable,
  stampBatch,
  utf8,
  utf8Text,
} from 'ratatoskr/ports'
import { findBatchAfter, scanBatches } from './batch-scan.ts'
import { writeAll } from './file-system.ts'
import { corrupt } from './store-context.ts'

// A rewrite costs a sync or two: not worth it before there is this much to win.
const historyBytesMin = 256 * 1024
const snapshotBatchBytes = 1024 * 1024

export class StateLog {
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #checksum: Checksum
  readonly #builder: BatchBuilder
  #file: DiskFile | undefined
  #generation = 0
  #sizeBytes = 0
  /** Records in the file so far: where the next batch begins. */
  #offset = 0
  /** Bytes that a file with nothing but the present table has. */
  #snapshotBytes = 0

  constructor(fileSystem: FileSystem, directory: string, checksum: Checksum) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#checksum = checksum
    this.#builder = new BatchBuilder({ checksum })
  }

  /**
   * Reads the newest generation into an empty table, and cuts off a torn end.
   * @throws RTK_STORE_CORRUPT
   */
  async open(table: StateTable, nowMs: number): Promise<void> {
    await this.#fileSystem.makeDirectory(this.#directory)
    const generations = (await this.#generations()).sort((a, b) => b - a)
    const newest = generations[0]
    if (newest === undefined) {
      await this.rewrite(table, nowMs)
      return
    }
    this.#generation = newest
    this.#file = await this.#fileSystem.open(this.#pathOf(newest), 'write')
    await this.#replay(this.#file, table)
    for (const older of generations.slice(1)) await this.#fileSystem.remove(this.#pathOf(older))
  }

  /** The bytes of one change at the end of the file. Changes must be encoded in the order in which they are written. */
  encode(changes: readonly PlannedChange[], offset: number, nowMs: number): Uint8Array {
    for (const { key, value, version } of changes) {
      const headers: readonly Header[] = [['v', versionBytes(version)]]
      this.#builder.add({ key: utf8(key), payload: value ?? noBytes, headers, timestampMs: nowMs })
    }
    const batch = this.#builder.build()
    stampBatch(batch, offset, 0)
    return batch
  }

  get endOffset(): number {
    return this.#offset
  }

  /** True when most of the file is history, or when there is no file that can be written. */
  get needsRewrite(): boolean {
    if (this.#file === undefined) return true
    return this.#sizeBytes > historyBytesMin && this.#sizeBytes > this.#snapshotBytes * 2 + historyBytesMin
  }

  /** Writes batches to the end and syncs them. When it throws, `takeBack` or `abandon` must follow. */
  async append(batches: readonly Uint8Array[], recordCount: number): Promise<void> {
    if (this.#file === undefined) throw new Error('the state log is not open')
    let position = this.#sizeBytes
    for (const batch of batches) {
      await writeAll(this.#file, batch, position)
      position += batch.length
    }
    await this.#file.sync()
    this.#sizeBytes = position
    this.#offset += recordCount
  }

  /** Cuts off what a failed `append` may have written. */
  async takeBack(): Promise<void> {
    await this.#file?.truncate(this.#sizeBytes)
  }

  /** Gives up the file without another sync: the next write goes to a new generation. */
  async abandon(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.truncate(this.#sizeBytes).catch(() => undefined)
    await file?.close().catch(() => undefined)
  }

  /** Writes the table to a file of its own, which then takes the place of the present one. */
  async rewrite(table: StateTable, nowMs: number): Promise<void> {
    const generation = this.#generation + 1
    const path = this.#pathOf(generation)
    const file = await this.#fileSystem.open(`${path}.tmp`, 'create')
    let position = 0
    let offset = 0
    try {
      for (const changes of portionsOf(table)) {
        const batch = this.encode(changes, offset, nowMs)
        await writeAll(file, batch, position)
        position += batch.length
        offset += changes.length
      }
      await file.sync()
      await this.#fileSystem.rename(`${path}.tmp`, path)
      await this.#fileSystem.syncDirectory(this.#directory)
    } catch (error) {
      await file.close().catch(() => undefined)
      await this.#fileSystem.remove(`${path}.tmp`).catch(() => undefined)
      throw error
    }
    const old = { file: this.#file, path: this.#pathOf(this.#generation) }
    this.#file = file
    this.#generation = generation
    this.#sizeBytes = this.#snapshotBytes = position
    this.#offset = offset
    await old.file?.close().catch(() => undefined)
    await this.#fileSystem.remove(old.path).catch(() => undefined)
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  async #replay(file: DiskFile, table: StateTable): Promise<void> {
    const size = await file.size()
    const cursor = new RecordCursor()
    const start = { position: 0, offset: 0 }
    const { endPosition, endOffset, problem } = await scanBatches(
      file,
      start,
      size,
      this.#checksum,
      (bytes, at) => {
        table.apply(changesOf(cursor.open(bytes.subarray(at, at + batchSizeOf(bytes, at)))))
      },
    )
    this.#sizeBytes = endPosition
    this.#offset = endOffset
    this.#snapshotBytes = Math.min(endPosition, table.sizeBytes + table.size * 64)
    if (problem === undefined) {
      await file.sync()
      return
    }
    const end = { position: endPosition, offset: endOffset }
    if ((await findBatchAfter(file, end, size, this.#checksum)) !== undefined) {
      throw corrupt(`the state log is damaged before its end: ${problem}`, endOffset)
    }
    await file.truncate(endPosition)
    await file.sync()
  }

  async #generations(): Promise<number[]> {
    const found: number[] = []
    for (const name of await this.#fileSystem.list(this.#directory)) {
      if (/^\d{20}\.log$/.test(name)) found.push(Number(name.slice(0, 20)))
      else if (name.endsWith('.tmp')) await this.#fileSystem.remove(`${this.#directory}/${name}`)
    }
    return found
  }

  #pathOf(generation: number): string {
    return `${this.#directory}/${String(generation).padStart(20, '0')}.log`
  }
}

const noBytes = new Uint8Array(0)

function versionBytes(version: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(version))
  return bytes
}

/** The changes in a batch; values are copies. */
function changesOf(cursor: RecordCursor): PlannedChange[] {
  const changes: PlannedChange[] = []
  while (cursor.next()) {
    const { bytes } = cursor
    let version = 0
    while (cursor.nextHeader()) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + cursor.headerValueStart, 8)
      version = Number(view.getBigUint64(0))
    }
    const key = utf8Text(bytes.subarray(cursor.keyStart, cursor.keyEnd))
    const value =
      version === 0 ? undefined : new Uint8Array(bytes.subarray(cursor.valueStart, cursor.valueEnd))
    changes.push({ key, value, version })
  }
  return changes
}

/** The whole table in portions that make batches of about 1 MiB. */
function* portionsOf(table: StateTable): Generator<readonly PlannedChange[], void, undefined> {
  let portion: PlannedChange[] = []
  let bytes = 0
  for (const entry of table.list('')) {
    portion.push(entry)
    bytes += entry.key.length + entry.value.length
    if (bytes < snapshotBatchBytes) continue
    yield portion
    portion = []
    bytes = 0
  }
  if (portion.length > 0) yield portion
}
