/**
 * The numbers of one partition's batches, by which the broker knows a batch that is sent again.
 *
 * A batch gets its number when it is sealed, and no other batch ever gets the same one, whatever becomes of it: a copy of a
 * call that somebody on the way delivers late cannot stand for another batch then. So a batch goes again as it was, both
 * after a refusal and when its answer was lost. Where batches were given up there is a gap in the numbers, and the batch
 * behind it says so; that one goes when nothing is under way any more, for it closes the gap to whatever comes late.
 */
import {
  batchesPerProducerMax,
  type ErrorCode,
  isBehind,
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
  /** The number of the next batch that is sealed. */
  #next = 0
  /** The number after the last batch that is acknowledged. */
  #acknowledged = 0
  /** The number after the last batch that was sent; undefined when one of those under way was given up. */
  #sent: number | undefined = 0
  #broken: ErrorCode | undefined

  constructor(identities: SenderIdentity, checksum: (bytes: Uint8Array) => number) {
    this.#identities = identities
    this.#checksum = checksum
    this.#identity = identities.current
  }

  /** Why batches that are surely not stored need a new id first; undefined when they do not. */
  get broken(): ErrorCode | undefined {
    return this.#broken
  }

  /** The number of a batch that is sealed now. */
  stamp(recordCount: number): ProducerStamp {
    const { producerId, epoch } = this.#identity
    const baseSequence = this.#next
    this.#next = nextSequence(baseSequence, recordCount)
    return { producerId, epoch, baseSequence }
  }

  /**
   * True when a batch may be sent while others are under way: it comes right behind them, and the broker would not forget
   * the oldest of them over it. Answers may come in any order, and a producer's batches are remembered up to so many behind
   * the newest.
   */
  mayFollow(batch: OutgoingBatch, oldest: OutgoingBatch): boolean {
    if (this.#broken !== undefined || this.#isForeign(batch) || this.#isForeign(oldest)) return false
    return (
      batch.stamp?.baseSequence === this.#sent && batch.sequence - oldest.sequence < batchesPerProducerMax
    )
  }

  /** Before a batch is sent. @param alone true when nothing is under way */
  sending(batch: OutgoingBatch, alone: boolean): void {
    const { stamp } = batch
    if (stamp === undefined || this.#isForeign(batch)) return
    // What may be stored goes as it was: should the broker have forgotten the producer, it must not take the batch again.
    const gap = alone && batch.doubt === undefined && isBehind(this.#acknowledged, stamp.baseSequence)
    if (gap) batch.markAfterGap(this.#checksum)
    this.#sent = nextSequence(stamp.baseSequence, batch.sealedCount)
  }

  /** The batch is stored, and whatever was sent before it, though its answer may come later. */
  stored(batch: OutgoingBatch): void {
    const { stamp } = batch
    if (stamp === undefined || this.#isForeign(batch)) return
    const after = nextSequence(stamp.baseSequence, batch.sealedCount)
    if (isBehind(this.#acknowledged, after)) this.#acknowledged = after
  }

  /** Nobody waits for the batch any more: what was sent behind it is stored only if it is, too. */
  gaveUp(batch: OutgoingBatch): void {
    if (batch.sent) this.#sent = undefined
  }

  /**
   * Takes the broker's word that a batch, of all that it knows of this producer, is not the next one.
   * @returns true when it may be sent again: it is not stored
   */
  refused(batch: OutgoingBatch, error: RatatoskrError): boolean {
    if (batch.behindOthers) return true // they are not stored yet, or never; when they are settled it is told so again, or not
    const { expectedSequence } = error.details
    const base = batch.stamp?.baseSequence ?? 0
    const known = typeof expectedSequence === 'number' && expectedSequence !== 0
    const isAhead = known ? isBehind(expectedSequence, base) : batch.doubt === undefined || this.#isUntold
    if (error.code === 'RTK_SEQUENCE_OUT_OF_ORDER' && isAhead && !batch.isAfterGap) {
      batch.markAfterGap(this.#checksum)
      batch.doubt = undefined
      return true
    }
    this.#broken ??= error.code
    return batch.doubt === undefined
  }

  /** Goes on with a new id, by which those batches are numbered anew that are surely not stored. @throws what the broker answers */
  async renew(batches: readonly OutgoingBatch[]): Promise<void> {
    const why = this.#broken ?? 'RTK_SEQUENCE_OUT_OF_ORDER'
    this.#identity = await this.#identities.renewed(this.#identity, why)
    this.#next = 0
    this.#acknowledged = 0
    this.#sent = 0
    this.#broken = undefined
    for (const batch of batches)
      if (batch.doubt === undefined) batch.renumber(this.stamp(batch.sealedCount), this.#checksum)
  }

  /** True while the broker need not know of the producer. */
  get #isUntold(): boolean {
    return this.#acknowledged === 0
  }

  /** True for a batch that was numbered by an id before this one. */
  #isForeign({ stamp }: OutgoingBatch): boolean {
    return stamp?.producerId !== this.#identity.producerId
  }
}
