/**
 * The storage of one life of the broker: a wrapper that ends with the process it stands for, fails on command, lets a
 * scheduler decide when calls take effect, and tells of every record that is stored. What it wraps outlives it.
 */
import {
  type Durability,
  type LogId,
  type LogStore,
  type MaybePromise,
  type OpenLogOptions,
  type PartitionLog,
  RatatoskrError,
  type StateStore,
  type Stores,
} from 'ratatoskr/ports'
import { recordsOf, type StoredRecord } from './stored-log.ts'

/** What the storage is to do now, and who is told. */
export interface Gate {
  /** The process is gone: no call does anything or answers any more. */
  dead: boolean
  /** Changes of state are refused. */
  failsState: boolean
  /** Appends are refused, as by a full disk. */
  failsLogs: boolean
  /** Reads of logs are refused, as by a medium with an error that may pass. */
  failsReads: boolean
  /** When a call may take effect; undefined lets it at once. */
  turn(what: string): Promise<void> | undefined
  /** A log was opened and holds these. */
  opened(id: LogId, records: readonly StoredRecord[]): void
  /** These were stored. */
  stored(id: LogId, records: readonly StoredRecord[]): void
}

const never = new Promise<never>(() => {})
const readBytes = 1024 * 1024

export function gatedStores(stores: Stores, gate: Gate): Stores {
  return { logs: gatedLogs(stores.logs, gate), state: gatedState(stores.state, gate) }
}

function gatedLogs(inner: LogStore, gate: Gate): LogStore {
  return {
    name: inner.name,
    supports: inner.supports,
    counters: inner.counters,
    start: () => inner.start(),
    stop: () => (gate.dead ? never : inner.stop()),
    listLogs: () => inner.listLogs(),
    deleteLog: (id) => (gate.dead ? never : inner.deleteLog(id)),
    async openLog(id, options) {
      if (gate.dead) return never
      return await openGated(inner, id, options, gate)
    },
  }
}

async function openGated(
  inner: LogStore,
  id: LogId,
  options: OpenLogOptions,
  gate: Gate,
): Promise<PartitionLog> {
  const log = await inner.openLog(id, options)
  const records: StoredRecord[] = []
  for (let offset = log.startOffset; offset < log.stableOffset; offset = (records.at(-1)?.offset ?? 0) + 1) {
    records.push(...recordsOf(await log.read(offset, readBytes)))
  }
  gate.opened(id, records)
  return new GatedLog(log, id, gate)
}

/** Changes of state take effect one after the other. */
function gatedState(inner: StateStore, gate: Gate): StateStore {
  let last: Promise<unknown> = Promise.resolve()
  const change = <T>(what: string, run: () => Promise<T>): Promise<T> => {
    const mine = last.then(async () => {
      await gate.turn(what)
      if (gate.dead) return never
      if (gate.failsState) throw new RatatoskrError('RTK_STORE_FAILED', 'the state store fails on command')
      const result = await run()
      return gate.dead ? never : result
    })
    last = mine.catch(() => {})
    return mine
  }
  return {
    name: inner.name,
    supports: inner.supports,
    start: () => inner.start(),
    stop: () => (gate.dead ? never : inner.stop()),
    list: (prefix) => inner.list(prefix),
    get: (key) => (gate.dead ? never : inner.get(key)),
    put: (key, value, version) => change(`put ${key}`, () => inner.put(key, value, version)),
    putMany: (changes) => change(`put ${changes.length} entries`, () => inner.putMany(changes)),
    delete: (key, version) => change(`delete ${key}`, () => inner.delete(key, version)),
  }
}

class GatedLog implements PartitionLog {
  readonly #inner: PartitionLog
  readonly #id: LogId
  readonly #gate: Gate
  /** Records of appends that have yet to take effect. */
  #waiting = 0
  /** The end as it was told. */
  #stableOffset: number
  #last: Promise<unknown> | undefined

  constructor(inner: PartitionLog, id: LogId, gate: Gate) {
    this.#inner = inner
    this.#id = id
    this.#gate = gate
    this.#stableOffset = inner.stableOffset
  }

  get startOffset(): number {
    return this.#inner.startOffset
  }

  get stableOffset(): number {
    return this.#stableOffset
  }

  get endOffset(): number {
    return this.#inner.endOffset + this.#waiting
  }

  get sizeBytes(): number {
    return this.#inner.sizeBytes
  }

  get damaged(): PartitionLog['damaged'] {
    return this.#inner.damaged
  }

  get acceptedLosses(): PartitionLog['acceptedLosses'] {
    return this.#inner.acceptedLosses
  }

  append(batch: Uint8Array, baseOffset: number, count: number, durability: Durability): MaybePromise<void> {
    const gate = this.#gate
    if (gate.dead) return never
    if (gate.failsLogs) throw new RatatoskrError('RTK_STORE_FULL', 'the disk is full on command')
    const turn = gate.turn(`append ${this.#id.partition}:${baseOffset}`)
    if (turn === undefined && this.#last === undefined) {
      return this.#appendNow(batch, baseOffset, count, durability)
    }
    const copy = batch.slice()
    const before = this.#last
    this.#waiting += count
    const mine = (async () => {
      await before
      await turn
      if (gate.dead) return never
      this.#waiting -= count
      await this.#appendNow(copy, baseOffset, count, durability)
    })()
    const settled = mine.then(
      () => {},
      () => {},
    )
    this.#last = settled
    void settled.then(() => {
      if (this.#last === settled) this.#last = undefined
    })
    return mine
  }

  #appendNow(
    batch: Uint8Array,
    baseOffset: number,
    count: number,
    durability: Durability,
  ): MaybePromise<void> {
    const records = recordsOf(batch)
    const stored = (): void => {
      this.#gate.stored(this.#id, records)
      this.#stableOffset = baseOffset + count
    }
    const appended = this.#inner.append(batch, baseOffset, count, durability)
    if (appended === undefined) return stored()
    return Promise.resolve(appended).then(() => (this.#gate.dead ? never : stored()))
  }

  read(offset: number, bytesMax: number): MaybePromise<Uint8Array> {
    const gate = this.#gate
    if (gate.dead) return never
    const turn = gate.turn(`read ${this.#id.partition}:${offset}`)
    return turn === undefined
      ? this.#readNow(offset, bytesMax)
      : turn.then(() => this.#readNow(offset, bytesMax))
  }

  #readNow(offset: number, bytesMax: number): MaybePromise<Uint8Array> {
    if (this.#gate.dead) return never
    if (this.#gate.failsReads) {
      throw new RatatoskrError('RTK_STORE_UNREADABLE', 'the medium fails on command', { details: { offset } })
    }
    return this.#inner.read(offset, bytesMax)
  }

  offsetForTime(timestampMs: number): Promise<number> {
    return this.#inner.offsetForTime(timestampMs)
  }

  truncateBefore(offset: number): Promise<number> {
    return this.#gate.dead ? never : this.#inner.truncateBefore(offset)
  }

  truncateAfter(offset: number): Promise<void> {
    return this.#gate.dead ? never : this.#inner.truncateAfter(offset)
  }

  async close(): Promise<void> {
    if (this.#gate.dead) return never
    await this.#last
    await this.#inner.close()
  }
}
