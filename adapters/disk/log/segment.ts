/**
 * One segment of a log: a file of whole batches back to back, named by its first offset, exactly as Kafka writes them;
 * beside it a sparse index that can always be made again. Where the file is damaged there is a gap: the batches between
 * two gaps are a run, and reads stay within one.
 */

import type { DiskFile } from 'ratatoskr/ports'
import { baseOffsetOf, maxTimestampOf, SparseIndex } from 'ratatoskr/ports'
import { scanBatches } from './batch-scan.ts'
import { encodeIndex, type IndexSummary, readIndexFile, writeIndexFile } from './index-file.ts'
import type { Gap, Place } from './place.ts'
import { pathOfIndex, pathOfSegment } from './segment-path.ts'
import { findPlace, findTime, type ReadBounds, readBatches } from './segment-reader.ts'
import { gapsUpTo, type SegmentScan, scanSegment } from './segment-scan.ts'
import type { StoreContext } from './store-context.ts'
import { corrupt } from './store-errors.ts'

/**
 * Bytes that may be synced before the index file is refreshed: what a start after a crash reads of a log is about as much.
 * An index takes up to 0.4 % of its segment, so that refreshing it more often would cost more than it saves.
 */
export const checkpointBytes = 16 * 1024 * 1024

/** Batches without a gap between them. */
interface Run {
  readonly start: Place
  readonly end: Place
}

export class Segment {
  readonly baseOffset: number
  readonly path: string
  readonly indexPath: string
  /** False until the file exists and its entry in the directory is synced. */
  created: boolean
  endOffset: number
  sizeBytes = 0
  /** After a cut perhaps more than is left; -1 when there never was a batch. */
  maxTimestampMs = -1
  /** What is lost to damage, in order. A segment that has some takes no more batches. */
  gaps: readonly Gap[] = []
  /** Those of `gaps` that somebody has accepted as lost. */
  accepted: readonly Gap[] = []
  /** Takes no more batches, whatever room it has: its last blocks may not be what they seem. */
  isSealed = false
  /** How often the whole file was examined since the log was opened. */
  examinations = 0
  readonly #context: StoreContext
  /** The whole index when it is in memory; it is read again on demand otherwise. */
  #index: SparseIndex | undefined = new SparseIndex()
  /** While the index is not in memory: what came after `#filed`. */
  #recent: SparseIndex | undefined
  /** While the index is not in memory: what can be read of it. */
  #filed: Place
  #loading: Promise<SparseIndex> | undefined
  /** What the index file covers, as far as this process knows; what it was asked to; and the end of the writers' line. */
  #indexedBytes = -1
  #checkpointBytes = 0
  #writing: Promise<void> = Promise.resolve()

  constructor(context: StoreContext, directory: string, baseOffset: number, created: boolean) {
    this.#context = context
    this.baseOffset = baseOffset
    this.endOffset = baseOffset
    this.path = pathOfSegment(directory, baseOffset)
    this.indexPath = pathOfIndex(directory, baseOffset)
    this.created = created
    this.#filed = this.#start
  }

