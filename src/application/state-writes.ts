/**
 * Writes to the state store that share round trips: one `putMany` at a time, and what is asked for while one is under way
 * goes with the next. So what is asked for in one event-loop turn shares a write, and for one key the last one wins.
 */
import type { StateChange, StateStore } from '../ports/index.ts'
import { toRatatoskrError } from '../ports/index.ts'

/** Bytes that go with one write: a store may keep a write in one record of its own. One larger value goes by itself. */
const writeBytesMax = 4 * 1024 * 1024
/** Entries that go with one write. */
const writeEntriesMax = 1_000

export class StateWrites {
  readonly #store: StateStore
  #pending = new Map<string, StateChange>()
  #nextWrite: Promise<void> | undefined
  #lastWrite: Promise<void> = Promise.resolve()

  constructor(store: StateStore) {
    this.#store = store
  }

  /**
   * Stores a value, or forgets it. Settles with the write that it went out with.
   * @param frees as in `StateChange`: it may use what is held back for a full store
   * @throws what the store throws, coded
   */
  put(key: string, value: Uint8Array | undefined, frees = false): Promise<void> {
    this.#pending.set(key, { key, value, frees })
    if (this.#nextWrite === undefined) {
      this.#nextWrite = this.#writeAfter(this.#lastWrite)
      this.#lastWrite = this.#nextWrite.catch(() => {}) // whoever asked for it is told
    }
    return this.#nextWrite
  }

  /** Settles when everything asked for so far was tried. */
  idle(): Promise<void> {
    return this.#lastWrite
  }

  async #writeAfter(lastWrite: Promise<void>): Promise<void> {
    await lastWrite
    const pending = this.#pending
    this.#pending = new Map()
    this.#nextWrite = undefined
    try {
      for (const changes of portionsOf(pending)) await this.#store.putMany(changes)
    } catch (error) {
      throw toRatatoskrError(error, 'RTK_STORE_FAILED')
    }
  }
}

function* portionsOf(pending: ReadonlyMap<string, StateChange>): Generator<StateChange[]> {
  let portion: StateChange[] = []
  let bytes = 0
  for (const change of pending.values()) {
    const size = change.value?.length ?? 0
    if (portion.length > 0 && (bytes + size > writeBytesMax || portion.length >= writeEntriesMax)) {
      yield portion
      portion = []
      bytes = 0
    }
    portion.push(change)
    bytes += size
  }
  if (portion.length > 0) yield portion
}
