/**
 * State on disk: a table in memory, and a log of its changes. Changes that arrive while one write is under way go together
 * with the next, each whole by itself; a change counts, for readers too, when it is on the disk.
 */
import { basename } from 'node:path'
import {
  assertStateKey,
  type Clock,
  closedError,
  copyChanges,
  type Logger,
  type PlannedChange,
  type StateChange,
  type StateEntry,
  type StateStore,
  type StateStoreSupports,
  StateTable,
  type TableEntry,
  type Versioned,
} from 'ratatoskr/ports'
import type { DataDirectory } from '../files/data-directory.ts'
import { isFull } from '../files/file-system.ts'
import type { SpaceReserve } from '../files/space-reserve.ts'
import { storeFailed, storeFull } from '../log/store-errors.ts'
import type { CopyFindings } from './state-copies.ts'
import type { StateFindings, StateLog } from './state-log.ts'

/** Pause between tries to get the reserve back. */
const reservePauseMs = 1_000

interface PendingChange {
  readonly changes: readonly StateChange[]
  /** It may spend the reserve. */
  readonly frees: boolean
  resolve(version: number): void
  reject(error: unknown): void
}

interface PlannedGroup {
  readonly accepted: readonly {
    readonly pending: PendingChange
    readonly planned: readonly PlannedChange[]
  }[]
  readonly batches: readonly Uint8Array[]
  readonly recordCount: number
}

export class DiskStateStore implements StateStore {
  readonly name = 'disk'
  readonly supports: StateStoreSupports = Object.freeze({ durable: true })
  readonly #log: StateLog
  readonly #reserve: SpaceReserve
  readonly #directory: DataDirectory
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #table = new StateTable()
  #started: Promise<void> | undefined
  #open = false
  #pending: PendingChange[] = []
  #writing: Promise<void> | undefined
  #reserveTriedMs = 0