  /** Bytes of the segment that its index file covers. */
  get indexedBytes(): number {
    return Math.max(0, this.#indexedBytes)
  }

  /** Counts a batch at the end: one that is appended. */
  add(sizeBytes: number, recordCount: number, maxTimestampMs: number): void {
    this.#indexInUse().add(this.endOffset - this.baseOffset, this.sizeBytes, maxTimestampMs)
    if (maxTimestampMs > this.maxTimestampMs) this.maxTimestampMs = maxTimestampMs
    this.sizeBytes += sizeBytes
    this.endOffset += recordCount
  }

  /** Forgets what lies behind a place. The index must be in memory, or cover nothing of that. */
  cut(place: Place): void {
    this.#index?.cut(place.position)
    this.#recent?.cut(place.position)
    this.sizeBytes = place.position
    this.endOffset = place.offset
    this.gaps = this.gaps.filter((gap) => gap.endPosition <= place.position && gap.endOffset <= place.offset)
  }

  /** Takes what lies behind a place out of the segment. The index file must cover what lies before. @returns a segment of it */
  split(directory: string, from: Place): Segment {
    const tail = new Segment(this.#context, directory, from.offset, true)
    tail.sizeBytes = this.sizeBytes - from.position
    tail.endOffset = this.endOffset
    tail.maxTimestampMs = this.maxTimestampMs
    const recent = this.#recent
    for (let entry = 0; recent !== undefined && entry < recent.length; entry++) {
      const offset = this.baseOffset + recent.offsetAt(entry) - from.offset
      tail
        .#indexInUse()
        .addEntry(offset, recent.positionAt(entry) - from.position, recent.maxTimestampMsAt(entry))
    }
    this.cut(from)
    return tail
  }

  /** Lets go of the index, to be read again when it is needed; unless its file does not cover all of the segment. */
  dropIndex(): void {
    if (this.#indexedBytes !== this.sizeBytes) return
    this.#index = this.#recent = undefined
    this.#filed = { position: this.sizeBytes, offset: this.endOffset }
  }

  /** Takes over what is known of the segment, up to its size; the index is read when it is needed. */
  adopt(summary: IndexSummary): void {
    this.sizeBytes = summary.sizeBytes
    this.endOffset = summary.endOffset
    this.maxTimestampMs = summary.maxTimestampMs
    this.gaps = summary.gaps
    this.#indexedBytes = this.#checkpointBytes = summary.sizeBytes
    this.dropIndex()
  }

  /** Takes back what `adopt` and `recover` took over. */
  forget(): void {
    this.gaps = []
    this.sizeBytes = 0
    this.endOffset = this.baseOffset
    this.maxTimestampMs = -1
    this.#indexedBytes = -1
    this.#index = new SparseIndex()
    this.#recent = undefined
  }

  /** The file is shorter than it was: what it had up to an offset is lost. */
  loseEnd(endOffset: number): void {
    if (this.endOffset >= endOffset) return
    const place = { position: this.sizeBytes, offset: this.endOffset }
    this.gaps = [...this.gaps, { ...place, endPosition: this.sizeBytes, endOffset }]
    this.endOffset = endOffset
  }

  /** What is known of the segment up to a place where it is synced; up to its end without one. */
  summary(end: Place = { position: this.sizeBytes, offset: this.endOffset }): IndexSummary {
    const { baseOffset, maxTimestampMs, gaps } = this
    return { baseOffset, endOffset: end.offset, sizeBytes: end.position, maxTimestampMs, gaps }
  }

  /** Checks the file from what is known of it to its end, and takes over what is found. @returns what was found */
  async recover(file: DiskFile, sizeBytes: number, limitOffset: number | undefined): Promise<SegmentScan> {
    const from = { position: this.sizeBytes, offset: this.endOffset }
    const index = this.#indexInUse()
    const source = this.#source(file, sizeBytes, limitOffset)
    const scan = await scanSegment(source, from, this.gaps.length > 0, (bytes, at, position, afterGap) => {
      this.#found(index, bytes, at, position, afterGap)
    })
    this.gaps = [...this.gaps, ...scan.gaps]
    this.sizeBytes = scan.end.position
    this.endOffset = scan.end.offset
    return scan
  }

  /**
   * Checks the whole file up to a place where it is written, whatever the index said, and makes gaps and index anew. What
   * was appended behind that place stays as it is.
   */
  async examine(end: Place): Promise<void> {
    const index = new SparseIndex()
    const gaps = await this.#withFile(async (file) => {
      const size = Math.min(end.position, await file.size())
      const source = this.#source(file, size, end.offset)
      const scan = await scanSegment(source, this.#start, false, (bytes, at, position, afterGap) => {
        this.#found(index, bytes, at, position, afterGap)
      })
      return gapsUpTo(scan, end)
    })
    const known = this.#index ?? this.#recent
    for (let entry = 0; known !== undefined && entry < known.length; entry++) {
      if (known.positionAt(entry) < end.position) continue
      index.addEntry(known.offsetAt(entry), known.positionAt(entry), known.maxTimestampMsAt(entry))
    }
    this.#index = index
    this.#recent = undefined
    this.gaps = gaps
    this.examinations++
  }

