/** Deletes what topics keep no longer, by age and by size: whole segments, in periodic sweeps on the Clock port. */
import { batchSizeOf, nextOffsetOf } from '../domain/batch/header.ts'
import type { TopicConfig } from '../domain/topic.ts'
import type { Platform } from '../ports/index.ts'
import type { Partition } from './partitions/partition.ts'
import type { Topic } from './topics/topic.ts'

export interface RetentionOptions {
  readonly platform: Platform
  /** Pause between sweeps. */
  readonly intervalMs: number
  /** False when the store cannot find offsets by time: then nothing is deleted by age. */
  readonly timeIndex: boolean
  readonly topics: () => readonly Topic[]
}

/** How much of a log is read at once to find where its surplus ends. */
const readBytes = 1024 * 1024

export class Retention {
  readonly #options: RetentionOptions
  #timer: Disposable | undefined
  #sweep: Promise<void> | undefined
  #running = false

  constructor(options: RetentionOptions) {
    this.#options = options
  }

  start(): void {
    this.#running = true
    this.#schedule()
  }

  /** Resolves when a sweep that runs has ended. */
  async stop(): Promise<void> {
    this.#running = false
    this.#timer?.[Symbol.dispose]()
    await this.#sweep
  }

  /** Goes once through all partitions, one after the other: a sweep must not compete with publishing. */
  async sweep(): Promise<void> {
    for (const topic of this.#options.topics()) {
      for (const partition of topic.partitions) {
        if (!this.#running) return
        if (topic.deleted || partition.state !== 'online') continue
        try {
          await this.#trim(partition, topic.config)
        } catch (error) {
          this.#options.platform.logger.warn('retention failed; the next sweep tries again', {
            topic: topic.text,
            partition: partition.index,
            error,
          })
        }
      }
    }
  }

  #schedule(): void {
    this.#timer = this.#options.platform.clock.after(this.#options.intervalMs, () => {
      this.#sweep = this.sweep().then(() => {
        if (this.#running) this.#schedule()
      })
    })
  }

  async #trim(partition: Partition, config: TopicConfig): Promise<void> {
    if (config.retentionMs !== -1 && this.#options.timeIndex) {
      const oldest = await partition.batchOffsetForTime(
        this.#options.platform.clock.now() - config.retentionMs,
      )
      if (oldest > partition.startOffset) await partition.truncateBefore(oldest)
    }
    if (config.retentionBytes === -1) return
    // Below a segment of surplus nothing can be let go: then the log need not be read either.
    const surplusBytes = partition.sizeBytes - config.retentionBytes
    if (surplusBytes < config.segmentBytes) return
    await partition.truncateBefore(await offsetAfter(partition, surplusBytes))
  }
}

/** The offset after the last batch that lies wholly within the log's first `bytes`. */
async function offsetAfter(partition: Partition, bytes: number): Promise<number> {
  let offset = partition.startOffset
  for (let left = bytes; ; ) {
    const chunk = await partition.read(offset, Math.min(left, readBytes))
    if (chunk.length === 0) return offset
    for (let at = 0; at < chunk.length; at += batchSizeOf(chunk, at)) {
      left -= batchSizeOf(chunk, at)
      if (left < 0) return offset
      offset = nextOffsetOf(chunk, at)
    }
  }
}
