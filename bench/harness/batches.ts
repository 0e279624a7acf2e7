/** Batches made ahead, so that what is measured is storing them and not making them. */
import { nodePlatform } from 'ratatoskr/adapters/node'
import { BatchBuilder, isKeepable } from 'ratatoskr/ports'

export interface BatchShape {
  readonly payloadBytes: number
  readonly recordsPerBatch: number
}

/** Bytes of a record beside its payload, at most: lengths, offset, time, no key, no headers. */
const recordOverheadBytes = 16

/** As many records as fit a batch of so many bytes, at least one. */
export const recordsFor = (batchBytes: number, payloadBytes: number): number =>
  Math.max(1, Math.floor((batchBytes - 61) / (payloadBytes + recordOverheadBytes)))

/**
 * Batches that take turns. One comes again when `count` others went out: keep fewer in flight. Those that a store would keep
 * come as copies, for what it has must not change.
 */
export class BatchRing {
  readonly recordsPerBatch: number
  readonly batchBytes: number
  readonly #batches: readonly Uint8Array[]
  #next = 0

  constructor(count: number, { payloadBytes, recordsPerBatch }: BatchShape) {
    const builder = new BatchBuilder({ checksum: nodePlatform().checksum })
    const payload = Uint8Array.from({ length: payloadBytes }, (_, index) => (index * 31) & 0xff)
    this.#batches = Array.from({ length: count }, () => {
      for (let record = 0; record < recordsPerBatch; record++) {
        builder.add({ payload, timestampMs: Date.now() })
      }
      return builder.build().slice()
    })
    this.recordsPerBatch = recordsPerBatch
    this.batchBytes = this.#batches[0].length
  }

  next(): Uint8Array {
    const batch = this.#batches[this.#next]
    this.#next = (this.#next + 1) % this.#batches.length
    return isKeepable(batch) ? batch.slice() : batch
  }
}
