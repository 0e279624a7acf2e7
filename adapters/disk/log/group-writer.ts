/**
 * Writes what was appended to one log: one group at a time, with one fdatasync where it is asked for; all that arrives
 * meanwhile goes together with the next (group commit). While a group is synced the next is written already, so that the
 * disk always has work; it is synced after that. Appends settle in their order.
 *
 * A failed write for lack of room is taken back: the half-written end is cut off and the log goes on. Every other failure,
 * and any failure of a sync, ends the log: after a failed fdatasync the kernel may have dropped the pages and will report
 * success the next time, so that descriptor is never synced again and the log must be opened anew.
 */
import type { Durability } from 'ratatoskr/ports'
import type { PooledFile } from '../files/file-pool.ts'
import { isFull, writePieces } from '../files/file-system.ts'
import type { HotChunk } from './hot-tail.ts'
import type { Place } from './place.ts'
import { checkpointBytes, type Segment } from './segment.ts'
import type { StoreContext } from './store-context.ts'

// What one sync makes durable: half of what is pending, so that the other half is written meanwhile; but never so little
// that syncs cost more than they overlap, nor so much that the first of a group waits for long.
const groupBytesMin = 512 * 1024
const groupBytesMax = 4 * 1024 * 1024

/** An append that is not settled yet. Its bytes are in `chunk` from `from` to `to`. */
export interface PendingAppend {
  readonly segment: Segment
  readonly chunk: HotChunk
  readonly from: number
  readonly to: number
  readonly baseOffset: number
  readonly endOffset: number
  readonly durability: Durability
  resolve(): void
  reject(error: unknown): void
}

/** What the log is told. Nothing here throws. */
export interface WriterEvents {
  /** Everything up to this append is as durable as was asked. */
  settled(append: PendingAppend): void
  /** Nothing of what is pending was or will be written; the log goes on at its stable end. */
  full(error: unknown): void
  /** The log is over. */
  failed(error: unknown): void
}

/** What was written while the group before it was synced. */
interface WrittenAhead {
  /** Appends, from the first that is pending. */
  readonly count: number
  /** Why there are not more. */
  readonly failed?: { readonly error: unknown }
}

const nothingAhead: WrittenAhead = { count: 0 }

export class GroupWriter {
  readonly #context: StoreContext
  readonly #directory: string
  readonly #events: WriterEvents
  #pending: PendingAppend[] = []
  #pendingBytes = 0
  #ahead = nothingAhead
  /** The segment that was written last, and whether some of it is not synced. */
  #written: { readonly segment: Segment; dirty: boolean } | undefined
  /** Bytes that were written since the last sync. */
  #unsyncedBytes = 0
  /** Synced and complete, but nothing comes after it yet. */
  #sealed: Segment | undefined
  #timer: Disposable | undefined
  #failed = false
  #directoriesToSync: readonly string[]

  /** @param newDirectories directories that were made for this log and are not durable yet, the log's own not among them */
  constructor(
    context: StoreContext,
    directory: string,
    newDirectories: readonly string[],
    events: WriterEvents,
  ) {
    this.#context = context
    this.#directory = directory
    this.#directoriesToSync = newDirectories
    this.#events = events
  }

  get isEmpty(): boolean {
    return this.#pending.length === 0
  }

  get isDirty(): boolean {
    return this.#written?.dirty ?? false
  }

  /** Up to where a segment is written. Only while no commit is under way. */
  writtenEnd(segment: Segment): Place {
    const first = this.#pending.find((append) => append.segment === segment)
    if (first === undefined) return { position: segment.sizeBytes, offset: segment.endOffset }
    return { position: positionOf(first), offset: first.baseOffset }
  }

  add(append: PendingAppend): void {
    this.#pending.push(append)
    this.#pendingBytes += append.to - append.from
  }

  /** Gives up everything pending. @returns what it was, in order */
  takePending(): readonly PendingAppend[] {
    const pending = this.#pending
    this.#pending = []
    this.#pendingBytes = 0
    this.#ahead = nothingAhead
    return pending
  }

