/**
 * The numbers of one partition's batches, by which the broker knows a batch that is sent again.
 *
 * A batch that may be stored is only ever sent again as it was. One that is surely not stored gets the number that the broker
 * waits for: the one after the last that is acknowledged, as soon as nothing is under way. When even that is not known any
 * more, since a batch was given up whose fate nobody knows or the broker has forgotten the producer, the partition goes on
 * with a new id.
 */
import {
  batchesPerProducerMax,
  type ErrorCode,
  nextSequence,
  type ProducerIdentity,
  type ProducerStamp,
  type RatatoskrError,
} from '../ports/index.ts'
import type { OutgoingBatch } from './outgoing-batch.ts'
import type { SenderIdentity } from './sender-identity.ts'

export class BatchNumbers {
  readonly #identities: SenderIdentity
  readonly #checksum: (bytes: Uint8Array) => number
  #identity: ProducerIdentity
  /** The number of the next batch. */
  #next = 0
  /** The number after the last batch that is acknowledged. */
  #acknowledged = 0
  #broken: ErrorCode | undefined
  #gap = false

  constructor(identities: SenderIdentity, checksum: (bytes: Uint8Array) => number) {
    this.#identities = identities
    this.#checksum = checksum
    this.#identity = identities.current
  }

  /** Why batches that are surely not stored need a new id first; undefined when they do not. */
  get broken(): ErrorCode | undefined {
    return this.#broken
  }

  /** True when what is sent behind those under way would be refused, since one before it will be missing. */
  get gap(): boolean {
    return this.#gap || this.#broken !== undefined
  }

  /** The number that a batch will most likely be sent with. @param before the batch that is to be sent before it */
  stampBehind(before: OutgoingBatch | undefined): ProducerStamp {
    const { producerId, epoch } = this.#identity
    const last = before?.stamp
    const baseSequence =
      last?.producerId === producerId ? nextSequence(last.baseSequence, before?.sealedCount ?? 0) : this.#next
    return { producerId, epoch, baseSequence }
  }

  /** Numbers a batch that is sent now. */
  number(batch: OutgoingBatch): void {
    const { producerId, epoch } = this.#identity
    if (!batch.doubtful) batch.renumber({ producerId, epoch, baseSequence: this.#next }, this.#checksum)
    const { stamp } = batch
    if (stamp?.producerId !== producerId) return
    const after = nextSequence(stamp.baseSequence, batch.sealedCount)
    if (isBehind(this.#next, after)) this.#next = after
  }

  /** The batch is stored, and whatever was sent before it, though its answer may come later. */
  stored({ stamp, sealedCount }: OutgoingBatch): void {
    if (stamp?.producerId !== this.#identity.producerId) return
    const after = nextSequence(stamp.baseSequence, sealedCount)
    if (isBehind(this.#acknowledged, after)) this.#acknowledged = after
  }

  /**
   * True when the broker would forget a batch that is not answered yet over this one. Answers may come in any order, and a
   * producer's batches are remembered up to so many behind the newest.
   */
  isTooFar(batch: OutgoingBatch, oldest: OutgoingBatch): boolean {
    return batch.sequence - oldest.sequence >= batchesPerProducerMax
  }

  /** Nobody waits for the batch any more. */
  gaveUp(batch: OutgoingBatch, code: ErrorCode): void {
    if (!batch.sent || batch.stamp?.producerId !== this.#identity.producerId) return
    if (batch.doubtful) this.#broken ??= code
    else this.#gap = true
  }

  /**
   * Takes the broker's word that a batch is not the next one.
   * @returns true when it may be sent again, for it is surely not stored
   */
  refused(batch: OutgoingBatch, error: RatatoskrError): boolean {
    if (batch.stamp?.producerId !== this.#identity.producerId) return !batch.doubtful
    const { expectedSequence } = error.details
    const isAhead = !isBehind(batch.stamp.baseSequence, this.#acknowledged)
    if (isAhead && error.code === 'RTK_SEQUENCE_OUT_OF_ORDER' && expectedSequence === this.#acknowledged) {
      batch.doubtful = false // the broker stands where we know it to, before this batch
      return true
    }
    this.#broken ??= error.code
    return !batch.doubtful
  }

  /** Nothing is under way: what is sent next follows what is acknowledged. */
  settled(): void {
    this.#next = this.#acknowledged
    this.#gap = false
  }

  /** Goes on with a new id. @throws what the broker answers */
  async renew(): Promise<void> {
    this.#identity = await this.#identities.renewed(
      this.#identity,
      this.#broken ?? 'RTK_SEQUENCE_OUT_OF_ORDER',
    )
    this.#next = 0
    this.#acknowledged = 0
    this.#broken = undefined
    this.#gap = false
  }
}

/** Numbers go round: of two that are never far from each other, the one that comes first. */
const isBehind = (sequence: number, other: number): boolean => ((other - sequence) | 0) << 1 > 0
