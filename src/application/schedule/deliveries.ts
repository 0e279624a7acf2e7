/**
 * Delivers what is due: in rounds, each of which reads many messages from the log and writes them to their partitions in
 * few batches. What a topic cannot take is kept and tried again, without holding up the others.
 */
import { BatchBuilder } from '../../domain/batch/builder.ts'
import type { Expansion } from '../../domain/batch/expand.ts'
import type { Durability } from '../../domain/durability.ts'
import type { Limits } from '../../domain/limits.ts'
import { partitionForKey } from '../../domain/partitioner.ts'
import type { BatchBytes, MaybePromise, Platform } from '../../ports/index.ts'
import { batchOverheadBytes } from '../partitions/accumulator.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'
import { publishNewRecords } from '../publish/batch-dedup.ts'
import type { DurabilityOffer } from '../topics/durability-offer.ts'
import type { Topic } from '../topics/topic.ts'
import { Breather, readRecords } from './log-walk.ts'
import { finishDelivered, resolveDoubts } from './recovery.ts'
import type { ScheduleState } from './schedule-state.ts'
import { dueRecord, readScheduled, type StoredMessage } from './scheduled-record.ts'

export interface DeliveryParts {
  readonly platform: Platform
  readonly limits: Limits
  readonly offer: DurabilityOffer
  readonly expansion: Expansion
  /** The topic of an id; undefined when it was deleted. */
  readonly topicOf: (topicId: string) => Topic | undefined
}

/** What one round takes: enough that reading the log in order pays, little enough to hold in memory. */
const roundMessages = 8_192
const roundBytes = 8 * 1024 * 1024
/** What is written at a time: a few milliseconds of work. */
const sliceMessages = 1_024
const batchBytesTarget = 1024 * 1024

/** What goes to one partition. */
interface Group {
  readonly topic: Topic
  readonly partition: TopicPartition
  readonly builder: BatchBuilder
  /** Of the batch that is being built. */
  slots: number[]
  readonly batches: { readonly bytes: BatchBytes; readonly slots: readonly number[] }[]
}

export class Deliveries {
  readonly #state: ScheduleState
  readonly #parts: DeliveryParts
  readonly #breather: Breather
  readonly #batchBytes: number

  constructor(state: ScheduleState, parts: DeliveryParts) {
    this.#state = state
    this.#parts = parts
    this.#breather = new Breather(parts.platform.clock)
    this.#batchBytes = Math.min(batchBytesTarget, parts.limits.batchBytesMax - batchOverheadBytes)
  }

  /**
   * Delivers some of what is due.
   * @returns false when nothing was
   * @throws what reading the scheduler's log throws; then all of it waits again
   */
  async round(): Promise<boolean> {
    const { index, parked, positions } = this.#state
    for (const slot of parked.takeDue()) index.push(slot)
    if (positions.unresolved.length > 0 && index.nextDueMs <= this.#parts.platform.clock.now())
      await this.#resolve()
    const { slots, taken } = this.#take()
    if (taken === 0) return false
    const { deliverable, messages } = await this.#read(this.#ofTopicsThere(slots))
    for (let from = 0; from < deliverable.length; from += sliceMessages) {
      await this.#slice(deliverable.slice(from, from + sliceMessages), messages)
      await this.#breather.pause()
    }
    return true
  }

  /** Tries once more to look through partitions in doubt; their topics wait as long as that fails. */
  async #resolve(): Promise<void> {
    const { positions, parked } = this.#state
    const { platform, topicOf } = this.#parts
    const before = new Set(positions.unresolved.map(({ topicId }) => topicId))
    await resolveDoubts(this.#state, { breather: this.#breather, logger: platform.logger, topicOf })
    const left = new Set(positions.unresolved.map(({ topicId }) => topicId))
    for (const topicId of before) {
      if (!left.has(topicId)) finishDelivered(this.#state, topicId)
      else if (!parked.has(topicId)) parked.failed(topicId, topicOf(topicId)?.text ?? topicId, undefined)
    }
  }

  /** The messages of these slots. Those that cannot be read now are set aside, with their topic. */
  async #read(slots: readonly number[]): Promise<{
    readonly deliverable: readonly number[]
    readonly messages: ReadonlyMap<number, StoredMessage>
  }> {
    const { index, parked, log } = this.#state
    const inLogOrder = [...slots].sort((one, other) => index.offsetOf(one) - index.offsetOf(other))
    const offsets = inLogOrder.map((slot) => index.offsetOf(slot))
    const messages = new Map<number, StoredMessage>()
    const aside = new Set<number>()
    try {
      await readRecords(
        log,
        offsets,
        this.#breather,
        (cursor, place) => {
          const message = readScheduled(cursor)
          if (message !== undefined) messages.set(inLogOrder[place], message)
        },
        (place, error) => {
          if (error === undefined) return
          const slot = inLogOrder[place]
          const topicId = index.topicIdOf(slot)
          parked.failed(topicId, this.#parts.topicOf(topicId)?.text ?? topicId, error)
          parked.add(topicId, slot)
          aside.add(slot)
        },
      )
    } catch (error) {
      for (const slot of slots) if (!aside.has(slot)) index.push(slot)
      throw error
    }
    return { deliverable: slots.filter((slot) => !aside.has(slot)), messages }
  }

  /** Slots that are due, in the order in which they are to be delivered; those of topics that wait are set aside. */
  #take(): { readonly slots: readonly number[]; readonly taken: number } {
    const { index, parked } = this.#state
    const nowMs = this.#parts.platform.clock.now()
    const slots: number[] = []
    let taken = 0
    for (let bytes = 0; taken < roundMessages && bytes < roundBytes; taken++) {
      const slot = index.popDue(nowMs)
      if (slot === -1) break
      const topicId = index.topicIdOf(slot)
      if (parked.has(topicId)) {
        parked.add(topicId, slot)
      } else {
        slots.push(slot)
        bytes += index.sizeBytesOf(slot)
      }
    }
    return { slots, taken }
  }

  /** Those whose topic is there; the others are dropped. */
  #ofTopicsThere(slots: readonly number[]): readonly number[] {
    const { index } = this.#state
    const gone = new Map<string, number>()
    const there = slots.filter((slot) => {
      const topicId = index.topicIdOf(slot)
      if (this.#parts.topicOf(topicId) !== undefined) return true
      gone.set(topicId, (gone.get(topicId) ?? 0) + 1)
      this.#state.finish(slot)
      return false
    })
    for (const [topicId, count] of gone) this.#state.noteDropped(topicId, count, this.#parts.platform.logger)
    return there
  }

  async #slice(slots: readonly number[], messages: ReadonlyMap<number, StoredMessage>): Promise<void> {
    const groups = this.#grouped(slots, messages)
    if (groups.length === 0) return
    const { positions } = this.#state
    try {
      await positions.delivering(
        groups.map(({ topic }) => topic.id),
        groups.map(({ partition }) => partition),
      )
    } catch (error) {
      for (const group of groups) this.#failed(group, group.batches, error)
      return
    }
    await Promise.all(
      groups.map(async (group) => {
        await this.#deliver(group)
        positions.delivered(group.topic.id, group.partition)
      }),
    )
  }

