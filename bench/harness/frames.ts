/** Frames with four bytes of length before each: of the bare relay, and of the TCP transport behind its opening. */

export const prefixBytes = 4

/** A frame with its length before it. */
export function framed(frame: Uint8Array): Buffer {
  const prefix = Buffer.alloc(prefixBytes)
  prefix.writeUInt32BE(frame.length)
  return Buffer.concat([prefix, frame])
}

/** Puts frames together from whatever pieces a socket gives. */
export class FrameReader {
  readonly #prefix = new DataView(new ArrayBuffer(prefixBytes))
  readonly #take: (frame: Uint8Array) => void
  #prefixFilled = 0
  #frame: Buffer | undefined
  #filled = 0

  constructor(take: (frame: Uint8Array) => void) {
    this.#take = take
  }

  feed(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#frame === undefined) {
        this.#prefix.setUint8(this.#prefixFilled++, chunk[at++])
        if (this.#prefixFilled < prefixBytes) continue
        this.#prefixFilled = 0
        this.#frame = Buffer.allocUnsafe(this.#prefix.getUint32(0))
        this.#filled = 0
        continue
      }
      const part = chunk.subarray(at, at + this.#frame.length - this.#filled)
      this.#frame.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      if (this.#filled < this.#frame.length) continue
      const whole = this.#frame
      this.#frame = undefined
      this.#take(whole)
    }
  }
}
