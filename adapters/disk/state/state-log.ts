/**
 * The files of the state store: one record batch for each change, in order, so that a change is whole or not there at all
 * (`state-change.ts`); each generation in two copies, so that damage to either loses nothing (`state-copies.ts`). A change
 * counts when both are synced. The table is written anew, to the next generation, when most of the files is history, when a
 * copy is damaged, and after a sync that failed. Which generation counts is for `state-generations.ts`.
 */
import { basename, dirname } from 'node:path'
import type { Checksum, DiskFile, FileSystem, OffsetRange, PlannedChange, StateTable } from 'ratatoskr/ports'
import { crcOf, RatatoskrError } from 'ratatoskr/ports'
import { allocate, isFull, writeAll } from '../files/file-system.ts'
import { readCleanFile, type StateNote } from '../log/clean-file.ts'
import { OlderFiles } from './older-files.ts'
import { ChangeEncoder, portionsOf } from './state-change.ts'
import { type CopyFindings, copyEndings, generationOf } from './state-copies.ts'
import {
  type Generation,
  hasLogs,
  isNewOfEarlierVersion,
  readGenerations,
  stemOf,
} from './state-generations.ts'

// A rewrite costs a sync or two: not worth it before there is this much to win.
const historyBytesMin = 256 * 1024
const writeBytesMax = 1024 * 1024

/** What was found at opening that a clean stop does not leave. */
export interface StateFindings {
  /** The one that counts; undefined when none does and the state is empty. */
  readonly generation: number | undefined
  readonly copies: readonly CopyFindings[]
  /** Files of newer generations in which there is no whole change. */
  readonly hollow: readonly CopyFindings[]
  /** Changes that are damaged in both copies: their keys are as they were before, or gone. */
  readonly lost: readonly OffsetRange[]
  /** True when there was no room to write the state anew: the next change does that. */
  readonly full: boolean
}

/** One copy that is being written. */
interface OpenCopy {
  readonly path: string
  readonly file: DiskFile
}

export class StateLog {
  readonly #fileSystem: FileSystem
  readonly #directory: string
  readonly #checksum: Checksum
  readonly #encoder: ChangeEncoder
  /** Both copies; none when there is no file that can be written. */
  #copies: readonly OpenCopy[] = []
  /** Highest generation that may exist in part: a new one is above it. */
  #generation = 0
  /** The one that the copies are of. */
  #current = 0
  #sizeBytes = 0
  /** CRC of the last batch. */
  #lastCrc = 0
  /** Records in a copy so far: where the next batch begins. */
  #offset = 0
  /** Bytes above which most of a copy is history. */
  #rewriteAboveBytes = 0
  /** A sync failed: what the descriptors have is not known, and they are never synced again. */
  #poisoned = false
  readonly #older: OlderFiles

  constructor(fileSystem: FileSystem, directory: string, checksum: Checksum) {
    this.#fileSystem = fileSystem
    this.#directory = directory
    this.#checksum = checksum
    this.#encoder = new ChangeEncoder(checksum)
    this.#older = new OlderFiles(fileSystem)
  }

