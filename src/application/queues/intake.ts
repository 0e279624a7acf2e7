/**
 * How messages get into the lease table of a queue partition: as many as may be needed next, with their keys where order
 * counts, and without those that have expired or are for other groups.
 */
import { RecordScan } from '../../domain/batch/slice.ts'
import { settledRunsMax } from '../../domain/queue/checkpoint.ts'
import type { LeaseTable } from '../../domain/queue/lease-table.ts'
import { batchStarts, utf8 } from '../../ports/index.ts'
import type { ReadablePartition } from '../seams.ts'
import { expiredIn, forOtherGroupsIn } from './cutting.ts'
import type { LogWindow } from './log-window.ts'
import type { PartitionHost } from './partition-host.ts'

/** Unsettled messages beside those in flight: how far a partition looks ahead past what is held back. */
const lookaheadMax = 65_536
/** Messages that are admitted at once where their keys do not count. */
const admittedAtOnce = 16_384
/** Messages on their way to the dead letters above which nothing fresh is delivered. */
const failingMax = 10_000

export class Intake {
  readonly #log: ReadablePartition
  readonly #window: LogWindow
  readonly #host: PartitionHost
  readonly #scan = new RecordScan()
  readonly #group: Uint8Array
  /** When the first message expires that was looked at, Unix ms. */
  #nextExpiryMs = Number.POSITIVE_INFINITY

  constructor(log: ReadablePartition, window: LogWindow, host: PartitionHost) {
    this.#log = log
    this.#window = window
    this.#host = host
    this.#group = utf8(host.group)
  }

  /** True when there are more messages, and room for them. */
  mayAdmit(table: LeaseTable): boolean {
    const most = lookaheadMax + this.#host.config.inFlightMax
    return (
      table.nextOffset < this.#log.stableOffset &&
      table.unsettled < most &&
      table.failing < failingMax &&
      table.runs < settledRunsMax
    )
  }

  /** Admits the next messages. @returns false when the window has to hold the next one first */
  admit(table: LeaseTable): boolean {
    const from = table.nextOffset
    if (!this.#host.ordered) {
      table.admit(Math.min(this.#log.stableOffset, from + admittedAtOnce))
      return true
    }
    const at = this.#window.find(from)
    if (at === -1) return false
    const scan = this.#scan.begin(from)
    const wallMs = this.#host.clock.now()
    const bytes = this.#window.bytes.subarray(at)
    for (const start of batchStarts(bytes)) {
      try {
        scan.add(bytes, start, wallMs, this.#host.expansion, this.#group)
      } catch (error) {
        if (start === 0) this.#admitUnread(table, error)
        break // first what comes before it
      }
    }
    if (scan.to === from) return true
    table.admit(scan.to, scan.keyHashes, scan.absent)
    this.#nextExpiryMs = Math.min(this.#nextExpiryMs, scan.nextExpiryMs)
    this.#expired(table, scan.expired)
    return true
  }

  /** Settles what of these batches has expired, or is for another group. @returns true when something was settled */
  passOver(table: LeaseTable, bytes: Uint8Array): boolean {
    const wallMs = this.#host.clock.now()
    const { ordered, expansion } = this.#host
    // Where keys count, all records were looked at when they were admitted.
    if (ordered && wallMs < this.#nextExpiryMs) return false
    const expired = expiredIn(bytes, wallMs, expansion)
    this.#expired(table, expired)
    const others = ordered ? [] : forOtherGroupsIn(bytes, this.#group, expansion)
    for (let i = 0; i < others.length; i += 2) table.skip(others[i], others[i + 1])
    return expired.length > 0 || others.length > 0
  }

  /** The table has begun anew. */
  forget(): void {
    this.#nextExpiryMs = Number.POSITIVE_INFINITY
  }

  /** A batch that nobody here can decode has no keys that anybody knows of: it is given on as it is. */
  #admitUnread(table: LeaseTable, error: unknown): void {
    const from = table.nextOffset
    const to = this.#window.endOfBatch(from)
    this.#host.logger.warn('a batch cannot be decoded; a queue group gets it as it is, without order', {
      topic: this.#host.topic.text,
      group: this.#host.group,
      partition: this.#log.index,
      from,
      to,
      error,
    })
    table.admit(to)
  }

  #expired(table: LeaseTable, ranges: readonly number[]): void {
    for (let i = 0; i < ranges.length; i += 2) {
      if (this.#host.config.deadLetterExpired) table.fail(ranges[i], ranges[i + 1], 'expired')
      else table.skip(ranges[i], ranges[i + 1])
    }
  }
}
