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
import { copyOf } from './frame-pool.ts'

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
/** A frame from this size on is worth a read of its own. */
const largeFrameBytes = 32 * 1024
/** What is read where a large frame may begin: its length and little more, for what is read here must be copied. */
const probeBytes = 4 * 1024
/** What all readers read into where no frame is known: what comes is looked at before anybody else reads. */
let shared: { readonly whole: Uint8Array; readonly probe: Uint8Array } | undefined

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
 * Cuts a byte stream into its opening and frames.
 *
 * Chunks that somebody else has read go to `push`: a frame that lies whole in one chunk is handed on as a view of it, and
 * one that straddles chunks is copied, once, into an array of its own. Whoever can read into bytes that he is given asks
 * `buffer` where to, and tells `filled`: then a large frame is read straight into its own array, but for its beginning.
 */
export class StreamReader {
  readonly #events: StreamEvents
  readonly #allocate: (bytes: number) => Uint8Array
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
  /** What `buffer` gave last. */
  #given: Uint8Array | undefined
  /** True while what is read lies in bytes that the next read overwrites. */
  #borrowed = false
  /** True when the frame before was large, so that the next one may be. */
  #large = false
  #closed = false

  /** @param allocate makes room for large frames; it may hold anything, for nobody sees a frame that is not filled */
  constructor(
    frameBytesMax: number,
    events: StreamEvents,
    allocate: (bytes: number) => Uint8Array = (bytes) => new Uint8Array(bytes),
  ) {
    this.frameBytesMax = frameBytesMax
    this.#events = events
    this.#allocate = allocate
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

  /** Where the next bytes are to be read into; the reader's own. */
  buffer(): Uint8Array {
    const partial = this.#partial
    if (partial !== undefined) {
      this.#given = undefined
      return this.#roomIn(partial, 1).subarray(this.#filled)
    }
    if (shared === undefined) {
      const whole = new Uint8Array(64 * 1024)
      shared = { whole, probe: whole.subarray(0, probeBytes) }
    }
    this.#given = this.#large ? shared.probe : shared.whole
    return this.#given
  }

  /** So many bytes were read into what `buffer` gave last. @throws as `push` */
  filled(bytes: number): void {
    const given = this.#given
    if (given === undefined) {
      if (this.#partial !== undefined) this.#advance(this.#partial, bytes)
      return
    }
    this.#borrowed = true
    try {
      this.push(given.subarray(0, bytes))
    } finally {
      this.#borrowed = false
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
    this.#large = length >= largeFrameBytes
    if (end <= chunk.length) {
      if (length === 0) this.#events.frame(noBytes)
      else this.#events.frame(this.#borrowed ? copyOf(chunk, at, end) : chunk.subarray(at, end))
      return end
    }
    this.#filled = 0
    this.#partial = this.#allocate(Math.min(length, trustedBytesMax))
    return this.#fill(this.#partial, chunk, at)
  }

  #fill(partial: Uint8Array, chunk: Uint8Array, at: number): number {
    const size = Math.min(chunk.length - at, this.#length - this.#filled)
    const frame = this.#roomIn(partial, size)
    frame.set(at === 0 && size === chunk.length ? chunk : chunk.subarray(at, at + size), this.#filled)
    this.#advance(frame, size)
    return at + size
  }

  /** The frame that is not complete, with room for so many bytes more. */
  #roomIn(partial: Uint8Array, bytes: number): Uint8Array {
    const needed = this.#filled + bytes
    if (needed <= partial.length) return partial
    const frame = this.#allocate(Math.min(this.#length, Math.max(partial.length * 2, needed)))
    frame.set(partial)
    this.#partial = frame
    return frame
  }

  #advance(frame: Uint8Array, bytes: number): void {
    this.#filled += bytes
    if (this.#filled < this.#length) return
    this.#partial = undefined
    this.#events.frame(frame)
  }
}

function malformed(what: string): RatatoskrError {
  return new RatatoskrError('RTK_FRAME_MALFORMED', `the stream cannot be read: ${what}`)
}
