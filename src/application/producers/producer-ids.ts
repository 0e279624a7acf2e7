/**
 * The ids of idempotent producers. They are drawn, not counted: a counter would have to be on record, and a record that goes
 * back (an older `state/` that is put back, a state that lost its end with a disk) would give ids out again while the logs,
 * and with them the partitions' memory of producers, have gone on. The batches of the new owner would then be taken for
 * repeats of the old one's: acknowledged, and not stored.
 *
 * Of 2^53 numbers, one that is drawn is among the at most 10,000 that a partition remembers (`producersPerPartitionMax`)
 * with a chance of about 1 in 10^12; two of a million producers draw the same with one of about 1 in 20,000, and that harms
 * them only when both publish to the same partition within `producerExpiryMs`.
 */
import type { Random } from '../../ports/index.ts'

const twoTo32 = 0x1_0000_0000
/** 21 bits above the lower 32: a number that is exact in every language that has doubles. */
const upperBits = 0x1f_ffff

/** An id of a producer: from 1 to 2^53 - 1, for 0 is what programs begin to count with and less than 0 means none. */
export function drawProducerId(random: Random): number {
  const words = new DataView(new ArrayBuffer(8))
  for (;;) {
    random.fill(new Uint8Array(words.buffer))
    const id = (words.getUint32(0) & upperBits) * twoTo32 + words.getUint32(4)
    if (id > 0) return id
  }
}
