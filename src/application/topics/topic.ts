/** A topic while it exists: its configuration, its partitions, and what publishing must know of it. */
import type { BatchRules } from '../../domain/batch/verify.ts'
import { isAtLeast } from '../../domain/durability.ts'
import { RatatoskrError } from '../../domain/errors.ts'
import { formatTopicRef, quoteForMessage, type TopicRef } from '../../domain/names.ts'
import { StickyPartitioner } from '../../domain/partitioner.ts'
import type { TopicConfig, TopicDescription } from '../../domain/topic.ts'
import type { ComponentHealth, OpenLogOptions } from '../../ports/index.ts'
import { batchOverheadBytes } from '../partitions/accumulator.ts'
import type { PartitionContext, PartitionOwner } from '../partitions/partition-context.ts'
import type { PartitionPlacement, TopicPartition } from '../partitions/topic-partition.ts'
import { MessageDedup } from '../producers/message-dedup.ts'
import type { LiveTopic } from '../seams.ts'
import type { TopicRecord } from './topic-record.ts'

/** What all topics of a broker share. */
export interface TopicContext extends PartitionContext {
  /** Walk the records of batches that come from outside. */
  readonly verifyRecords: boolean
  /** Whether topics remember ids here; otherwise who publishes with ids that must be looked for is sent elsewhere. */
  readonly remembersIds: boolean
  /** Makes the partitions of a topic. */
  readonly placement: PartitionPlacement
}

export class Topic implements LiveTopic, PartitionOwner {
  readonly ref: TopicRef
  readonly text: string
  readonly id: string
  readonly createdAtMs: number
  readonly #context: TopicContext
  readonly #partitionListeners = new Set<() => void>()
  readonly #configListeners = new Set<() => void>()
  #config: TopicConfig
  #rules: BatchRules
  #dedup: MessageDedup | undefined
  #partitions: readonly TopicPartition[]
  #deleted = false
  readonly #sticky: StickyPartitioner
  /** Version of the topic's entry in the state store. */
  stateVersion: number

  constructor(ref: TopicRef, record: TopicRecord, stateVersion: number, context: TopicContext) {
    this.ref = ref
    this.text = formatTopicRef(ref)
    this.id = record.id
    this.createdAtMs = record.createdAtMs
    this.stateVersion = stateVersion
    this.#context = context
    this.#sticky = new StickyPartitioner(context.platform.random.next())
    this.#config = record.config
    this.#rules = this.#makeRules()
    this.#dedup = this.#dedupFor(record.config)
    this.#partitions = this.makePartitions(0, record.config.partitions)
  }

  get config(): TopicConfig {
    return this.#config
  }

  get partitions(): readonly TopicPartition[] {
    return this.#partitions
  }

