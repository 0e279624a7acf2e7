/**
 * How frames travel on a byte stream, such as TCP or a Unix socket: what frames.ts and protocol.ts describe, with a length
 * before each. Both sides begin with an opening of 12 bytes, integers big-endian:
 *
 *     at 0 4 bytes  RTSK
 *     at 4 uint8    version of the stream protocol: 1
 *     at 5 3 bytes  zero
 *     at 8 uint32   the largest frame that this side takes, in bytes
 *
 * The client's comes first; the broker answers with its own when it has read it. The client need not wait for that. Then:
 *
 *     at 0 uint32   length of the frame
 *     at 4          the frame
 *
 * A frame that begins with `{` is the JSON text of a request, reply or event; any other is a binary frame, told by its first
 * byte. The first frame of a client is a `hello`. A frame of no bytes is a sign of life: a client answers each with one.
 */
import { readUint32, writeInt32 } from '../batch/bytes.ts'
import { RatatoskrError } from '../errors.ts'

/** What each side sends first. */
export interface StreamOpening {
  readonly version: number
  /** The largest frame that the sender takes, in bytes. */
  readonly frameBytesMax: number
}

export const streamProtocolVersion = 1
/** Bytes before each frame. */
export const framePrefixBytes = 4
/** `{`: no binary frame is of this kind. */
export const textFrameByte = 0x7b

const magic = Uint8Array.of(0x52, 0x54, 0x53, 0x4b) // RTSK
const openingBytes = 12
const uint32Max = 0xffff_ffff
/** Room that is taken on the word of a length; beyond it the frame's own bytes must come first. */
const trustedBytesMax = 1024 * 1024
const noBytes = new Uint8Array(0)

/** The opening of this side. */
export function encodeOpening(frameBytesMax: number): Uint8Array {
  const bytes = new Uint8Array(openingBytes)
  bytes.set(magic)
  bytes[4] = streamProtocolVersion
  writeInt32(bytes, 8, Math.min(frameBytesMax, uint32Max))
  return bytes
}

export interface StreamEvents {
  /** Once, before any frame. What it throws, `push` throws. */
  opening(opening: StreamOpening): void
  /** A view on what came: the receiver's from here on. */
  frame(frame: Uint8Array): void
}

/**
 * Cuts a byte stream into its opening and frames. A frame that lies whole in one chunk is handed on as a view of it; only
 * one that straddles chunks is copied, once, into an array of its own.
 */
export class StreamReader {
  readonly #events: StreamEvents
  readonly #opening = new Uint8Array(openingBytes)
  readonly #prefix = new Uint8Array(framePrefixBytes)
  /** The largest frame to take, in bytes; may be changed between frames. */
  frameBytesMax: number
  #openingFilled = 0
  #prefixFilled = 0
  /** The frame that is not complete yet, `#filled` of its `#length` bytes. */
  #partial: Uint8Array | undefined
  #filled = 0
  #length = 0
  #closed = false

  constructor(frameBytesMax: number, events: StreamEvents) {
    this.frameBytesMax = frameBytesMax
    this.#events = events
  }

  /** The first bytes that came, as many as an opening has at most: they tell what a peer speaks that is none of ours. */
  get beginning(): Uint8Array {
    return this.#opening.subarray(0, this.#openingFilled)
  }

  /**
   * Takes what came.
   * @throws RTK_FRAME_MALFORMED when the peer speaks another protocol, or sends a frame that is too large
   */
  push(chunk: Uint8Array): void {
    let at = this.#openingFilled < openingBytes ? this.#open(chunk) : 0
    if (this.#partial !== undefined) at = this.#fill(this.#partial, chunk, at)
    while (at < chunk.length && !this.#closed) {
      if (this.#prefixFilled > 0 || chunk.length - at < framePrefixBytes) {
        this.#prefix[this.#prefixFilled++] = chunk[at++]
        if (this.#prefixFilled < framePrefixBytes) continue
        this.#prefixFilled = 0
        this.#length = readUint32(this.#prefix, 0)
      } else {
        this.#length = readUint32(chunk, at)
        at += framePrefixBytes
      }
      at = this.#begin(chunk, at)
    }
  }

  /** Nothing more is handed on. */
  close(): void {
    this.#closed = true
    this.#partial = undefined
  }

  #open(chunk: Uint8Array): number {
    const part = chunk.subarray(0, openingBytes - this.#openingFilled)
    this.#opening.set(part, this.#openingFilled)
    this.#openingFilled += part.length
    const seen = Math.min(this.#openingFilled, magic.length)
    for (let i = 0; i < seen; i++) {
      if (this.#opening[i] !== magic[i]) throw malformed('the peer does not speak the frames of Ratatoskr')
    }
    if (this.#openingFilled === openingBytes) {
      this.#events.opening({ version: this.#opening[4], frameBytesMax: readUint32(this.#opening, 8) })
    }
    return part.length
  }

  /** A frame whose length is known begins at `at`. @returns the place after what was taken of it */
  #begin(chunk: Uint8Array, at: number): number {
    const length = this.#length
    if (length > this.frameBytesMax) {
      throw malformed(`a frame has at most ${this.frameBytesMax} bytes here, got ${length}`)
    }
    const end = at + length
    if (end <= chunk.length) {
      this.#events.frame(length === 0 ? noBytes : chunk.subarray(at, end))
      return end
    }
    this.#filled = 0
    this.#partial = new Uint8Array(Math.min(length, trustedBytesMax))
    return this.#fill(this.#partial, chunk, at)
  }

  #fill(partial: Uint8Array, chunk: Uint8Array, at: number): number {
    const size = Math.min(chunk.length - at, this.#length - this.#filled)
    let frame = partial
    if (this.#filled + size > frame.length) {
      frame = new Uint8Array(Math.min(this.#length, Math.max(frame.length * 2, this.#filled + size)))
      frame.set(partial.subarray(0, this.#filled))
      this.#partial = frame
    }
    frame.set(at === 0 && size === chunk.length ? chunk : chunk.subarray(at, at + size), this.#filled)
    this.#filled += size
    if (this.#filled === this.#length) {
      this.#partial = undefined
      this.#events.frame(frame)
    }
    return at + size
  }
}

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_FRAME_MALFORMED', `the stream cannot be read: ${what}`)
}
