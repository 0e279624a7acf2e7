/**
 * What one partition remembers of idempotent producers, so that a batch which is sent again is not stored again.
 *
 * The rules are those of Apache Kafka's producer state: each producer numbers its records; a batch must begin where the
 * one before it ended, and one of the last sixteen (Kafka: five) may come again. A producer that is not known begins at
 * sequence 0, and so does a newer epoch; an older epoch is fenced off. Unlike Kafka, nobody whom the table does not know may
 * begin elsewhere: what a forgotten producer sends again could be stored already.
 *
 * A number names one batch for ever: a producer that gives a batch up, whether it was refused or nobody knows its fate, does
 * not use the number again, but marks the next batch as one after a gap. That one may be ahead of what is expected. So a
 * copy of a batch that somebody on the way delivers late is known, or behind, or what the producer itself had asked for: it
 * never stands for another batch. What was given up is stored no more once the batch after the gap is.
 */
import type { Durability } from '../durability.ts'
import { RatatoskrError } from '../errors.ts'

/**
 * Batches of a producer that are remembered: as many as it may have under way at a time. Of full ones so many are 4 MiB,
 * which keeps a disk writing while what was written before is synced.
 */
export const batchesPerProducerMax = 16
/** Sequences are numbers of 31 bits: after the last one comes 0 again. */
const sequenceEnd = 2 ** 31

/** The sequence after the last of `count` records that begin at `baseSequence`. */
export const nextSequence = (baseSequence: number, count: number): number =>
  (baseSequence + count) % sequenceEnd

/** Numbers go round: of two that are never far from each other, the one that comes first. */
export const isBehind = (sequence: number, other: number): boolean => ((other - sequence) | 0) << 1 > 0

/** A batch as its producer named it. */
export interface SequencedBatch {
  readonly producerId: number
  readonly epoch: number
  readonly baseSequence: number
  readonly recordCount: number
}

/** A batch that was taken: stored, or on its way. */
export interface KnownBatch extends SequencedBatch {
  baseOffset: number
  /** The level that it was stored with; undefined when it was read back from the log. */
  durability: Durability | undefined
  /** While it is on its way: settles as its append does. */
  settled: Promise<unknown> | undefined
}

/** A producer's last batches, all stored: what a snapshot holds of it. */
export interface ProducerState {
  readonly producerId: number
  readonly epoch: number
  /** When it was heard of last, in Unix milliseconds. */
  readonly lastMs: number
  readonly batches: readonly KnownBatch[]
}

interface Entry {
  readonly producerId: number
  lastMs: number
  /** Oldest first, never empty: the last ones that are stored, then those on their way. */
  batches: KnownBatch[]
}

export interface ProducerBounds {
  /** Producers that are remembered; beyond, the one that was silent longest is forgotten. */
  readonly producersMax: number
  /** Silence after which a producer is forgotten, in milliseconds. */
  readonly expiryMs: number
}

/** The producers of one partition. */
export class ProducerTable {
  readonly #bounds: ProducerBounds
  /** Ordered by when they were heard of last. */
  readonly #entries = new Map<number, Entry>()
  /** The one that was heard of last. */
  #newest: Entry | undefined
  /** Before this time nobody has been silent for too long. */
  #nobodyExpiresBeforeMs = Number.NEGATIVE_INFINITY

