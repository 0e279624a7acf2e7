/** What a partition works with, and what it knows of its topic. */
import type { BuilderPool } from '../../domain/batch/builder-pool.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import type { Limits } from '../../domain/limits.ts'
import type { TopicRef } from '../../domain/names.ts'
import type { LogStore, OpenLogOptions, Platform } from '../../ports/index.ts'
import type { PublishBudget } from '../admission/publish-budget.ts'
import type { MessageDedup } from '../producers/message-dedup.ts'
import type { ProducerStore } from '../producers/producer-store.ts'
import type { PublishTraffic } from '../publish/traffic.ts'
import type { Delivery } from '../seams.ts'
import type { StorageRoom } from '../storage-room.ts'
import type { Supervision } from '../supervision/supervisor.ts'

/** What all partitions of a broker share. */
export interface PartitionContext {
  readonly store: LogStore
  readonly platform: Platform
  readonly limits: Limits
  readonly budget: PublishBudget
  readonly expansion: Expansion
  readonly supervision: Supervision
  readonly traffic: PublishTraffic
  readonly builders: BuilderPool
  readonly room: StorageRoom
  readonly producers: ProducerStore
  /** Learns of every opening before anything is appended. */
  readonly delivery: Pick<Delivery, 'logOpened'>
}

/** What a partition knows of its topic. */
export interface PartitionOwner {
  readonly ref: TopicRef
  readonly id: string
  readonly text: string
  readonly logOptions: OpenLogOptions
  /** Undefined while the topic does not look for duplicates. */
  readonly dedup: MessageDedup | undefined
  /** True from the moment its deletion is on record. */
  readonly deleted: boolean
  /** A batch of single messages was handed to the store. */
  batchFlushed(partition: number): void
}
