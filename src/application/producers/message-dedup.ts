/**
 * Deduplication by message id, for topics with a `dedupWindowMs`: what was stored within the window under the same id is
 * answered for, not stored again. Two publishes of one id at the same time: the second waits for the first.
 *
 * After a start the ids are read back from the log, where the time of a record stands for that of its arrival.
 */
import { RecordCursor } from '../../domain/batch/cursor.ts'
import { type Expansion, expandedRecords } from '../../domain/batch/expand.ts'
import { batchStarts, isControlBatch, maxTimestampOf } from '../../domain/batch/header.ts'
import { isIdHeader } from '../../domain/batch/id-header.ts'
import { IdWindow } from '../../domain/producers/id-window.ts'
import type { BatchBytes, Clock, Logger } from '../../ports/index.ts'
import type { MessageWaiter } from '../partitions/accumulator.ts'
import type { LogWalker, WalkedLog } from './partition-producers.ts'

/** Where a message is that was published before. */
export interface StoredPlace {
  readonly partition: number
  readonly offset: number
}

export interface DedupContext {
  readonly clock: Clock
  readonly logger: Logger
  readonly expansion: Expansion
  readonly idsMax: number
}

export class MessageDedup {
  readonly #topic: string
  readonly #context: DedupContext
  readonly #window: IdWindow
  /** Of the ids that are on their way and that somebody waits for, by their entry. */
  readonly #waiters = new Map<number, (() => void)[]>()
  /** Partitions whose log was read since the start: opened once more, it holds nothing new. */
  readonly #walked = new Set<number>()
  #warned = false

  constructor(topic: string, windowMs: number, context: DedupContext) {
    this.#topic = topic
    this.#context = context
    this.#window = new IdWindow(windowMs, context.idsMax)
  }

  set windowMs(windowMs: number) {
    this.#window.windowMs = windowMs
  }

  /** @param at where the 16 bytes of the id begin. @returns the entry of an id that is known; -1 otherwise */
  find(bytes: Uint8Array, at = 0): number {
    return this.#window.find(bytes, at, this.#context.clock.now())
  }

  /** Where the message is that `find` found; undefined while it is on its way. */
  placeOf(entry: number): StoredPlace | undefined {
    const offset = this.#window.offsetOf(entry)
    return offset === -1 ? undefined : { partition: this.#window.partitionOf(entry), offset }
  }

  /** Calls `run` when a message that is on its way is stored, or is not to be. */
  whenSettled(entry: number, run: () => void): void {
    const waiters = this.#waiters.get(entry)
    if (waiters === undefined) this.#waiters.set(entry, [run])
    else waiters.push(run)
  }

  /** Takes an id that is not known. @returns what `stored` or `failed` must be told */
  claim(bytes: Uint8Array, at = 0): number {
    const entry = this.#window.claim(bytes, at, this.#context.clock.now())
    if (this.#window.forgotten > 0 && !this.#warned) {
      this.#warned = true
      this.#context.logger.warn(
        'a topic has more message ids within its window than are remembered (dedupIdsPerTopicMax): the oldest are forgotten early',
        { topic: this.#topic, idsMax: this.#context.idsMax },
      )
    }
    return entry
  }

  /** Takes the id of a message that is about to be appended. @returns whom to tell of it, instead of `waiter` */
  claiming(id: Uint8Array, partition: number, waiter: MessageWaiter): MessageWaiter {
    const entry = this.claim(id)
    return {
      stored: (offset, durability) => {
        this.stored(entry, partition, offset)
        waiter.stored(offset, durability)
      },
      failed: (error) => {
        this.failed(entry)
        waiter.failed(error)
      },
    }
  }

  stored(entry: number, partition: number, offset: number): void {
    this.#window.place(entry, partition, offset)
    this.#settle(entry)
  }

  failed(entry: number): void {
    this.#window.release(entry)
    this.#settle(entry)
  }

  /** What reads the ids of a partition's log back; undefined when that was done. */
  async walker(partition: number, log: WalkedLog, timeIndex: boolean): Promise<LogWalker | undefined> {
    if (this.#walked.has(partition)) return undefined
    this.#walked.add(partition)
    const nowMs = this.#context.clock.now()
    const sinceMs = Math.max(0, nowMs - this.#window.windowMs + 1)
    const from = timeIndex ? await log.offsetForTime(sinceMs) : log.startOffset
    const cursor = new RecordCursor()
    return {
      from,
      batches: (bytes) => this.#walk(bytes, partition, cursor, sinceMs, nowMs),
      unreadable: () => {},
    }
  }

  #walk(bytes: BatchBytes, partition: number, cursor: RecordCursor, sinceMs: number, nowMs: number): void {
    for (const at of batchStarts(bytes)) {
      if (isControlBatch(bytes, at) || maxTimestampOf(bytes, at) < sinceMs) continue
      forEachId(cursor, bytes, at, this.#context.expansion, (id, place) => {
        const storedMs = Math.min(cursor.timestampMs, nowMs)
        if (place === -1 || storedMs < sinceMs || this.#window.find(id, place, nowMs) !== -1) return
        this.#window.place(this.#window.claim(id, place, storedMs), partition, cursor.offset)
      })
    }
  }

  #settle(entry: number): void {
    const waiters = this.#waiters.get(entry)
    if (waiters === undefined) return
    this.#waiters.delete(entry)
    for (const run of waiters) run()
  }
}

/**
 * Calls `visit` for each record of the batch at `at`, with the cursor at it and its id: the bytes that hold it and where in
 * them it begins, -1 for a record without one.
 */
export function forEachId(
  cursor: RecordCursor,
  batch: BatchBytes,
  at: number,
  expansion: Expansion,
  visit: (bytes: Uint8Array, idStart: number) => void,
): void {
  cursor.open(batch, at, expandedRecords(batch, at, expansion))
  while (cursor.next()) {
    let idStart = -1
    while (idStart === -1 && cursor.nextHeader()) if (isIdHeader(cursor)) idStart = cursor.headerValueStart
    visit(cursor.bytes, idStart)
  }
}
