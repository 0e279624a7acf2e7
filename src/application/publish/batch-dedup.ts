/**
 * Publishing record batches to a topic that looks for duplicates by message id. Records whose id is stored already are cut
 * out, and the rest is stored; of one that is under way the outcome is awaited first.
 */
import { RecordCursor } from '../../domain/batch/cursor.ts'
import { batchSizeOf, recordCountOf } from '../../domain/batch/header.ts'
import type { Durability } from '../../domain/durability.ts'
import { keepRecords } from '../../domain/producers/cut-batch.ts'
import type { BatchBytes, BatchReceipt, DuplicateRecord, MaybePromise, Platform } from '../../ports/index.ts'
import { isPromise } from '../maybe-promise.ts'
import type { StoredBatch, TopicPartition } from '../partitions/topic-partition.ts'
import { forEachId, type MessageDedup, type StoredPlace } from '../producers/message-dedup.ts'
import type { Topic } from '../topics/topic.ts'

/** What one publish of batches is about. */
export interface BatchPublish {
  readonly topic: Topic
  readonly dedup: MessageDedup
  readonly partition: TopicPartition
  /** Whole batches, verified. */
  readonly bytes: BatchBytes
  readonly durability: Durability
  readonly enteredMs: number
  /** Asked before anything is stored; throws when it must not be. */
  readonly mayStore: (() => void) | undefined
}

/** A record that is to be stored: the entry of its id, -1 without one, and its place among the records of the publish. */
interface FreshRecord {
  readonly entry: number
  readonly index: number
}

/** One batch of a publish, looked through. */
interface ScannedBatch {
  readonly batch: BatchBytes
  readonly recordCount: number
  /** Place of its first record among those of the publish. */
  readonly firstIndex: number
  readonly fresh: readonly FreshRecord[]
}

/** A record that is not to be stored: where it is, or which record of the same publish it repeats. */
interface Repeat {
  readonly index: number
  readonly of: StoredPlace | number
}

const cursor = new RecordCursor()

/** @throws as `TopicPartition.append` */
export function publishNewRecords(
  publish: BatchPublish,
  expansion: Parameters<typeof keepRecords>[2],
  platform: Platform,
): MaybePromise<BatchReceipt> {
  const underWay = firstUnderWay(publish, expansion)
  if (underWay === -1) return new NewRecords(publish, expansion, platform).store()
  return new Promise<void>((resolve) => publish.dedup.whenSettled(underWay, resolve)).then(() =>
    publishNewRecords(publish, expansion, platform),
  ) as Promise<BatchReceipt>
}

/** The entry of the first id that somebody else is publishing right now; -1 when there is none. */
function firstUnderWay({ bytes, dedup }: BatchPublish, expansion: Parameters<typeof keepRecords>[2]): number {
  let found = -1
  for (let at = 0; at < bytes.length && found === -1; at += batchSizeOf(bytes, at)) {
    forEachId(cursor, bytes, at, expansion, (id, start) => {
      const entry = start === -1 || found !== -1 ? -1 : dedup.find(id, start)
      if (entry !== -1 && dedup.placeOf(entry) === undefined) found = entry
    })
  }
  return found
}

class NewRecords {
  readonly #publish: BatchPublish
  readonly #expansion: Parameters<typeof keepRecords>[2]
  readonly #platform: Platform
  readonly #repeats: Repeat[] = []
  /** Offsets of the records that this publish stores, by their place in it. */
  readonly #offsets = new Map<number, number>()
  #recordCount = 0
  #baseOffset = -1
  #known: StoredBatch | undefined
  #stored = false

  constructor(publish: BatchPublish, expansion: Parameters<typeof keepRecords>[2], platform: Platform) {
    this.#publish = publish
    this.#expansion = expansion
    this.#platform = platform
  }

