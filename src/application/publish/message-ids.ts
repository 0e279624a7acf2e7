/** Makes ids for messages that come without one: UUIDs of version 4, from randomness drawn in bulk. */
import type { Random } from '../../ports/index.ts'

const idBytes = 16
const idsAtOnce = 256

export class MessageIds {
  readonly #random: Random
  readonly #pool = new Uint8Array(idBytes * idsAtOnce)
  #at = this.#pool.length

  constructor(random: Random) {
    this.#random = random
  }

  /** 16 bytes, valid until the next call. */
  next(): Uint8Array {
    if (this.#at === this.#pool.length) {
      this.#random.fill(this.#pool)
      this.#at = 0
    }
    const id = this.#pool.subarray(this.#at, this.#at + idBytes)
    this.#at += idBytes
    id[6] = 0x40 | (id[6] & 0x0f) // version 4
    id[8] = 0x80 | (id[8] & 0x3f) // variant of RFC 9562
    return id
  }
}
