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
  leaderEpochOf,
  type MaybePromise,
  maxTimestampOf,
  type OffsetRange,
  type PartitionLog,
  RatatoskrError,
} from 'ratatoskr/ports'
import { leaderEpoch } from './batch-scan.ts'
import { GroupWriter } from './group-writer.ts'
import { HotTail } from './hot-tail.ts'
import { reportGaps } from './recovery.ts'
import { Segment } from './segment.ts'
import type { Place } from './segment-reader.ts'
import { corrupt, isCorrupt, type StoreContext, storeFailed, storeFull, unreadable } from './store-context.ts'

const noBytes = new Uint8Array(0)

// A segment that is sound by examination and still fails to be read is being changed by somebody else.
const readAttemptsMax = 3

export interface DiskLogOptions {
  /** `<topic id>/<partition>`. */
  readonly key: string
  readonly directory: string
  readonly segmentBytes: number
  /** Recovered segments, in order. */
  readonly segments: Segment[]
  readonly newDirectories: readonly string[]
  /** Told once, when the log is closed; with the offset above which the files cannot be trusted when it had failed. */
  readonly onClose: (doubtfulFrom: number | undefined) => void
}

export class DiskLog implements PartitionLog {
  readonly #context: StoreContext
  readonly #options: DiskLogOptions
  readonly #tail: HotTail
  readonly #writer: GroupWriter
  #segments: Segment[]
  #stableOffset: number
  #endOffset: number
  #sizeBytes = 0
  #closing: Promise<void> | undefined
  #failure: RatatoskrError | undefined
  #damaged: readonly OffsetRange[]
  /** Counts what takes bytes away, so that a read that ran beside it knows. */
  #cuts = 0
  #commitQueued = false
  /** The end of the line of everything that changes files. */
  #line: Promise<void> = Promise.resolve()

  constructor(context: StoreContext, options: DiskLogOptions) {
    this.#context = context
    this.#options = options
    this.#segments = options.segments
    if (this.#segments.length === 0) this.#segments.push(new Segment(context, options.directory, 0, false))
    this.#endOffset = this.#stableOffset = this.#active.endOffset
    for (const segment of this.#segments) this.#sizeBytes += segment.sizeBytes
    this.#damaged = damagedIn(this.#segments)
    this.#tail = new HotTail(context.hotBudget, () => this.#stableOffset)
    this.#writer = new GroupWriter(context, options.directory, options.newDirectories, {
      settled: (append) => {
        this.#stableOffset = append.endOffset
        context.tally.appends++
        context.tally.appendedBytes += append.to - append.from
        append.resolve()
      },
      full: (error) => this.#takeBack(storeFull(error)),
      failed: (error) => this.#fail(error),
    })
  }

  get startOffset(): number {
    return this.#segments[0].baseOffset
  }

  get stableOffset(): number {
    return this.#stableOffset
  }

  get endOffset(): number {
    return this.#endOffset
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#damaged
  }

