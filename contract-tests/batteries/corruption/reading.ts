/** Reads a log in every way, and compares what comes with what was stored. */
import { batchStarts, isRatatoskrError, nextOffsetOf, type PartitionLog } from 'ratatoskr/ports'
import type { StoredBatch, StoredLog } from './image.ts'

/** A promise that was broken; the message says which. */
class BrokenPromise extends Error {}

export function broken(what: string): never {
  throw new BrokenPromise(what)
}

export const nameOf = ({ id }: StoredLog): string => `${id.topicId.slice(0, 4)}/${id.partition}`

/** Reads one log. */
export class Reading {
  /** Offsets that are refused, as far as they were read. */
  readonly refused = new Set<number>()
  readonly #log: PartitionLog
  readonly #stored: StoredLog
  readonly #owed: ReadonlySet<StoredBatch>

  /** @param owed the batches that must be served */
  constructor(log: PartitionLog, stored: StoredLog, owed: ReadonlySet<StoredBatch>) {
    this.#log = log
    this.#stored = stored
    this.#owed = owed
  }

  /**
   * Reads the log from its beginning to its end.
   * @param everyWay also in small reads, from every batch's first, middle and last offset, and by time
   */
  async run(everyWay: boolean): Promise<void> {
    this.#judgeEnds()
    for (const bytesMax of everyWay ? [1 << 20, 1500, 1] : [1 << 20]) {
      for (let offset = this.#log.startOffset; offset < this.#log.stableOffset; ) {
        offset = await this.#read(offset, bytesMax)
      }
    }
    if (everyWay) {
      for (const { from, to } of this.#stored.batches) {
        if (to > this.#log.endOffset) break
        for (const offset of new Set([from, (from + to) >> 1, to - 1])) await this.#read(offset, 700)
      }
      await this.#judgeTimes()
    }
    this.#judgeRanges()
  }

  #judgeEnds(): void {
    const { startOffset, endOffset } = this.#log
    if (startOffset !== this.#stored.startOffset) {
      this.#broken(`begins at ${startOffset}, not at ${this.#stored.startOffset}`)
    }
    const cut = this.#stored.batches.find((batch) => batch.to > endOffset && this.#owed.has(batch))
    if (cut !== undefined) this.#broken(`was cut to ${endOffset}, but batch ${cut.from} is intact`)
  }

  /** @returns the offset to read on from */
  async #read(offset: number, bytesMax: number): Promise<number> {
    let bytes: Uint8Array
    try {
      bytes = await this.#log.read(offset, bytesMax)
    } catch (error) {
      if (!isRatatoskrError(error, 'RTK_STORE_CORRUPT')) {
        this.#broken(`fails to read at ${offset}: ${String(error)}`)
      }
      return this.#refusedAt(offset, error.details)
    }
    if (bytes.length === 0) this.#broken(`gives nothing at ${offset}`)
    let place = this.#placeOf(offset)
    let end = offset
    for (const at of batchStarts(bytes)) {
      const batch: StoredBatch | undefined = this.#stored.batches[place++]
      const size = batch?.bytes.length ?? 0
      if (batch === undefined || Buffer.compare(bytes.subarray(at, at + size), batch.bytes) !== 0) {
        this.#broken(`gives WRONG BYTES: a read at ${offset} gives what was never at ${batch?.from ?? end}`)
      }
      end = nextOffsetOf(bytes, at)
    }
    return end
  }

  /** Checks a refusal. @returns where it says that reading can go on */
  #refusedAt(offset: number, details: Readonly<Record<string, unknown>> = {}): number {
    const { nextOffset } = details
    if (details.offset !== offset || typeof nextOffset !== 'number' || !(nextOffset > offset)) {
      this.#broken(`refuses a read at ${offset} with ${JSON.stringify(details)}`)
    }
    if (nextOffset > this.#log.stableOffset) {
      this.#broken(`refuses a read at ${offset} and leads beyond the end, to ${nextOffset}`)
    }
    const { batches } = this.#stored
    for (
      let place = this.#placeOf(offset);
      place < batches.length && batches[place].from < nextOffset;
      place++
    ) {
      const batch = batches[place]
      if (batch.to > offset && this.#owed.has(batch)) {
        this.#broken(`refuses ${offset} to ${nextOffset}, but batch ${batch.from} is intact`)
      }
    }
    for (let one = offset; one < nextOffset; one++) this.refused.add(one)
    return nextOffset
  }

  #placeOf(offset: number): number {
    const { batches } = this.#stored
    let [low, high] = [0, batches.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if (batches[middle].to > offset) high = middle
      else low = middle + 1
    }
    return low
  }

  async #judgeTimes(): Promise<void> {
    const kept = this.#stored.batches.filter(({ to }) => to <= this.#log.endOffset)
    for (let place = 0; place < kept.length; place += 5) {
      const { from, maxTimestampMs } = kept[place]
      const found = await this.#log.offsetForTime(maxTimestampMs)
      // Times rise from batch to batch. What a damaged one had is not known: it may stand for itself or be passed over.
      const right = kept.slice(place).find((batch) => !this.refused.has(batch.from))?.from
      if (found < from || found > (right ?? this.#log.stableOffset)) {
        this.#broken(`has the time of batch ${from} at offset ${found}`)
      }
    }
  }

  /** `damaged` lists what is refused, each offset once and in order, and nothing else. */
  #judgeRanges(): void {
    const listed: number[] = []
    for (const { from, to } of this.#log.damaged) {
      for (let offset = from; offset < to; offset++) listed.push(offset)
    }
    const refused = [...this.refused].sort((a, b) => a - b)
    if (listed.join() !== refused.join()) {
      this.#broken(`lists ${JSON.stringify(this.#log.damaged)} as damaged, but refuses ${refused.join()}`)
    }
  }

  #broken(what: string): never {
    broken(`log ${nameOf(this.#stored)} ${what}`)
  }
}
