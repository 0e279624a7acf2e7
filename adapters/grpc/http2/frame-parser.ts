/**
 * Finds the frames in what comes over a connection. Data goes on as it comes, for it is copied where it belongs in any case;
 * all other frames are small, and are put together first.
 */
import { connectionError, http2Error } from './errors.ts'
import { flag, frameBytesDefault, frameType, headBytes, preface, uint24, uint32 } from './frames.ts'

/** Who is told of the frames. Bytes may change after the call. */
export interface FrameSink {
  /** @param length of the whole payload, with padding */
  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void
  /** A part of unpadded data; `isLast` with the last part. */
  data(streamId: number, part: Uint8Array, isLast: boolean): void
}

const noBytes = new Uint8Array(0)

export class FrameParser {
  readonly #sink: FrameSink
  #prefaceLeft = preface.length
  /** What is left of the last chunk: less than a frame. */
  #rest: Uint8Array = noBytes
  /** Of the data that is being read. */
  #dataLeft = 0
  #dataStream = 0
  #dataEnds = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Takes what came next. @throws Http2Error of the connection, and what the sink throws */
  push(chunk: Uint8Array): void {
    let at = this.#prefaceLeft === 0 ? 0 : this.#preface(chunk)
    if (this.#rest.length > 0) {
      const whole = new Uint8Array(this.#rest.length + chunk.length - at)
      whole.set(this.#rest)
      whole.set(at === 0 ? chunk : chunk.subarray(at), this.#rest.length)
      chunk = whole
      at = 0
      this.#rest = noBytes
    }
    while (at < chunk.length) {
      const next = this.#dataLeft > 0 ? this.#data(chunk, at) : this.#frame(chunk, at)
      if (next === at) break
      at = next
    }
    if (at < chunk.length) this.#rest = Uint8Array.prototype.slice.call(chunk, at)
  }

  /** @returns how much of the chunk belongs to what clients begin with */
  #preface(chunk: Uint8Array): number {
    const bytes = Math.min(this.#prefaceLeft, chunk.length)
    const from = preface.length - this.#prefaceLeft
    for (let i = 0; i < bytes; i++) {
      if (chunk[i] !== preface[from + i])
        throw connectionError(http2Error.PROTOCOL_ERROR, 'this is not HTTP/2 by prior knowledge')
    }
    this.#prefaceLeft -= bytes
    return bytes
  }

  /** @returns where the frame ends; where it begins when it is not whole */
  #frame(chunk: Uint8Array, at: number): number {
    if (chunk.length - at < headBytes) return at
    const length = uint24(chunk, at)
    if (length > frameBytesDefault) throw connectionError(http2Error.FRAME_SIZE_ERROR, 'a frame is too large')
    const type = chunk[at + 3]
    const flags = chunk[at + 4]
    const streamId = uint32(chunk, at + 5) & 0x7fff_ffff
    const begin = at + headBytes
    if (type === frameType.DATA && (flags & flag.PADDED) === 0) {
      this.#dataLeft = length
      this.#dataStream = streamId
      this.#dataEnds = (flags & flag.END_STREAM) !== 0
      if (length === 0) this.#sink.data(streamId, noBytes, this.#dataEnds)
      return begin
    }
    const end = begin + length
    if (end > chunk.length) return at
    this.#sink.frame(type, flags, streamId, chunk.subarray(begin, end))
    return end
  }

  #data(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + this.#dataLeft)
    this.#dataLeft -= end - at
    this.#sink.data(this.#dataStream, chunk.subarray(at, end), this.#dataEnds && this.#dataLeft === 0)
    return end
  }
}
