/**
 * The recent end of a log in memory. Appends are copied here once, but for large ones, which stay in the buffers in which they
 * came; the writer writes from these buffers and readers at the tail read from them, so that neither waits for the disk. All
 * logs of a store share one budget of bytes.
 */
import { BatchBuffer, isKeepable } from 'ratatoskr/ports'
import type { HotBudget } from './hot-budget.ts'
import type { Segment } from './segment.ts'

// Ten thousand topics with a message each must not take the budget of one busy topic.
const smallestChunkBytes = 4 * 1024
const largestChunkBytes = 1024 * 1024

/** A buffer of consecutive batches that lie in one segment. */
export class HotChunk {
  readonly buffer: BatchBuffer
  readonly segment: Segment
  /** Where in the segment's file the buffer begins. */
  readonly filePosition: number
  readonly tail: HotTail

  constructor(tail: HotTail, segment: Segment, filePosition: number, buffer: BatchBuffer) {
    this.tail = tail
    this.segment = segment
    this.filePosition = filePosition
    this.buffer = buffer
  }
}

export class HotTail {
  readonly #budget: HotBudget
  readonly #stableOffset: () => number
  #chunks: HotChunk[] = []

  /** @param stableOffset what lies below it is on file and may leave the memory */
  constructor(budget: HotBudget, stableOffset: () => number) {
    this.#budget = budget
    this.#stableOffset = stableOffset
  }

  /**
   * Takes a batch behind the others; the segment's next byte is at `filePosition`. Large ones are the tail's from here on.
   * @returns the chunk that ends with it
   */
  append(
    segment: Segment,
    filePosition: number,
    offset: number,
    batch: Uint8Array,
    recordCount: number,
    segmentBytes: number,
  ): HotChunk {
    let chunk: HotChunk
    if (isKeepable(batch)) {
      chunk = this.#add(segment, filePosition, BatchBuffer.of(batch, offset, recordCount))
    } else {
      chunk = this.#chunkFor(segment, filePosition, offset, batch.length, segmentBytes)
      chunk.buffer.append(batch, recordCount)
    }
    this.#budget.count(batch.length)
    return chunk
  }

  /** The buffer that holds an offset; undefined when it is on disk only. */
  find(offset: number): BatchBuffer | undefined {
    const chunks = this.#chunks
    let low = 0
    let high = chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (chunks[middle].buffer.baseOffset <= offset) low = middle
      else high = middle - 1
    }
    const buffer = chunks[low]?.buffer
    return buffer !== undefined && buffer.baseOffset <= offset && offset < buffer.endOffset
      ? buffer
      : undefined
  }

  /** Forgets what begins at or after an offset, which is the first of a batch or the end. */
  cut(offset: number): void {
    while ((this.#chunks.at(-1)?.buffer.baseOffset ?? -1) >= offset) {
      this.#budget.remove(this.#chunks[this.#chunks.length - 1])
      this.#chunks.pop()
    }
    const buffer = this.#chunks.at(-1)?.buffer
    if (buffer === undefined || buffer.endOffset <= offset) return
    const position = buffer.positionOf(offset)
    this.#budget.count(position - buffer.sizeBytes)
    buffer.cut(position, offset)
  }

  /** What readers hold, and what may still be written, stays as it is: of this nothing is used again. */
  clear(): void {
    for (const chunk of this.#chunks) this.#budget.remove(chunk)
    this.#chunks = []
  }

  /** Chunks leave from the oldest on, so that what stays has no gap; not those that are about to be filled or written. */
  mayDrop(chunk: HotChunk): boolean {
    const { endOffset, sizeBytes } = chunk.buffer
    return chunk === this.#chunks[0] && sizeBytes > 0 && endOffset <= this.#stableOffset()
  }

  /** Forgets the first chunk, which is on file. */
  drop(chunk: HotChunk): void {
    this.#budget.remove(chunk)
    this.#chunks.shift()
    chunk.buffer.letGo()
  }

  /** A chunk of `segment` that has room for a batch. */
  #chunkFor(
    segment: Segment,
    filePosition: number,
    offset: number,
    batchBytes: number,
    segmentBytes: number,
  ): HotChunk {
    const last = this.#chunks.at(-1)
    if (last !== undefined && last.segment === segment && last.buffer.hasRoom(batchBytes)) return last
    // Behind a batch that was kept whole begins a run that may be short.
    const grown = last?.buffer.hasRoom(0) === true ? last.buffer.capacityBytes * 2 : smallestChunkBytes
    const capacity = Math.max(batchBytes, Math.min(grown, largestChunkBytes, segmentBytes))
    return this.#add(segment, filePosition, new BatchBuffer(offset, capacity))
  }

  #add(segment: Segment, filePosition: number, buffer: BatchBuffer): HotChunk {
    const chunk = new HotChunk(this, segment, filePosition, buffer)
    this.#chunks.push(chunk)
    this.#budget.add(chunk)
    return chunk
  }
}
