/**
 * Where partitions are kept: an ordered log of record batches for each.
 *
 * The store sees batches as bytes and trusts its caller: names, sizes and CRCs were checked at the edge that admitted
 * them. It never interprets records; it may read the fixed batch header (offsets, timestamps, length).
 * The specification of this port is `logStoreContract` in `ratatoskr/contract-tests`.
 */
import type { Durability } from '../domain/durability.ts'
import type { OffsetRange } from '../domain/topic.ts'
import type { Component, MaybePromise } from './component.ts'

/** Bytes of one or more whole record batches, back to back. Whoever holds a reference must not change them. */
export type BatchBytes = Uint8Array

/** Which partition of which topic. Topics are known by id: a name never reaches storage. */
export interface LogId {
  readonly topicId: string
  readonly partition: number
}

/** What a log is opened with. */
export interface OpenLogOptions {
  /** Bytes after which the log starts a new segment. A batch is never split: a segment may hold one larger batch. */
  readonly segmentBytes: number
  /** True for a log that was opened before, in this run or an earlier one: a store that finds nothing of it tells so. */
  readonly known?: boolean | undefined
}

/** What a store can do, frozen. A false flag means that the method rejects with RTK_NOT_SUPPORTED, which the contract tests. */
export interface LogStoreSupports {
  /** The levels that `append` can reach, weakest first; the first is what the cheapest append gives. */
  readonly durability: readonly Durability[]
  /** Logs are still there after the store is stopped and started again. */
  readonly reopen: boolean
  /** `offsetForTime` answers. */
  readonly timeIndex: boolean
  /** `truncateAfter` works. */
  readonly truncateAfter: boolean
  /** A stale owner's append is refused even when it comes from another process. */
  readonly fencing: boolean
}

/** Running totals of a store since its start, and what it holds now, for stats and metrics. What a store does not have is 0. */
export interface LogStoreCounters {
  /** Appends that settled. */
  readonly appends: number
  readonly appendedBytes: number
  /** Times that data was forced to the medium; `appends` divided by it is what a group commit shares. */
  readonly syncs: number
  /** Reads that memory answered. */
  readonly hotReads: number
  /** Reads that the medium answered. */
  readonly coldReads: number
  /** Bytes of batches that are held in memory now. */
  readonly hotBytes: number
}

/** Where the logs of all partitions are kept. */
export interface LogStore extends Component {
  readonly supports: LogStoreSupports
  readonly counters: LogStoreCounters
  /**
   * Opens a log, or creates an empty one. Recovers first: what a crash left half-written is gone afterwards.
   * Opening a log that is open is RTK_INTERNAL: a partition has one owner.
   * @throws RTK_INVALID_ARGUMENT when the topic id is no UUID in lower case or the partition no number of 16 bits,
   *   RTK_STORE_CORRUPT when the files of the log contradict each other, so that nobody can tell which records are its
   *   own, RTK_CLOSED when the store is not started. Damage within a log is no reason: it is opened with `damaged` set.
   */
  openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog>
  /** Every log that exists, open or not, in no order. */
  listLogs(): AsyncIterable<LogId>
  /** Deletes a log and closes it if it is open. Deleting one that does not exist is no error. */
  deleteLog(id: LogId): Promise<void>
}

/**
 * One partition's log. Offsets rise by one a record, without gaps, across segments and reopening.
 * Only the one owner calls it, but it may call again before earlier promises settle.
 */
