/** Log stores that are wrong about damaged data, or count wrongly, one fault each. */
import {
  type BatchBytes,
  baseOffsetOf,
  type Durability,
  isRatatoskrError,
  type LogStore,
  type LogStoreCounters,
  nextOffsetOf,
  type OffsetRange,
  RatatoskrError,
} from 'ratatoskr/ports'
import { type LogMutant, logMutant, MutantLog, MutantStore } from './mutant-log.ts'

/** A log that answers something of its own where the good one tells of damage. */
abstract class AnswersDamage extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    try {
      return await this.inner.read(offset, bytesMax)
    } catch (error) {
      if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) throw error
      return this.answer(offset, Number(error.details?.nextOffset), bytesMax)
    }
  }

  protected abstract answer(
    offset: number,
    nextOffset: number,
    bytesMax: number,
  ): BatchBytes | Promise<BatchBytes>
}

const damageAt = (details: Readonly<Record<string, number>>): RatatoskrError =>
  new RatatoskrError('RTK_STORE_CORRUPT', 'damaged', { details })

class SkipsDamage extends AnswersDamage {
  protected answer(_offset: number, nextOffset: number, bytesMax: number) {
    return this.inner.read(nextOffset, bytesMax)
  }
}

class GivesNothingForDamage extends AnswersDamage {
  protected answer() {
    return new Uint8Array(0)
  }
}

class TellsNoWayOn extends AnswersDamage {
  protected answer(offset: number): never {
    throw damageAt({ offset })
  }
}

class LeadsOneTooFar extends AnswersDamage {
  protected answer(offset: number, nextOffset: number): never {
    throw damageAt({ offset, nextOffset: nextOffset + 1 })
  }
}

class LeadsOneRecordOn extends AnswersDamage {
  protected answer(offset: number): never {
    throw damageAt({ offset, nextOffset: offset + 1 })
  }
}

class CallsDamageAFailure extends AnswersDamage {
  protected answer(): never {
    throw new RatatoskrError('RTK_STORE_FAILED', 'the disk failed')
  }
}

class ListsNoDamage extends MutantLog {
  override get damaged(): readonly OffsetRange[] {
    return []
  }
}

class ListsTooMuchDamage extends MutantLog {
  override get damaged(): readonly OffsetRange[] {
    return this.inner.damaged.map(({ from, to }) => ({ from: Math.max(0, from - 1), to }))
  }
}

/** Gives up what follows a damaged batch, too. */
class LosesANeighbour extends MutantLog {
  override async read(offset: number, bytesMax: number): Promise<BatchBytes> {
    const bytes = await this.inner.read(offset, bytesMax)
    const first = bytes.length === 0 ? 0 : baseOffsetOf(bytes)
    const follows = this.inner.damaged.some(({ to }) => to === first)
    if (bytes.length > 0 && follows) throw damageAt({ offset, nextOffset: nextOffsetOf(bytes) })
    return bytes
  }
}

class FailsWhenDamaged extends MutantLog {
  override append(batch: BatchBytes, baseOffset: number, recordCount: number, durability: Durability) {
    if (this.inner.damaged.length > 0) throw new RatatoskrError('RTK_STORE_FAILED', 'the log is damaged')
    return this.inner.append(batch, baseOffset, recordCount, durability)
  }
}

/** Counters that are changed on their way out. */
const countersMutant =
  (change: (counters: LogStoreCounters) => Partial<LogStoreCounters>) =>
  (store: LogStore): LogStore =>
    new (class extends MutantStore {
      override get counters(): LogStoreCounters {
        const { appends, appendedBytes, syncs, hotReads, coldReads, hotBytes } = this.inner.counters
        const counters = { appends, appendedBytes, syncs, hotReads, coldReads, hotBytes }
        return { ...counters, ...change(counters) }
      }
    })(store)

export const damageMutants: readonly LogMutant[] = [
  { name: 'skips what is damaged', on: 'disk', mutate: logMutant(SkipsDamage) },
  { name: 'gives nothing for what is damaged', on: 'disk', mutate: logMutant(GivesNothingForDamage) },
  { name: 'does not tell where to read on after damage', on: 'disk', mutate: logMutant(TellsNoWayOn) },
  { name: 'leads one record too far after damage', on: 'disk', mutate: logMutant(LeadsOneTooFar) },
  { name: 'leads into a damaged batch', on: 'disk', mutate: logMutant(LeadsOneRecordOn) },
  { name: 'calls damage a failure of the disk', on: 'disk', mutate: logMutant(CallsDamageAFailure) },
  { name: 'lists no damage', on: 'disk', mutate: logMutant(ListsNoDamage) },
  { name: 'lists what is not damaged', on: 'disk', mutate: logMutant(ListsTooMuchDamage) },
  { name: 'loses the batch after a damaged one', on: 'disk', mutate: logMutant(LosesANeighbour) },
  { name: 'takes no appends when it is damaged', on: 'disk', mutate: logMutant(FailsWhenDamaged) },
  {
    name: 'counts appends twice',
    on: 'memory',
    mutate: countersMutant(({ appends }) => ({ appends: appends * 2 })),
  },
  { name: 'counts no bytes', on: 'memory', mutate: countersMutant(() => ({ appendedBytes: 0 })) },
  { name: 'counts no reads', on: 'memory', mutate: countersMutant(() => ({ hotReads: 0 })) },
  { name: 'counts no syncs', on: 'disk', mutate: countersMutant(() => ({ syncs: 0 })) },
  {
    name: 'counts memory that it has given back',
    on: 'memory',
    mutate: countersMutant(({ appendedBytes }) => ({ hotBytes: appendedBytes })),
  },
]
