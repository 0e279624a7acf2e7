/** State stores that are broken on purpose, one fault each. */
import type { StateChange, StateEntry, StateStore, StateStoreSupports, Versioned } from 'ratatoskr/ports'

/** Hands every call on to a good store. Mutants override what they break. */
class MutantState implements StateStore {
  readonly inner: StateStore

  constructor(inner: StateStore) {
    this.inner = inner
  }

  get name(): string {
    return this.inner.name
  }

  get supports(): StateStoreSupports {
    return this.inner.supports
  }

  start(): Promise<void> {
    return this.inner.start()
  }

  stop(): Promise<void> {
    return this.inner.stop()
  }

  get(key: string): Promise<Versioned | undefined> {
    return this.inner.get(key)
  }

  put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    return this.inner.put(key, value, expectedVersion)
  }

  putMany(changes: readonly StateChange[]): Promise<void> {
    return this.inner.putMany(changes)
  }

  delete(key: string, expectedVersion?: number): Promise<void> {
    return this.inner.delete(key, expectedVersion)
  }

  list(prefix: string): AsyncIterable<StateEntry> {
    return this.inner.list(prefix)
  }
}

class IgnoresVersions extends MutantState {
  override put(key: string, value: Uint8Array): Promise<number> {
    return this.inner.put(key, value)
  }
}

class PutsHalfOfMany extends MutantState {
  override async putMany(changes: readonly StateChange[]): Promise<void> {
    for (const change of changes) await this.inner.putMany([change])
  }
}

class DeletesNothing extends MutantState {
  override async delete(): Promise<void> {}
}

class ListsEverything extends MutantState {
  override list(): AsyncIterable<StateEntry> {
    return this.inner.list('')
  }
}

class ListsBackwards extends MutantState {
  override async *list(prefix: string): AsyncGenerator<StateEntry> {
    const entries: StateEntry[] = []
    for await (const entry of this.inner.list(prefix)) entries.push(entry)
    yield* entries.reverse()
  }
}

class ListsAsItChanges extends MutantState {
  override async *list(prefix: string): AsyncGenerator<StateEntry> {
    const keys: string[] = []
    for await (const { key } of this.inner.list(prefix)) keys.push(key)
    for (const key of keys) {
      const entry = await this.inner.get(key)
      if (entry !== undefined) yield { key, ...entry }
    }
  }
}

class SharesItsValues extends MutantState {
  readonly #values = new Map<string, Versioned>()

  override async get(key: string): Promise<Versioned | undefined> {
    const found = await this.inner.get(key)
    const known = this.#values.get(key)
    if (found === undefined || known?.version === found.version) return known
    this.#values.set(key, found)
    return found
  }
}

class AnswersAfterStop extends MutantState {
  override async get(key: string): Promise<Versioned | undefined> {
    return this.inner.get(key).catch(() => undefined)
  }
}

class LosesTheLastPut extends MutantState {
  #last: string | undefined

  override put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    this.#last = key
    return this.inner.put(key, value, expectedVersion)
  }

  override async stop(): Promise<void> {
    if (this.#last !== undefined) await this.inner.delete(this.#last)
    this.#last = undefined
    await this.inner.stop()
  }
}

class ForgetsVersionsOfDeletedKeys extends MutantState {
  readonly #versions = new Map<string, number>()

  override async put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    const version = await this.inner.put(key, value, expectedVersion)
    const all = (this.#versions.get(key) ?? 0) + 1
    this.#versions.set(key, all)
    return Math.max(version, all)
  }
}

export interface StateMutant {
  readonly name: string
  readonly on: 'memory' | 'disk'
  mutate(store: StateStore): StateStore
}

export const stateMutants: readonly StateMutant[] = [
  { name: 'ignores expected versions', on: 'memory', mutate: (store) => new IgnoresVersions(store) },
  { name: 'does half of a putMany', on: 'memory', mutate: (store) => new PutsHalfOfMany(store) },
  { name: 'deletes nothing', on: 'memory', mutate: (store) => new DeletesNothing(store) },
  { name: 'lists everything', on: 'memory', mutate: (store) => new ListsEverything(store) },
  { name: 'lists backwards', on: 'memory', mutate: (store) => new ListsBackwards(store) },
  { name: 'lists what changes meanwhile', on: 'memory', mutate: (store) => new ListsAsItChanges(store) },
  { name: 'hands out its own values', on: 'memory', mutate: (store) => new SharesItsValues(store) },
  { name: 'answers after it was stopped', on: 'memory', mutate: (store) => new AnswersAfterStop(store) },
  { name: 'loses the last put on stop', on: 'disk', mutate: (store) => new LosesTheLastPut(store) },
  {
    name: 'goes on with the versions of deleted keys',
    on: 'memory',
    mutate: (store) => new ForgetsVersionsOfDeletedKeys(store),
  },
]
