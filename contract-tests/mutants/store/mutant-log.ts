/** What the mutants of log stores are made from: a store and a log that hand every call on to good ones. */
import type {
  BatchBytes,
  Durability,
  LogId,
  LogStore,
  LogStoreCounters,
  LogStoreSupports,
  OffsetRange,
  OpenLogOptions,
  PartitionLog,
} from 'ratatoskr/ports'

/** Hands every call on to a good log. Mutants override what they break. */
export class MutantLog implements PartitionLog {
  readonly inner: PartitionLog

  constructor(inner: PartitionLog) {
    this.inner = inner
  }

  get startOffset(): number {
    return this.inner.startOffset
  }

  get stableOffset(): number {
    return this.inner.stableOffset
  }

  get endOffset(): number {
    return this.inner.endOffset
  }

  get sizeBytes(): number {
    return this.inner.sizeBytes
  }

  get damaged(): readonly OffsetRange[] {
    return this.inner.damaged
  }

  get acceptedLosses(): readonly OffsetRange[] {
    return this.inner.acceptedLosses
  }

  append(
    batch: BatchBytes,
    baseOffset: number,
    recordCount: number,
    durability: Durability,
  ): void | Promise<void> {
    return this.inner.append(batch, baseOffset, recordCount, durability)
  }

  read(offset: number, bytesMax: number): BatchBytes | Promise<BatchBytes> {
    return this.inner.read(offset, bytesMax)
  }

  offsetForTime(timestampMs: number): Promise<number> {
    return this.inner.offsetForTime(timestampMs)
  }

  truncateBefore(offset: number): Promise<number> {
    return this.inner.truncateBefore(offset)
  }

  truncateAfter(offset: number): Promise<void> {
    return this.inner.truncateAfter(offset)
  }

  close(): Promise<void> {
    return this.inner.close()
  }
}

/** Hands every call on to a good store, and wraps its logs. */
export class MutantStore implements LogStore {
  readonly inner: LogStore
  readonly wrap: (log: PartitionLog) => PartitionLog

  constructor(inner: LogStore, wrap: (log: PartitionLog) => PartitionLog = (log) => log) {
    this.inner = inner
    this.wrap = wrap
  }

  get name(): string {
    return this.inner.name
  }

  get supports(): LogStoreSupports {
    return this.inner.supports
  }

  get counters(): LogStoreCounters {
    return this.inner.counters
  }

  start(): Promise<void> {
    return this.inner.start()
  }

  stop(): Promise<void> {
    return this.inner.stop()
  }

  async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    return this.wrap(await this.inner.openLog(id, options))
  }

  listLogs(): AsyncIterable<LogId> {
    return this.inner.listLogs()
  }

  deleteLog(id: LogId): Promise<void> {
    return this.inner.deleteLog(id)
  }
}

export const logMutant =
  (Log: new (inner: PartitionLog) => PartitionLog) =>
  (store: LogStore): LogStore =>
    new MutantStore(store, (log) => new Log(log))

export interface LogMutant {
  readonly name: string
  /** `memory` when the fault needs nothing kept, `disk` when it shows after a restart only. */
  readonly on: 'memory' | 'disk'
  mutate(store: LogStore): LogStore
}
