/**
 * Deletes what topics keep no longer, in periodic sweeps on the Clock port: whole segments, the oldest first, never the
 * one that is being written.
 *
 * A topic of the policy `limits` lets go of what is above one of its three limits, whichever is reached first. A topic of
 * the policy `workqueue` lets go of what every group has committed, and of nothing else. What has expired goes under either:
 * nobody is given it any more.
 */
import type { Expansion } from '../domain/batch/expand.ts'
import { batchSizeOf, nextOffsetOf } from '../domain/batch/header.ts'
import type { Platform } from '../ports/index.ts'
import { Expiry } from './expiry.ts'
import { nextReadable } from './gaps.ts'
import type { TopicPartition } from './partitions/topic-partition.ts'
import type { Topic } from './topics/topic.ts'
import { WallClockWatch } from './wall-clock-watch.ts'

export interface RetentionOptions {
  readonly platform: Platform
  /** Pause between sweeps. */
  readonly intervalMs: number
  /** False when the store cannot find offsets by time: then nothing is deleted by age. */
  readonly timeIndex: boolean
  readonly topics: () => readonly Topic[]
  /** How records are looked into to find when they expire. */
  readonly expansion: Expansion
  /** The first offset that a group of the topic has not committed past; undefined when the topic has no group. */
  readonly owedFrom: (topic: Topic, partition: number) => number | undefined
  /** The same, of groups whose expired messages become dead letters: until they have, these stay. */
  readonly expiredOwedFrom: (topic: Topic, partition: number) => number | undefined
}

/** How much of a log is read at once to find where its surplus ends. */
const readBytes = 1024 * 1024

export class Retention {
  readonly #options: RetentionOptions
  readonly #wallClock: WallClockWatch
  readonly #expiry: Expiry
  #timer: Disposable | undefined
  #sweep: Promise<void> | undefined
  #running = false

  constructor(options: RetentionOptions) {
    this.#options = options
    this.#wallClock = new WallClockWatch(options.platform.clock)
    this.#expiry = new Expiry(options.platform.clock, options.expansion)
  }

  start(): void {
    this.#running = true
    this.#wallClock.sample()
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
    const agesAreSound = this.#agesAreSound()
    for (const topic of this.#options.topics()) {
      for (const partition of topic.partitions) {
        if (!this.#running) return
        if (topic.deleted || partition.state !== 'online') continue
        try {
          await this.#trim(topic, partition, agesAreSound)
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

  /** A clock that was set makes every message look older or younger at once: the sweep after it deletes nothing by age. */
  #agesAreSound(): boolean {
    const jumpMs = this.#wallClock.sample()
    if (jumpMs === 0) return true
    this.#options.platform.logger.warn(
      'the wall clock was set; nothing is deleted by age in this sweep, and the next one goes by the new time',
      { jumpMs },
    )
    return false
  }

  async #trim(topic: Topic, partition: TopicPartition, agesAreSound: boolean): Promise<void> {
    const { config } = topic
    const rules: ((partition: TopicPartition, topic: Topic) => Promise<void>)[] = []
    if (agesAreSound) rules.push(this.#byExpiry)
    // The cheap limits first: what they let go of need not be read to find where the surplus of bytes ends.
    if (config.retention === 'workqueue') rules.push(this.#byGroups)
    else if (agesAreSound && this.#options.timeIndex) rules.push(this.#byAge, this.#byCount, this.#bySize)
    else rules.push(this.#byCount, this.#bySize)
    // None of them waits for another: a time index that cannot be read must not fill the disk.
    const failures: unknown[] = []
    for (const rule of rules) {
      try {
        await rule(partition, topic)
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }

  readonly #byExpiry = async (partition: TopicPartition, topic: Topic): Promise<void> => {
    const liveFrom = await this.#expiry.liveFrom(partition)
    const owedFrom = this.#options.expiredOwedFrom(topic, partition.index) ?? liveFrom
    await truncate(partition, Math.min(liveFrom, owedFrom))
  }

  readonly #byGroups = async (partition: TopicPartition, topic: Topic): Promise<void> => {
    const owedFrom = this.#options.owedFrom(topic, partition.index)
    if (owedFrom !== undefined) await truncate(partition, owedFrom)
  }

  readonly #byAge = async (partition: TopicPartition, { config }: Topic): Promise<void> => {
    if (config.retentionMs === -1) return
    const oldestMs = this.#options.platform.clock.now() - config.retentionMs
    await truncate(partition, await partition.batchOffsetForTime(oldestMs))
  }

  readonly #byCount = async (partition: TopicPartition, { config }: Topic): Promise<void> => {
    if (config.retentionMessages === -1) return
    await truncate(partition, partition.stableOffset - config.retentionMessages)
  }

  readonly #bySize = async (partition: TopicPartition, { config }: Topic): Promise<void> => {
    if (config.retentionBytes === -1) return
    // Below a segment of surplus nothing can be let go: then the log need not be read either.
    const surplusBytes = partition.sizeBytes - config.retentionBytes
    if (surplusBytes < config.segmentBytes) return
    const known = partition.offsetAfterBytes?.(surplusBytes)
    await truncate(partition, known ?? (await offsetAfter(partition, surplusBytes)))
  }
}

async function truncate(partition: TopicPartition, offset: number): Promise<void> {
  if (offset > partition.startOffset) await partition.truncateBefore(offset)
}

/** The offset after the last batch that lies wholly within the log's first `bytes`; what is lost to damage has no size. */
async function offsetAfter(partition: TopicPartition, bytes: number): Promise<number> {
  let offset = partition.startOffset
  for (let left = bytes; ; ) {
    let chunk: Uint8Array
    try {
      chunk = await partition.read(offset, Math.min(left, readBytes))
    } catch (error) {
      const next = nextReadable(error, offset)
      if (next === undefined) throw error
      offset = next
      continue
    }
    if (chunk.length === 0) return offset
    for (let at = 0; at < chunk.length; at += batchSizeOf(chunk, at)) {
      left -= batchSizeOf(chunk, at)
      if (left < 0) return offset
      offset = nextOffsetOf(chunk, at)
    }
  }
}
