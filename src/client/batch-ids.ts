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
const noWords = new Uint32Array(0)
// A lone message's, on its way into the record: ids of one message are worth no bytes of their own.
const firstId = new Uint8Array(idBytes)
const firstWords = new Uint32Array(firstId.buffer)

/** Random UUIDs of version 4, sixteen bytes at a time out of one pool. */
export class IdPool {
  readonly #random: Random
  #pool: Uint8Array = none
  #words: Uint32Array = noWords
  #at = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** Writes the next id into `bytes`, from `start` on; `words` are the same bytes by fours. */
  next(bytes: Uint8Array, words: Uint32Array, start: number): void {
    if (this.#at === this.#words.length) this.#refill()
    const pool = this.#words
    const at = this.#at
    const word = start >>> 2
    words[word] = pool[at]
    words[word + 1] = pool[at + 1]
    words[word + 2] = pool[at + 2]
    words[word + 3] = pool[at + 3]
    this.#at = at + 4
    bytes[start + 6] = (bytes[start + 6] & 0x0f) | 0x40
    bytes[start + 8] = (bytes[start + 8] & 0x3f) | 0x80
  }

  #refill(): void {
    if (this.#pool.length < poolBytesMax) {
      this.#pool = new Uint8Array(Math.min(poolBytesMax, Math.max(poolBytesMin, 4 * this.#pool.length)))
      this.#words = new Uint32Array(this.#pool.buffer)
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
  #words: Uint32Array = noWords
  /** What holds the id that was taken last, from `start` on, until the next is taken. */
  bytes: Uint8Array = none
  start = 0

  constructor(pool: IdPool) {
    this.#pool = pool
  }

  /** Takes the id of a record, or draws one when its message brings none. @throws RTK_INVALID_ARGUMENT for what is no UUID */
  take(index: number, given: string | undefined): void {
    if (index === 0) {
      this.bytes = firstId
      this.start = 0
      if (given === undefined) this.#pool.next(firstId, firstWords, 0)
      else firstId.set(parseUuid(given))
      this.#first = formatUuid(firstId)
      return
    }
    const start = (index - 1) * idBytes
    if (this.#others.length < start + idBytes) this.#grow(start + idBytes)
    if (given === undefined) this.#pool.next(this.#others, this.#words, start)
    else this.#others.set(parseUuid(given), start)
    this.bytes = this.#others
    this.start = start
  }

  /** The text of a record's id. */
  textOf(index: number): string {
    return index === 0 ? this.#first : formatUuid(this.#others, (index - 1) * idBytes)
  }

  #grow(bytes: number): void {
    const least = this.#others === none ? bytesMin : Math.max(grownBytesMin, this.#others.length * 2)
    const larger = new Uint8Array(Math.max(least, bytes))
    larger.set(this.#others)
    this.#others = larger
    this.#words = new Uint32Array(larger.buffer)
  }
}
