/**
 * The short way into a batch, for bytes alone of a bulk that has joined it. Bulks are mostly such, and what is looked at for each
 * message, or kept of it, costs as much as writing it.
 */
import type { BatchBuilder } from '../ports/index.ts'
import type { OutgoingBatch } from './outgoing-batch.ts'

// The builder copies what it is given, so one record serves all.
const record = {
  payload: new Uint8Array(0) as Uint8Array,
  key: undefined,
  headers: undefined,
  id: undefined,
  idStart: 0,
  expiresAtMs: undefined,
  timestampMs: 0,
}

export class BulkRun {
  readonly #batch: OutgoingBatch
  readonly #builder: BatchBuilder
  readonly #sizeBytesMax: number
  readonly #recordsMax: number

  /** @param sizeBytesMax bytes that the batch may have, with a payload that is added */
  constructor(batch: OutgoingBatch, builder: BatchBuilder, sizeBytesMax: number, recordsMax: number) {
    this.#batch = batch
    this.#builder = builder
    this.#sizeBytesMax = sizeBytesMax
    this.#recordsMax = recordsMax
  }

  /** Adds bytes. @returns false when they must go the long way: the batch is closed, or as full as it may be */
  add(payload: Uint8Array, timestampMs: number): boolean {
    const builder = this.#builder
    if (!this.#batch.isOpen || builder.recordCount >= this.#recordsMax) return false
    if (builder.sizeBytes + payload.length > this.#sizeBytesMax) return false
    record.payload = payload
    record.timestampMs = timestampMs
    builder.add(record)
    return true
  }

  /** @returns bytes that were added and that nobody has counted: who seals a batch counts what is in it */
  counted(): number {
    return this.#batch.isOpen ? this.#batch.counted() : 0
  }
}