  /**
   * Reads the state into an empty table; mends what a crash or damage left of it.
   * @param acceptLoss goes on where changes are lost that were there: with an empty state where no file has a whole change,
   *   though there are logs, and with what is left where a clean stop has noted more
   * @returns what was not as it should be, if anything
   * @throws RTK_STORE_CORRUPT when no file has a whole change, or there is none, and there are logs, all of whose topics would
   *   be gone; and when the state ends before what a clean stop has noted. No file is changed then
   */
  async open(table: StateTable, nowMs: number, acceptLoss = false): Promise<StateFindings | undefined> {
    this.#poisoned = false
    this.#older.forget()
    // Fails where something else stands in its place, which lists as empty.
    await this.#fileSystem.makeDirectory(this.#directory)
    const names = await this.#fileSystem.list(this.#directory)
    this.#generation = Math.max(0, ...names.map((name) => generationOf(name) ?? 0))
    const note = acceptLoss ? undefined : await this.#noted()
    if (this.#generation === 0 && !acceptLoss) {
      await this.#assertNoLogs([])
      if (note !== undefined) throw shortOf(note)
    }
    // Names that an earlier process made may not be durable yet, though the files that they lead to are.
    await this.#fileSystem.syncDirectory(dirname(this.#directory))
    await this.#fileSystem.syncDirectory(this.#directory)
    await this.#removeUnfinished(names)
    if (this.#generation === 0) {
      await this.rewrite(table, nowMs)
      return undefined
    }
    const reading = await readGenerations(this.#fileSystem, this.#directory, this.#checksum, table, note)
    if (reading.counts === undefined && !acceptLoss) await this.#assertNoLogs(reading.hollow)
    if (reading.isShort && note !== undefined) throw shortOf(note)
    for (const one of reading.older) this.#older.note(one)
    // A state that is still empty is no damage.
    const { counts = isNewOfEarlierVersion(reading) ? reading.hollow[0] : undefined } = reading
    const hollow = reading.hollow.filter((one) => one !== counts)
    const copies = counts?.copies ?? []
    if (counts && hollow.length === 0 && copies.every(({ state }) => state === 'ok' || state === 'torn')) {
      await this.#goOn(counts, table)
      await this.#older.clear()
      if (copies.every(({ state }) => state === 'ok')) return undefined
      return { generation: counts.generation, copies, hollow: [], lost: counts.lost, full: false }
    }
    for (const one of counts ? [counts, ...hollow] : hollow) this.#older.note(one)
    const full = await this.rewrite(table, nowMs).then(() => false, trueWhenFull)
    if (full) await this.#syncAsTheyAre(copies)
    return {
      generation: counts?.generation,
      copies,
      hollow: hollow.flatMap((one) => one.copies.filter(({ state }) => state !== 'missing')),
      lost: counts?.lost ?? [],
      full,
    }
  }

  /** The bytes of one change at an offset. Changes must be encoded in the order in which they are written. */
  encode(changes: readonly PlannedChange[], offset: number, nowMs: number): Uint8Array {
    return this.#encoder.encode(changes, offset, nowMs)
  }

  get endOffset(): number {
    return this.#offset
  }

  /** How far both copies are known to go; undefined when that is not known, or there is nothing in them. */
  get note(): StateNote | undefined {
    if (this.#copies.length === 0 || this.#sizeBytes === 0) return undefined
    const [generation, sizeBytes] = [this.#current, this.#sizeBytes]
    return { generation, sizeBytes, endOffset: this.#offset, lastCrc: this.#lastCrc }
  }

  /** True when most of a copy is history, or when there is no file that can be written. */
  get needsRewrite(): boolean {
    return this.#copies.length === 0 || this.#sizeBytes > this.#rewriteAboveBytes
  }

  /** Writes batches to the end of both copies and syncs them. When it throws, `recover` must follow. */
  async append(batches: readonly Uint8Array[], recordCount: number): Promise<void> {
    if (this.#copies.length === 0) throw new Error('the state log is not open')
    const blocks = blocksOf(batches)
    let end = this.#sizeBytes
    for (const block of blocks) end += block.length
    await this.#onBoth(async ({ file }) => {
      let position = this.#sizeBytes
      for (const block of blocks) {
        await writeAll(file, block, position)
        position += block.length
      }
      await this.#sync(file)
    })
    this.#sizeBytes = end
    this.#offset += recordCount
    this.#lastCrc = crcOf(batches[batches.length - 1], 0)
  }

  /**
   * After a failed write. For lack of room both copies are taken back to what counts and go on; otherwise they are given
   * up without another sync, and the next write begins a new generation.
   * @returns true when they go on
   */
  async recover(error: unknown): Promise<boolean> {
    if (isFull(error) && !this.#poisoned) {
      try {
        await this.#onBoth(async ({ file }) => {
          await file.truncate(this.#sizeBytes)
          await this.#sync(file)
        })
        return true
      } catch {
        // What could not be taken back is given up like the rest.
      }
    }
    const given = this.#copies
    this.#copies = []
    for (const { file, path } of given) {
      this.#older.discard(path)
      await file.truncate(this.#sizeBytes).catch(ignored)
      await file.close().catch(ignored)
    }
    return false
  }

  /**
   * Writes the table to a new generation, which then takes the place of the present one.
   * @throws what the system gave; the present generation goes on, if there is one, unless it may have been replaced already
   */
  async rewrite(table: StateTable, nowMs: number): Promise<void> {
    const generation = ++this.#generation
    const stem = stemOf(this.#directory, generation)
    const paths = copyEndings.map((ending) => stem + ending)
    const next = await this.#writeTable(paths, table, nowMs).catch(async (error: unknown) => {
      for (const path of paths) await this.#fileSystem.remove(`${path}.tmp`).catch(ignored)
      throw error
    })
    try {
      for (const path of paths) await this.#fileSystem.rename(`${path}.tmp`, path)
      await this.#fileSystem.syncDirectory(this.#directory)
    } catch (error) {
      // Whether a crash leaves the new generation is not known: the present one may not have another change.
      this.#poisoned = true
      for (const { file, path } of next.copies) {
        this.#older.discard(path)
        await file.close().catch(ignored)
        await this.#fileSystem.remove(`${path}.tmp`).catch(ignored)
      }
      throw error
    }
    for (const { file, path } of this.#copies) {
      this.#older.discard(path)
      await file.close().catch(ignored)
    }
    this.#copies = next.copies
    this.#current = generation
    this.#poisoned = false
    this.#sizeBytes = next.sizeBytes
    this.#offset = next.endOffset
    this.#lastCrc = next.lastCrc
    this.#rewriteAboveBytes = historyAbove(next.sizeBytes)
    await this.#older.clear()
  }

  /** Puts off the next rewrite, for which there was no room, until there is more history. */
  putOffRewrite(): boolean {
    if (this.#copies.length === 0 || this.#poisoned) return false
    this.#rewriteAboveBytes = this.#sizeBytes + historyBytesMin
    return true
  }

  async close(): Promise<void> {
    const copies = this.#copies
    this.#copies = []
    // What counts was synced: a descriptor that does not close well loses nothing, and the directory is given back.
    for (const { file } of copies) await file.close().catch(ignored)
  }

  async #writeTable(
    paths: readonly string[],
    table: StateTable,
    nowMs: number,
  ): Promise<{ copies: OpenCopy[]; sizeBytes: number; endOffset: number; lastCrc: number }> {
    const copies: OpenCopy[] = []
    let [position, offset, lastCrc] = [0, 0, 0]
    try {
      for (const path of paths) {
        copies.push({ path, file: await this.#fileSystem.open(`${path}.tmp`, 'create') })
      }
      for (const changes of portionsOf(table)) {
        const batch = this.encode(changes, offset, nowMs)
        for (const { file } of copies) await writeAll(file, batch, position)
        position += batch.length
        offset += changes.length
        lastCrc = crcOf(batch, 0)
      }
      await allOf(copies.map(({ file }) => file.sync()))
      return { copies, sizeBytes: position, endOffset: offset, lastCrc }
    } catch (error) {
      for (const { file } of copies) await file.close().catch(ignored)
      throw error
    }
  }

  /** Found after a crash, changes may not be on the disk yet: nobody may read them before they are. */
  async #syncAsTheyAre(copies: readonly CopyFindings[]): Promise<void> {
    for (const { path, state } of copies) {
      if (state === 'missing') continue
      const file = await this.#fileSystem.open(path, 'write')
      await file.sync().finally(() => file.close())
    }
  }

  /** Takes the newest generation as it is, but for what a crash left half-written at its end. */
  async #goOn(
    { generation, copies, endPosition, endOffset, lastCrc }: Generation,
    table: StateTable,
  ): Promise<void> {
    const open: OpenCopy[] = []
    this.#copies = open
    for (const { path } of copies) open.push({ path, file: await this.#fileSystem.open(path, 'write') })
    this.#current = generation
    this.#sizeBytes = endPosition
    this.#offset = endOffset
    this.#lastCrc = lastCrc
    const snapshotBytes = Math.min(endPosition, table.sizeBytes + table.size * 64)
    this.#rewriteAboveBytes = historyAbove(snapshotBytes)
    // As `#syncAsTheyAre` does.
    await this.#onBoth(async ({ file }, i) => {
      if (copies[i].state === 'torn') await file.truncate(endPosition)
      await this.#sync(file)
    })
  }

  async #noted(): Promise<StateNote | undefined> {
    return (await readCleanFile(this.#fileSystem, dirname(this.#directory), this.#checksum))?.state
  }

  /** @param hollow the generations that are there, none of which holds a whole change */
  async #assertNoLogs(hollow: readonly Generation[]): Promise<void> {
    if (!(await hasLogs(this.#fileSystem, this.#directory))) return
    const names = hollow.map(({ generation }) => `state/${basename(stemOf('', generation))}`)
    const what =
      names.length > 0
        ? `the state cannot be read: there is no whole change in ${names.join(', ')} (.log, .copy)`
        : 'the state is missing: there is no file in state/'
    throw new RatatoskrError(
      'RTK_STORE_CORRUPT',
      `${what}, and there are logs whose topics it would name. Nothing was changed. Restore state/ from a backup, or run \`ratatoskr log repair --accept-loss\` to begin with an empty state; it keeps the logs, which \`ratatoskr log dump\` reads`,
    )
  }

  async #sync(file: DiskFile): Promise<void> {
    try {
      await file.sync()
    } catch (error) {
      this.#poisoned = true
      throw error
    }
  }

  #onBoth(act: (copy: OpenCopy, i: number) => Promise<void>): Promise<void> {
    return allOf(this.#copies.map(act))
  }

  /** Removes what a rewrite that was interrupted left. */
  async #removeUnfinished(names: readonly string[]): Promise<void> {
    for (const name of names)
      if (name.endsWith('.tmp')) await this.#fileSystem.remove(`${this.#directory}/${name}`)
  }
}

const shortOf = ({ generation, sizeBytes }: StateNote): RatatoskrError =>
  new RatatoskrError(
    'RTK_STORE_CORRUPT',
    `the state ends before what the last stop left: ${sizeBytes} whole bytes of ${basename(stemOf('', generation))} (.log, .copy) expected; topics or committed offsets are lost without the rest. Nothing was changed. Put either file back in state/ as the stop left it, or run \`ratatoskr log repair --accept-loss\` to go on with what is left, also after restoring an older state/ from a backup; it keeps the logs`,
  )

const ignored = (): void => {}

function trueWhenFull(error: unknown): true {
  if (isFull(error)) return true
  throw error
}

const historyAbove = (snapshotBytes: number): number =>
  Math.max(historyBytesMin, snapshotBytes * 2 + historyBytesMin)

/** Waits for all, so that nothing is under way any more; then throws the gravest failure: one that is not lack of room. */
async function allOf(calls: readonly Promise<void>[]): Promise<void> {
  const failures: unknown[] = []
  for (const outcome of await Promise.allSettled(calls)) {
    if (outcome.status === 'rejected') failures.push(outcome.reason)
  }
  if (failures.length > 0) throw failures.find((failure) => !isFull(failure)) ?? failures[0]
}

/** Batches joined to blocks of up to 1 MiB, so that many small changes take one call of the system. */
function blocksOf(batches: readonly Uint8Array[]): Uint8Array[] {
  const blocks: Uint8Array[] = []
  for (let from = 0; from < batches.length; ) {
    let [to, bytes] = [from + 1, batches[from].length]
    while (to < batches.length && bytes + batches[to].length <= writeBytesMax) bytes += batches[to++].length
    blocks.push(to === from + 1 ? batches[from] : joined(batches.slice(from, to), bytes))
    from = to
  }
  return blocks
}

function joined(parts: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const whole = allocate(sizeBytes)
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
