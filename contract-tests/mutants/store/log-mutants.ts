/** Log stores that are broken on purpose, one fault each: a suite that lets one of them pass is no specification. */
import {
  type BatchBytes,
  batchSizeOf,
  type Durability,
  type LogId,
  nextOffsetOf,
  type OpenLogOptions,
  type PartitionLog,
} from 'ratatoskr/ports'
import { damageMutants } from './damage-mutants.ts'
import { type LogMutant, logMutant, MutantLog, MutantStore } from './mutant-log.ts'

class ReturnsABatchTwice extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = await this.inner.read(offset, bytesMax)
    if (bytes.length === 0) return bytes
    const first = bytes.subarray(0, batchSizeOf(bytes))
    return Uint8Array.from([...first, ...bytes])
  }
}

class AcceptsAConflict extends MutantLog {
  override append(batch: BatchBytes, _baseOffset: number, recordCount: number, durability: Durability) {
    return this.inner.append(batch, this.inner.endOffset, recordCount, durability)
  }
}

class ReadsOneTooFar extends MutantLog {
  override read(offset: number, bytesMax: number) {
    return this.inner.read(Math.min(offset + 1, this.stableOffset), bytesMax)
  }
}

class IgnoresTruncateAfter extends MutantLog {
  override async truncateAfter(): Promise<void> {}
}

class IgnoresTruncateBefore extends MutantLog {
  override async truncateBefore(): Promise<number> {
    return this.startOffset
  }
}

class TruncatesTooMuch extends MutantLog {
  #start = 0

  override get startOffset(): number {
    return Math.max(this.#start, this.inner.startOffset)
  }

  override async truncateBefore(offset: number): Promise<number> {
    await this.inner.truncateBefore(offset)
    this.#start = Math.max(this.#start, Math.min(offset + 1, this.endOffset))
    return this.startOffset
  }
}

class SharesOneBuffer extends MutantLog {
  static readonly #shared = new Uint8Array(32 * 1024 * 1024)

  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = await this.inner.read(offset, bytesMax)
    SharesOneBuffer.#shared.set(bytes)
    return SharesOneBuffer.#shared.subarray(0, bytes.length)
  }
}

class KeepsTheCallersBuffer extends MutantLog {
  override async append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability) {
    await Promise.resolve()
    return this.inner.append(batch, baseOffset, recordCount, durability)
  }
}

class CountsTooEarly extends MutantLog {
  #early = 0

  override get stableOffset(): number {
    return Math.max(this.#early, this.inner.stableOffset)
  }

  override async append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability) {
    const done = this.inner.append(batch, baseOffset, recordCount, durability)
    this.#early = this.inner.endOffset
    await done
  }
}

class CountsTooLate extends MutantLog {
  override get stableOffset(): number {
    return Math.max(this.startOffset, this.inner.stableOffset - 1)
  }
}

class SettlesOutOfOrder extends MutantLog {
  #count = 0

  override async append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability) {
    const done = this.inner.append(batch, baseOffset, recordCount, durability)
    const wait = this.#count++ % 2 === 0 ? 20 : 0
    await done
    for (let i = 0; i < wait; i++) await Promise.resolve()
  }
}

class SplitsABatch extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = await this.inner.read(offset, bytesMax)
    return bytes.length > bytesMax && bytesMax > 0 ? bytes.subarray(0, bytesMax) : bytes
  }
}

class GivesNothingForSmallBounds extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = await this.inner.read(offset, bytesMax)
    return bytes.length > bytesMax ? new Uint8Array(0) : bytes
  }
}

class SwallowsAFullStore extends MutantLog {
  override async append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability) {
    try {
      await this.inner.append(batch, baseOffset, recordCount, durability)
    } catch (error) {
      if ((error as { code?: string }).code !== 'RTK_STORE_FULL') throw error
    }
  }
}

class FindsTimesOneOff extends MutantLog {
  override async offsetForTime(timestampMs: number): Promise<number> {
    return Math.min(this.stableOffset, (await this.inner.offsetForTime(timestampMs)) + 1)
  }
}

class FindsLaterTimesOnly extends MutantLog {
  override offsetForTime(timestampMs: number): Promise<number> {
    return this.inner.offsetForTime(timestampMs + 1)
  }
}

class ReadsBeyondTheEnd extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    return this.inner.read(Math.min(offset, this.stableOffset), bytesMax)
  }
}

class ReadsAfterClose extends MutantLog {
  #last: Uint8Array = new Uint8Array(0)

  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    try {
      this.#last = await this.inner.read(offset, bytesMax)
    } catch (error) {
      if ((error as { code?: string }).code !== 'RTK_CLOSED') throw error
    }
    return this.#last
  }
}

class FlipsABit extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = (await this.inner.read(offset, bytesMax)).slice()
    if (bytes.length > 100 && nextOffsetOf(bytes) % 5 === 0) bytes[99] ^= 1
    return bytes
  }
}

