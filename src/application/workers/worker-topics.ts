/**
 * The topics of a worker that is not the controller: it has them as the controller tells, opens the partitions that are its
 * own, and creates none by itself.
 */
import type { RatatoskrError } from '../../domain/errors.ts'
import type { TopicRef } from '../../domain/names.ts'
import type { LogStore, Principal } from '../../ports/index.ts'
import { Partition } from '../partitions/partition.ts'
import type { ProducerStore } from '../producers/producer-store.ts'
import type { Delivery } from '../seams.ts'
import { Topic, type TopicContext, topicDeletedError } from '../topics/topic.ts'
import { sweepOrphanLogs } from '../topics/topic-loader.ts'
import { topicKey } from '../topics/topic-record.ts'
import { errorOf } from './mesh-errors.ts'
import type { MeshService } from './mesh-link.ts'
import type { MeshOperations, TopicNews, WorkerOperations } from './mesh-operations.ts'
import type { Peer } from './peer.ts'
import { PlacedPartitions } from './placed-partitions.ts'
import { ownerOf } from './placement.ts'
import { RemotePartition } from './remote-partition.ts'

export interface WorkerTopicsParts {
  /** This worker, and all there are; the first is the controller. */
  readonly index: number
  readonly peers: readonly Peer[]
  readonly context: Omit<TopicContext, 'placement' | 'delivery'>
  readonly store: LogStore
  readonly producers: ProducerStore
  readonly delivery: Delivery
}

type TopicOperations = Pick<
  WorkerOperations,
  'openPartition' | 'closePartition' | 'deleteLog' | 'reconfigure' | 'showTopic' | 'hideTopic' | 'sweep'
>

const done = { value: undefined }

export class WorkerTopics {
  readonly placed = new PlacedPartitions()
  readonly #parts: WorkerTopicsParts
  readonly #context: TopicContext
  /** By state key: those that may be used. */
  readonly #shown = new Map<string, Topic>()
  readonly #byId = new Map<string, Topic>()

  constructor(parts: WorkerTopicsParts) {
    this.#parts = parts
    const [controller] = parts.peers
    this.#context = {
      ...parts.context,
      delivery: {
        logOpened: async ({ id, text }, partition, endOffset) => {
          await controller.call('logOpened', { topicId: id, partition, text, endOffset })
        },
      },
      placement: (index, owner, context) => {
        const address = { topicId: owner.id, partition: index }
        const owning = ownerOf(owner.id, index, parts.peers.length)
        const cells = this.placed.cellsOf(address)
        const made =
          owning === parts.index
            ? new Partition(index, owner, context, { worker: owning, cells })
            : new RemotePartition(index, owner, context, {
                peer: parts.peers[owning],
                cells,
                life: undefined,
              })
        this.placed.set(address, made)
        return made
      },
    }
  }

  get(ref: TopicRef): Topic | undefined {
    return this.#shown.get(topicKey(ref))
  }

  list(): readonly Topic[] {
    return [...this.#shown.values()]
  }

  /** Partitions of this worker that have lost records. */
  get damaged() {
    return this.list().flatMap(({ id: topicId, partitions }) =>
      partitions
        .filter((one) => one instanceof Partition && one.damaged.length > 0)
        .map(({ index, damaged }) => ({ topicId, partition: index, ranges: damaged })),
    )
  }

  /** The topic, made by the controller when there is none. */
  async ensure(ref: TopicRef, principal: Principal): Promise<Topic> {
    await this.#parts.peers[0].call('ensureTopic', { ref, principal })
    const topic = this.get(ref)
    if (topic === undefined) throw topicDeletedError(topicKey(ref))
    return topic
  }

  get service(): Pick<MeshService<MeshOperations>, keyof TopicOperations> {
    const { store, producers } = this.#parts
    return {
      openPartition: async ({ partition: index, supervised, ...news }) => {
        const partition = this.#partitionOf(this.#topicOf(news), index)
        await (supervised ? partition.openSupervised() : partition.open())
        return { value: partition.damaged }
      },
      closePartition: async ({ reason, deleted, ...address }) => {
        if (deleted) this.#byId.get(address.topicId)?.markDeleted()
        await this.placed.local(address)?.close(errorOf(reason))
        return done
      },
      deleteLog: async ({ topicId, partition }) => {
        await store.deleteLog({ topicId, partition })
        await producers.forgetTopic(topicId)
        return done
      },
      reconfigure: async (address) => {
        await this.placed.local(address)?.reconfigure()
        return done
      },
      showTopic: (news) => {
        this.#show(news)
        return done
      },
      hideTopic: async ({ topicId }) => {
        await this.#hide(topicId)
        return done
      },
      sweep: async () => {
        await this.#sweep()
        return done
      },
    }
  }

  /** Ends all partitions. */
  async close(reason: RatatoskrError): Promise<void> {
    await Promise.all([...this.#byId.values()].map((topic) => topic.close(reason)))
  }

  #topicOf({ ref, record, cells }: TopicNews): Topic {
    this.placed.useMemory(record.id, cells)
    let topic = this.#byId.get(record.id)
    if (topic === undefined) {
      topic = new Topic(ref, record, 0, this.#context)
      this.#byId.set(record.id, topic)
    }
    return topic
  }

  #partitionOf(topic: Topic, index: number) {
    return (
      this.placed.get({ topicId: topic.id, partition: index }) ?? topic.makePartitions(index, index + 1)[0]
    )
  }

  #show(news: TopicNews): void {
    const topic = this.#topicOf(news)
    const { config } = news.record
    const added = Array.from({ length: config.partitions - topic.partitions.length }, (_, place) =>
      this.#partitionOf(topic, topic.partitions.length + place),
    )
    topic.apply(config, added)
    this.#shown.set(topicKey(news.ref), topic)
  }

  async #hide(topicId: string): Promise<void> {
    const topic = this.#byId.get(topicId)
    if (topic === undefined) return
    topic.markDeleted()
    this.#byId.delete(topicId)
    const key = topicKey(topic.ref)
    if (this.#shown.get(key) === topic) this.#shown.delete(key)
    const reason = topicDeletedError(topic.text)
    await this.#parts.delivery.topicDeleted(topic, reason)
    await topic.close(reason)
    this.placed.forget(topicId)
  }

  /** Removes empty logs of topics that the controller has not told of, and of partitions that are not this worker's. */
  async #sweep(): Promise<void> {
    const partitionsOf = new Map<string, number>()
    for (const topic of this.#byId.values()) partitionsOf.set(topic.id, topic.partitions.length)
    await sweepOrphanLogs(this.#parts.store, partitionsOf, this.#context.platform.logger)
  }
}
