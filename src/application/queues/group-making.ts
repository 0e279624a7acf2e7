/** How queue groups come to be: made for the first who wants them, out of what is stored, or out of a stream group. */
import { assertDeadLetterTopic } from '../../domain/dead-letters/dead-letter-topic.ts'
import { encodeCheckpoint } from '../../domain/queue/checkpoint-codec.ts'
import {
  equalQueueConfigs,
  type ParsedChanges,
  parseQueueChanges,
  parseQueueSettings,
} from '../../domain/queue/queue-config-rules.ts'
import { queueDefaultsOf } from '../../domain/topic-config.ts'
import type { ConsumeOptions, QueueConfig, StartPosition } from '../../ports/index.ts'
import { RatatoskrError } from '../../ports/index.ts'
import { resolvePosition } from '../delivery/positions.ts'
import type { TopicState } from '../delivery/topic-state.ts'
import type { Group } from '../groups/group.ts'
import { beginAt } from './positions.ts'
import { type GroupHost, QueueGroup } from './queue-group.ts'
import type { QueueRecord, StoredQueues } from './queue-store.ts'
import type { QueueServiceHost } from './service-host.ts'

type MakingHost = Pick<QueueServiceHost, 'limits' | 'logger' | 'store' | 'checkpoints' | 'shared'>

export class GroupMaking {
  readonly #host: MakingHost
  /** Groups that are being made, by topic and name: whoever wants one of them waits for it. */
  readonly #making = new Map<string, Promise<QueueGroup>>()

  constructor(host: MakingHost) {
    this.#host = host
  }

