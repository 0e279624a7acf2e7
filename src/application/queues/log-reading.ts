/**
 * How a queue partition reads its log: one chunk at a time into its window. What the log does not have any more, through damage
 * or retention, is settled; what cannot be read now is tried again after a pause.
 */
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { MaybePromise } from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { ReadablePartition } from '../seams.ts'
import { LogTrouble } from './log-trouble.ts'
import { LogWindow } from './log-window.ts'
import type { PartitionHost } from './partition-host.ts'

/** What is needed of the partition. */
interface ReadingHost {
  readonly log: ReadablePartition
  readonly host: PartitionHost
  readonly table: () => LeaseTable | undefined
  /** To be called when the lease table was changed. */
  afterwards(): void
  schedule(): void
  /** The window has something. */
  filled(): void
}

export class LogReading {
  readonly window: LogWindow
  readonly #parts: ReadingHost
  readonly #trouble: LogTrouble
  #isUnderWay = false
  #closed = false

  constructor(parts: ReadingHost) {
    this.#parts = parts
    this.window = new LogWindow(parts.log)
    this.#trouble = new LogTrouble(parts.log, parts.host, () => parts.schedule())
  }

  /** True while the log is asked. */
  get isUnderWay(): boolean {
    return this.#isUnderWay
  }

  /** True while nothing is to be tried. */
  get isPausing(): boolean {
    return this.#trouble.pausing
  }

  /** Tries again after a while. */
  pause(): void {
    this.#trouble.pause()
  }

  close(): void {
    this.#closed = true
    this.#trouble.close()
    this.window.drop()
  }

  /** Reads the batch that holds `offset`, and what follows it. @returns true when it is there already */
  read(offset: number, bytesMax: number): boolean {
    let found: MaybePromise<void>
    try {
      found = this.window.read(offset, bytesMax)
    } catch (error) {
      return this.#failed(offset, error)
    }
    if (!isPromise(found)) return this.#done(offset)
    this.#isUnderWay = true
    found.then(
      () => this.#ended(() => this.#done(offset)),
      (error) => this.#ended(() => this.#failed(offset, error)),
    )
    return false
  }

  /** Settles what retention was faster with. */
  followStart(table: LeaseTable): void {
    const { startOffset } = this.#parts.log
    if (table.floor < startOffset && this.#trouble.startMoved(startOffset)) {
      this.#skip(table, table.floor, startOffset)
    }
  }

  #ended(look: () => boolean): void {
    this.#isUnderWay = false
    if (!this.#closed && look()) this.#parts.schedule()
    this.#parts.host.reviewTakes()
  }

  #done(offset: number): boolean {
    this.#parts.filled()
    if (this.window.find(offset) !== -1) {
      this.#trouble.over()
      return true
    }
    this.#trouble.pause() // the log said that there is something
    return false
  }

  /** What is lost to damage is settled, and a log that cannot be read now is tried again. */
  #failed(offset: number, error: unknown): boolean {
    const table = this.#parts.table()
    const to = this.#trouble.failed(offset, error)
    if (to === undefined || table === undefined) return false
    this.#skip(table, offset, to)
    return true
  }

  /** Settles what cannot be had any more. */
  #skip(table: LeaseTable, from: number, to: number): void {
    const next = table.nextOffset
    let skipped = table.skip(from, Math.min(to, next))
    if (to > next) {
      table.admit(to, undefined, [next, to])
      skipped += to - Math.max(next, from)
    }
    this.#parts.host.skipped(skipped)
    this.#parts.afterwards()
  }
}