  append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability): Promise<void> {
    this.#assertOpen()
    if (this.#failure !== undefined) throw this.#failure
    assertAppendsAtEnd(baseOffset, this.#endOffset)
    assertDurability(durability, 'fsync')
    assertEpoch(batch)
    const segment = this.#segmentFor(batch.length)
    const { segmentBytes } = this.#options
    const chunk = this.#tail.chunkFor(segment, segment.sizeBytes, baseOffset, batch.length, segmentBytes)
    const from = this.#tail.append(chunk, batch, recordCount)
    segment.add(batch.length, recordCount, maxTimestampOf(batch))
    this.#endOffset += recordCount
    this.#sizeBytes += batch.length
    return new Promise((resolve, reject) => {
      const to = from + batch.length
      const { endOffset } = this
      this.#writer.add({ segment, chunk, from, to, baseOffset, endOffset, durability, resolve, reject })
      this.#queueCommit()
    })
  }

  read(offset: number, bytesMax: number): MaybePromise<BatchBytes> {
    this.#assertOpen()
    assertReadable(offset, this.startOffset, this.#stableOffset)
    if (offset === this.#stableOffset) return noBytes
    const hot = this.#tail.find(offset)
    if (hot === undefined) return this.#readCold(offset, bytesMax)
    this.#context.tally.hotReads++
    return hot.read(offset, this.#stableOffset, bytesMax)
  }

  async offsetForTime(timestampMs: number): Promise<number> {
    return this.#beside(this.startOffset, async () => {
      for (const segment of this.#segments) {
        if (segment.maxTimestampMs < timestampMs || segment.baseOffset >= this.#stableOffset) continue
        const find = () => segment.offsetForTime(timestampMs, this.#stableOffset)
        const found = await this.#examined(segment, find, (seen) => this.#examine(segment, seen))
        if (found !== undefined) return found
      }
      return this.#stableOffset
    })
  }

  async truncateBefore(offset: number): Promise<number> {
    this.#assertOpen()
    return this.#inLine(async () => {
      const limit = Math.min(offset, this.#stableOffset)
      let count = 0
      // The last file stays whatever is in it: its name holds the offset at which the log goes on.
      while (this.#segments[count].endOffset <= limit && this.#segments[count + 1]?.created === true) count++
      if (count === 0) return this.startOffset
      const gone = this.#segments.slice(0, count)
      this.#segments = this.#segments.slice(count)
      for (const segment of gone) this.#sizeBytes -= segment.sizeBytes
      this.#damaged = damagedIn(this.#segments)
      this.#cuts++
      await this.#removeFiles(gone)
      return this.startOffset
    })
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

  get #active(): Segment {
    return this.#segments[this.#segments.length - 1]
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError('the log')
  }

  /** The segment that takes a batch next: the active one, or a new one when it would grow too large. */
  #segmentFor(batchBytes: number): Segment {
    const active = this.#active
    const hasRoom = active.sizeBytes === 0 || active.sizeBytes + batchBytes <= this.#options.segmentBytes
    // Behind damage nothing is written: a torn end would not be known from it.
    if (hasRoom && active.gaps.length === 0) return active
    const next = new Segment(this.#context, this.#options.directory, this.#endOffset, false)
    this.#segments.push(next)
    return next
  }

  #placeOfSegment(offset: number): number {
    const segments = this.#segments
    let low = 0
    let high = segments.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (segments[middle].baseOffset <= offset) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Where to cut the log, with nothing in flight; undefined when there is nothing to cut. */
  async #placeToCut(offset: number): Promise<{ segment: Segment; place: Place } | undefined> {
    for (;;) {
      await this.#commit()
      if (this.#failure !== undefined) throw this.#failure
      assertReadable(offset, this.startOffset, this.#stableOffset)
      if (offset === this.#endOffset) return undefined
      const segment = this.#segments[this.#placeOfSegment(offset)]
      const place = await this.#examined(
        segment,
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
      const segment = this.#segments[this.#placeOfSegment(offset)]
      this.#assertUndamaged(offset)
      return this.#examined(
        segment,
        () => segment.read({ offset, limitOffset: this.#stableOffset, bytesMax }),
        async (seen) => {
          await this.#examine(segment, seen)
          this.#assertUndamaged(offset)
        },
      )
    })
  }

  /** @throws RTK_STORE_CORRUPT */
  #assertUndamaged(offset: number): void {
    const lost = this.#damaged.find(({ to }) => offset < to)
    if (lost !== undefined && offset >= lost.from)
      throw corrupt('the record is lost to damage', offset, lost.to)
  }

  /** Runs a read; when it finds damage, has the segment examined, so that the damage is known, and runs it again. */
  async #examined<T>(
    segment: Segment,
    read: () => Promise<T>,
    examine: (examinationsSeen: number) => Promise<void>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const { examinations } = segment
      try {
        return await read()
      } catch (error) {
        if (!isCorrupt(error) || attempt === readAttemptsMax) throw error
      }
      await examine(examinations)
    }
  }

  /** Examines a segment, unless that was done since somebody saw its damage. */
  #examine(segment: Segment, examinationsSeen: number): Promise<void> {
    return this.#queue(async () => {
      if (segment.examinations === examinationsSeen && this.#segments.includes(segment)) {
        await this.#examineNow(segment)
      }
    })
  }

  async #examineNow(segment: Segment): Promise<void> {
    await this.#commit()
    if (this.#failure === undefined && !(await this.#writer.sync())) throw this.#failure
    const end = this.#writer.writtenEnd(segment)
    await segment.examine(end)
    this.#damaged = damagedIn(this.#segments)
    if (segment.gaps.length > 0) reportGaps(this.#context, segment)
    // What a failed log has written is in doubt, and an index would vouch for it.
    if (this.#failure === undefined) await segment.writeIndex(end)
    if (segment !== this.#active) this.#context.indexes.keep(segment)
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
    while (this.#active !== segment) this.#sizeBytes -= this.#segments.pop()?.sizeBytes ?? 0
    this.#sizeBytes -= segment.sizeBytes - place.position
    segment.cut(place)
    this.#tail.cut(place.offset)
    this.#damaged = damagedIn(this.#segments)
    this.#endOffset = place.offset
    this.#stableOffset = Math.min(this.#stableOffset, place.offset)
  }

  /** From the newest file to the oldest, so that a crash on the way leaves a log without a gap. */
  async #cutFiles(segment: Segment, place: Place): Promise<void> {
    const { fileSystem, files } = this.#context
    const gone = this.#segments.slice(this.#segments.indexOf(segment) + 1)
    this.#cutMemory(segment, place)
    try {
      await this.#removeFiles(gone.reverse())
      // The index vouches for bytes that go: it must be gone first.
      await segment.removeIndex()
      await fileSystem.syncDirectory(this.#options.directory)
      const file = await files.acquire(segment.path, 'write')
      try {
        await file.file.truncate(place.position)
        await file.file.sync()
        file.dirty = false
        this.#writer.restart()
      } finally {
        files.release(file)
      }
    } catch (error) {
      this.#fail(error)
      throw error
    }
  }

  /** Each is gone for good before the next goes, so that a crash never leaves a hole in the log. */
  async #removeFiles(segments: readonly Segment[]): Promise<void> {
    const { fileSystem, files, indexes, quarantine } = this.#context
    for (const segment of segments) {
      indexes.forget(segment)
      await files.discard(segment.path)
      await segment.removeIndex()
      if (segment.gaps.length > 0) await quarantine.take(segment.path, this.#options.key)
      else await fileSystem.remove(segment.path)
      await fileSystem.syncDirectory(this.#options.directory)
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
      const place = this.#segments.indexOf(segment)
      const drop = position === 0 && !segment.created && place > 0
      const last = drop ? this.#segments[place - 1] : segment
      this.#cutMemory(last, { position: drop ? last.sizeBytes : position, offset: this.#stableOffset })
    }
    for (const append of pending) append.reject(error)
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = storeFailed(error)
    this.#context.logger.error('a log failed and must be opened again', { error })
    this.#takeBack(this.#failure)
  }

  async #close(): Promise<void> {
    await this.#inLine(async () => {
      if (this.#failure === undefined) await this.#commit()
      if (this.#failure === undefined && (await this.#writer.sync())) await this.#checkpoint()
    }).catch(() => undefined)
    this.#writer.disarm()
    this.#tail.clear()
    await this.#context.files.discard(this.#active.path)
    this.#options.onClose(this.#failure === undefined ? undefined : this.#stableOffset)
  }

  /** Leaves an index for the active segment, so that opening the log again reads nothing that is known to be whole. */
  async #checkpoint(): Promise<void> {
    const active = this.#active
    if (active.created && active.sizeBytes > 0 && active.indexedBytes !== active.sizeBytes) {
      await active.writeIndex()
    }
  }
}

/** What is lost in some segments, in offsets; gaps side by side are one. */
function damagedIn(segments: readonly Segment[]): readonly OffsetRange[] {
  const ranges: { from: number; to: number }[] = []
  for (const { gaps } of segments) {
    for (const { offset, endOffset } of gaps) {
      const last = ranges.at(-1)
      if (last?.to === offset) last.to = endOffset
      else if (endOffset > offset) ranges.push({ from: offset, to: endOffset })
    }
  }
  return ranges
}

/** @throws RTK_INVALID_ARGUMENT */
function assertEpoch(batch: BatchBytes): void {
  const epoch = leaderEpochOf(batch)
  if (epoch === leaderEpoch) return
  throw new RatatoskrError(
    'RTK_INVALID_ARGUMENT',
    `this store keeps batches of leader epoch ${leaderEpoch} only, got ${epoch}`,
  )
}
