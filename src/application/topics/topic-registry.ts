/**
 * The topics of the broker: found by name without waiting, changed one change a name at a time, kept in the state store.
 *
 * Deleting goes in an order that a crash cannot spoil: the entry is marked first, and what is left of a marked topic is
 * removed when the broker starts. Creating opens the logs first: logs without an entry are removed at start too.
 */
import { assertDeadLetterTopic } from '../../domain/dead-letters/dead-letter-topic.ts'
import { RatatoskrError, toRatatoskrError } from '../../domain/errors.ts'
import { topicIdPrefix } from '../../domain/message-id.ts'
import { formatTopicRef, type TopicRef } from '../../domain/names.ts'
import type { TopicConfig } from '../../domain/topic.ts'
import {
  equalTopicConfigs,
  parseTopicChanges,
  parseTopicConfig,
  withChanges,
} from '../../domain/topic-config.ts'
import type { Principal, StateStore } from '../../ports/index.ts'
import { forEachConcurrently } from '../concurrency.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'
import type { Delivery, Hooks } from '../seams.ts'
import type { DurabilityOffer } from './durability-offer.ts'
import { NameLocks } from './name-locks.ts'
import { Topic, type TopicContext, topicDeletedError } from './topic.ts'
import { readTopicRecords, sweepOrphanLogs } from './topic-loader.ts'
import { encodeTopicRecord, topicKey } from './topic-record.ts'

export interface TopicRegistryParts extends TopicContext {
  readonly state: StateStore
  readonly hooks: Hooks
  readonly delivery: Delivery
  readonly offer: DurabilityOffer
  /** Other workers that must know of topics; undefined when there are none. */
  readonly workers?: TopicAudience | undefined
  /** What a topic is when its creator says nothing. */
  readonly defaults: TopicConfig
}

/** Who is told of topics, and answers when it has understood: only then is whoever asked for the change. */
export interface TopicAudience {
  shown(topic: Topic): Promise<void>
  hidden(topic: Topic): Promise<void>
}

/** Logs that are opened or deleted at the same time: enough to keep a disk busy, few enough file handles at once. */
const logsAtOnce = 32

export class TopicRegistry {
  readonly #parts: TopicRegistryParts
  readonly #locks = new NameLocks()
  /** By state key. Readers look here without waiting: a topic is in it only while it can be used. */
  readonly #topics = new Map<string, Topic>()
  /** Marked as deleted, and not yet gone. */
  readonly #leftovers = new Map<string, Topic>()
  /** Ids are told apart by their first 48 bits, which derived message ids carry. */
  readonly #idPrefixes = new Set<string>()
  #creating = 0
  #open = false

  constructor(parts: TopicRegistryParts) {
    this.#parts = parts
  }