  /** Refreshes the index file when much was synced since it was written last. Nobody waits for it. */
  checkpoint(end: Place): void {
    if (end.position - this.#checkpointBytes < checkpointBytes) return
    this.#checkpointBytes = end.position
    void this.writeIndex(end)
  }

  /** Settles when nobody writes the index file any more. */
  indexWritten(): Promise<void> {
    return this.#writing
  }

  /** Writes the index file; failing costs a later start some time. The segment must be synced up to `end`. */
  writeIndex(end: Place = { position: this.sizeBytes, offset: this.endOffset }): Promise<void> {
    const { checksum, fileSystem, indexFiles, logger } = this.#context
    this.#writing = this.#writing.then(async () => {
      try {
        const index = await this.loadIndex()
        await indexFiles.run(() =>
          writeIndexFile(fileSystem, this.indexPath, encodeIndex(this.summary(end), index, checksum)),
        )
        this.#indexedBytes = end.position
      } catch (error) {
        logger.warn('a segment index was not written; it is made again when the log is opened', { error })
      }
    })
    return this.#writing
  }

  /** Removes the index file, after whoever writes it. */
  async removeIndex(): Promise<void> {
    await this.#writing
    await this.#context.fileSystem.remove(this.indexPath)
    this.#indexedBytes = -1
    this.#checkpointBytes = 0
  }

  /**
   * Reads whole batches, beginning with the one that holds `bounds.offset`, and verifies each; up to the next gap.
   * @throws RTK_STORE_CORRUPT
   */
  async read(bounds: ReadBounds): Promise<Uint8Array> {
    const run = this.#runOf(bounds.offset)
    const from = await this.#placeBefore(bounds.offset, run)
    const limitOffset = Math.min(bounds.limitOffset, run.end.offset)
    return this.#withFile((file) =>
      readBatches(
        { file, sizeBytes: run.end.position },
        from,
        { ...bounds, limitOffset },
        this.#context.checksum,
      ),
    )
  }

  /** Where the batch that holds an offset begins, or the gap; the segment's end for its end offset. */
  async placeOf(offset: number): Promise<Place> {
    if (offset >= this.endOffset) return { position: this.sizeBytes, offset: this.endOffset }
    const gap = this.gaps.find((one) => one.offset <= offset && offset < one.endOffset)
    if (gap !== undefined) return { position: gap.position, offset: gap.offset }
    const run = this.#runOf(offset)
    const from = await this.#placeBefore(offset, run)
    return this.#withFile((file) => findPlace({ file, sizeBytes: run.end.position }, from, offset))
  }

  /** Offset of the first batch below `limitOffset` whose greatest timestamp is at least this; undefined without. */
  async offsetForTime(timestampMs: number, limitOffset: number): Promise<number | undefined> {
    const index = await this.loadIndex()
    const { checksum } = this.#context
    return this.#withFile(async (file) => {
      for (let entry = 0; entry < index.length; entry++) {
        if (index.maxTimestampMsAt(entry) < timestampMs) continue
        const from = { position: index.positionAt(entry), offset: this.baseOffset + index.offsetAt(entry) }
        // An entry begins after each gap, so that the batches from one entry to the next are of one run.
        const run = this.#runOf(from.offset)
        const next = entry + 1 < index.length ? index.positionAt(entry + 1) : this.sizeBytes
        const source = { file, sizeBytes: Math.min(run.end.position, next) }
        const limit = Math.min(limitOffset, run.end.offset)
        const found = await findTime(source, from, limit, timestampMs, checksum)
        if (found !== undefined) return found
      }
      return undefined
    })
  }

  /** The index, read from its file or made again when it is not in memory. */
  async loadIndex(): Promise<SparseIndex> {
    if (this.#index !== undefined) return this.#index
    this.#loading ??= this.#readIndex().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #readIndex(): Promise<SparseIndex> {
    const { checksum, fileSystem, indexFiles } = this.#context
    const filed = this.#filed
    if (filed.position === 0) return this.#completed(new SparseIndex())
    const read = await indexFiles.run(() => readIndexFile(fileSystem, this.indexPath, checksum, 'all'))
    const { summary, entries } = read ?? {}
    const fits = summary?.sizeBytes === filed.position && summary.endOffset === filed.offset
    const isRead = fits && entries !== undefined
    const index = isRead ? entries : await this.#rebuildIndex(filed)
    const whole = this.#completed(index)
    if (!isRead) void this.writeIndex(filed)
    return whole
  }

  /** Makes an index of what is filed the index of the segment, with what came since. */
  #completed(index: SparseIndex): SparseIndex {
    if (this.#index !== undefined) return this.#index
    const recent = this.#recent
    for (let entry = 0; recent !== undefined && entry < recent.length; entry++) {
      index.addEntry(recent.offsetAt(entry), recent.positionAt(entry), recent.maxTimestampMsAt(entry))
    }
    this.#context.indexes.keep(this)
    this.#recent = undefined
    this.#index = index
    return index
  }

  async #rebuildIndex(end: Place): Promise<SparseIndex> {
    const index = new SparseIndex()
    await this.#withFile(async (file) => {
      for (const run of this.#runs()) {
        if (run.start.position >= end.position) return
        const size = Math.min(run.end.position, end.position)
        let afterGap = true
        const { checksum } = this.#context
        const { problem, endOffset } = await scanBatches(
          file,
          run.start,
          size,
          checksum,
          (bytes, at, position) => {
            this.#found(index, bytes, at, position, afterGap)
            afterGap = false
          },
        )
        if (problem !== undefined) throw corrupt(problem, endOffset)
      }
    })
    return index
  }

  get #start(): Place {
    return { position: 0, offset: this.baseOffset }
  }

  #indexInUse(): SparseIndex {
    if (this.#index !== undefined) return this.#index
    this.#recent ??= new SparseIndex()
    return this.#recent
  }

  /** Notes a batch that was found in the file. */
  #found(index: SparseIndex, bytes: Uint8Array, at: number, position: number, afterGap: boolean): void {
    const relativeOffset = baseOffsetOf(bytes, at) - this.baseOffset
    const maxTimestampMs = maxTimestampOf(bytes, at)
    if (afterGap) index.addEntry(relativeOffset, position, maxTimestampMs)
    else index.add(relativeOffset, position, maxTimestampMs)
    if (maxTimestampMs > this.maxTimestampMs) this.maxTimestampMs = maxTimestampMs
  }

  #source(file: DiskFile, sizeBytes: number, limitOffset: number | undefined) {
    const { checksum } = this.#context
    return { file, sizeBytes, checksum, baseOffset: this.baseOffset, limitOffset }
  }

  /** What lies between the gaps, in order. */
  *#runs(): Generator<Run, void, undefined> {
    let start = this.#start
    for (const { position, endPosition, offset, endOffset } of this.gaps) {
      if (offset > start.offset) yield { start, end: { position, offset } }
      start = { position: endPosition, offset: endOffset }
    }
    yield { start, end: { position: this.sizeBytes, offset: this.endOffset } }
  }

  /** The run that an offset lies in. @throws RTK_STORE_CORRUPT when it lies in none */
  #runOf(offset: number): Run {
    for (const run of this.#runs()) {
      if (offset < run.end.offset && offset >= run.start.offset) return run
    }
    throw corrupt('the record is lost to damage', offset)
  }

  async #placeBefore(offset: number, run: Run): Promise<Place> {
    const index = await this.loadIndex()
    if (index.length === 0) return run.start
    const entry = index.entryOfOffset(offset - this.baseOffset)
    const place = { position: index.positionAt(entry), offset: this.baseOffset + index.offsetAt(entry) }
    return place.offset < run.start.offset || place.offset > offset ? run.start : place
  }

  async #withFile<T>(use: (file: DiskFile) => Promise<T>): Promise<T> {
    const pooled = await this.#context.files.acquire(this.path, 'read')
    try {
      return await use(pooled.file)
    } finally {
      this.#context.files.release(pooled)
    }
  }
}
