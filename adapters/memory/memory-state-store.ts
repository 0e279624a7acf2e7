/** State in memory. What is in it is gone when the store stops. */
import {
  assertStateKey,
  closedError,
  copyChanges,
  RatatoskrError,
  type StateChange,
  type StateEntry,
  type StateStore,
  type StateStoreSupports,
  StateTable,
  type TableEntry,
  type Versioned,
} from 'ratatoskr/ports'

export class MemoryStateStore implements StateStore {
  readonly name = 'memory'
  readonly supports: StateStoreSupports = Object.freeze({ durable: false })
  readonly #bytesMax: number
  readonly #table = new StateTable()
  #started = false

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  async start(): Promise<void> {
    this.#started = true
  }

  async stop(): Promise<void> {
    this.#started = false
    this.#table.clear()
  }

  async get(key: string): Promise<Versioned | undefined> {
    this.#assertStarted()
    assertStateKey(key)
    const entry = this.#table.get(key)
    return entry && { value: new Uint8Array(entry.value), version: entry.version }
  }

  async put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    return this.#change([{ key, value, expectedVersion }])
  }

  async putMany(changes: readonly StateChange[]): Promise<void> {
    this.#change(changes)
  }

  async delete(key: string, expectedVersion?: number): Promise<void> {
    this.#change([{ key, value: undefined, expectedVersion }])
  }

  list(prefix: string): AsyncIterable<StateEntry> {
    this.#assertStarted()
    return copiesOf(this.#table.list(prefix))
  }

  /** @returns the version that the first change led to */
  #change(changes: readonly StateChange[]): number {
    this.#assertStarted()
    const planned = this.#table.plan(copyChanges(changes))
    if (this.#table.sizeBytes + this.#table.growthBytes(planned) > this.#bytesMax) {
      throw new RatatoskrError(
        'RTK_STORE_FULL',
        `the memory store holds at most ${this.#bytesMax} bytes of state (stateBytesMax)`,
      )
    }
    this.#table.apply(planned)
    return planned[0]?.version ?? 0
  }

  #assertStarted(): void {
    if (!this.#started) throw closedError('the memory store')
  }
}

async function* copiesOf(entries: readonly TableEntry[]): AsyncGenerator<StateEntry, void, undefined> {
  for (const { key, value, version } of entries) yield { key, value: new Uint8Array(value), version }
}
