/**
 * The lease table of a queue partition over its lives: each begins with what is stored, under an epoch of its own that is
 * stored before its first lease, so that leases of different lives are never taken for each other.
 */
import type { QueueCheckpoint, StoredFailure } from '../../domain/queue/checkpoint.ts'
import { encodeCheckpoint, encodingSteps } from '../../domain/queue/checkpoint-codec.ts'
import { nextLeaseNumbers } from '../../domain/queue/lease-numbers.ts'
import { LeaseTable } from '../../domain/queue/lease-table.ts'
import type { Clock } from '../../ports/index.ts'
import type { ReadablePartition } from '../seams.ts'
import { type Handover, Handovers } from './handovers.ts'
import { clippedCheckpoint, withSettled } from './positions.ts'

/** Offsets that one step looks at. */
const offsetsAtOnce = 8_192

/** What tables are made by. */
interface TableRules {
  readonly config: { readonly retriesMax: number }
  /** True when messages of a key come in order. */
  readonly ordered: boolean
  readonly clock: Pick<Clock, 'now'>
}

/** What to store, and what to do when it is stored. */
export interface CheckpointToStore {
  /** As `encodeCheckpoint` writes it. */
  readonly bytes: Uint8Array
  stored(): void
}

export class StoredTable {
  /** Deliveries that are stored as settled before they are handed over. */
  readonly handovers = new Handovers()
  /** Below this there may be messages that were on their way to the dead letters when the broker ended; 0 when there are none. */
  readonly buryTo: number
  readonly #log: ReadablePartition
  readonly #host: TableRules
  readonly #failures: () => readonly StoredFailure[]
  readonly #onStored: (handovers: readonly Handover[]) => void
  #begin: QueueCheckpoint
  #table: LeaseTable | undefined
  #ordered = false
  #epochIsStored = false
  /** Set by the last checkpoint of all: nothing is leased after it. */
  #ended = false
  #closed = false
  #storedFloor: number
  #storedChanges = -1

  /**
   * @param begin what was stored, or where a new group begins
   * @param failures why messages fail that are on their way to the dead letters
   * @param onStored called when a checkpoint of the table is stored, with the handovers that are settled in it
   */
  constructor(
    log: ReadablePartition,
    begin: QueueCheckpoint,
    host: TableRules,
    failures: () => readonly StoredFailure[],
    onStored: (handovers: readonly Handover[]) => void,
  ) {
    this.#log = log
    this.#begin = begin
    this.buryTo = begin.tried.reduce((end, { failing, to }) => (failing ? to : end), 0)
    this.#host = host
    this.#storedFloor = begin.floor
    this.#failures = failures
    this.#onStored = onStored
  }

  /** Undefined before the first life. */
  get table(): LeaseTable | undefined {
    return this.#table
  }

  /** What the first life begins with. */
  get begin(): QueueCheckpoint {
    return this.#begin
  }

  /** True when the table keeps the messages of a key in order. */
  get ordered(): boolean {
    return this.#ordered
  }

  /** False until the epoch of this life is stored. */
  get mayLease(): boolean {
    return this.#epochIsStored && !this.#ended
  }

  /** True when there is something to store. */
  get isDirty(): boolean {
    return this.#table !== undefined && this.#table.changes !== this.#storedChanges
  }

  /** Below this nothing is needed any more, also after a crash. */
  get owedFrom(): number {
    return Math.min(this.#storedFloor, this.#table?.floor ?? this.#storedFloor)
  }

  /**
   * Before the first life, and before anything is published to a log that was just opened: what is known of offsets beyond
   * its end is of messages that it lost.
   * @param end where the log ends, for one that is about to be used
   * @returns what was known, when it was more
   */
  clip(end = this.#log.stableOffset): QueueCheckpoint | undefined {
    if (this.#table !== undefined) return undefined
    const known = this.#begin
    this.#begin = clippedCheckpoint(known, end)
    return this.#begin === known ? undefined : known
  }

  /** Before the first life: it begins elsewhere. */
  beginAt(offset: number): void {
    this.#begin = { ...this.#begin, floor: offset, settled: [], tried: [], failures: undefined }
  }

  /** Begins a life with what is known, as far as the log reaches: one that lost its tail gives those offsets to others. */
  renew(known: QueueCheckpoint, end = this.#log.stableOffset): void {
    const restored = clippedCheckpoint(known, end)
    this.#ordered = this.#host.ordered
    this.#table = new LeaseTable({
      ordered: this.#ordered,
      ...nextLeaseNumbers(known.epoch, this.#host.clock.now()),
      start: restored.floor,
      retriesMax: this.#host.config.retriesMax,
      restored,
    })
    this.#epochIsStored = false
    this.#storedChanges = -1
  }

  /**
   * Makes what is to be stored now, in steps of a part of a millisecond each: a table with a million unsettled messages takes many.
   * @param last nothing is leased from here on
   * @returns undefined when there is nothing new
   */
  *checkpoint(last: boolean): Generator<void, CheckpointToStore | undefined, undefined> {
    if (this.#closed) return undefined
    this.#ended ||= last
    let table = this.#table
    if (table === undefined) {
      return { bytes: encodeCheckpoint(this.#begin), stored: () => this.#beginStored() }
    }
    if (!last && this.#epochIsStored && !this.isDirty && !table.needsBound) return undefined
    let { changes } = table
    let walk = table.beginCheckpoint()
    while (!walk.step(offsetsAtOnce)) {
      yield
      if (this.#closed) return undefined
      if (this.#table === table && !walk.isVoid) continue
      table = this.#table as LeaseTable
      changes = table.changes
      walk = table.beginCheckpoint()
    }
    return yield* this.#encoded(table, table.checkpoint(this.#ended, walk), changes)
  }

  /** @param changes what the table's were when the checkpoint was begun: what has changed since is not stored with it */
  *#encoded(
    table: LeaseTable,
    whole: QueueCheckpoint,
    changes: number,
  ): Generator<void, CheckpointToStore, undefined> {
    const failures = table.failing > 0 ? this.#failures() : undefined
    const { open } = this.handovers
    const ranges = open.map(({ batch }) => ({ from: batch.firstOffset, to: batch.lastOffset + 1 }))
    ranges.sort((one, other) => one.from - other.from)
    const checkpoint = withSettled({ ...whole, failures }, ranges)
    return {
      bytes: yield* encodingSteps(checkpoint),
      stored: () => {
        if (this.#table !== table) return // another life has begun
        table.stored(checkpoint)
        this.#storedFloor = checkpoint.floor
        this.#storedChanges = changes
        this.#epochIsStored = true
        this.#onStored(open)
      },
    }
  }

  /** Nothing is stored from here on. */
  close(): void {
    this.#closed = true
  }

  #beginStored(): void {
    this.#storedFloor = this.#begin.floor
  }
}
