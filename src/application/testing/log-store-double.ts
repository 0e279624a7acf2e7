/**
 * A log store in memory that tests can make slow, sick or full. It keeps its logs over stop and start, as a disk does,
 * and counts what it is asked for.
 */
import { baseOffsetOf, batchSizeOf, maxTimestampOf, nextOffsetOf } from '../../domain/batch/header.ts'
import { LogStoreTally } from '../../domain/storage-rules.ts'
import type {
  LogId,
  LogStore,
  LogStoreSupports,
  OffsetRange,
  OpenLogOptions,
  PartitionLog,
} from '../../ports/index.ts'
import { type Durability, RatatoskrError } from '../../ports/index.ts'

const keyOf = (id: LogId): string => `${id.topicId}/${id.partition}`

/** What survives closing. */
interface Kept {
  readonly id: LogId
  batches: Uint8Array[]
  startOffset: number
  open: LogDouble | undefined
  /** What is lost to damage: a test sets it, at batch boundaries. */
  damaged: readonly OffsetRange[]
}

export interface LogStoreDoubleOptions {
  readonly durability?: readonly Durability[]
  readonly timeIndex?: boolean
}

export class LogStoreDouble implements LogStore {
  readonly name = 'log-double'
  readonly supports: LogStoreSupports
  readonly counters = new LogStoreTally()
  readonly kept = new Map<string, Kept>()
  /** Called before each append; what it throws is the append's failure, a promise holds it back. */
  onAppend: (id: LogId, batch: Uint8Array) => void | Promise<void> = () => {}
  /** Called when an append is stored; what it throws is the append's failure all the same. */
  onAppended: (id: LogId, durability: Durability) => void = () => {}
  /** Called before each opening. */
  onOpen: (id: LogId, options: OpenLogOptions) => void | Promise<void> = () => {}
  onDelete: (id: LogId) => void | Promise<void> = () => {}
  onRead: (id: LogId) => void = () => {}
  /** Reads answer with promises, as a disk's do. */
  slowReads = false
  onOffsetForTime: (id: LogId) => void = () => {}
  onClose: (id: LogId) => void | Promise<void> = () => {}
  onStart: () => void = () => {}
  onStop: () => void | Promise<void> = () => {}
  appends = 0
  readonly opened: { readonly id: LogId; readonly segmentBytes: number }[] = []
  started = false

  constructor({ durability = ['memory'], timeIndex = true }: LogStoreDoubleOptions = {}) {
    this.supports = { durability, timeIndex, reopen: true, truncateAfter: false, fencing: false }
  }

  async start(): Promise<void> {
    this.onStart()
    this.started = true
  }

  async stop(): Promise<void> {
    await this.onStop()
    this.started = false
    for (const kept of this.kept.values()) await kept.open?.close()
  }

  async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    if (!this.started) throw new RatatoskrError('RTK_CLOSED', 'the double is not started')
    await this.onOpen(id, options)
    let kept = this.kept.get(keyOf(id))
    if (kept === undefined) {
      kept = { id, batches: [], startOffset: 0, open: undefined, damaged: [] }
      this.kept.set(keyOf(id), kept)
    }
    if (kept.open !== undefined) throw new RatatoskrError('RTK_INTERNAL', 'open already')
    this.opened.push({ id, segmentBytes: options.segmentBytes })
    kept.open = new LogDouble(this, kept)
    return kept.open
  }

  async *listLogs(): AsyncGenerator<LogId, void, undefined> {
    for (const { id } of [...this.kept.values()]) yield id
  }

  /** From here on, records of `range` are lost to damage; it must end where batches do. */
  damage(topicId: string, range: OffsetRange, partition = 0): void {
    const kept = this.kept.get(keyOf({ topicId, partition }))
    if (kept !== undefined) kept.damaged = [...kept.damaged, range]
  }

  async deleteLog(id: LogId): Promise<void> {
    await this.onDelete(id)
    await this.kept.get(keyOf(id))?.open?.close()
    this.kept.delete(keyOf(id))
  }
}

const sizeOf = (batches: readonly Uint8Array[]): number =>
  batches.reduce((sum, batch) => sum + batch.length, 0)

class LogDouble implements PartitionLog {
  readonly #store: LogStoreDouble
  readonly #kept: Kept
  readonly #accepted: Uint8Array[] = []
  #stable: Uint8Array[]
  #closed = false

  constructor(store: LogStoreDouble, kept: Kept) {
    this.#store = store
    this.#kept = kept
    this.#stable = [...kept.batches]
  }

  get startOffset(): number {
    return this.#kept.startOffset
  }

