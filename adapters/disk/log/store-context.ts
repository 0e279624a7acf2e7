/** What the logs of one store share. */

import type { Checksum, Clock, Logger, LogStoreTally } from 'ratatoskr/ports'
import type { FilePool } from '../files/file-pool.ts'
import type { Gate } from '../files/gate.ts'
import type { ReservedFileSystem } from '../files/reserved-file-system.ts'
import type { SpaceReserve } from '../files/space-reserve.ts'
import type { HotBudget } from './hot-budget.ts'
import type { Quarantine } from './quarantine.ts'

export interface StoreContext {
  readonly fileSystem: ReservedFileSystem
  readonly files: FilePool
  readonly hotBudget: HotBudget
  readonly indexes: IndexCache
  /** Bounds how many index files are open at once. */
  readonly indexFiles: Gate
  /** Bounds how many logs are opened at a time. */
  readonly openings: Gate
  readonly quarantine: Quarantine
  readonly tally: LogStoreTally
  readonly reserve: SpaceReserve
  readonly checksum: Checksum
  readonly clock: Clock
  readonly logger: Logger
  /** How long data of level `interval` may wait for its sync. */
  readonly syncIntervalMs: number
}

/** A sealed segment, as far as its index is concerned. */
interface Indexed {
  dropIndex(): void
}

/** Bounds how many sealed segments keep their index in memory; the others read it again when they are asked. */
export class IndexCache {
  readonly #segmentsMax: number
  readonly #segments = new Set<Indexed>()

  constructor(segmentsMax: number) {
    this.#segmentsMax = segmentsMax
  }

  /** Remembers that a sealed segment has its index in memory. */
  keep(segment: Indexed): void {
    this.#segments.delete(segment)
    this.#segments.add(segment)
    if (this.#segments.size <= this.#segmentsMax) return
    const [oldest] = this.#segments
    this.#segments.delete(oldest)
    oldest.dropIndex()
  }

  forget(segment: Indexed): void {
    this.#segments.delete(segment)
  }
}
