/** What `createBroker({ storage })` takes: where logs and state are kept, together. */
import type { LogStore } from './log-store.ts'
import type { Platform } from './platform.ts'
import type { StateStore } from './state-store.ts'

/** The two stores of one storage. The broker starts `state` before `logs` and stops them the other way round. */
export interface Stores {
  readonly logs: LogStore
  readonly state: StateStore
}

/** A kind of storage, with its options; `diskStorage({ directory })` gives one. */
export interface Storage {
  readonly name: string
  /**
   * Makes the stores, which get time, checksums and the log from `platform`. Does no I/O: their `start` does.
   * Called once by the broker that the storage is given to.
   */
  open(platform: Platform): Stores
}