  constructor(log: StateLog, reserve: SpaceReserve, directory: DataDirectory, clock: Clock, logger: Logger) {
    this.#log = log
    this.#reserve = reserve
    this.#directory = directory
    this.#clock = clock
    this.#logger = logger
  }

  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined
      throw storeFailed(error)
    })
    return this.#started
  }

  async stop(): Promise<void> {
    const started = this.#started
    if (started === undefined) return
    this.#started = undefined
    await started
    this.#open = false
    await this.#writing
    await this.#log.close()
    this.#table.clear()
    await this.#directory.release()
  }

  async get(key: string): Promise<Versioned | undefined> {
    this.#assertOpen()
    assertStateKey(key)
    const entry = this.#table.get(key)
    return entry && { value: new Uint8Array(entry.value), version: entry.version }
  }

  async put(key: string, value: Uint8Array, expectedVersion?: number): Promise<number> {
    return this.#change([{ key, value, expectedVersion }])
  }

  async putMany(changes: readonly StateChange[]): Promise<void> {
    await this.#change(changes)
  }

  async delete(key: string, expectedVersion?: number): Promise<void> {
    await this.#change([{ key, value: undefined, expectedVersion }])
  }

  list(prefix: string): AsyncIterable<StateEntry> {
    this.#assertOpen()
    return copiesOf(this.#table.list(prefix))
  }

  #assertOpen(): void {
    if (!this.#open) throw closedError('the disk store')
  }

  async #start(): Promise<void> {
    await this.#directory.acquire()
    try {
      const findings = await this.#log.open(this.#table, this.#clock.now())
      if (findings !== undefined) this.#report(findings)
      await this.#reserve.take()
      this.#reserveTriedMs = this.#clock.monotonic()
      this.#open = true
    } catch (error) {
      this.#table.clear()
      await this.#log.close().catch(() => undefined)
      await this.#directory.release()
      throw error
    }
  }

  /** @returns the version that the first change led to */
  async #change(changes: readonly StateChange[]): Promise<number> {
    this.#assertOpen()
    const copies = copyChanges(changes)
    if (copies.length === 0) return 0
    const frees = changes.some((change) => change.frees === true || change.value === undefined)
    return new Promise((resolve, reject) => {
      this.#pending.push({ changes: copies, frees, resolve, reject })
      this.#writing ??= this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    // One turn of microtasks, so that what is asked together is written together.
    await Promise.resolve()
    while (this.#pending.length > 0) {
      const group = this.#plan(await this.#affordable(this.#pending.splice(0)))
      if (group.accepted.length > 0) await this.#writeGroup(group)
      await this.#restoreReserve()
    }
    // In the same turn in which nothing was left: what comes a turn later would wait for a writer that is gone.
    this.#writing = undefined
  }

  /** Decides in order what of a group may be done; refuses the rest at once. */
  #plan(pending: readonly PendingChange[]): PlannedGroup {
    const versions = new Map<string, number>()
    const accepted: { pending: PendingChange; planned: readonly PlannedChange[] }[] = []
    for (const one of pending) {
      try {
        const planned = this.#table.plan(one.changes, versions)
        for (const { key, version } of planned) versions.set(key, version)
        accepted.push({ pending: one, planned })
      } catch (error) {
        one.reject(error)
      }
    }
    return { accepted, ...this.#encode(accepted.map(({ planned }) => planned)) }
  }

  #encode(plans: readonly (readonly PlannedChange[])[]): { batches: Uint8Array[]; recordCount: number } {
    const nowMs = this.#clock.now()
    let recordCount = 0
    const batches = plans.map((planned) => {
      const batch = this.#log.encode(planned, this.#log.endOffset + recordCount, nowMs)
      recordCount += planned.length
      return batch
    })
    return { batches, recordCount }
  }

  async #writeGroup(group: PlannedGroup): Promise<void> {
    const { accepted } = group
    try {
      if (await this.#rewriteIfDue()) {
        const { batches, recordCount } = this.#encode(accepted.map(({ planned }) => planned))
        await this.#log.append(batches, recordCount)
      } else {
        await this.#log.append(group.batches, group.recordCount)
      }
    } catch (error) {
      const reason = await this.#recover(error)
      const pending = accepted.map((one) => one.pending)
      for (const one of isFull(error) ? await this.#writeFromReserve(pending) : pending) one.reject(reason)
      return
    }
    for (const { pending, planned } of accepted) {
      this.#table.apply(planned)
      pending.resolve(planned[0].version)
    }
  }

  /** Of changes for which there is no room, writes those that free space into what is kept for them. @returns the others */
  async #writeFromReserve(pending: readonly PendingChange[]): Promise<readonly PendingChange[]> {
    const freeing = pending.filter(({ frees }) => frees)
    if (freeing.length === 0) return pending
    const done = await this.#reserve.give(() => this.#writeGroup(this.#plan(freeing)))
    return done ? pending.filter(({ frees }) => !frees) : pending
  }

  /** While the reserve is gone, only what frees space is let through; the rest is refused. */
  async #affordable(pending: readonly PendingChange[]): Promise<readonly PendingChange[]> {
    if (pending.every(({ frees }) => frees) || (await this.#reserve.isAffordable())) return pending
    for (const one of pending) if (!one.frees) one.reject(storeFull(undefined))
    return pending.filter(({ frees }) => frees)
  }

  /** Takes the reserve once there may be room for it; not at each change, for it costs a sync. */
  async #restoreReserve(): Promise<void> {
    if (this.#reserve.isHeld) return
    const nowMs = this.#clock.monotonic()
    if (nowMs - this.#reserveTriedMs < reservePauseMs) return
    this.#reserveTriedMs = nowMs
    await this.#reserve.take()
  }

  /** @returns true when the files were written anew, so that offsets have changed */
  async #rewriteIfDue(): Promise<boolean> {
    if (!this.#log.needsRewrite) return false
    try {
      await this.#log.rewrite(this.#table, this.#clock.now())
      return true
    } catch (error) {
      // There may still be room for a change where there is none for the whole table.
      if (isFull(error) && this.#log.putOffRewrite()) return false
      throw error
    }
  }

  /** After a failed write: for lack of room the files go on, otherwise the next write begins new ones. */
  async #recover(error: unknown): Promise<unknown> {
    const goesOn = await this.#log.recover(error)
    if (!goesOn) {
      this.#logger.error('writing state failed; the next change writes the state anew', { error })
    }
    return goesOn ? storeFull(error) : storeFailed(error)
  }

  #report({ generation, copies, hollow, lost, full }: StateFindings): void {
    const named = (all: readonly CopyFindings[]) =>
      all.map(({ path, ...rest }) => ({ file: basename(path), ...rest }))
    const facts = { generation, copies: named(copies), full }
    const aside = full ? 'go to quarantine once there is room' : 'are in quarantine'
    if (hollow.length > 0) {
      const outcome =
        generation === undefined
          ? `the state begins empty, and the files ${aside}: restore state/ from a backup if there were topics`
          : `the generation before them counts, and the files ${aside}: changes since it was written are lost`
      const files = hollow.map(({ path }) => basename(path)).join(', ')
      this.#logger.error(`there is no whole change in ${files} of the state; ${outcome}`, {
        ...facts,
        hollow: named(hollow),
      })
    }
    const damaged = copies.some(({ state }) => state === 'damaged' || state === 'different')
    if (lost.length > 0) {
      this.#logger.error(
        'changes of the state are lost: both copies are damaged at the same place; the rest is kept, and the damaged files are in quarantine',
        { ...facts, lost },
      )
    } else if (damaged) {
      this.#logger.error(
        'a copy of the state is damaged; nothing is lost, and the damaged file is in quarantine',
        facts,
      )
    } else if (copies.some(({ state }) => state !== 'ok')) {
      this.#logger.warn('a copy of the state was completed or cut to what counts, as after a crash', facts)
    }
  }
}

async function* copiesOf(entries: readonly TableEntry[]): AsyncGenerator<StateEntry, void, undefined> {
  for (const { key, value, version } of entries) yield { key, value: new Uint8Array(value), version }
}
