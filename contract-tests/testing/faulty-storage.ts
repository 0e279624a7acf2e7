/** A storage that wraps another and fails on command: to see what a program does when its disk does not. */
import {
  type Durability,
  isRatatoskrError,
  type LogId,
  type LogStore,
  type MaybePromise,
  type OffsetRange,
  type PartitionLog,
  type StateChange,
  type StateStore,
  type Storage,
} from 'ratatoskr/ports'

/** What is to go wrong; every function is asked at each call and may be replaced at any time. */
export interface Faults {
  /** Before an append: what it throws is the append's failure, a promise holds it back. */
  append?: ((id: LogId, batch: Uint8Array) => MaybePromise<void>) | undefined
  /** Before a read. */
  read?: ((id: LogId) => MaybePromise<void>) | undefined
  /** Before a log is opened, also again by a supervisor. */
  open?: ((id: LogId) => MaybePromise<void>) | undefined
  /** Before a log is deleted. */
  deleteLog?: ((id: LogId) => MaybePromise<void>) | undefined
  /** Before state is changed by a put, a putMany or a delete: what it throws is the failure, and nothing was changed. */
  changeState?: ((changes: readonly StateChange[]) => MaybePromise<void>) | undefined
  /** Before a key is read. */
  readState?: ((key: string) => MaybePromise<void>) | undefined
}

/** When something fails: from the `nth` call on (1, the next one, by default), `times` times (for ever by default). */
export interface Failing {
  readonly nth?: number
  readonly times?: number
  readonly error: Error
}

/** A fault that counts its calls: `faults.append = failing({ nth: 3, times: 1, error })`. */
export function failing({ nth = 1, times = Number.POSITIVE_INFINITY, error }: Failing): () => void {
  let calls = 0
  return () => {
    calls++
    if (calls >= nth && calls < nth + times) throw error
  }
}

/**
 * Wraps `storage`; what fails is what `faults` throw at that moment.
 * A failed append poisons its log, as the port demands: it accepts nothing until it is opened again.
 */
export function faultyStorage(storage: Storage, faults: Faults): Storage {
  return {
    name: `faulty ${storage.name}`,
    open(platform) {
      const { logs, state } = storage.open(platform)
      return { logs: faultyLogs(logs, faults), state: faultyState(state, faults) }
    },
  }
}

function faultyLogs(inner: LogStore, faults: Faults): LogStore {
  return {
    name: inner.name,
    supports: inner.supports,
    counters: inner.counters,
    start: () => inner.start(),
    stop: () => inner.stop(),
    listLogs: () => inner.listLogs(),
    async deleteLog(id) {
      await faults.deleteLog?.(id)
      await inner.deleteLog(id)
    },
    async openLog(id, options) {
      await faults.open?.(id)
      return new FaultyLog(await inner.openLog(id, options), id, faults)
    },
  }
}

function faultyState(inner: StateStore, faults: Faults): StateStore {
  return {
    name: inner.name,
    supports: inner.supports,
    start: () => inner.start(),
    stop: () => inner.stop(),
    list: (prefix) => inner.list(prefix),
    async get(key) {
      await faults.readState?.(key)
      return inner.get(key)
    },
    async put(key, value, expectedVersion) {
      await faults.changeState?.([{ key, value, expectedVersion }])
      return inner.put(key, value, expectedVersion)
    },
    async putMany(changes) {
      await faults.changeState?.(changes)
      await inner.putMany(changes)
    },
    async delete(key, expectedVersion) {
      await faults.changeState?.([{ key, value: undefined, expectedVersion }])
      await inner.delete(key, expectedVersion)
    },
  }
}

class FaultyLog implements PartitionLog {
  readonly #inner: PartitionLog
  readonly #id: LogId
  readonly #faults: Faults
  #poison: { readonly error: unknown } | undefined

  constructor(inner: PartitionLog, id: LogId, faults: Faults) {
    this.#inner = inner
    this.#id = id
    this.#faults = faults
  }

  get startOffset(): number {
    return this.#inner.startOffset
  }

  get stableOffset(): number {
    return this.#inner.stableOffset
  }

  get endOffset(): number {
    return this.#inner.endOffset
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.#inner.damaged
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return this.#inner.acceptedLosses
  }

  append(
    batch: Uint8Array,
    baseOffset: number,
    recordCount: number,
    durability: Durability,
  ): MaybePromise<void> {
    if (this.#poison !== undefined) throw this.#poison.error
    try {
      const held = this.#faults.append?.(this.#id, batch)
      const appended = this.#inner.append(batch, baseOffset, recordCount, durability)
      // The inner log takes the batch at once, so that the order of calls stays; only the acknowledgement is late.
      return held === undefined ? appended : Promise.all([held, appended]).then(() => undefined)
    } catch (error) {
      // A full store has written nothing and goes on; every other failure ends the log, as the port demands.
      if (!isRatatoskrError(error, 'RTK_STORE_FULL')) this.#poison = { error }
      throw error
    }
  }

  read(offset: number, bytesMax: number): MaybePromise<Uint8Array> {
    const held = this.#faults.read?.(this.#id)
    if (held === undefined) return this.#inner.read(offset, bytesMax)
    return held.then(() => this.#inner.read(offset, bytesMax))
  }

  offsetForTime(timestampMs: number): Promise<number> {
    return this.#inner.offsetForTime(timestampMs)
  }

  truncateBefore(offset: number): Promise<number> {
    return this.#inner.truncateBefore(offset)
  }

  truncateAfter(offset: number): Promise<void> {
    return this.#inner.truncateAfter(offset)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }
}
