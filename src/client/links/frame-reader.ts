/** Cuts a byte stream into frames by the uint32 length that stands before each. */
import { RatatoskrError } from '../../ports/index.ts'

export class FrameReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>
  readonly #bytesMax: number
  #chunk: Uint8Array = new Uint8Array(0)

  /** @param bytesMax largest frame to accept */
  constructor(stream: ReadableStream<Uint8Array>, bytesMax: number) {
    this.#reader = stream.getReader()
    this.#bytesMax = bytesMax
  }

  /**
   * The next frame; undefined at the end of the stream. Empty frames are signs of life and passed over.
   * @throws RTK_FRAME_MALFORMED when a frame is longer than allowed
   */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      const prefix = await this.#take(4)
      if (prefix === undefined) return undefined
      const length = new DataView(prefix.buffer, prefix.byteOffset, 4).getUint32(0)
      if (length > this.#bytesMax) {
        throw new RatatoskrError(
          'RTK_FRAME_MALFORMED',
          `a frame of ${length} bytes is above the limit of ${this.#bytesMax}`,
        )
      }
      if (length > 0) return this.#take(length)
    }
  }

  /** So many bytes: a view on what came when they came together, a copy when they did not. */
  async #take(count: number): Promise<Uint8Array | undefined> {
    if (this.#chunk.length === 0 && !(await this.#read())) return undefined
    if (this.#chunk.length >= count) return this.#cut(count)
    const whole = new Uint8Array(count)
    let filled = 0
    while (filled < count) {
      if (this.#chunk.length === 0 && !(await this.#read())) return undefined
      const part = this.#cut(Math.min(count - filled, this.#chunk.length))
      whole.set(part, filled)
      filled += part.length
    }
    return whole
  }

  #cut(count: number): Uint8Array {
    const part = this.#chunk.subarray(0, count)
    this.#chunk = this.#chunk.subarray(count)
    return part
  }

  /** Reads the next chunk that is not empty. @returns false at the end */
  async #read(): Promise<boolean> {
    do {
      const { done, value } = await this.#reader.read()
      if (done) return false
      this.#chunk = value
    } while (this.#chunk.length === 0)
    return true
  }
}
