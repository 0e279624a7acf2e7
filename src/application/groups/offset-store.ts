/**
 * Where groups stand, in the state store: one entry a topic, group and partition, `groups/<topicId>/<group>/<partition>`,
 * whose value is JSON. Commits of one event-loop turn share a write, and later commits of a partition never overtake
 * earlier ones.
 */
import type { Logger, StateChange, StateStore } from '../../ports/index.ts'
import { utf8, utf8Text } from '../../ports/index.ts'
import type { LiveTopic } from '../seams.ts'
import { StateWrites } from '../state-writes.ts'

/** A partition's committed offset, as stored. */
export interface CommittedPosition {
  /** Next offset to read. */
  readonly offset: number
  /** Leader epoch of the batch read last, -1 when unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
  readonly committedAtMs: number
}

/** Positions of a topic's groups, by group and partition. */
export type StoredGroups = Map<string, Map<number, CommittedPosition>>

const prefix = 'groups/'
/** Entries that go with one write: what was left behind may be of any number. */
const removedAtOnce = 1_000

export const offsetKey = (topicId: string, group: string, partition: number): string =>
  `${prefix}${topicId}/${group}/${partition}`

export class OffsetStore {
  readonly #store: StateStore
  readonly #logger: Logger
  readonly #writes: StateWrites

  constructor(store: StateStore, logger: Logger) {
    this.#store = store
    this.#logger = logger
    this.#writes = new StateWrites(store)
  }

  /** Everything stored, by topic id. Entries that cannot be read are reported and left alone. */
  async load(): Promise<Map<string, StoredGroups>> {
    const topics = new Map<string, StoredGroups>()
    for await (const { key, value } of this.#store.list(prefix)) {
      const [topicId, group, partition] = key.slice(prefix.length).split('/')
      const position = readPosition(value)
      if (!/^\d{1,9}$/.test(partition ?? '')) {
        this.#logger.warn('a stored group offset has a key that cannot be read; it is left alone', { key })
        continue
      }
      const groups = entryOf(topics, topicId, () => new Map<string, Map<number, CommittedPosition>>())
      const positions = entryOf(groups, group, () => new Map<number, CommittedPosition>())
      if (position !== undefined) positions.set(Number(partition), position)
      // The group is there all the same: in a work-queue topic it owes the whole partition then.
      else this.#logger.warn('a stored group offset cannot be read; the group begins anew there', { key })
    }
    return topics
  }

  /** Stores a position, or forgets it. Settles with the write that it went out with. */
  put(key: string, position: CommittedPosition | undefined, frees = false): Promise<void> {
    return this.#writes.put(key, position && utf8(JSON.stringify(position)), frees)
  }

  /**
   * Puts groups back that nobody has asked about yet, where they had committed more than a log holds.
   * @returns the writes
   */
  putBack(
    groups: StoredGroups,
    topic: Pick<LiveTopic, 'id' | 'text'>,
    partition: number,
    end: number,
  ): Promise<void>[] {
    const writes: Promise<void>[] = []
    for (const [group, positions] of groups) {
      const position = positions.get(partition)
      if (position === undefined || position.offset <= end) continue
      this.tailLost(topic.text, partition, group, position.offset, end)
      const back = { ...position, offset: end, leaderEpoch: -1 }
      positions.set(partition, back)
      writes.push(this.put(offsetKey(topic.id, group, partition), back, true))
    }
    return writes
  }

  /** Tells that a group had committed more than its log holds. */
  tailLost(topic: string, partition: number, group: string, committed: number, end: number): void {
    this.#logger.error(
      `a log ends at ${end}, and a group had committed ${committed}: records were lost in a crash; the group goes on at the end`,
      { topic, partition, group, committedOffset: committed, endOffset: end, lostRecords: committed - end },
    )
  }

  /** Removes all that is stored of a topic, what cannot be read included. A failure is reported; the next start tries again. */
  async removeTopic(topicId: string): Promise<void> {
    const changes: StateChange[] = []
    for await (const { key } of this.#store.list(`${prefix}${topicId}/`))
      changes.push({ key, value: undefined })
    try {
      for (let from = 0; from < changes.length; from += removedAtOnce) {
        await this.#store.putMany(changes.slice(from, from + removedAtOnce))
      }
      this.#logger.info('stored group offsets of a topic that is gone were removed', {
        topicId,
        offsets: changes.length,
      })
    } catch (error) {
      this.#logger.warn('stored group offsets of a topic that is gone could not be removed', {
        topicId,
        error,
      })
    }
  }

  /** Settles when everything asked for so far was tried. */
  idle(): Promise<void> {
    return this.#writes.idle()
  }
}

function entryOf<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}

function readPosition(value: Uint8Array): CommittedPosition | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(utf8Text(value))
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined
  const { offset, leaderEpoch, metadata, committedAtMs } = parsed as Record<string, unknown>
  if (!isCount(offset) || typeof metadata !== 'string') return undefined
  return {
    offset,
    leaderEpoch: isCount(leaderEpoch) ? leaderEpoch : -1,
    metadata,
    committedAtMs: isCount(committedAtMs) ? committedAtMs : 0,
  }
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0
