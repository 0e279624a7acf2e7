/**
 * The rules of a state store over a table in memory: versions, conflicts, and order of keys. Pure, so that every store
 * that keeps its entries in memory decides alike; where they are kept besides is the store's own affair.
 */
import { RatatoskrError } from './errors.ts'
import { quoteForMessage } from './names.ts'
import { assertStateKey, stateValueBytesMax } from './storage-rules.ts'

/** A change, as the state store port has it. */
export interface TableChange {
  readonly key: string
  /** `undefined` deletes the key. */
  readonly value: Uint8Array | undefined
  readonly expectedVersion?: number | undefined
}

/** A change that may be applied, with the version that the key gets: 0 when it is deleted. */
export interface PlannedChange {
  readonly key: string
  readonly value: Uint8Array | undefined
  readonly version: number
}

/** A key with its value and version, as the table holds it. */
export interface TableEntry {
  readonly key: string
  readonly value: Uint8Array
  readonly version: number
}

/**
 * Checks the form of changes and copies their values, so that the caller may reuse his buffers.
 * @throws RTK_INVALID_ARGUMENT for a bad key, version or value, or a key that occurs twice
 */
export function copyChanges(changes: readonly TableChange[]): readonly TableChange[] {
  const keys = new Set<string>()
  return changes.map(({ key, value, expectedVersion }) => {
    assertStateKey(key)
    if (keys.has(key))
      throw invalid(`the keys of one putMany must differ; ${quoteForMessage(key)} occurs twice`)
    keys.add(key)
    if (expectedVersion !== undefined && !(Number.isSafeInteger(expectedVersion) && expectedVersion >= 0)) {
      throw invalid(
        `expectedVersion is a whole number of at least 0, got ${quoteForMessage(expectedVersion)}`,
      )
    }
    if (value !== undefined && value.length > stateValueBytesMax) {
      throw invalid(`a state value is at most ${stateValueBytesMax} bytes, got ${value.length}`)
    }
    // Not `slice`: a Node Buffer's gives a view.
    return { key, value: value === undefined ? undefined : new Uint8Array(value), expectedVersion }
  })
}

/** Keys and values of a state store in memory, with the rules of versions and order that every store keeps. */
export class StateTable {
  readonly #entries = new Map<string, TableEntry>()
  #sizeBytes = 0

  get size(): number {
    return this.#entries.size
  }

  /** Bytes of all keys and values. */
  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** The entry; its value is the table's own and must be copied before it is handed out. */
  get(key: string): TableEntry | undefined {
    return this.#entries.get(key)
  }

  /**
   * Works out what changes would do, without doing it.
   * @param pending versions that keys have by changes which are planned but not applied yet
   * @throws RTK_VERSION_CONFLICT
   */
  plan(
    changes: readonly TableChange[],
    pending: ReadonlyMap<string, number> = noVersions,
  ): readonly PlannedChange[] {
    return changes.map(({ key, value, expectedVersion }) => {
      const version = pending.get(key) ?? this.#entries.get(key)?.version ?? 0
      if (expectedVersion !== undefined && expectedVersion !== version) {
        throw new RatatoskrError(
          'RTK_VERSION_CONFLICT',
          `${quoteForMessage(key)} was expected at version ${expectedVersion} and is at ${version}`,
          { details: { expectedVersion, version } },
        )
      }
      return { key, value, version: value === undefined ? 0 : version + 1 }
    })
  }

  /** Bytes by which the table would grow. */
  growthBytes(planned: readonly PlannedChange[]): number {
    let growth = 0
    for (const { key, value } of planned) {
      growth += sizeOf(key, value) - sizeOf(key, this.#entries.get(key)?.value)
    }
    return growth
  }

  apply(planned: readonly PlannedChange[]): void {
    this.#sizeBytes += this.growthBytes(planned)
    for (const { key, value, version } of planned) {
      if (value === undefined) this.#entries.delete(key)
      else this.#entries.set(key, { key, value, version })
    }
  }

  clear(): void {
    this.#entries.clear()
    this.#sizeBytes = 0
  }

  /** The entries under a prefix as they are now, in order of their keys. */
  list(prefix: string): readonly TableEntry[] {
    const found: TableEntry[] = []
    for (const entry of this.#entries.values()) if (entry.key.startsWith(prefix)) found.push(entry)
    return found.sort((a, b) => (a.key < b.key ? -1 : 1))
  }
}

const noVersions: ReadonlyMap<string, number> = new Map()

const sizeOf = (key: string, value: Uint8Array | undefined): number =>
  value === undefined ? 0 : key.length + value.length

function invalid(message: string): RatatoskrError {
  return new RatatoskrError('RTK_INVALID_ARGUMENT', message)
}
