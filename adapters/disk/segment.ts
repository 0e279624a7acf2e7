/**
 * One segment of a log: a file of whole batches back to back, named by its first offset, exactly as Kafka writes them;
 * beside it a sparse index that can always be made again.
 */

import type { DiskFile } from 'ratatoskr/ports'
import { batchSizeOf, maxTimestampOf, recordCountOf, SparseIndex } from 'ratatoskr/ports'
import { type ScanResult, scanBatches } from './batch-scan.ts'
import { decodeEntries, decodeSummary, encodeIndex, readIndexFile, writeIndexFile } from './index-file.ts'
import { findPlace, findTime, type Place, type ReadBounds, readBatches } from './segment-reader.ts'
import { corrupt, type StoreContext } from './store-context.ts'

const stem = (baseOffset: number): string => String(baseOffset).padStart(20, '0')

/** The base offset in a segment's file name; undefined for other files. */
export function baseOffsetOfName(name: string): number | undefined {
  return /^\d{20}\.log$/.test(name) ? Number(name.slice(0, 20)) : undefined
}

export class Segment {
  readonly baseOffset: number
  readonly path: string
  readonly indexPath: string
  /** False until the file exists. */
  created: boolean
  endOffset: number
  sizeBytes = 0
  /** After a cut perhaps more than is left; -1 when there never was a batch. */
  maxTimestampMs = -1
  readonly #context: StoreContext
  // Always there while the segment is written; read again on demand once it is sealed.
  #index: SparseIndex | undefined = new SparseIndex()
  #loading: Promise<SparseIndex> | undefined

  constructor(context: StoreContext, directory: string, baseOffset: number, created: boolean) {
    this.#context = context
    this.baseOffset = baseOffset
    this.endOffset = baseOffset
    this.path = `${directory}/${stem(baseOffset)}.log`
    this.indexPath = `${directory}/${stem(baseOffset)}.index`
    this.created = created
  }

  /** Counts a batch at the end: one that is appended, or found at recovery. */
  add(sizeBytes: number, recordCount: number, maxTimestampMs: number): void {
    this.#index?.add(this.endOffset - this.baseOffset, this.sizeBytes, maxTimestampMs)
    if (maxTimestampMs > this.maxTimestampMs) this.maxTimestampMs = maxTimestampMs
    this.sizeBytes += sizeBytes
    this.endOffset += recordCount
  }

  /** Forgets the batches from a place on. The index must be in memory. */
  cut(place: Place): void {
    this.#index?.cut(place.position)
    this.sizeBytes = place.position
    this.endOffset = place.offset
  }

  /** Lets go of the index; it is read again when it is needed. Only for sealed segments. */
  dropIndex(): void {
    this.#index = undefined
  }

  /** Opens a segment that was sealed: by its index when that fits, by reading all of it otherwise. */
  async openSealed(): Promise<void> {
    const { checksum, fileSystem } = this.#context
    const size = await fileSystem.sizeOf(this.path)
    const summary = decodeSummary(await readIndexFile(fileSystem, this.indexPath, true), checksum)
    if (summary?.baseOffset === this.baseOffset && summary.sizeBytes === size) {
      this.sizeBytes = size
      this.endOffset = summary.endOffset
      this.maxTimestampMs = summary.maxTimestampMs
      this.#index = undefined
      return
    }
    const file = await fileSystem.open(this.path, 'read')
    try {
      const { problem, endOffset } = await this.#scan(file, size)
      if (problem !== undefined) throw corrupt(`a sealed segment is damaged: ${problem}`, endOffset)
    } finally {
      await file.close()
    }
    await this.writeIndex()
    this.#context.indexes.keep(this)
  }

