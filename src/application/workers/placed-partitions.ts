/** The partitions of this worker's topics, its own and those elsewhere, and the memory that says where each stands. */
import { Partition } from '../partitions/partition.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'
import type { PartitionAddress } from './mesh-operations.ts'
import { newCells, OffsetCells } from './offset-cells.ts'
import type { PartitionFinder } from './partition-host.ts'
import { RemotePartition } from './remote-partition.ts'

interface PlacedTopic {
  readonly partitions: (TopicPartition | undefined)[]
  readonly cells: SharedArrayBuffer[]
}

export class PlacedPartitions implements PartitionFinder {
  readonly #topics = new Map<string, PlacedTopic>()

  local({ topicId, partition }: PartitionAddress): Partition | undefined {
    const found = this.#topics.get(topicId)?.partitions[partition]
    return found instanceof Partition ? found : undefined
  }

  remote({ topicId, partition }: PartitionAddress): RemotePartition | undefined {
    const found = this.#topics.get(topicId)?.partitions[partition]
    return found instanceof RemotePartition ? found : undefined
  }

  get({ topicId, partition }: PartitionAddress): TopicPartition | undefined {
    return this.#topics.get(topicId)?.partitions[partition]
  }

  set({ topicId, partition }: PartitionAddress, placed: TopicPartition): void {
    this.#topic(topicId).partitions[partition] = placed
  }

  /** The memory of a partition; made when there is none. */
  memoryOf({ topicId, partition }: PartitionAddress): SharedArrayBuffer {
    const { cells } = this.#topic(topicId)
    cells[partition] ??= newCells()
    return cells[partition]
  }

  cellsOf(address: PartitionAddress): OffsetCells {
    return new OffsetCells(this.memoryOf(address))
  }

  /** Takes the memory that another worker has made. */
  useMemory(topicId: string, cells: readonly SharedArrayBuffer[]): void {
    const known = this.#topic(topicId).cells
    for (const [partition, memory] of cells.entries()) known[partition] ??= memory
  }

  forget(topicId: string): void {
    this.#topics.delete(topicId)
  }

  #topic(topicId: string): PlacedTopic {
    let topic = this.#topics.get(topicId)
    if (topic === undefined) {
      topic = { partitions: [], cells: [] }
      this.#topics.set(topicId, topic)
    }
    return topic
  }
}
