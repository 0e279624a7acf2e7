/** A topic of the fake broker: batches in memory, with the numbers of idempotent producers. */
import {
  type BatchReceipt,
  baseSequenceOf,
  isAfterGap,
  nextOffsetOf,
  ProducerTable,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
  stampBatch,
} from '../../ports/index.ts'

interface StoredBatch {
  readonly offset: number
  readonly nextOffset: number
  readonly bytes: Uint8Array
}

export class FakePartition {
  readonly batches: StoredBatch[] = []
  start = 0
  #producers = new ProducerTable({ producersMax: 100, expiryMs: Number.MAX_SAFE_INTEGER })

  get end(): number {
    return this.batches.at(-1)?.nextOffset ?? this.start
  }

  append(bytes: Uint8Array): BatchReceipt {
    const baseOffset = this.end
    const recordCount = recordCountOf(bytes)
    const receipt = { partition: 0, recordCount, durability: 'memory' } as const
    if (producerIdOf(bytes) !== -1) {
      const known = this.#sequenced(bytes, baseOffset)
      if (known !== undefined) return { ...receipt, baseOffset: known, duplicate: true }
    }
    const stored = bytes.slice()
    stampBatch(stored, baseOffset, 0)
    this.batches.push({ offset: baseOffset, nextOffset: nextOffsetOf(stored), bytes: stored })
    return { ...receipt, baseOffset }
  }

  /** Forgets every producer, as a broker does after a long silence. */
  forgetProducers(): void {
    this.#producers = new ProducerTable({ producersMax: 100, expiryMs: Number.MAX_SAFE_INTEGER })
  }

  /** Knows of its producers what the log says, as after a restart. */
  restart(): void {
    this.forgetProducers()
    for (const { bytes, offset } of this.batches)
      if (producerIdOf(bytes) !== -1) this.#producers.add(batchOf(bytes, offset), 0)
  }

  /** Where the batch is already; undefined when it is the next one. */
  #sequenced(bytes: Uint8Array, baseOffset: number): number | undefined {
    const batch = batchOf(bytes, baseOffset)
    const known = this.#producers.check(batch, 0, isAfterGap(bytes))
    if (known === undefined) this.#producers.add(batch, 0)
    return known?.baseOffset
  }

  read(offset: number): StoredBatch | undefined {
    return this.batches.find((batch) => batch.nextOffset > offset)
  }
}

const batchOf = (bytes: Uint8Array, baseOffset: number) => ({
  producerId: producerIdOf(bytes),
  epoch: producerEpochOf(bytes),
  baseSequence: baseSequenceOf(bytes),
  recordCount: recordCountOf(bytes),
  baseOffset,
  durability: undefined,
  settled: undefined,
})

export interface FakeTopic {
  readonly name: string
  readonly id: string
  readonly partitions: FakePartition[]
  readonly committed: Map<string, number>
}
