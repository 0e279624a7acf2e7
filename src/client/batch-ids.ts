/** The ids of a batch's messages: random ones, drawn many at a time, and those that messages bring, as bytes until somebody wants the text. */
import { formatUuid, parseUuid, type Random } from '../ports/index.ts'

const idBytes = 16
// Drawing many at a time costs a third of drawing few; who publishes little draws little.
const poolBytesMin = 64 * idBytes
const poolBytesMax = 1_024 * idBytes
// Few stand in the array object itself; where there are more, memory apart for many pays.
const bytesMin = 4 * idBytes
const grownBytesMin = 64 * idBytes
const none = new Uint8Array(0)
// A lone message's, on its way into the record: ids of one message are worth no bytes of their own.
const firstId = new Uint8Array(idBytes)

/** Random UUIDs of version 4, sixteen bytes at a time out of one pool. */
export class IdPool {
  readonly #random: Random
  #pool: Uint8Array = none
  #at = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** Writes the next id into `into`, from `start` on. */
  next(into: Uint8Array, start: number): void {
    if (this.#at === this.#pool.length) this.#refill()
    const pool = this.#pool
    const at = this.#at
    for (let i = 0; i < idBytes; i++) into[start + i] = pool[at + i]
    this.#at = at + idBytes
    into[start + 6] = (into[start + 6] & 0x0f) | 0x40
    into[start + 8] = (into[start + 8] & 0x3f) | 0x80
  }

  #refill(): void {
    if (this.#pool.length < poolBytesMax) {
      this.#pool = new Uint8Array(Math.min(poolBytesMax, Math.max(poolBytesMin, 4 * this.#pool.length)))
    }
    this.#random.fill(this.#pool)
    this.#at = 0
  }
}

/** Ids of the records of one batch, by their places in it. */
export class BatchIds {
  readonly #pool: IdPool
  #first = ''
  #others: Uint8Array = none
  /** What holds the id that was taken last, from `start` on, until the next is taken. */
  bytes: Uint8Array = none
  start = 0

  constructor(pool: IdPool) {
    this.#pool = pool
  }

  /** Takes the id of a record, or draws one when its message brings none. @throws RTK_INVALID_ARGUMENT for what is no UUID */
  take(index: number, given: string | undefined): void {
    const isFirst = index === 0
    const bytes = isFirst ? firstId : this.#roomFor(index)
    const start = isFirst ? 0 : (index - 1) * idBytes
    if (given === undefined) this.#pool.next(bytes, start)
    else bytes.set(parseUuid(given), start)
    if (isFirst) this.#first = formatUuid(bytes)
    this.bytes = bytes
    this.start = start
  }

  /** The text of a record's id. */
  textOf(index: number): string {
    return index === 0 ? this.#first : formatUuid(this.#others, (index - 1) * idBytes)
  }

  #roomFor(index: number): Uint8Array {
    const bytes = index * idBytes
    if (this.#others.length < bytes) {
      const larger = new Uint8Array(
        this.#others === none ? bytesMin : Math.max(grownBytesMin, this.#others.length * 2),
      )
      larger.set(this.#others)
      this.#others = larger
    }
    return this.#others
  }
}
