/**
 * What the scheduler stores of its progress: which records of its log are done, and in which partitions messages may stand
 * that are not noted as done yet.
 *
 * Before the first message goes to a partition, it is on record from which offset on that partition is in doubt. So a
 * crash at any moment leaves behind where to look for what was delivered: it is neither lost nor delivered twice. A
 * partition that is delivered to all the time is put on record once a checkpoint, which moves its offset on.
 */
import { type Doubt, decodeCheckpoint, encodeCheckpoint } from '../../domain/schedule/checkpoint.ts'
import { DoneSet } from '../../domain/schedule/done-set.ts'
import type { StateChange, StateStore } from '../../ports/index.ts'
import type { TopicPartition } from '../partitions/topic-partition.ts'

const keyPrefix = 'schedule/'

/** A partition in doubt that this run of the broker delivers to. */
interface Target {
  readonly topicId: string
  readonly partition: TopicPartition
  fromOffset: number
  /** On record in the state store. */
  stored: boolean
  /** Delivered to since the last checkpoint. */
  used: boolean
  /** Deliveries that are not noted as done yet. */
  open: number
}

export class SchedulePositions {
  readonly done: DoneSet
  readonly #state: StateStore
  readonly #key: string
  readonly #targets = new Map<string, Target>()
  /** From the last run, and not looked through yet. */
  #unresolved: readonly Doubt[]
  #writing: Promise<void> = Promise.resolve()
  #changed = false

  private constructor(state: StateStore, key: string, done: DoneSet, unresolved: readonly Doubt[]) {
    this.#state = state
    this.#key = key
    this.done = done
    this.#unresolved = unresolved
  }

  /** Reads what is stored for the scheduler's log of this id. @throws RTK_STORE_CORRUPT */
  static async load(state: StateStore, logTopicId: string): Promise<SchedulePositions> {
    const key = `${keyPrefix}${logTopicId}`
    const stored = await state.get(key)
    const { floor, doubts } = stored === undefined ? { floor: 0, doubts: [] } : decodeCheckpoint(stored.value)
    const done = new DoneSet(floor)
    for await (const entry of state.list(`${key}/done/`)) {
      done.load(Number(entry.key.slice(`${key}/done/`.length)), entry.value)
    }
    return new SchedulePositions(state, key, done, doubts)
  }

  /**
   * The scheduler's log ends at `end`: what was done beyond it is lost, and what will be stored there is not done.
   * @throws what the state store throws; then nothing may be appended
   */
  async cut(end: number): Promise<void> {
    if (!this.done.cut(end)) return
    this.#changed = true
    await this.write()
  }

  /** True when something changed that is not stored. */
  get changed(): boolean {
    return this.#changed
  }

  get unresolved(): readonly Doubt[] {
    return this.#unresolved
  }

  /** Partitions of the last run that are still to be looked through. */
  set unresolved(doubts: readonly Doubt[]) {
    this.#unresolved = doubts
    this.#changed = true
  }

  markDone(offset: number): void {
    this.done.add(offset)
    this.#changed = true
  }

  /**
   * Puts on record that messages are about to be delivered to these partitions. To be followed by `delivered` for each.
   * @throws what the state store throws; then nothing may be delivered
   */
  async delivering(topicIds: readonly string[], partitions: readonly TopicPartition[]): Promise<void> {
    let missing = false
    const targets = partitions.map((partition, place) => {
      const key = `${topicIds[place]}/${partition.index}`
      let target = this.#targets.get(key)
      if (target === undefined || target.partition !== partition) {
        const fromOffset = partition.endOffset
        target = { topicId: topicIds[place], partition, fromOffset, stored: false, used: true, open: 0 }
        this.#targets.set(key, target)
      }
      target.open++
      target.used = true
      if (!target.stored) missing = true
      return target
    })
    if (!missing) return
    try {
      await this.write()
    } catch (error) {
      for (const target of targets) target.open--
      throw error
    }
  }

  /** What was delivered to the partition is marked as done. */
  delivered(topicId: string, partition: TopicPartition): void {
    const target = this.#targets.get(`${topicId}/${partition.index}`)
    if (target !== undefined) target.open--
    this.#changed = true
  }

  /** Stores everything as it is now. @throws what the state store throws */
  write(): Promise<void> {
    const written = this.#writing.then(() => this.#write())
    this.#writing = written.catch(() => {})
    return written
  }

  async #write(): Promise<void> {
    const targets = this.#snapshot()
    const chunks = this.done.takeChanges()
    this.#changed = false
    const doubts = [
      ...this.#unresolved,
      ...targets.map(({ topicId, partition, fromOffset }) => ({
        topicId,
        partition: partition.index,
        fromOffset,
      })),
    ]
    const value = encodeCheckpoint({ floor: this.done.floor, doubts })
    // What is done makes room in the log; being in doubt does not.
    const frees = chunks.size > 0
    const changes: StateChange[] = [{ key: this.#key, value, frees }]
    for (const [number, bits] of chunks)
      changes.push({ key: `${this.#key}/done/${number}`, value: bits, frees })
    try {
      await this.#state.putMany(changes)
    } catch (error) {
      this.done.giveBack(chunks)
      this.#changed = true
      throw error
    }
    for (const target of targets) target.stored = true
  }

  /** The partitions in doubt at this moment; forgets those that nothing was delivered to since the last time. */
  #snapshot(): readonly Target[] {
    for (const [key, target] of this.#targets) {
      if (target.open > 0) continue
      if (!target.used) this.#targets.delete(key)
      // All that was delivered is marked as done, and stored along with this.
      target.fromOffset = target.partition.endOffset
      target.used = false
    }
    return [...this.#targets.values()]
  }
}
