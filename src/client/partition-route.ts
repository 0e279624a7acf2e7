/**
 * The way of one producer's batches to their partition: the connection, or a link to the worker that owns the partition. It
 * changes only while nothing is under way, so that no batch overtakes another.
 */
import type { MaybePromise } from '../ports/index.ts'
import type { CallSignal, Connection } from './connection.ts'
import type { DirectLink } from './direct-links.ts'
import type { Link } from './link.ts'

export class PartitionRoute {
  /** The partition's owner, of the broker's workers; undefined when that is not known. */
  worker: number | undefined
  readonly #connection: Connection
  /** Undefined for the connection. */
  #direct: DirectLink | undefined
  #leased = false
  /** The last batch that nobody waits for any more and that may still be on its way; -1 for none. */
  #strayed = -1

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /**
   * Finds the way of the next batch.
   * @param leased goes where the lease is kept: of several workers by way of the one that keeps leases
   * @returns false when it must wait for those that are under way
   */
  find(leased: boolean, underWay: number): boolean {
    const direct = leased ? undefined : this.#connection.direct.to(this.worker)
    const sameWay = leased === this.#leased || this.worker === undefined
    if (direct === this.#direct && sameWay) return true
    if (underWay > 0) return false
    this.#leased = leased
    const stays = this.#strayed !== -1 && this.#direct?.isOpen !== false
    if (!stays) this.#direct = direct
    return true
  }

  /** Sends a batch. @throws as `Connection.use` does */
  send<T>(run: (link: Link) => MaybePromise<T>, sizeBytes: number, signal: CallSignal): MaybePromise<T> {
    if (this.#direct !== undefined) return this.#direct.use(run)
    this.#connection.direct.passed(this.worker, sizeBytes)
    return this.#connection.use(run, signal)
  }

  /** A batch was stored: whatever went the same way before has arrived. */
  stored(sequence: number): void {
    if (sequence > this.#strayed) this.#strayed = -1
  }

  /** A batch is given up whose answer has not come. */
  strayed(sequence: number): void {
    this.#strayed = Math.max(this.#strayed, sequence)
  }
}