  /**
   * Writes what is pending now, group by group. Failures go to the events.
   * @param onSyncDue is called when data of level `interval` has waited for long enough, or when there is so much that a
   *   crash would make the next start long
   */
  async commit(onSyncDue: () => void): Promise<void> {
    const last = this.#pending.at(-1)
    while (last !== undefined && this.#pending.length > 0 && this.#pending[0].endOffset <= last.endOffset) {
      const group = this.#groupFrom(0)
      if (!(await this.#writeGroup(group))) return
      if (!this.isDirty) continue
      if (this.#unsyncedBytes >= checkpointBytes) onSyncDue()
      else if (group.some((append) => append.durability === 'interval')) this.#armTimer(onSyncDue)
    }
  }

  /** Syncs what was written and not synced. @returns false when that failed, and the log with it */
  async sync(): Promise<boolean> {
    this.disarm()
    if (this.#written === undefined || !this.#written.dirty) return true
    const { files } = this.#context
    const { segment } = this.#written
    try {
      const file = await files.acquire(segment.path, 'write')
      try {
        await this.#syncFile(file)
      } finally {
        files.release(file)
      }
      segment.checkpoint(this.writtenEnd(segment))
      return true
    } catch (error) {
      await this.#fail(error)
      return false
    }
  }

  /** Forgets which segment was written last: the log was cut, and what is left of it is synced. */
  restart(): void {
    this.disarm()
    this.#written = undefined
    this.#sealed = undefined
  }

  /** Cancels a sync that waits for its time. */
  disarm(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  /** Consecutive appends of one segment, from a place among those pending; what is written ahead is never split. */
  #groupFrom(first: number): readonly PendingAppend[] {
    const { segment } = this.#pending[first]
    const bytesMax = Math.min(Math.max(this.#pendingBytes / 2, groupBytesMin), groupBytesMax)
    let bytes = 0
    let end = first
    for (; end < this.#pending.length; end++) {
      const append = this.#pending[end]
      bytes += append.to - append.from
      const isFull = bytes > bytesMax && end > first && end >= this.#ahead.count
      if (append.segment !== segment || isFull) break
    }
    return this.#pending.slice(first, end)
  }

  /** @returns false when it failed */
  async #writeGroup(group: readonly PendingAppend[]): Promise<boolean> {
    const { files } = this.#context
    const { segment } = group[0]
    const start = positionOf(group[0])
    let file: PooledFile | undefined
    try {
      if (this.#written?.segment !== segment && !(await this.#sealWritten())) return false
      file = await this.#open(segment)
      // While this waited for a place, the file may have been closed, and the sync before that have failed.
      if (this.#failed) {
        files.release(file)
        return false
      }
      const { count, failed } = this.#ahead
      this.#ahead = nothingAhead
      if (failed !== undefined) throw failed.error
      await this.#write(group.slice(count), file)
    } catch (error) {
      await this.#writeFailed(error, segment, file, start)
      return false
    }
    try {
      await this.#settle(group, file)
      return true
    } catch (error) {
      await this.#fail(error)
      return false
    } finally {
      files.release(file)
    }
  }

  /** Settles a group that is written: at once up to the first append that asks for a sync, the rest after it. */
  async #settle(group: readonly PendingAppend[], file: PooledFile): Promise<void> {
    this.#markDirty(file)
    for (const { from, to } of group) this.#unsyncedBytes += to - from
    const firstSynced = group.findIndex((append) => append.durability === 'fsync')
    const atOnce = firstSynced === -1 ? group.length : firstSynced
    this.#settleFirst(atOnce)
    if (atOnce === group.length) return
    const ahead = this.#writeAhead(group.length - atOnce, file)
    try {
      await this.#syncFile(file)
    } finally {
      await ahead
    }
    if (this.#ahead !== nothingAhead) this.#markDirty(file)
    this.#settleFirst(group.length - atOnce)
    const { segment, chunk, to, endOffset } = group[group.length - 1]
    segment.checkpoint({ position: chunk.filePosition + to, offset: endOffset })
  }

  /** Writes what follows the first `count` pending into the same segment. A failure waits for its group. */
  async #writeAhead(count: number, file: PooledFile): Promise<void> {
    if (this.#pending[count]?.segment !== this.#pending[0].segment) return
    const group = this.#groupFrom(count)
    try {
      await this.#write(group, file)
      this.#ahead = { count: group.length }
    } catch (error) {
      this.#ahead = { count: 0, failed: { error } }
    }
  }

  async #write(group: readonly PendingAppend[], file: PooledFile): Promise<void> {
    const { reserve } = this.#context
    if (!(await reserve.enter())) throw noRoom()
    try {
      if (group.length > 0) await writePieces(file.file, piecesOf(group), positionOf(group[0]))
    } finally {
      reserve.leave()
    }
  }

  #markDirty(file: PooledFile): void {
    file.dirty = true
    if (this.#written !== undefined) this.#written.dirty = true
  }

  #settleFirst(count: number): void {
    for (const append of this.#pending.splice(0, count)) {
      this.#pendingBytes -= append.to - append.from
      this.#events.settled(append)
    }
  }

  /** A descriptor whose sync failed is never synced again: the kernel may have dropped the pages, and would say all is well. */
  async #syncFile(file: PooledFile): Promise<void> {
    try {
      await this.#sync(file)
    } catch (error) {
      this.#context.files.poison(file)
      throw error
    }
  }

  async #sync(file: PooledFile): Promise<void> {
    await file.file.sync()
    file.dirty = false
    if (this.#written !== undefined) this.#written.dirty = false
    this.#unsyncedBytes = 0
    this.#context.tally.syncs++
    this.disarm()
  }

  /** Before another segment is begun, the one before is synced: only the last may ever be torn. */
  async #sealWritten(): Promise<boolean> {
    const sealed = this.#written
    if (sealed === undefined) return true
    if (!(await this.sync())) return false
    await sealed.segment.writeIndex()
    this.#sealed = sealed.segment
    this.#written = undefined
    return true
  }

  async #open(segment: Segment): Promise<PooledFile> {
    const { files, fileSystem } = this.#context
    const file = await files.acquire(segment.path, 'write', !segment.created)
    file.onSyncFailed = (error) => void this.#fail(error)
    if (!segment.created) {
      try {
        await fileSystem.syncDirectory(this.#directory)
        for (const directory of this.#directoriesToSync) await fileSystem.syncDirectory(directory)
      } catch (error) {
        files.release(file)
        throw error
      }
      this.#directoriesToSync = []
      segment.created = true
      // Not before: without the new segment the sealed one would be written again, and need its index in memory.
      if (this.#sealed !== undefined) this.#context.indexes.keep(this.#sealed)
    }
    this.#sealed = undefined
    this.#written = { segment, dirty: file.dirty }
    return file
  }

  /** A write failed: takes it back when the disk is only full, ends the log otherwise. */
  async #writeFailed(
    error: unknown,
    segment: Segment,
    file: PooledFile | undefined,
    start: number,
  ): Promise<void> {
    const { files, fileSystem } = this.#context
    if (!isFull(error)) {
      if (file !== undefined) files.release(file)
      await this.#fail(error)
      return
    }
    try {
      if (file !== undefined) {
        // What goes must be gone for good before anything comes after it: the next sync, or the sealing, sees to that.
        this.#markDirty(file)
        await file.file.truncate(start).finally(() => files.release(file))
      } else if (!segment.created) {
        await files.discard(segment.path)
        await fileSystem.remove(segment.path)
      }
    } catch (second) {
      await this.#fail(second)
      return
    }
    this.#events.full(error)
  }

  async #fail(error: unknown): Promise<void> {
    this.disarm()
    this.#failed = true
    const { segment } = this.#written ?? this.#pending[0] ?? {}
    this.#written = undefined
    this.#events.failed(error)
    if (segment !== undefined) await this.#context.files.discard(segment.path)
  }

  #armTimer(onSyncDue: () => void): void {
    this.#timer ??= this.#context.clock.after(this.#context.syncIntervalMs, () => {
      this.#timer = undefined
      onSyncDue()
    })
  }
}

/** What is left of the disk is wanted for deletions: as good as full. */
const noRoom = (): Error => Object.assign(new Error('room is kept for deletions'), { code: 'ENOSPC' })

const positionOf = ({ chunk, from }: PendingAppend): number => chunk.filePosition + from

/** The bytes of a group, as few pieces as there are chunks. */
const piecesOf = (group: readonly PendingAppend[]): readonly Uint8Array[] =>
  runsOf(group).map(({ chunk, from, to }) => chunk.buffer.view(from, to))

/** Appends that lie side by side in one chunk, as one run each. */
function runsOf(group: readonly PendingAppend[]): { chunk: HotChunk; from: number; to: number }[] {
  const runs: { chunk: HotChunk; from: number; to: number }[] = []
  for (const { chunk, from, to } of group) {
    const last = runs.at(-1)
    if (last?.chunk === chunk && last.to === from) last.to = to
    else runs.push({ chunk, from, to })
  }
  return runs
}