/** Forgets the last batch of every log that it finds already there. */
class LosesTheLastBatch extends MutantStore {
  override async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    const log = await this.inner.openLog(id, options)
    let last = -1
    for (let offset = log.startOffset; offset < log.stableOffset; ) {
      last = offset
      const bytes = await log.read(offset, 1)
      offset = nextOffsetOf(bytes)
    }
    if (last !== -1) await log.truncateAfter(last)
    return log
  }
}

class WrongEndAfterReopen extends MutantStore {
  override async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    const log = await this.inner.openLog(id, options)
    return log.endOffset === 0 ? log : new OneTooMany(log)
  }
}

class OneTooMany extends MutantLog {
  override get endOffset(): number {
    return this.inner.endOffset + 1
  }
}

class DeletesNothing extends MutantStore {
  override async deleteLog(): Promise<void> {}
}

class OpensTwice extends MutantStore {
  readonly #logs = new Map<string, PartitionLog>()

  override async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    const key = `${id.topicId}/${id.partition}`
    const log = await this.inner.openLog(id, options).catch((error: unknown) => {
      const known = this.#logs.get(key)
      if (known === undefined) throw error
      return known
    })
    this.#logs.set(key, log)
    return log
  }
}

class MixesPartitions extends MutantStore {
  override openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    return this.inner.openLog({ topicId: id.topicId, partition: id.partition % 10 }, options)
  }
}

class ListsOpenLogsOnly extends MutantStore {
  readonly #open = new Map<string, LogId>()

  override async openLog(id: LogId, options: OpenLogOptions): Promise<PartitionLog> {
    const log = await this.inner.openLog(id, options)
    const key = `${id.topicId}/${id.partition}`
    this.#open.set(key, id)
    return new TellsOfClose(log, () => this.#open.delete(key))
  }

  override async *listLogs(): AsyncGenerator<LogId> {
    yield* [...this.#open.values()]
  }
}

class TellsOfClose extends MutantLog {
  readonly #onClose: () => void

  constructor(inner: PartitionLog, onClose: () => void) {
    super(inner)
    this.#onClose = onClose
  }

  override async close(): Promise<void> {
    await super.close()
    this.#onClose()
  }
}

export const logMutants: readonly LogMutant[] = [
  { name: 'returns a batch twice', on: 'memory', mutate: logMutant(ReturnsABatchTwice) },
  { name: 'accepts a conflicting append', on: 'memory', mutate: logMutant(AcceptsAConflict) },
  { name: 'reads one offset too far', on: 'memory', mutate: logMutant(ReadsOneTooFar) },
  { name: 'ignores truncateAfter', on: 'memory', mutate: logMutant(IgnoresTruncateAfter) },
  { name: 'ignores truncateBefore', on: 'memory', mutate: logMutant(IgnoresTruncateBefore) },
  { name: 'truncates more than it was asked', on: 'memory', mutate: logMutant(TruncatesTooMuch) },
  { name: 'reads into one shared buffer', on: 'memory', mutate: logMutant(SharesOneBuffer) },
  {
    name: 'copies the batch after append has returned',
    on: 'memory',
    mutate: logMutant(KeepsTheCallersBuffer),
  },
  { name: 'counts a batch as stable before it is', on: 'disk', mutate: logMutant(CountsTooEarly) },
  { name: 'counts a batch as stable too late', on: 'memory', mutate: logMutant(CountsTooLate) },
  { name: 'settles appends out of order', on: 'memory', mutate: logMutant(SettlesOutOfOrder) },
  { name: 'splits a batch at the read bound', on: 'memory', mutate: logMutant(SplitsABatch) },
  {
    name: 'gives nothing when a batch is above the bound',
    on: 'memory',
    mutate: logMutant(GivesNothingForSmallBounds),
  },
  { name: 'swallows a full store', on: 'memory', mutate: logMutant(SwallowsAFullStore) },
  { name: 'finds times one record off', on: 'memory', mutate: logMutant(FindsTimesOneOff) },
  { name: 'finds only what is after a time', on: 'memory', mutate: logMutant(FindsLaterTimesOnly) },
  { name: 'answers reads beyond the end', on: 'memory', mutate: logMutant(ReadsBeyondTheEnd) },
  { name: 'answers reads after close', on: 'memory', mutate: logMutant(ReadsAfterClose) },
  { name: 'flips a bit now and then', on: 'memory', mutate: logMutant(FlipsABit) },
  { name: 'loses the last batch on reopen', on: 'disk', mutate: (store) => new LosesTheLastBatch(store) },
  { name: 'has a wrong end after reopen', on: 'disk', mutate: (store) => new WrongEndAfterReopen(store) },
  { name: 'keeps the data of deleted logs', on: 'memory', mutate: (store) => new DeletesNothing(store) },
  { name: 'opens a log twice', on: 'memory', mutate: (store) => new OpensTwice(store) },
  { name: 'mixes partitions up', on: 'memory', mutate: (store) => new MixesPartitions(store) },
  { name: 'lists open logs only', on: 'memory', mutate: (store) => new ListsOpenLogsOnly(store) },
  ...damageMutants,
]
