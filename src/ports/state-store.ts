/**
 * Small facts that must survive: topic configurations, committed offsets, later leases, producers, ACLs.
 * The specification of this port is `stateStoreContract` in `ratatoskr/contract-tests`.
 */
import type { Component } from './component.ts'

/** A value with its version: 1 when new, one more with each put. A deleted key begins again at 1. */
export interface Versioned {
  readonly value: Uint8Array
  readonly version: number
}

/** One key with its value and version. */
export interface StateEntry extends Versioned {
  readonly key: string
}

/** One change of a `putMany`. */
export interface StateChange {
  readonly key: string
  /** `undefined` deletes the key. */
  readonly value: Uint8Array | undefined
  /** The version that the key must have now: 0 when it must not exist, `undefined` when it does not matter. */
  readonly expectedVersion?: number | undefined
  /**
   * True when space is freed because of this change, as it is by every deletion: a store without room lets it through for
   * as long as what it keeps in reserve lasts.
   */
  readonly frees?: boolean | undefined
}

/** What a state store can do, frozen. */
export interface StateStoreSupports {
  /** Entries are still there after stop and start, and after a crash once the call has settled. */
  readonly durable: boolean
}

/** Keys are 1 to 512 characters of printable ASCII, levels divided by `/`. Values are up to 1 MiB and are copied. */
export interface StateStore extends Component {
  readonly supports: StateStoreSupports
  get(key: string): Promise<Versioned | undefined>
  /**
   * @param expectedVersion 0: must be new. `undefined`: whatever is there.
   * @returns the new version
   * @throws RTK_VERSION_CONFLICT, RTK_STORE_FULL, RTK_STORE_FAILED; then nothing was changed
   */
  put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number>
  /** All or nothing, also across a crash. Keys must differ. */
  putMany(changes: readonly StateChange[]): Promise<void>
  /** Deleting a key that does not exist is no error, unless `expectedVersion` says that it must. */
  delete(key: string, expectedVersion?: number): Promise<void>
  /** Entries whose key begins with `prefix`, in order of their keys, as they were when the call began. */
  list(prefix: string): AsyncIterable<StateEntry>
}