  /**
   * Opens the segment that was being written: what its index covers was synced, the rest is checked batch by batch.
   * @returns where the valid batches end and why, and how much the index covered
   */
  async openActive(
    file: DiskFile,
    sizeBytes: number,
  ): Promise<ScanResult & { readonly coveredBytes: number }> {
    const { checksum, fileSystem } = this.#context
    const bytes = await readIndexFile(fileSystem, this.indexPath, false)
    const summary = decodeSummary(bytes, checksum)
    const index = decodeEntries(bytes, checksum)
    if (summary?.baseOffset === this.baseOffset && index !== undefined && summary.sizeBytes <= sizeBytes) {
      this.#index = index
      this.sizeBytes = summary.sizeBytes
      this.endOffset = summary.endOffset
      this.maxTimestampMs = summary.maxTimestampMs
    }
    const coveredBytes = this.sizeBytes
    return { ...(await this.#scan(file, sizeBytes)), coveredBytes }
  }

  /** Writes the index file. The segment must be synced up to its size. */
  async writeIndex(): Promise<void> {
    const { checksum, fileSystem, logger } = this.#context
    try {
      await writeIndexFile(fileSystem, this.indexPath, encodeIndex(this, await this.loadIndex(), checksum))
    } catch (error) {
      logger.warn('a segment index was not written; it is made again when the log is opened', { error })
    }
  }

  /**
   * Reads whole batches, beginning with the one that holds `bounds.offset`, and verifies each.
   * @throws RTK_STORE_CORRUPT
   */
  async read(bounds: ReadBounds): Promise<Uint8Array> {
    const from = await this.#placeBefore(bounds.offset)
    return this.#withFile((file) =>
      readBatches({ file, sizeBytes: this.sizeBytes }, from, bounds, this.#context.checksum),
    )
  }

  /** Where the batch that holds an offset begins; the segment's end for its end offset. */
  async placeOf(offset: number): Promise<Place> {
    if (offset >= this.endOffset) return { position: this.sizeBytes, offset: this.endOffset }
    const from = await this.#placeBefore(offset)
    return this.#withFile((file) => findPlace({ file, sizeBytes: this.sizeBytes }, from, offset))
  }

  /** Offset of the first batch below `limitOffset` whose greatest timestamp is at least this; undefined without. */
  async offsetForTime(timestampMs: number, limitOffset: number): Promise<number | undefined> {
    const index = await this.loadIndex()
    return this.#withFile(async (file) => {
      for (let entry = 0; entry < index.length; entry++) {
        if (index.maxTimestampMsAt(entry) < timestampMs) continue
        const from = { position: index.positionAt(entry), offset: this.baseOffset + index.offsetAt(entry) }
        const end = entry + 1 < index.length ? index.positionAt(entry + 1) : this.sizeBytes
        const found = await findTime({ file, sizeBytes: this.sizeBytes }, from, end, limitOffset, timestampMs)
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
    const { checksum, fileSystem, indexes } = this.#context
    const bytes = await readIndexFile(fileSystem, this.indexPath, false)
    const summary = decodeSummary(bytes, checksum)
    let index = decodeEntries(bytes, checksum)
    if (
      index === undefined ||
      summary?.sizeBytes !== this.sizeBytes ||
      summary.endOffset !== this.endOffset
    ) {
      index = await this.#rebuildIndex()
    }
    this.#index = index
    indexes.keep(this)
    return index
  }

  async #rebuildIndex(): Promise<SparseIndex> {
    const index = new SparseIndex()
    let offset = 0
    await this.#withFile((file) =>
      scanBatches(file, this.#start, this.sizeBytes, this.#context.checksum, (bytes, at, position) => {
        index.add(offset, position, maxTimestampOf(bytes, at))
        offset += recordCountOf(bytes, at)
      }),
    )
    return index
  }

  get #start(): Place {
    return { position: 0, offset: this.baseOffset }
  }

  async #placeBefore(offset: number): Promise<Place> {
    const index = await this.loadIndex()
    if (index.length === 0) return this.#start
    const entry = index.entryOfOffset(offset - this.baseOffset)
    return { position: index.positionAt(entry), offset: this.baseOffset + index.offsetAt(entry) }
  }

  #scan(file: DiskFile, sizeBytes: number): Promise<ScanResult> {
    const from = { position: this.sizeBytes, offset: this.endOffset }
    return scanBatches(file, from, sizeBytes, this.#context.checksum, (bytes, at) => {
      this.add(batchSizeOf(bytes, at), recordCountOf(bytes, at), maxTimestampOf(bytes, at))
    })
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
