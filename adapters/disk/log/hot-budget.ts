/** How much memory the recent ends of all logs of a store may take together. */
import type { BatchBuffer, LogStoreTally } from 'ratatoskr/ports'

// Where thousands of chunks wait for their write, looking at all of them at each append would cost more than it frees.
const refusedMax = 64

/** A buffer of batches that may leave the memory. */
interface BudgetedChunk {
  readonly buffer: BatchBuffer
  readonly tail: {
    mayDrop(chunk: BudgetedChunk): boolean
    drop(chunk: BudgetedChunk): void
  }
}

/** Bytes that the hot tails of all logs may take. Chunks go in the order in which they were made. */
export class HotBudget {
  readonly #bytesMax: number
  readonly #tally: LogStoreTally
  readonly #chunks = new Set<BudgetedChunk>()
  #bytes = 0

  constructor(bytesMax: number, tally: LogStoreTally) {
    this.#bytesMax = bytesMax
    this.#tally = tally
  }

  add(chunk: BudgetedChunk): void {
    this.#chunks.add(chunk)
    this.#bytes += chunk.buffer.capacityBytes
    this.trim()
  }

  /** Drops the oldest chunks while there are too many bytes. What is not on file yet stays, until it settles and this is called. */
  trim(): void {
    if (this.#bytes <= this.#bytesMax) return
    let refused = 0
    for (const chunk of this.#chunks) {
      if (chunk.tail.mayDrop(chunk)) chunk.tail.drop(chunk)
      else if (++refused === refusedMax) return
      if (this.#bytes <= this.#bytesMax) return
    }
  }

  remove(chunk: BudgetedChunk): void {
    if (!this.#chunks.delete(chunk)) return
    this.#bytes -= chunk.buffer.capacityBytes
    this.count(-chunk.buffer.sizeBytes)
  }

  /** Counts batches that came or went; the budget itself is for the buffers, however full they are. */
  count(batchBytes: number): void {
    this.#tally.hotBytes += batchBytes
  }
}