  get stableOffset(): number {
    const last = this.#stable.at(-1)
    return last === undefined ? this.#kept.startOffset : nextOffsetOf(last)
  }

  get endOffset(): number {
    const last = this.#accepted.at(-1)
    return last === undefined ? this.stableOffset : nextOffsetOf(last)
  }

  get sizeBytes(): number {
    return sizeOf(this.#stable)
  }

  get damaged(): readonly OffsetRange[] {
    const { damaged, startOffset } = this.#kept
    return damaged.filter(({ to }) => to > startOffset)
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return []
  }

  append(
    batch: Uint8Array,
    baseOffset: number,
    _recordCount: number,
    durability: Durability,
  ): void | Promise<void> {
    this.#assertOpen()
    this.#store.appends++
    if (baseOffset !== this.endOffset)
      throw new RatatoskrError('RTK_OFFSET_CONFLICT', `the end is ${this.endOffset}`)
    const copy = batch.slice()
    const held = this.#store.onAppend(this.#kept.id, copy)
    if (held === undefined) return this.#land(copy, durability)
    this.#accepted.push(copy)
    return held.then(() => {
      this.#accepted.shift()
      this.#land(copy, durability)
    })
  }

  read(offset: number, bytesMax: number): Uint8Array | Promise<Uint8Array> {
    if (!this.#store.slowReads) return this.#readNow(offset, bytesMax)
    return new Promise((resolve) => setImmediate(resolve)).then(() => this.#readNow(offset, bytesMax))
  }

  #readNow(offset: number, bytesMax: number): Uint8Array {
    this.#assertOpen()
    this.#store.onRead(this.#kept.id)
    if (offset < this.startOffset || offset > this.stableOffset) {
      throw new RatatoskrError('RTK_OFFSET_OUT_OF_RANGE', `no offset ${offset}`)
    }
    const gap = this.damaged.find(({ to }) => offset < to)
    if (gap !== undefined && offset >= gap.from) {
      throw new RatatoskrError('RTK_STORE_CORRUPT', `offsets ${gap.from} to ${gap.to - 1} are lost`, {
        details: { offset, nextOffset: gap.to },
      })
    }
    const found: Uint8Array[] = []
    for (const batch of this.#stable) {
      if (nextOffsetOf(batch) <= offset) continue
      if (gap !== undefined && nextOffsetOf(batch) > gap.from) break
      if (found.length > 0 && sizeOf(found) + batch.length > bytesMax) break
      found.push(batch)
    }
    const bytes = new Uint8Array(sizeOf(found))
    let at = 0
    for (const batch of found) {
      bytes.set(batch, at)
      at += batchSizeOf(batch)
    }
    return bytes
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    this.#assertOpen()
    this.#store.onOffsetForTime(this.#kept.id)
    if (!this.#store.supports.timeIndex) throw new RatatoskrError('RTK_NOT_SUPPORTED', 'no time index')
    const found = this.#stable.find((batch) => maxTimestampOf(batch) >= timestampMs)
    return found === undefined ? this.stableOffset : baseOffsetOf(found)
  }

  /** Each batch is a segment of its own, and the last one is being written. */
  async truncateBefore(offset: number): Promise<number> {
    this.#assertOpen()
    const { batches } = this.#kept
    while (batches.length > 1 && nextOffsetOf(batches[0]) <= offset) {
      this.#kept.startOffset = nextOffsetOf(batches[0])
      batches.shift()
    }
    this.#stable = [...batches]
    return this.#kept.startOffset
  }

  async truncateAfter(): Promise<void> {
    throw new RatatoskrError('RTK_NOT_SUPPORTED', 'the double cannot')
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#store.onClose(this.#kept.id)
    this.#kept.open = undefined
  }

  #land(batch: Uint8Array, durability: Durability): void {
    this.#stable.push(batch)
    this.#kept.batches = [...this.#stable]
    this.#store.onAppended(this.#kept.id, durability)
  }

  #assertOpen(): void {
    if (this.#closed) throw new RatatoskrError('RTK_CLOSED', 'the log is closed')
  }
}

/** Holds appends back until the test lets them go, in order. */
export class AppendGate {
  readonly #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []

  get waiting(): number {
    return this.#waiting.length
  }

  hold = (): Promise<void> =>
    new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
    })

  /** Lets the oldest append, or `count` of them, settle. */
  release(count = 1): void {
    for (const { resolve } of this.#waiting.splice(0, count)) resolve()
  }

  /** Fails everything that is held back, as a store does. */
  fail(error: unknown): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error)
  }
}
