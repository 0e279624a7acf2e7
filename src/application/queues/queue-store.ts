/**
 * What is kept of queue groups, in the state store: the settings under `queues/<topicId>/<group>`, as JSON, and a checkpoint
 * for each partition under `queues/<topicId>/<group>/<partition>`, in bytes.
 */

import type { QueueCheckpoint } from '../../domain/queue/checkpoint.ts'
import { decodeCheckpoint, encodeCheckpoint } from '../../domain/queue/checkpoint-codec.ts'
import { defaultQueueConfig, parseQueueSettings } from '../../domain/queue/queue-config-rules.ts'
import type { Logger, QueueConfig, StateStore } from '../../ports/index.ts'
import { utf8, utf8Text } from '../../ports/index.ts'
import type { LiveTopic } from '../seams.ts'
import { StateWrites } from '../state-writes.ts'
import { clippedCheckpoint } from './positions.ts'

/** A group's settings, and what is to be known of it while it is not used. */
export interface QueueRecord {
  /** What is set for this group; for everything else it follows its topic. Its `sharing` is its own from the beginning. */
  readonly own: Partial<QueueConfig> & Pick<QueueConfig, 'sharing'>
  readonly paused: boolean
  readonly pausedPartitions: readonly number[]
  /** When it had a member for the last time, Unix ms. */
  readonly usedAtMs: number
}

/** A group as it was stored. */
interface StoredQueue {
  record: QueueRecord
  readonly checkpoints: Map<number, QueueCheckpoint>
}

/** Groups of one topic, by name. */
export type StoredQueues = Map<string, StoredQueue>

const prefix = 'queues/'
/** Entries that are removed with one write. */
const removedAtOnce = 1_000

export class QueueStore {
  readonly #store: StateStore
  readonly #logger: Logger
  readonly #writes: StateWrites

  constructor(store: StateStore, logger: Logger) {
    this.#store = store
    this.#logger = logger
    this.#writes = new StateWrites(store)
  }

  /** Everything stored, by topic id. What cannot be read is reported; a group then goes on with what can be. */
  async load(nowMs: number): Promise<Map<string, StoredQueues>> {
    const topics = new Map<string, StoredQueues>()
    for await (const { key, value } of this.#store.list(prefix)) {
      const [topicId, group, partition] = key.slice(prefix.length).split('/')
      if (group === undefined || (partition !== undefined && !/^\d{1,9}$/.test(partition))) {
        this.#logger.warn('an entry of a queue group has a key that cannot be read; it is left alone', {
          key,
        })
        continue
      }
      const queue = queueOf(topics, topicId, group, nowMs)
      try {
        if (partition === undefined) queue.record = readRecord(value)
        else queue.checkpoints.set(Number(partition), decodeCheckpoint(value))
      } catch (error) {
        this.#logger.error(
          'an entry of a queue group cannot be read; the group goes on without it, and may deliver again what was settled',
          { key, error },
        )
      }
    }
    return topics
  }

  /** Settles when it is stored. @throws what the state store throws */
  putRecord(topicId: string, group: string, record: QueueRecord): Promise<void> {
    return this.#writes.put(`${prefix}${topicId}/${group}`, utf8(JSON.stringify(record)))
  }

  /**
   * Settles when it is stored.
   * @param checkpoint as `encodeCheckpoint` writes it
   * @throws what the state store throws
   */
  putCheckpoint(topicId: string, group: string, partition: number, checkpoint: Uint8Array): Promise<void> {
    return this.#writes.put(`${prefix}${topicId}/${group}/${partition}`, checkpoint)
  }

  /**
   * Puts groups back that nobody has asked about yet, where they know more than a log holds: what will be stored there is
   * new. @returns the writes
   */
  putBack(
    queues: StoredQueues,
    topic: Pick<LiveTopic, 'id' | 'text'>,
    partition: number,
    end: number,
  ): Promise<void>[] {
    const writes: Promise<void>[] = []
    for (const [group, { checkpoints }] of queues) {
      const known = checkpoints.get(partition)
      if (known === undefined) continue
      const back = clippedCheckpoint(known, end)
      if (back === known) continue
      this.tailLost({ topic: topic.text, group, partition }, known, end)
      checkpoints.set(partition, back)
      const key = `${prefix}${topic.id}/${group}/${partition}`
      writes.push(this.#writes.put(key, encodeCheckpoint(back), true))
    }
    return writes
  }

  /** Tells that a group had settled more than its log holds; the bound of its deliveries may well be ahead of it. */
  tailLost(
    names: { readonly topic: string; readonly group: string; readonly partition: number },
    { floor, settled }: QueueCheckpoint,
    end: number,
  ): void {
    const known = Math.max(floor, settled.at(-1) ?? 0)
    if (known <= end) return
    this.#logger.error(
      `a log ends at ${end}, and a queue group had settled up to ${known}: records were lost in a crash; the group goes on at the end`,
      { ...names, settledOffset: known, endOffset: end, lostRecords: known - end },
    )
  }

  /** Forgets a group. @throws what the state store throws */
  async remove(topicId: string, group: string): Promise<void> {
    const key = `${prefix}${topicId}/${group}`
    await this.#writes.idle()
    await Promise.all([this.#writes.put(key, undefined), this.#removeAll(`${key}/`)])
  }

  /** Forgets all groups of a topic. @throws what the state store throws */
  async removeTopic(topicId: string): Promise<void> {
    await this.#writes.idle()
    await this.#removeAll(`${prefix}${topicId}/`)
  }

  /** Settles when everything asked for so far was tried. */
  idle(): Promise<void> {
    return this.#writes.idle()
  }

  async #removeAll(under: string): Promise<void> {
    const keys: string[] = []
    for await (const { key } of this.#store.list(under)) keys.push(key)
    for (let from = 0; from < keys.length; from += removedAtOnce) {
      const changes = keys.slice(from, from + removedAtOnce).map((key) => ({ key, value: undefined }))
      await this.#store.putMany(changes)
    }
  }
}

function queueOf(
  topics: Map<string, StoredQueues>,
  topicId: string,
  group: string,
  usedAtMs: number,
): StoredQueue {
  let queues = topics.get(topicId)
  if (queues === undefined) {
    queues = new Map()
    topics.set(topicId, queues)
  }
  let queue = queues.get(group)
  if (queue === undefined) {
    const { sharing } = defaultQueueConfig
    const record = { own: { sharing }, paused: false, pausedPartitions: [], usedAtMs }
    queue = { record, checkpoints: new Map() }
    queues.set(group, queue)
  }
  return queue
}

/** @throws what is wrong with it */
function readRecord(value: Uint8Array): QueueRecord {
  const parsed = JSON.parse(utf8Text(value)) as Partial<Record<keyof QueueRecord | 'config', unknown>>
  const { paused, pausedPartitions, usedAtMs } = parsed
  return {
    // Called `config` before topics had settings of their own for their groups: then all of them are the group's.
    own: { sharing: defaultQueueConfig.sharing, ...parseQueueSettings(parsed.own ?? parsed.config) },
    paused: paused === true,
    pausedPartitions: Array.isArray(pausedPartitions) ? pausedPartitions.filter(Number.isSafeInteger) : [],
    usedAtMs: Number.isSafeInteger(usedAtMs) ? (usedAtMs as number) : 0,
  }
}