  constructor(bounds: ProducerBounds) {
    this.#bounds = bounds
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * Decides about a batch before it is stored.
   * @param afterGap its producer has given up what it numbered before and is not stored
   * @returns the same batch when it was taken before; undefined when it is the next one
   * @throws RTK_BATCH_MALFORMED, RTK_SEQUENCE_OUT_OF_ORDER, RTK_PRODUCER_FENCED
   */
  check(batch: SequencedBatch, nowMs: number, afterGap = false): KnownBatch | undefined {
    assertSequenced(batch)
    this.#expire(nowMs)
    const entry = this.#entryOf(batch.producerId)
    const last = entry?.batches.at(-1)
    if (entry === undefined || last === undefined)
      return afterGap ? undefined : expectSequence(batch, 0, 'is not known here')
    if (batch.epoch < last.epoch) throw fenced(batch, last.epoch)
    if (batch.epoch > last.epoch) return expectSequence(batch, 0, 'begins a new epoch')
    const known = entry.batches.find((one) => isSame(one, batch))
    if (known !== undefined) return known
    const expected = nextSequence(last.baseSequence, last.recordCount)
    if (afterGap && isBehind(expected, batch.baseSequence)) return undefined
    return expectSequence(batch, expected, 'has sent what is before')
  }

  /** Takes a batch that `check` let pass. It counts from now on, and is undone by `failed`. */
  add(batch: KnownBatch, nowMs: number): void {
    const { producerId } = batch
    this.#nobodyExpiresBeforeMs = Math.min(this.#nobodyExpiresBeforeMs, nowMs + this.#bounds.expiryMs)
    let entry = this.#entryOf(producerId)
    if (entry === undefined) {
      if (this.#entries.size >= this.#bounds.producersMax) this.#makeRoom()
      entry = { producerId, lastMs: nowMs, batches: [] }
    } else {
      entry.lastMs = nowMs
      // Whoever was heard of last already stays where he is: a map pays for each change with a larger one now and then.
      if (entry !== this.#newest) this.#entries.delete(producerId)
    }
    if (entry !== this.#newest) this.#entries.set(producerId, entry)
    this.#newest = entry
    entry.batches.push(batch)
    if (batch.settled === undefined) trim(entry)
  }

  /** The batch is stored. */
  stored(batch: KnownBatch): void {
    batch.settled = undefined
    const entry = this.#entries.get(batch.producerId)
    if (entry?.batches.includes(batch)) trim(entry)
  }

  /** The batch is not stored, and nothing that its producer sent behind it will be: appends fail in order. */
  failed(batch: KnownBatch): void {
    const entry = this.#entries.get(batch.producerId)
    const place = entry?.batches.indexOf(batch) ?? -1
    if (entry === undefined || place === -1) return
    entry.batches.length = place
    if (place === 0) this.#forget(batch.producerId)
  }

  /** What is stored, for a snapshot: those that were silent longest come first. */
  *states(): Generator<ProducerState, void, undefined> {
    for (const { producerId, lastMs, batches } of this.#entries.values()) {
      const stored = batches.filter(({ settled }) => settled === undefined)
      const epoch = stored.at(-1)?.epoch
      if (epoch !== undefined) yield { producerId, epoch, lastMs, batches: stored }
    }
  }

  /** Mostly that of the one heard of last, and an id is a number that takes long to look up. */
  #entryOf(producerId: number): Entry | undefined {
    const newest = this.#newest
    return newest?.producerId === producerId ? newest : this.#entries.get(producerId)
  }

  #expire(nowMs: number): void {
    if (nowMs < this.#nobodyExpiresBeforeMs) return
    const { expiryMs } = this.#bounds
    for (const { producerId, lastMs, batches } of this.#entries.values()) {
      if (nowMs - lastMs < expiryMs) {
        this.#nobodyExpiresBeforeMs = lastMs + expiryMs
        return
      }
      if (isUnderWay(batches)) return
      this.#forget(producerId)
    }
  }

  /** Forgets the producer that was silent longest and has nothing under way. */
  #makeRoom(): void {
    for (const { producerId, batches } of this.#entries.values()) {
      if (isUnderWay(batches)) continue
      this.#forget(producerId)
      return
    }
  }

  #forget(producerId: number): void {
    if (this.#newest?.producerId === producerId) this.#newest = undefined
    this.#entries.delete(producerId)
  }
}

const isUnderWay = (batches: readonly KnownBatch[]): boolean => batches.at(-1)?.settled !== undefined

const isSame = (known: KnownBatch, { epoch, baseSequence, recordCount }: SequencedBatch): boolean =>
  known.baseSequence === baseSequence && known.recordCount === recordCount && known.epoch === epoch

/** Keeps the last of the stored batches, and none of an epoch before theirs. */
function trim(entry: Entry): void {
  const { batches } = entry
  let stored = batches.length
  while (stored > 0 && batches[stored - 1].settled !== undefined) stored--
  if (stored === 0) return
  const { epoch } = batches[stored - 1]
  let from = Math.max(0, stored - batchesPerProducerMax)
  while (batches[from].epoch !== epoch) from++
  if (from === 1) {
    // Not by `shift`, which gives memory away that the next batch has to get anew.
    for (let place = 1; place < batches.length; place++) batches[place - 1] = batches[place]
    batches.pop()
  } else if (from > 0) batches.splice(0, from)
}

function assertSequenced({ producerId, epoch, baseSequence }: SequencedBatch): void {
  if (Number.isSafeInteger(producerId) && producerId >= 0 && epoch >= 0 && baseSequence >= 0) return
  throw new RatatoskrError(
    'RTK_BATCH_MALFORMED',
    `a batch has a producer id, an epoch and a sequence of at least 0, or -1 for all three; got ${producerId}, ${epoch} and ${baseSequence}`,
  )
}

function expectSequence(batch: SequencedBatch, expected: number, why: string): undefined {
  if (batch.baseSequence === expected) return
  throw new RatatoskrError(
    'RTK_SEQUENCE_OUT_OF_ORDER',
    `producer ${batch.producerId} ${why}: sequence ${expected} was expected, got ${batch.baseSequence}; send what is missing, mark the batch as one after a gap, or go on with a new producer id`,
    { details: { producerId: batch.producerId, expectedSequence: expected, sequence: batch.baseSequence } },
  )
}

function fenced({ producerId, epoch }: SequencedBatch, current: number): RatatoskrError {
  return new RatatoskrError(
    'RTK_PRODUCER_FENCED',
    `producer ${producerId} is at epoch ${current} here, got ${epoch}; take a new producer id`,
    { details: { producerId, epoch: current } },
  )
}