  /** Gives a topic the groups that it had. */
  restore(state: TopicState, stored: StoredQueues): void {
    for (const [name, { record, checkpoints }] of stored) {
      const group = new QueueGroup(name, record, checkpoints, this.#groupHost(state, name))
      state.queues.set(name, group)
      group.resume()
      const stream = state.groups.get(name)
      if (stream !== undefined) void this.#forgetStream(state, stream) // it was about to be, when the broker ended
    }
  }

  /** The group to join: with the settings that are wished for. @throws RTK_GROUP_MISMATCH and more: see `consume` */
  async joinable(
    state: TopicState,
    { group: name, config: given, from }: Pick<ConsumeOptions, 'group' | 'config' | 'from'>,
  ): Promise<QueueGroup> {
    const known = state.queues.get(name)
    const wished = settingsFor(state, given)
    if (known === undefined) {
      const stream = state.groups.get(name)
      if (stream?.isInUse === true) {
        throw new RatatoskrError(
          'RTK_GROUP_MISMATCH',
          `${name} is a stream group with members, who take whole batches; when they are closed it becomes a queue group with the next one who joins`,
        )
      }
      return await this.make(state, name, wished, from, stream)
    }
    if (equalQueueConfigs({ ...known.config, ...wished }, known.config)) return known
    if (known.memberCount > 0) throw otherSettings(known)
    await known.configure({ set: wished, unset: [] })
    return known
  }

  /**
   * Makes a group; one that is being made already is meant.
   * @param stream the group of batches that it was
   * @throws RTK_GROUP_MISMATCH, RTK_LIMIT_EXCEEDED, what the state store throws
   */
  async make(
    state: TopicState,
    name: string,
    own: Partial<QueueConfig>,
    from: StartPosition | undefined,
    stream?: Group,
  ): Promise<QueueGroup> {
    const key = `${state.topic.id}/${name}`
    const making = this.#making.get(key)
    if (making !== undefined) {
      const made = await making
      assertSetAlike(made, own)
      return made
    }
    const { groupsPerTopicMax } = this.#host.limits
    if (stream === undefined) state.assertGroupIs('queue', name)
    if (stream === undefined && state.groupCount >= groupsPerTopicMax) {
      throw new RatatoskrError(
        'RTK_LIMIT_EXCEEDED',
        `${state.topic.text} has ${groupsPerTopicMax} groups, the most allowed (groupsPerTopicMax)`,
      )
    }
    const made = this.#makeNow(state, name, own, from, stream)
    this.#making.set(key, made)
    state.making.add(name)
    try {
      return await made
    } finally {
      this.#making.delete(key)
      state.making.delete(name)
    }
  }

  /**
   * Everything of a new group is stored before anybody joins it.
   * @param stream the group of batches that it was: it goes on where that stands
   */
  async #makeNow(
    state: TopicState,
    name: string,
    own: Partial<QueueConfig>,
    from: StartPosition | undefined,
    stream: Group | undefined,
  ): Promise<QueueGroup> {
    const { store, shared } = this.#host
    const { topic } = state
    const offsets = await resolvePosition(topic, from ?? 'earliest', topic.partitions)
    const { sharing } = queueDefaultsOf(topic.config)
    const record: QueueRecord = {
      own: { sharing, ...own },
      paused: false,
      pausedPartitions: [],
      usedAtMs: shared.clock.now(),
    }
    const stands = await stream?.positions()
    const begins = new Map(
      offsets.map(({ partition, offset }) => [partition, beginAt(stands?.get(partition) ?? offset)]),
    )
    const writes = [store.putRecord(topic.id, name, record)]
    for (const [index, begin] of begins)
      writes.push(store.putCheckpoint(topic.id, name, index, encodeCheckpoint(begin)))
    try {
      await Promise.all(writes)
    } catch (error) {
      await store.remove(topic.id, name).catch(() => {}) // nobody knows what of it was stored
      throw error
    }
    if (state.closeReason !== undefined) throw state.closeReason
    const group = new QueueGroup(name, record, begins, this.#groupHost(state, name))
    state.queues.set(name, group)
    if (stream !== undefined) await this.#forgetStream(state, stream)
    return group
  }

  /** It is a queue group from here on, and is one after a restart too, whatever is left of the other kind. */
  async #forgetStream(state: TopicState, stream: Group): Promise<void> {
    state.groups.delete(stream.name)
    try {
      await stream.forget()
    } catch (error) {
      this.#host.logger.warn('what a group had committed before it became a queue group is still stored', {
        topic: state.topic.text,
        group: stream.name,
        error,
      })
    }
  }

  #groupHost(state: TopicState, name: string): GroupHost {
    const { store, checkpoints, shared, logger } = this.#host
    const { topic } = state
    const source = {
      topicId: topic.id,
      group: name,
      get intervalMs(): number {
        return state.queues.get(name)?.config.checkpointIntervalMs ?? 0
      },
    }
    return {
      topic,
      shared,
      store: (record) => store.putRecord(topic.id, name, record),
      dirty: (partition, urgent) => checkpoints.mark(partition, source, urgent),
      forget: (partition) => checkpoints.forget(partition),
      gap: (partition, { from, to }) =>
        logger.error('records are lost to damage; a queue group goes on after them', {
          topic: topic.text,
          group: name,
          partition,
          from,
          to,
        }),
    }
  }
}

/** Settings that a caller gives a group of the topic, checked. @throws RTK_INVALID_ARGUMENT */
export function settingsFor({ topic }: TopicState, given: unknown): Partial<QueueConfig> {
  const settings = parseQueueSettings(given)
  assertDeadLetterTopic(topic.ref, settings.deadLetterTopic)
  return settings
}

/** Changes of a group's settings, checked. @throws RTK_INVALID_ARGUMENT */
export function changesFor({ topic }: TopicState, given: unknown): ParsedChanges {
  const changes = parseQueueChanges(given)
  assertDeadLetterTopic(topic.ref, changes.set.deadLetterTopic)
  return changes
}

/** @throws RTK_GROUP_MISMATCH when a group is not what it would be with these settings of its own, if it were new */
export function assertSetAlike(group: QueueGroup, own: Partial<QueueConfig>): void {
  if (!equalQueueConfigs(group.config, { ...group.defaults, ...own })) throw otherSettings(group)
}

const otherSettings = (group: QueueGroup): RatatoskrError =>
  new RatatoskrError(
    'RTK_GROUP_MISMATCH',
    `the queue group ${group.name} has other settings; leave them out to take its own, or alter the group`,
  )