export interface PartitionLog {
  /** First offset that can be read. Equal to `endOffset` when the log is empty. */
  readonly startOffset: number
  /** One past the last record whose append settled; `read` gives nothing from here on. */
  readonly stableOffset: number
  /** One past the last record accepted, settled or not; where the next append must start. */
  readonly endOffset: number
  /** Bytes of the batches in the log, without indexes. */
  readonly sizeBytes: number
  /**
   * What is known to be lost to damage between `startOffset` and `stableOffset`: in order, without overlaps. The records
   * before and after stay readable. It grows when a read finds more.
   */
  readonly damaged: readonly OffsetRange[]
  /** What of `damaged` the owner of the data has accepted as lost: nobody's trouble any more. */
  readonly acceptedLosses: readonly OffsetRange[]
  /** True when nothing was found of a log that was `known`: what it held is lost, and nobody can tell what that was. */
  readonly wasMissing?: boolean
  /**
   * Appends whole batches whose first record has `baseOffset`. Settles when everything up to and including them has
   * reached at least `durability`; calls settle in order.
   * @param batch one batch, its base offset already stamped. One of which `isKeepable` is true, because it is large and fills
   *   its buffer, is the store's from here on: it may keep it instead of copying it, and nobody changes it unless the append
   *   fails; it tells so with `keepBytes` if their memory is to be used again when it lets go of the batch. Of any other the
   *   store copies what it needs before it returns: the caller may reuse it at once.
   * @param baseOffset must be `endOffset`
   * @param recordCount offsets that the batch takes, at least 1
   * @throws RTK_OFFSET_CONFLICT when `baseOffset` is not `endOffset` (nothing is written), RTK_STORE_FULL when there is
   *   no room (nothing is written, reads go on), RTK_STORE_FAILED when writing failed: every append not yet settled
   *   fails with it, none of them is ever read, and the log accepts nothing until it is opened again,
   *   RTK_DURABILITY_UNAVAILABLE when the store does not reach `durability` (nothing is written)
   */
  append(
    batch: BatchBytes,
    baseOffset: number,
    recordCount: number,
    durability: Durability,
  ): MaybePromise<void>

  /**
   * Reads whole, contiguous batches, beginning with the one that holds `offset` (so that the first may begin before it).
   * @param bytesMax soft bound: at least one batch comes, more only while the sum stays within it
   * @param lent true when the caller gives the bytes back with `giveBackBytes`, once, when he has looked at them for the last
   *   time: then the store may use their memory again. A store may take no notice of it
   * @returns a plain Uint8Array, empty when `offset` is `stableOffset`. The bytes stay as they are for as long as they are held:
   *   until they are given back, when they are lent.
   * @throws RTK_OFFSET_OUT_OF_RANGE when `offset` is below `startOffset` or above `stableOffset`,
   *   RTK_STORE_CORRUPT with `details` { offset, nextOffset } when the record at `offset` is lost to damage: a wrong byte is
   *   never returned, and what can be read again begins at `nextOffset`; RTK_STORE_UNREADABLE with `details` { offset }
   *   when the medium gave an error: the same read may succeed later, and nothing else is concerned
   */
  read(offset: number, bytesMax: number, lent?: boolean): MaybePromise<BatchBytes>

  /**
   * The base offset of the first batch whose maximum timestamp is at least `timestampMs`; `stableOffset` when none is.
   * The caller finds the record within the batch.
   */
  offsetForTime(timestampMs: number): Promise<number>

  /**
   * The end of the last segment that lies wholly within the log's first `bytes`, `startOffset` when none does: what
   * `truncateBefore` may be given to let go of at most so many bytes. Without this the log is read to find it.
   * @throws RTK_CLOSED
   */
  offsetAfterBytes?(bytes: number): number

  /**
   * Lets go of records below `offset`, in whole segments; never of the segment that is being written. What is damaged is
   * let go of like the rest, but a store that keeps files keeps the damaged one aside.
   * @returns the new `startOffset`, at most `offset`
   */
  truncateBefore(offset: number): Promise<number>

  /**
   * Cuts the log so that `offset` is its end. Batches are never split: `offset` must be a batch's first.
   * @throws RTK_INVALID_ARGUMENT when it is inside a batch, RTK_OFFSET_OUT_OF_RANGE when it is outside of the log
   */
  truncateAfter(offset: number): Promise<void>

  /** Settles what is in flight, then closes. Afterwards every method rejects with RTK_CLOSED. Idempotent. */
  close(): Promise<void>
}
