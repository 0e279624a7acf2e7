/** An append that is on its way to the owner of its partition: one object for all that is to be known when it comes back. */
import type { Durability } from '../../domain/durability.ts'
import type { RatatoskrError } from '../../domain/errors.ts'
import type { BatchBytes } from '../../ports/index.ts'
import type { StoredBatch } from '../partitions/topic-partition.ts'
import type { AppendWaiter, MeshAnswer } from './mesh-link.ts'

export class RemoteAppend implements AppendWaiter {
  readonly batch: BatchBytes
  readonly recordCount: number
  readonly durability: Durability
  readonly enteredMs: number
  readonly #settled: (append: RemoteAppend, offset: number | undefined) => void
  readonly #resolve: (at: number | StoredBatch) => void
  readonly #reject: (error: RatatoskrError) => void

  constructor(
    settled: (append: RemoteAppend, offset: number | undefined) => void,
    batch: BatchBytes,
    recordCount: number,
    durability: Durability,
    enteredMs: number,
    resolve: (at: number | StoredBatch) => void,
    reject: (error: RatatoskrError) => void,
  ) {
    this.#settled = settled
    this.batch = batch
    this.recordCount = recordCount
    this.durability = durability
    this.enteredMs = enteredMs
    this.#resolve = resolve
    this.#reject = reject
  }

  appended(offset: number): void {
    this.#settled(this, offset)
    this.#resolve(offset)
  }

  resolve({ value }: MeshAnswer<number | StoredBatch>): void {
    if (typeof value === 'number') {
      this.appended(value)
      return
    }
    this.#settled(this, undefined)
    this.#resolve(value)
  }

  reject(error: RatatoskrError): void {
    this.#settled(this, undefined)
    this.#reject(error)
  }
}
