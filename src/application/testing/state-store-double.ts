/** A state store in memory that keeps its entries over stop and start, as a disk does, and can be made to fail. */
import {
  copyChanges,
  RatatoskrError,
  type StateChange,
  type StateEntry,
  type StateStore,
  StateTable,
  type Versioned,
} from '../../ports/index.ts'

export class StateStoreDouble implements StateStore {
  readonly name = 'state-double'
  readonly supports = { durable: true }
  /** Called before each change; what it throws is the change's failure. */
  onChange: (changes: readonly StateChange[]) => void | Promise<void> = () => {}
  onStart: () => void = () => {}
  onStop: () => void | Promise<void> = () => {}
  started = false
  readonly #table = new StateTable()

  async start(): Promise<void> {
    this.onStart()
    this.started = true
  }

  async stop(): Promise<void> {
    await this.onStop()
    this.started = false
  }

  get keys(): readonly string[] {
    return [...this.#table.list('')].map(({ key }) => key)
  }

  async get(key: string): Promise<Versioned | undefined> {
    return this.#table.get(key)
  }

  async put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    await this.putMany([{ key, value, expectedVersion }])
    return this.#table.get(key)?.version ?? 0
  }

  async putMany(changes: readonly StateChange[]): Promise<void> {
    if (!this.started) throw new RatatoskrError('RTK_CLOSED', 'the double is not started')
    await this.onChange(changes)
    this.#table.apply(this.#table.plan(copyChanges(changes)))
  }

  async delete(key: string, expectedVersion?: number): Promise<void> {
    await this.putMany([{ key, value: undefined, expectedVersion }])
  }

  async *list(prefix: string): AsyncGenerator<StateEntry, void, undefined> {
    yield* [...this.#table.list(prefix)]
  }
}
