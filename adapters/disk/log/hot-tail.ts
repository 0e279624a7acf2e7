/**
 * The recent end of a log in memory. Appends are copied here once; the writer writes from these buffers and readers at the
 * tail read from them, so that neither waits for the disk. All logs of a store share one budget of bytes.
 */
import { BatchBuffer } from 'ratatoskr/ports'
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

  constructor(
    tail: HotTail,
    segment: Segment,
    filePosition: number,
    baseOffset: number,
    capacityBytes: number,
  ) {
    this.tail = tail
    this.segment = segment
    this.filePosition = filePosition
    this.buffer = new BatchBuffer(baseOffset, capacityBytes)
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

  /** A chunk of `segment` that has room for a batch; the segment's next byte is at `filePosition`. */
  chunkFor(
    segment: Segment,
    filePosition: number,
    offset: number,
    batchBytes: number,
    segmentBytes: number,
  ): HotChunk {
    const last = this.#chunks.at(-1)
    if (last !== undefined && last.segment === segment && last.buffer.hasRoom(batchBytes)) return last
    const grown = last === undefined ? smallestChunkBytes : last.buffer.capacityBytes * 2
    const capacity = Math.max(batchBytes, Math.min(grown, largestChunkBytes, segmentBytes))
    const chunk = new HotChunk(this, segment, filePosition, offset, capacity)
    this.#chunks.push(chunk)
    this.#budget.add(chunk)
    return chunk
  }

  /** Copies a batch into a chunk that has room for it. @returns where in the chunk it begins */
  append(chunk: HotChunk, batch: Uint8Array, recordCount: number): number {
    const from = chunk.buffer.sizeBytes
    chunk.buffer.append(batch, recordCount)
    this.#budget.count(batch.length)
    return from
  }

  /** The buffer that holds an offset; undefined when it is on disk only. */
  find(offset: number): BatchBuffer | undefined {
    const chunks = this.#chunks
    for (let i = chunks.length - 1; i >= 0; i--) {
      const { buffer } = chunks[i]
      if (buffer.baseOffset <= offset) return offset < buffer.endOffset ? buffer : undefined
    }
    return undefined
  }

  /** Forgets what begins at or after an offset, which is the first of a batch or the end. */
  cut(offset: number): void {
    while ((this.#chunks.at(-1)?.buffer.baseOffset ?? -1) >= offset)
      this.drop(this.#chunks[this.#chunks.length - 1])
    const buffer = this.#chunks.at(-1)?.buffer
    if (buffer === undefined || buffer.endOffset <= offset) return
    const position = buffer.positionOf(offset)
    this.#budget.count(position - buffer.sizeBytes)
    buffer.cut(position, offset)
  }

  clear(): void {
    for (const chunk of this.#chunks) this.#budget.remove(chunk)
    this.#chunks = []
  }

  /** Chunks leave from the oldest on, so that what stays has no gap; not those that are about to be filled or written. */
  mayDrop(chunk: HotChunk): boolean {
    const { endOffset, sizeBytes } = chunk.buffer
    return chunk === this.#chunks[0] && sizeBytes > 0 && endOffset <= this.#stableOffset()
  }

  drop(chunk: HotChunk): void {
    this.#budget.remove(chunk)
    this.#chunks = this.#chunks.filter((other) => other !== chunk)
  }
}
