/**
 * Snapshots of the partitions' producers in the state store, `producers/<topicId>/<partition>`. Writes go out one
 * `putMany` at a time, and what is asked for while one is under way goes with the next: a broker that stops writes those
 * of all its partitions in a few.
 */
import { toRatatoskrError } from '../../domain/errors.ts'
import { decodeProducers, encodeProducers, type ProducerSnapshot } from '../../domain/producers/snapshot.ts'
import type { Logger, LogId, StateChange, StateStore } from '../../ports/index.ts'

const prefix = 'producers/'
/** Bytes and entries that go with one write. */
const bytesAtOnce = 4 * 1024 * 1024
const entriesAtOnce = 1_000

const keyOf = ({ topicId, partition }: LogId): string => `${prefix}${topicId}/${partition}`

export class ProducerStore {
  readonly #state: StateStore
  readonly #logger: Logger
  #pending = new Map<string, Uint8Array | undefined>()
  #nextWrite: Promise<void> | undefined
  #lastWrite: Promise<void> = Promise.resolve()

  constructor(state: StateStore, logger: Logger) {
    this.#state = state
    this.#logger = logger
  }

  /** @returns undefined when there is none, or none that can be read: then the log is walked from its start */
  async read(id: LogId): Promise<ProducerSnapshot | undefined> {
    const stored = await this.#state.get(keyOf(id))
    if (stored === undefined) return undefined
    const snapshot = decodeProducers(stored.value)
    if (snapshot === undefined) {
      this.#logger.warn('what is stored of producers cannot be read; the log alone tells', { ...id })
    }
    return snapshot
  }

  /** Stores a snapshot, or removes it. Settles with the write that it went out with. @throws RTK_STORE_FULL, RTK_STORE_FAILED */
  write(id: LogId, snapshot: ProducerSnapshot | undefined): Promise<void> {
    this.#pending.set(keyOf(id), snapshot && encodeProducers(snapshot))
    if (this.#nextWrite === undefined) {
      this.#nextWrite = this.#writeAfter(this.#lastWrite)
      this.#lastWrite = this.#nextWrite.catch(() => {}) // whoever asked for it is told
    }
    return this.#nextWrite
  }

  /** Removes the snapshots of topics that are gone, of those for which `isGone` says so. A failure is reported; the next start tries again. */
  async forgetTopics(isGone: (topicId: string) => boolean, within = prefix): Promise<void> {
    try {
      const changes: StateChange[] = []
      for await (const { key } of this.#state.list(within)) {
        const [topicId] = key.slice(prefix.length).split('/')
        if (isGone(topicId)) changes.push({ key, value: undefined })
      }
      for (let from = 0; from < changes.length; from += entriesAtOnce)
        await this.#state.putMany(changes.slice(from, from + entriesAtOnce))
    } catch (error) {
      this.#logger.warn('what is stored of the producers of a topic that is gone could not be removed', {
        error,
      })
    }
  }

  /** Removes the snapshots of one topic. */
  forgetTopic(topicId: string): Promise<void> {
    return this.forgetTopics(() => true, `${prefix}${topicId}/`)
  }

  async #writeAfter(lastWrite: Promise<void>): Promise<void> {
    await lastWrite
    const pending = this.#pending
    this.#pending = new Map()
    this.#nextWrite = undefined
    try {
      let changes: StateChange[] = []
      let bytes = 0
      for (const [key, value] of pending) {
        changes.push({ key, value })
        bytes += value?.length ?? 0
        if (bytes < bytesAtOnce && changes.length < entriesAtOnce) continue
        await this.#state.putMany(changes)
        changes = []
        bytes = 0
      }
      if (changes.length > 0) await this.#state.putMany(changes)
    } catch (error) {
      throw toRatatoskrError(error, 'RTK_STORE_FAILED')
    }
  }
}