  store(): MaybePromise<BatchReceipt> {
    const batches = this.#scan()
    const appended: MaybePromise<void>[] = []
    let place = 0
    try {
      for (; place < batches.length; place++) appended.push(this.#append(batches[place]))
    } catch (error) {
      for (const { fresh } of batches.slice(place)) this.#failed(fresh)
      appended.push(Promise.reject(error))
    }
    if (!appended.some(isPromise)) return this.#receipt()
    return Promise.all(appended).then(() => this.#receipt())
  }

  /** Finds out what is to be stored, and takes the ids of it. */
  #scan(): readonly ScannedBatch[] {
    const { bytes, dedup } = this.#publish
    const own = new Map<number, number>()
    const batches: ScannedBatch[] = []
    for (let at = 0; at < bytes.length; at += batchSizeOf(bytes, at)) {
      const fresh: FreshRecord[] = []
      const firstIndex = this.#recordCount
      forEachId(cursor, bytes, at, this.#expansion, (id, start) => {
        const index = this.#recordCount++
        const known = start === -1 ? -1 : dedup.find(id, start)
        if (known !== -1) this.#repeats.push({ index, of: dedup.placeOf(known) ?? own.get(known) ?? index })
        else {
          const entry = start === -1 ? -1 : dedup.claim(id, start)
          if (entry !== -1) own.set(entry, index)
          fresh.push({ entry, index })
        }
      })
      const batch = bytes.subarray(at, at + batchSizeOf(bytes, at))
      batches.push({ batch, recordCount: recordCountOf(batch), firstIndex, fresh })
    }
    return batches
  }

  #append({ batch, recordCount, firstIndex, fresh }: ScannedBatch): MaybePromise<void> {
    const { partition, durability, enteredMs, mayStore } = this.#publish
    if (fresh.length === 0) {
      return partition.passOver(batch, this.#placeOf(firstIndex).offset, durability)
    }
    const appended =
      fresh.length === recordCount
        ? partition.append(batch, recordCount, durability, enteredMs, mayStore)
        : partition.appendRest(
            this.#rest(batch, firstIndex, fresh),
            fresh.length,
            batch,
            durability,
            enteredMs,
            mayStore,
          )
    if (!isPromise(appended)) return this.#appended(fresh, appended as number | StoredBatch)
    return (appended as Promise<number | StoredBatch>).then(
      (at) => this.#appended(fresh, at),
      (error) => {
        this.#failed(fresh)
        throw error
      },
    )
  }

  #rest(batch: BatchBytes, firstIndex: number, fresh: readonly FreshRecord[]): BatchBytes {
    const kept = new Set(fresh.map(({ index }) => index - firstIndex))
    return keepRecords(batch, (index) => kept.has(index), this.#expansion, this.#platform.checksum)
  }

  #appended(fresh: readonly FreshRecord[], appended: number | StoredBatch): void {
    const { dedup, partition } = this.#publish
    if (typeof appended === 'number') this.#stored = true
    else this.#known ??= appended
    const baseOffset = typeof appended === 'number' ? appended : appended.baseOffset
    if (this.#baseOffset === -1) this.#baseOffset = baseOffset
    for (let place = 0; place < fresh.length; place++) {
      const { entry, index } = fresh[place]
      this.#offsets.set(index, baseOffset + place)
      if (entry !== -1) dedup.stored(entry, partition.index, baseOffset + place)
    }
  }

  #failed(fresh: readonly FreshRecord[]): void {
    for (const { entry } of fresh) if (entry !== -1) this.#publish.dedup.failed(entry)
  }

  /** Where a record of this publish is that was not stored by it. */
  #placeOf(index: number): StoredPlace {
    const { partition } = this.#publish
    const of = this.#repeats.find((repeat) => repeat.index === index)?.of
    if (typeof of === 'object') return of
    return { partition: partition.index, offset: this.#offsets.get(of ?? index) ?? -1 }
  }

  #receipt(): BatchReceipt {
    const { partition, topic, durability } = this.#publish
    const duplicates = this.#repeats.map(
      ({ index, of }): DuplicateRecord => ({
        index,
        partition: typeof of === 'object' ? of.partition : partition.index,
        offset: typeof of === 'object' ? of.offset : (this.#offsets.get(of) ?? -1),
      }),
    )
    return {
      partition: partition.index,
      baseOffset: this.#baseOffset === -1 ? duplicates[0].offset : this.#baseOffset,
      recordCount: this.#recordCount,
      durability: this.#stored ? durability : (this.#known?.durability ?? topic.config.durability),
      ...(!this.#stored && { duplicate: true }),
      ...(duplicates.length > 0 && { duplicates }),
    }
  }
}
