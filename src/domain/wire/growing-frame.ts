/**
 * A frame that comes in pieces: it grows with what has come, as far as its length, on whose word little room is taken.
 */

/** Room that is taken on the word of a length: that of a batch of 1 MiB in its frame. Beyond it the bytes must come first. */
const trustedBytesMax = (1024 + 64) * 1024

export class GrowingFrame {
  readonly #allocate: (bytes: number) => Uint8Array
  /** What is filled so far, `#filled` of `#length` bytes; undefined when none is under way. */
  #bytes: Uint8Array | undefined
  #filled = 0
  #length = 0

  /** @param allocate makes room, which may hold anything: nobody sees a frame that is not filled */
  constructor(allocate: (bytes: number) => Uint8Array) {
    this.#allocate = allocate
  }

  /** True from `begin` until the frame is complete. */
  get isUnderWay(): boolean {
    return this.#bytes !== undefined
  }

  begin(length: number): void {
    this.#length = length
    this.#filled = 0
    this.#bytes = this.#allocate(Math.min(length, trustedBytesMax))
  }

  /** Where the next bytes of it are to be read into. Only while it is under way. */
  room(): Uint8Array {
    return this.#roomFor(1).subarray(this.#filled)
  }

  /** So many bytes were read into what `room` gave. @returns the frame, when it is complete */
  advance(bytes: number): Uint8Array | undefined {
    this.#filled += bytes
    if (this.#filled < this.#length) return undefined
    const frame = this.#bytes
    this.#bytes = undefined
    return frame
  }

  /** How many bytes of `chunk` from `at` on belong to it. */
  partIn(chunk: Uint8Array, at: number): number {
    return Math.min(chunk.length - at, this.#length - this.#filled)
  }

  /** Copies so many bytes of `chunk` from `at` on. @returns as `advance` */
  copy(chunk: Uint8Array, at: number, bytes: number): Uint8Array | undefined {
    const whole = at === 0 && bytes === chunk.length
    this.#roomFor(bytes).set(whole ? chunk : chunk.subarray(at, at + bytes), this.#filled)
    return this.advance(bytes)
  }

  /** Forgets what came of it. */
  drop(): void {
    this.#bytes = undefined
  }

  /** The frame, with room for so many bytes more. */
  #roomFor(bytes: number): Uint8Array {
    const filled = this.#bytes as Uint8Array
    const needed = this.#filled + bytes
    if (needed <= filled.length) return filled
    const grown = this.#allocate(Math.min(this.#length, Math.max(filled.length * 2, needed)))
    grown.set(filled)
    this.#bytes = grown
    return grown
  }
}
