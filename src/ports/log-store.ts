/**
 * Where partitions are kept: an ordered log of record batches for each.
 *
 * The store sees batches as bytes and trusts its caller: names, sizes and CRCs were checked at the edge that admitted
 * them. It never interprets records; it may read the fixed batch header (offsets, timestamps, length).
 * The specification of this port is `logStoreContract` in `ratatoskr/contract-tests`.
 */
import type { Durability } from '../domain/durability.ts'
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

/** Where the logs of all partitions are kept. */
export interface LogStore extends Component {
  readonly supports: LogStoreSupports
  /**
   * Opens a log, or creates an empty one. Recovers first: what a crash left half-written is gone afterwards.
   * Opening a log that is open is RTK_INTERNAL: a partition has one owner.
   * @throws RTK_INVALID_ARGUMENT when the topic id is no UUID in lower case or the partition no number of 16 bits,
   *   RTK_STORE_CORRUPT when the log is damaged before its end, RTK_CLOSED when the store is not started
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
   * Appends whole batches whose first record has `baseOffset`. Settles when everything up to and including them has
   * reached at least `durability`; calls settle in order. The store copies what it needs before it returns: the caller
   * may reuse `batch` at once.
   * @param batch one batch, its base offset already stamped
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
   * @returns a plain Uint8Array, empty when `offset` is `stableOffset`. The bytes stay as they are for as long as they are held.
   * @throws RTK_OFFSET_OUT_OF_RANGE when `offset` is below `startOffset` or above `stableOffset`,
   *   RTK_STORE_CORRUPT with the offset when stored bytes fail their checksum: a wrong byte is never returned
   */
  read(offset: number, bytesMax: number): MaybePromise<BatchBytes>

  /**
   * The base offset of the first batch whose maximum timestamp is at least `timestampMs`; `stableOffset` when none is.
   * The caller finds the record within the batch.
   */
  offsetForTime(timestampMs: number): Promise<number>

  /**
   * Lets go of records below `offset`, in whole segments; never of the segment that is being written.
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
