/** Which partition a message goes to when its producer did not say. */
import { murmur2 } from './murmur2.ts'

/** The partition of a key: the one that Kafka's default partitioner gives, so that both sides of a bridge agree. */
export const partitionForKey = (key: Uint8Array, partitions: number): number =>
  (murmur2(key) & 0x7fff_ffff) % partitions

/**
 * Partitions for messages without a key: all stay with one partition until the caller moves on, once a batch, so that
 * spreading them does not tear batches into crumbs. Over time every partition gets the same number of batches.
 */
export class StickyPartitioner {
  #turn: number

  /** @param random at least 0 and below 1: where to begin, so that many producers do not all begin with partition 0 */
  constructor(random: number) {
    this.#turn = Math.floor(random * 0x4000_0000)
  }

  /** The partition for now. The number of partitions may change between calls. */
  current(partitions: number): number {
    return this.#turn % partitions
  }

  /** A batch was closed: the next messages go to the next partition. */
  moveOn(): void {
    this.#turn = this.#turn === Number.MAX_SAFE_INTEGER ? 0 : this.#turn + 1
  }
}
