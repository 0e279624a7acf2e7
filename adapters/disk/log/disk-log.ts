/**
 * One partition on disk: segments, of which the last is written; the recent end of it in memory; a writer that commits in
 * groups. Whatever changes the files runs one after the other; reads run beside it.
 */
import {
  assertAppendsAtEnd,
  assertDurability,
  assertReadable,
  type BatchBytes,
  closedError,
  type Durability,
  type MaybePromise,
  maxTimestampOf,
  type OffsetRange,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'
import { assertEpoch } from './batch-scan.ts'
import { GroupWriter } from './group-writer.ts'
import { HotTail } from './hot-tail.ts'
import type { IndexSummary } from './index-file.ts'
import type { Place } from './place.ts'
import { Segment } from './segment.ts'
import { readExamined, reportGaps } from './segment-damage.ts'
import { SegmentList } from './segment-list.ts'
import { SegmentRemoval } from './segment-removal.ts'
import { markFailure } from './segment-tail.ts'
import type { StoreContext } from './store-context.ts'
import { storeFailed, storeFull, unreadable } from './store-errors.ts'

const noBytes = new Uint8Array(0)

export interface DiskLogOptions {
  /** `<topic id>/<partition>`. */
  readonly key: string
  readonly directory: string
  readonly segmentBytes: number
  /** Recovered segments, in order. */
  readonly segments: readonly Segment[]
  readonly newDirectories: readonly string[]
  readonly wasMissing: boolean
  /**
   * Told once, when the log is closed.
   * @param doubtfulFrom the offset above which the files cannot be trusted, when the log had failed
   * @param segments what the files hold, when all of it is synced
   */
  readonly onClose: (doubtfulFrom: number | undefined, segments: readonly IndexSummary[] | undefined) => void
}

export class DiskLog implements PartitionLog {
  readonly #context: StoreContext
  readonly #options: DiskLogOptions
  readonly #tail: HotTail
  readonly #writer: GroupWriter
  readonly #segments: SegmentList
  #stableOffset: number
  #endOffset: number
  #closing: Promise<void> | undefined
  #failure: RatatoskrError | undefined
  #marking: Promise<void> | undefined
  /** Counts what takes bytes away, so that a read that ran beside it knows. */
  #cuts = 0
  #commitQueued = false
  readonly #removal: SegmentRemoval
  /** The end of the line of everything that changes files, but for the removal of old ones. */
  #line: Promise<void> = Promise.resolve()

  constructor(context: StoreContext, options: DiskLogOptions) {
    this.#context = context
    this.#options = options
    const { segments, directory } = options
    this.#segments = new SegmentList(
      segments.length > 0 ? segments : [new Segment(context, directory, 0, false)],
    )
    this.#endOffset = this.#stableOffset = this.#segments.active.endOffset
    this.#removal = new SegmentRemoval(context, directory, options.key)
    this.#tail = new HotTail(context.hotBudget, () => this.#stableOffset)
    this.#writer = new GroupWriter(context, directory, options.newDirectories, {
      settled: (append) => {
        this.#stableOffset = append.endOffset
        context.tally.appends++
        context.tally.appendedBytes += append.to - append.from
        context.hotBudget.trim()
        append.resolve()
      },
      full: (error) => this.#takeBack(storeFull(error)),
      failed: (error) => this.#fail(error),
    })
  }

  get startOffset(): number {
    return this.#segments.startOffset
  }

  get stableOffset(): number {
    return this.#stableOffset
  }

  get endOffset(): number {
    return this.#endOffset
  }

  get sizeBytes(): number {
    return this.#segments.sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#segments.damaged
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return this.#segments.acceptedLosses
  }

  get wasMissing(): boolean {
    return this.#options.wasMissing
  }

  append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability): Promise<void> {
    this.#assertOpen()
    if (this.#failure !== undefined) throw this.#failure
    assertAppendsAtEnd(baseOffset, this.#endOffset)
    assertDurability(durability, 'fsync')
    assertEpoch(batch)
    const segment = this.#segmentFor(batch.length)
    const { segmentBytes } = this.#options
    const { sizeBytes } = segment
    const chunk = this.#tail.append(segment, sizeBytes, baseOffset, batch, recordCount, segmentBytes)
    this.#segments.append(batch.length, recordCount, maxTimestampOf(batch))
    this.#endOffset += recordCount
    return new Promise((resolve, reject) => {
      const to = chunk.buffer.sizeBytes
      const from = to - batch.length
      const { endOffset } = this
      this.#writer.add({ segment, chunk, from, to, baseOffset, endOffset, durability, resolve, reject })
      this.#queueCommit()
    })
  }

  read(offset: number, bytesMax: number, lent = false): MaybePromise<BatchBytes> {
    this.#assertOpen()
    assertReadable(offset, this.startOffset, this.#stableOffset)
    if (offset === this.#stableOffset) return noBytes
    const hot = this.#tail.find(offset)
    if (hot === undefined) return this.#readCold(offset, bytesMax)
    this.#context.tally.hotReads++
    return hot.read(offset, this.#stableOffset, bytesMax, lent)
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    return this.#beside(this.startOffset, async () => {
      for (const segment of this.#segments.all) {
        if (segment.maxTimestampMs < timestampMs || segment.baseOffset >= this.#stableOffset) continue
        const find = () => segment.offsetForTime(timestampMs, this.#stableOffset)
        const found = await readExamined(segment, segment.baseOffset, find, (seen) =>
          this.#examine(segment, seen),
        )
        if (found !== undefined) return found
      }
      return this.#stableOffset
    })
  }

  offsetAfterBytes(bytes: number): number {
    this.#assertOpen()
    return this.#segments.offsetAfterBytes(bytes)
  }

  async truncateBefore(offset: number): Promise<number> {
    this.#assertOpen()
    await this.#inLine(async () => {
      const gone = this.#segments.dropBefore(Math.min(offset, this.#stableOffset))
      if (gone.length > 0) this.#cuts++
      this.#removal.add(gone)
    })
    await this.#removal.run()
    return this.startOffset
  }

  async truncateAfter(offset: number): Promise<void> {
    this.#assertOpen()
    await this.#inLine(async () => {
      const cut = await this.#placeToCut(offset)
      if (cut !== undefined) await this.#cutFiles(cut.segment, cut.place)
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError('the log')
  }

  /** The segment that takes a batch next: the active one, or a new one when it would grow too large. */
  #segmentFor(batchBytes: number): Segment {
    const { active } = this.#segments
    const hasRoom = active.sizeBytes === 0 || active.sizeBytes + batchBytes <= this.#options.segmentBytes
    // Behind damage nothing is written: a torn end would not be known from it.
    const isSound = active.gaps.length === 0 && (!active.isSealed || active.sizeBytes === 0)
    if (hasRoom && isSound) return active
    const next = new Segment(this.#context, this.#options.directory, this.#endOffset, false)
    this.#segments.add(next)
    return next
  }

  /** Where to cut the log, with nothing in flight; undefined when there is nothing to cut. */
  async #placeToCut(offset: number): Promise<{ segment: Segment; place: Place } | undefined> {
    for (;;) {
      await this.#commit()
      if (this.#failure !== undefined) throw this.#failure
      assertReadable(offset, this.startOffset, this.#stableOffset)
      if (offset === this.#endOffset) return undefined
      const segment = this.#segments.holding(offset)
      const place = await readExamined(
        segment,
        offset,
        async () => {
          await segment.loadIndex()
          return segment.placeOf(offset)
        },
        () => this.#examineNow(segment),
      )
      if (place.offset !== offset) {
        throw new RatatoskrError(
          'RTK_INVALID_ARGUMENT',
          `offset ${offset} is inside a batch or a damaged place; give the first of one`,
        )
      }
      this.#context.indexes.forget(segment)
      if (this.#writer.isEmpty) return { segment, place }
    }
  }

  #readCold(offset: number, bytesMax: number): Promise<BatchBytes> {
    this.#context.tally.coldReads++
    return this.#beside(offset, async () => {
      assertReadable(offset, this.startOffset, this.#stableOffset)
      if (offset === this.#stableOffset) return noBytes
      const segment = this.#segments.holding(offset)
      this.#segments.assertUndamaged(offset)
      return readExamined(
        segment,
        offset,
        () => segment.read({ offset, limitOffset: this.#stableOffset, bytesMax }),
        async (seen) => {
          await this.#examine(segment, seen)
          this.#segments.assertUndamaged(offset)
        },
      )
    })
  }

  /** Examines a segment, unless that was done since somebody saw its damage. */
  #examine(segment: Segment, examinationsSeen: number): Promise<void> {
    return this.#queue(async () => {
      if (segment.examinations === examinationsSeen && this.#segments.all.includes(segment)) {
        await this.#examineNow(segment)
      }
    })
  }

  async #examineNow(segment: Segment): Promise<void> {
    await this.#commit()
    if (this.#failure === undefined && !(await this.#writer.sync())) throw this.#failure
    const end = this.#writer.writtenEnd(segment)
    await segment.examine(end)
    this.#segments.noteDamage()
    if (segment.gaps.length > 0) await reportGaps(this.#context, segment)
    // What a failed log has written is in doubt, and an index would vouch for it.
    if (this.#failure === undefined) await segment.writeIndex(end)
    if (segment !== this.#segments.active) this.#context.indexes.keep(segment)
  }

  /** Runs a read beside what changes files, and again when something was cut meanwhile. */
  async #beside<T>(offset: number, read: () => Promise<T>): Promise<T> {
    for (;;) {
      this.#assertOpen()
      const cuts = this.#cuts
      try {
        const result = await read()
        if (this.#cuts === cuts) return result
      } catch (error) {
        this.#assertOpen()
        if (this.#cuts === cuts) throw unreadable(error, offset)
      }
    }
  }

  /** Runs something that changes files when everything before it is done. */
  #inLine<T>(run: () => Promise<T>): Promise<T> {
    return this.#queue(run).catch((error: unknown) => {
      throw storeFailed(error)
    })
  }

  #queue<T>(run: () => Promise<T>): Promise<T> {
    const done = this.#line.then(run)
    this.#line = done.then(
      () => undefined,
      () => undefined,
    )
    return done
  }

  #queueCommit(): void {
    if (this.#commitQueued) return
    this.#commitQueued = true
    void this.#inLine(() => this.#commit())
  }

  #commit(): Promise<void> {
    this.#commitQueued = false
    return this.#writer.commit(() => {
      void this.#inLine(async () => {
        await this.#writer.sync()
      })
    })
  }

  /** Cuts the log in memory back to an offset at which a batch of `segment` begins. */
  #cutMemory(segment: Segment, place: Place): void {
    this.#cuts++
    this.#segments.cut(segment, place)
    this.#tail.cut(place.offset)
    this.#endOffset = place.offset
    this.#stableOffset = Math.min(this.#stableOffset, place.offset)
  }

  /** From the newest file to the oldest, so that a crash on the way leaves a log without a gap. */
  async #cutFiles(segment: Segment, place: Place): Promise<void> {
    const gone = this.#segments.after(segment).toReversed()
    this.#cutMemory(segment, place)
    try {
      // The indexes vouch for bytes that go: they must be gone first, or those would be taken for lost.
      for (const one of [...gone, segment]) await one.removeIndex()
      await this.#context.fileSystem.syncDirectory(this.#options.directory)
      for (const one of gone) await this.#removal.remove(one)
      await this.#removal.cut(segment, place.position)
      this.#writer.restart()
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** Refuses everything that has not settled and goes back to where the log is stable. */
  #takeBack(error: RatatoskrError): void {
    const pending = this.#writer.takePending()
    const first = pending[0]
    if (first !== undefined) {
      const { segment, chunk, from } = first
      const position = chunk.filePosition + from
      // A segment that was begun for the first of them goes too, unless there is no other.
      const before = this.#segments.before(segment)
      const drop = position === 0 && !segment.created ? before : undefined
      const end = drop?.sizeBytes ?? position
      this.#cutMemory(drop ?? segment, { position: end, offset: this.#stableOffset })
    }
    for (const append of pending) append.reject(error)
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = storeFailed(error)
    this.#marking = markFailure(this.#context, this.#options.directory)
    this.#context.logger.error('a log failed and must be opened again', { error })
    this.#takeBack(this.#failure)
  }

  async #close(): Promise<void> {
    const isClean = await this.#inLine(async () => {
      if (this.#failure === undefined) await this.#commit()
      if (this.#failure !== undefined || !(await this.#writer.sync())) return false
      await this.#leaveIndex()
      return true
    }).catch(() => false)
    await this.#marking
    await this.#removal.idle()
    this.#writer.disarm()
    this.#tail.clear()
    const { active, all } = this.#segments
    await Promise.all(all.map((segment) => segment.indexWritten()))
    await this.#context.files.discard(active.path)
    const summaries = all.filter(({ created }) => created).map((segment) => segment.summary())
    this.#options.onClose(
      this.#failure === undefined ? undefined : this.#stableOffset,
      isClean ? summaries : undefined,
    )
  }

  /** Leaves an index for the active segment, so that opening the log again reads nothing that is known to be whole. */
  async #leaveIndex(): Promise<void> {
    const { active } = this.#segments
    await active.indexWritten()
    if (active.created && active.sizeBytes > 0 && active.indexedBytes !== active.sizeBytes) {
      await active.writeIndex()
    }
  }
}