  #grouped(slots: readonly number[], messages: ReadonlyMap<number, StoredMessage>): readonly Group[] {
    const { index, parked } = this.#state
    const { platform } = this.#parts
    const nowMs = platform.clock.now()
    const groups = new Map<TopicPartition, Group>()
    for (const slot of slots) {
      const topicId = index.topicIdOf(slot)
      const message = messages.get(slot)
      const topic = this.#parts.topicOf(topicId)
      if (topic === undefined) {
        this.#state.finish(slot)
        this.#state.noteDropped(topicId, 1, platform.logger)
        continue
      }
      if (message === undefined) {
        platform.logger.error('a scheduled message is lost to damage', {
          topic: topic.text,
          offset: index.offsetOf(slot),
        })
        this.#state.finish(slot)
        continue
      }
      if (parked.has(topicId)) {
        parked.add(topicId, slot)
        continue
      }
      const partition = partitionFor(topic, message)
      let group = groups.get(partition)
      if (group === undefined) {
        const builder = new BatchBuilder({ checksum: platform.checksum })
        group = { topic, partition, builder, slots: [], batches: [] }
        groups.set(partition, group)
      }
      if (group.slots.length > 0 && group.builder.sizeBytes + index.sizeBytesOf(slot) > this.#batchBytes)
        seal(group)
      group.builder.add(dueRecord(message, index.orderOf(slot), nowMs))
      group.slots.push(slot)
    }
    const made = [...groups.values()]
    for (const group of made) seal(group)
    return made
  }

  /** Writes the batches of one partition, one after the other: what comes after one that failed waits with it. */
  async #deliver(group: Group): Promise<void> {
    const { topic, partition, batches } = group
    for (let place = 0; place < batches.length; place++) {
      const { bytes, slots } = batches[place]
      try {
        const durability = this.#parts.offer.levelFor(topic.config.durability)
        await this.#store(topic, partition, bytes, slots.length, durability)
      } catch (error) {
        this.#failed(group, batches.slice(place), error)
        return
      }
      for (const slot of slots) this.#state.finish(slot)
    }
    topic.batchFlushed(partition.index)
    this.#state.parked.succeeded(topic.id)
  }

  /** Where a topic looks for duplicates, what it has already under the same id counts as delivered. */
  #store(
    topic: Topic,
    partition: TopicPartition,
    bytes: BatchBytes,
    recordCount: number,
    durability: Durability,
  ): MaybePromise<unknown> {
    const { platform, expansion } = this.#parts
    const { dedup } = topic
    const enteredMs = platform.clock.monotonic()
    if (dedup === undefined) return partition.append(bytes, recordCount, durability, enteredMs)
    const publish = { topic, dedup, partition, bytes, durability, enteredMs, mayStore: undefined }
    return publishNewRecords(publish, expansion, platform)
  }

  #failed({ topic }: Group, batches: Group['batches'], error: unknown): void {
    const { parked } = this.#state
    if (topic.deleted) {
      let count = 0
      for (const { slots } of batches) {
        for (const slot of slots) this.#state.finish(slot)
        count += slots.length
      }
      this.#state.noteDropped(topic.id, count, this.#parts.platform.logger)
      return
    }
    parked.failed(topic.id, topic.text, error)
    for (const { slots } of batches) for (const slot of slots) parked.add(topic.id, slot)
  }
}

function partitionFor(topic: Topic, { schedule, key }: StoredMessage): TopicPartition {
  if (schedule.partition !== -1) return topic.partition(schedule.partition)
  if (key !== undefined) return topic.partition(partitionForKey(key, topic.partitions.length))
  return topic.stickyPartition()
}

function seal(group: Group): void {
  if (group.slots.length === 0) return
  group.batches.push({ bytes: group.builder.build(), slots: group.slots })
  group.slots = []
}