  /** Reads what is stored and opens every log. Partitions that do not open are left to their supervisors. */
  async load(): Promise<void> {
    this.#forget()
    await this.#parts.delivery.load()
    for await (const { ref, record, version } of readTopicRecords(this.#parts.state)) {
      const topic = new Topic(ref, record, version, this.#parts)
      this.#idPrefixes.add(topicIdPrefix(topic.id))
      if (record.deleting) {
        topic.markDeleted()
        this.#leftovers.set(topicKey(ref), topic)
      } else {
        this.#topics.set(topicKey(ref), topic)
      }
    }
    const partitions = this.list().flatMap((topic) => topic.partitions)
    await forEachConcurrently(partitions, logsAtOnce, (partition) => partition.openSupervised())
    for (const topic of this.list()) {
      if (topic.durabilityIsReached) continue
      this.#parts.platform.logger.error(
        'a topic demands a durability that this storage cannot reach: publishing to it is refused, reading is not',
        { topic: topic.text, durability: topic.config.durability },
      )
    }
    this.#open = true
  }

  /** Finishes what a stop or crash interrupted: deletions, and creations whose entry was never written. */
  async cleanUp(): Promise<void> {
    for (const topic of [...this.#leftovers.values()]) {
      try {
        await this.#finishDeletion(topic)
      } catch (error) {
        this.#parts.platform.logger.warn('a deleted topic could not be removed; the next start tries again', {
          topic: topic.text,
          error,
        })
      }
    }
    const partitionsOf = new Map<string, number>()
    for (const topic of this.#topics.values()) partitionsOf.set(topic.id, topic.partitions.length)
    for (const topic of this.#leftovers.values()) partitionsOf.set(topic.id, Number.POSITIVE_INFINITY)
    const { store, platform, delivery } = this.#parts
    const kept = await sweepOrphanLogs(store, partitionsOf, platform.logger)
    // Offsets go only where the messages are gone too: with a log that is kept, its groups are.
    const isGone = (topicId: string): boolean => !partitionsOf.has(topicId) && !kept.has(topicId)
    await delivery.forgetTopics(isGone)
    await this.#parts.producers.forgetTopics(isGone)
  }

  /** Lets changes that run finish, then closes every log. Calls that come later get `reason`. */
  async close(reason: RatatoskrError): Promise<void> {
    this.#open = false
    await this.#locks.idle()
    await Promise.all(this.list().map((topic) => topic.close(reason)))
    this.#forget()
  }

  get size(): number {
    return this.#topics.size
  }

  get(ref: TopicRef): Topic | undefined {
    return this.#topics.get(topicKey(ref))
  }

  /** @throws RTK_TOPIC_NOT_FOUND */
  require(ref: TopicRef): Topic {
    const topic = this.get(ref)
    if (topic === undefined) throw topicNotFound(ref)
    return topic
  }

  list(): readonly Topic[] {
    return [...this.#topics.values()]
  }

  /**
   * Creates a topic; when it exists with an equal configuration, that one is meant.
   * @throws RTK_TOPIC_EXISTS, RTK_INVALID_ARGUMENT, RTK_LIMIT_EXCEEDED, RTK_DURABILITY_UNAVAILABLE, RTK_STORE_FAILED,
   *   what a guard throws
   */
  async create(
    ref: TopicRef,
    given: unknown,
    principal: Principal,
  ): Promise<{ created: boolean; topic: Topic }> {
    const { defaults, limits } = this.#parts
    const config = parseTopicConfig(given, defaults, limits)
    // The defaults of all topics may name this one: that is no mistake of who makes it.
    const deadLetterTopic = config.queue?.deadLetterTopic
    if (deadLetterTopic !== defaults.queue?.deadLetterTopic) assertDeadLetterTopic(ref, deadLetterTopic)
    this.#parts.offer.levelFor(config.durability)
    return this.#change(ref, async (key) => {
      const existing = this.#topics.get(key)
      if (existing === undefined) return { created: true, topic: await this.#create(ref, config, principal) }
      if (equalTopicConfigs(existing.config, config)) return { created: false, topic: existing }
      throw new RatatoskrError(
        'RTK_TOPIC_EXISTS',
        `topic ${existing.text} exists with another configuration; alter it, or choose another name`,
      )
    })
  }

  /** The topic, made with the defaults when there is none. @throws as `create`, but never RTK_TOPIC_EXISTS */
  async ensure(ref: TopicRef, principal: Principal): Promise<Topic> {
    return this.#change(
      ref,
      async (key) => this.#topics.get(key) ?? (await this.#create(ref, this.#parts.defaults, principal)),
    )
  }

  /**
   * Deletes a topic with all that belongs to it. When this rejects after the deletion was put on record, the topic is
   * gone for its users and a second call, or the next start, removes the rest.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_STORE_FAILED, what a guard throws
   */
  async remove(ref: TopicRef, principal: Principal): Promise<void> {
    return this.#change(ref, async (key) => {
      const leftover = this.#leftovers.get(key)
      if (leftover !== undefined) return this.#finishDeletion(leftover)
      const topic = this.require(ref)
      const { hooks, state } = this.#parts
      const event = { topic: topic.text, topicId: topic.id, config: topic.config, principal }
      if (hooks.guards('topicDelete')) hooks.check('topicDelete', event)
      const value = encodeTopicRecord(topic.record({ deleting: true }))
      // Deleting must work on a full disk: it is how people make room.
      await fromStore(state.putMany([{ key, value, expectedVersion: topic.stateVersion, frees: true }]))
      topic.stateVersion++
      topic.markDeleted()
      this.#topics.delete(key)
      this.#leftovers.set(key, topic)
      if (hooks.observes('topicDeleted')) hooks.emit('topicDeleted', event)
      await this.#finishDeletion(topic)
    })
  }

  /**
   * Changes what is given and leaves the rest.
   * @throws RTK_TOPIC_NOT_FOUND, RTK_INVALID_ARGUMENT, RTK_DURABILITY_UNAVAILABLE, RTK_STORE_FAILED, what a guard throws
   */
  async alter(ref: TopicRef, given: unknown, principal: Principal): Promise<Topic> {
    return this.#change(ref, async (key) => {
      const topic = this.require(ref)
      const { hooks, state, limits, offer } = this.#parts
      const before = topic.config
      const changes = parseTopicChanges(given, before, limits)
      assertDeadLetterTopic(ref, changes.queue?.deadLetterTopic)
      const config = withChanges(before, changes)
      offer.levelFor(config.durability)
      if (equalTopicConfigs(before, config)) return topic
      const event = { topic: topic.text, topicId: topic.id, config, principal }
      if (hooks.guards('topicAlter')) hooks.check('topicAlter', { ...event, config: before, changes })
      const added = topic.makePartitions(before.partitions, config.partitions)
      try {
        await openAll(added)
        topic.stateVersion = await state.put(
          key,
          encodeTopicRecord(topic.record({ config })),
          topic.stateVersion,
        )
      } catch (error) {
        await this.#discard(topic, added)
        throw toRatatoskrError(error, 'RTK_STORE_FAILED')
      }
      topic.apply(config, added)
      await this.#parts.workers?.shown(topic)
      if (config.segmentBytes !== before.segmentBytes) {
        await forEachConcurrently(topic.partitions, logsAtOnce, (partition) => partition.reconfigure())
      }
      if (hooks.observes('topicAltered')) hooks.emit('topicAltered', event)
      return topic
    })
  }

  #forget(): void {
    this.#topics.clear()
    this.#leftovers.clear()
    this.#idPrefixes.clear()
  }

  #change<T>(ref: TopicRef, change: (key: string) => Promise<T>): Promise<T> {
    if (!this.#open) {
      return Promise.reject(
        new RatatoskrError('RTK_UNAVAILABLE', 'the broker is stopping; retry after a pause'),
      )
    }
    const key = topicKey(ref)
    return this.#locks.run(key, () => change(key))
  }

  async #create(ref: TopicRef, config: TopicConfig, principal: Principal): Promise<Topic> {
    const { hooks, state, platform } = this.#parts
    const key = topicKey(ref)
    const leftover = this.#leftovers.get(key)
    if (leftover !== undefined) await this.#finishDeletion(leftover)
    this.#assertRoom()
    const record = { id: this.#newId(), createdAtMs: platform.clock.now(), config, deleting: false }
    const event = { topic: formatTopicRef(ref), topicId: record.id, config, principal }
    if (hooks.guards('topicCreate')) hooks.check('topicCreate', event)
    const topic = new Topic(ref, record, 0, this.#parts)
    this.#creating++
    this.#idPrefixes.add(topicIdPrefix(topic.id))
    try {
      await openAll(topic.partitions)
      topic.stateVersion = await state.put(key, encodeTopicRecord(record), 0)
      this.#topics.set(key, topic)
    } catch (error) {
      this.#idPrefixes.delete(topicIdPrefix(topic.id))
      await this.#discard(topic, topic.partitions)
      throw toRatatoskrError(error, 'RTK_STORE_FAILED')
    } finally {
      this.#creating--
    }
    await this.#parts.workers?.shown(topic)
    if (hooks.observes('topicCreated')) hooks.emit('topicCreated', event)
    return topic
  }

  /** Removes what a topic that is marked as deleted still has. Each step may be done twice. */
  async #finishDeletion(topic: Topic): Promise<void> {
    const { delivery, state, producers } = this.#parts
    const reason = topicDeletedError(topic.text)
    const key = topicKey(topic.ref)
    await this.#parts.workers?.hidden(topic)
    await delivery.topicDeleted(topic, reason)
    await topic.close(reason)
    await fromStore(forEachConcurrently(topic.partitions, logsAtOnce, (partition) => partition.deleteLog()))
    await producers.forgetTopic(topic.id)
    await fromStore(state.delete(key))
    this.#leftovers.delete(key)
    this.#idPrefixes.delete(topicIdPrefix(topic.id))
  }

  /** Undoes opening. What fails here is found and removed as an orphan at the next start. */
  async #discard(topic: Topic, partitions: readonly TopicPartition[]): Promise<void> {
    const reason = topicDeletedError(topic.text)
    try {
      await forEachConcurrently(partitions, logsAtOnce, async (partition) => {
        await partition.close(reason)
        await partition.deleteLog()
      })
    } catch (error) {
      this.#parts.platform.logger.warn(
        'logs of a topic that was not created remain; the next start removes them',
        {
          topic: topic.text,
          error,
        },
      )
    }
  }

  #assertRoom(): void {
    const { topicsMax } = this.#parts.limits
    if (this.#topics.size + this.#creating >= topicsMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `there are ${topicsMax} topics already (topicsMax); delete some or raise the limit`,
      )
    }
  }

  #newId(): string {
    for (;;) {
      const id = this.#parts.platform.random.uuid()
      if (!this.#idPrefixes.has(topicIdPrefix(id))) return id
    }
  }
}

/** Opens partitions side by side; when one fails, only after all have settled, so that the others can be closed. */
async function openAll(partitions: readonly TopicPartition[]): Promise<void> {
  await forEachConcurrently(partitions, logsAtOnce, (partition) => partition.open())
}

/** What a store throws becomes a coded error. */
async function fromStore<T>(call: Promise<T>): Promise<T> {
  try {
    return await call
  } catch (error) {
    throw toRatatoskrError(error, 'RTK_STORE_FAILED')
  }
}

export const topicNotFound = (ref: TopicRef): RatatoskrError =>
  new RatatoskrError('RTK_TOPIC_NOT_FOUND', `there is no topic ${formatTopicRef(ref)}; create it first`)