  get logOptions(): OpenLogOptions {
    return { segmentBytes: this.#config.segmentBytes }
  }

  get dedup(): MessageDedup | undefined {
    return this.#dedup
  }

  /** False when it was created on a storage that reached more than this one: then nothing can be published. */
  get durabilityIsReached(): boolean {
    return this.#context.store.supports.durability.some((level) => isAtLeast(level, this.#config.durability))
  }

  /** Health of a topic that cannot be published to. */
  get trouble(): readonly ComponentHealth[] {
    if (this.durabilityIsReached) return []
    return [
      { name: `topic ${this.text}`, status: 'failed', restarts: 0, lastError: 'RTK_DURABILITY_UNAVAILABLE' },
    ]
  }

  /** True from the moment its deletion is on record. */
  get deleted(): boolean {
    return this.#deleted
  }

  /** What a batch from outside must satisfy. */
  get batchRules(): BatchRules {
    return this.#rules
  }

  /** Key, headers and payload of one message together: the topic's bound, within what one batch can hold. */
  get messageBytesMax(): number {
    return this.#rules.messageBytesMax
  }

  /** @throws RTK_PARTITION_NOT_FOUND */
  partition(index: number): TopicPartition {
    // A remote caller's index may be of any type, and a property lookup takes more than numbers.
    const partition = typeof index === 'number' ? this.#partitions[index] : undefined
    if (partition === undefined) {
      throw new RatatoskrError(
        'RTK_PARTITION_NOT_FOUND',
        `topic ${this.text} has partitions 0 to ${this.#partitions.length - 1}, got ${quoteForMessage(index)}`,
      )
    }
    return partition
  }

  /**
   * The partition that messages without a key go to for now. It changes with each batch, so that messages spread while
   * batches stay large, and passes over partitions that are down.
   */
  stickyPartition(): TopicPartition {
    const count = this.#partitions.length
    let partition = this.#partitions[this.#sticky.current(count)]
    for (let tries = 1; tries < count && partition.state !== 'online'; tries++) {
      this.#sticky.moveOn()
      partition = this.#partitions[this.#sticky.current(count)]
    }
    return partition
  }

  batchFlushed(partition: number): void {
    if (partition === this.#sticky.current(this.#partitions.length)) this.#sticky.moveOn()
  }

  describe(): TopicDescription {
    return {
      namespace: this.ref.namespace,
      name: this.ref.name,
      id: this.id,
      createdAtMs: this.createdAtMs,
      config: this.#config,
      partitions: this.#partitions.map((partition) => partition.describe()),
    }
  }

  record(changes: Partial<TopicRecord> = {}): TopicRecord {
    return {
      id: this.id,
      createdAtMs: this.createdAtMs,
      config: this.#config,
      deleting: this.#deleted,
      ...changes,
    }
  }

  /** Partitions that are not yet part of the topic: `from` up to, not including, `to`. */
  makePartitions(from: number, to: number): readonly TopicPartition[] {
    return Array.from({ length: to - from }, (_, place) =>
      this.#context.placement(from + place, this, this.#context),
    )
  }

  /** Takes a new configuration, and opened partitions that it adds. */
  apply(config: TopicConfig, added: readonly TopicPartition[]): void {
    this.#config = config
    this.#rules = this.#makeRules()
    this.#dedup = this.#dedupFor(config)
    this.#tell(this.#configListeners)
    if (added.length === 0) return
    this.#partitions = [...this.#partitions, ...added]
    this.#tell(this.#partitionListeners)
  }

  onConfigChanged(run: () => void): Disposable {
    const listener = (): void => run()
    this.#configListeners.add(listener)
    return { [Symbol.dispose]: () => void this.#configListeners.delete(listener) }
  }

  onPartitionsAdded(run: () => void): Disposable {
    const listener = (): void => run()
    this.#partitionListeners.add(listener)
    return { [Symbol.dispose]: () => void this.#partitionListeners.delete(listener) }
  }

  markDeleted(): void {
    this.#deleted = true
  }

  /** Ends its partitions; calls that come later get `reason`. */
  async close(reason: RatatoskrError): Promise<void> {
    await Promise.all(this.#partitions.map((partition) => partition.close(reason)))
  }

  /** Ids are remembered from the moment that they are asked to be: of what is stored already only a start knows. */
  #dedupFor({ dedupWindowMs }: TopicConfig): MessageDedup | undefined {
    if (dedupWindowMs === 0 || !this.#context.remembersIds) return undefined
    if (this.#dedup !== undefined) {
      this.#dedup.windowMs = dedupWindowMs
      return this.#dedup
    }
    const { platform, limits, expansion } = this.#context
    const { clock, logger } = platform
    return new MessageDedup(this.text, dedupWindowMs, {
      clock,
      logger,
      expansion,
      idsMax: limits.dedupIdsPerTopicMax,
    })
  }

  #tell(listeners: ReadonlySet<() => void>): void {
    for (const run of [...listeners]) {
      try {
        run()
      } catch (error) {
        this.#context.platform.logger.error('a listener for changes of a topic threw', {
          topic: this.text,
          error,
        })
      }
    }
  }

  #makeRules(): BatchRules {
    const { platform, limits, expansion, verifyRecords } = this.#context
    return {
      checksum: platform.checksum,
      batchBytesMax: limits.batchBytesMax,
      messagesPerBatchMax: limits.messagesPerBatchMax,
      messageBytesMax: Math.min(
        this.#config.messageBytesMax,
        limits.messageBytesMax,
        Math.max(1, limits.batchBytesMax - batchOverheadBytes),
      ),
      headersPerMessageMax: limits.headersPerMessageMax,
      headerNameBytesMax: limits.headerNameBytesMax,
      headersBytesMax: limits.headersBytesMax,
      records: verifyRecords ? expansion : undefined,
    }
  }
}

/** What callers of a deleted topic get. */
export const topicDeletedError = (text: string): RatatoskrError =>
  new RatatoskrError('RTK_TOPIC_DELETED', `topic ${text} was deleted`)
